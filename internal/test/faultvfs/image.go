package faultvfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// Fate is what a power cut does to what was written and not synced.
type Fate struct{ chance func() outcome }

type outcome int

const (
	kept outcome = iota
	lost
	torn
)

// Kept: all of it is there.
func Kept() Fate { return Fate{func() outcome { return kept }} }

// Lost: nothing of it is there.
func Lost() Fate { return Fate{func() outcome { return lost }} }

// Torn: of each write there is all, nothing or some of its sectors, by chance.
func Torn(seed uint64) Fate {
	dice := rand.New(rand.NewPCG(seed, 1))
	return Fate{func() outcome { return outcome(dice.IntN(3)) }}
}

// image is what the disk surely has of a file, and what came since.
type image struct {
	open    int
	synced  []byte
	pending []change
}

// change is a write, or a truncation if data is nil.
type change struct {
	at   int64
	data []byte
}

func (im *image) load(path string) (err error) {
	im.synced, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sync makes everything certain that came.
func (im *image) sync() {
	for _, c := range im.pending {
		im.synced = c.apply(im.synced)
	}
	im.pending = nil
}

func (c change) apply(content []byte) []byte {
	end := c.at + int64(len(c.data))
	if c.data == nil {
		return append([]byte(nil), content[:min(int64(len(content)), end)]...)
	}
	if grow := end - int64(len(content)); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	copy(content[c.at:], c.data)
	return content
}

// sectors returns the parts of a write that a disk writes whole.
func (c change) sectors() (parts []change) {
	for at, data := c.at, c.data; len(data) > 0; {
		n := min(int64(len(data)), sector-at%sector)
		parts = append(parts, change{at, data[:n]})
		at, data = at+n, data[n:]
	}
	return parts
}

// reboot writes what is left of a file. What was deleted stays so.
func (im *image) reboot(path string, fate Fate) error {
	if len(im.pending) == 0 {
		return nil
	}
	content := im.synced
	for _, c := range im.pending {
		switch fate.chance() {
		case kept:
			content = c.apply(content)
		case torn:
			for _, part := range c.sectors() {
				if fate.chance() == kept {
					content = part.apply(content)
				}
			}
		}
	}
	return os.WriteFile(path, content, 0o600)
}
