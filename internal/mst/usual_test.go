package mst

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"railyard/internal/test/msttest"
)

// sameAsStrict checks that what parseUsual accepts, parseStrict accepts with the
// same result, and that what it leaves takes nothing of the arena.
func sameAsStrict(t *testing.T, block []byte) (usual bool) {
	t.Helper()
	arena := []byte("what stood there")
	var fast, strict rawNode
	got, usual := parseUsual(block, &fast, arena)
	if !usual {
		if len(got) != len(arena) {
			t.Fatalf("%x: %d bytes left in the arena", block, len(got))
		}
		return false
	}
	want, err := parseStrict(block, &strict, arena)
	if err != nil {
		t.Fatalf("%x is taken, but %v", block, err)
	}
	if !bytes.Equal(got, want) || fast.left != strict.left || !bytes.Equal(fast.block, strict.block) || len(fast.entries) != len(strict.entries) {
		t.Fatalf("%x: %x %+v, strictly %x %+v", block, got, fast, want, strict)
	}
	for i, f := range fast.entries {
		s := strict.entries[i]
		if !bytes.Equal(f.key, s.key) || !bytes.Equal(f.value, s.value) || f.link != s.link {
			t.Fatalf("%x: entry %d %+v, strictly %+v", block, i, f, s)
		}
	}
	return true
}

// someNodes are nodes of usual trees, and one for each limit of their shape.
func someNodes() (usual, unusual [][]byte) {
	for size, seed := range []uint64{1, 2, 3, 4, 5} {
		_, blocks := msttest.Build(randomContent(rand.New(rand.NewPCG(seed, 1)), 1+size*40))
		for _, block := range blocks {
			usual = append(usual, block)
		}
	}
	v, key := leafValue(), func(n int) string { return strings.Repeat("k", n) }
	raw := append([]byte{1, 0x55}, v[2:]...)
	wide := make([]msttest.Entry, 24)
	for i := range wide {
		wide[i] = msttest.Entry{Suffix: string(rune('a' + i)), Value: v}
	}
	put := func(entries ...msttest.Entry) []byte { return msttest.Encode(nil, entries...) }
	usual = append(usual, put(), put(wide[:23]...), put(wide...),
		put(msttest.Entry{Suffix: key(23), Value: v}), put(msttest.Entry{Suffix: key(24), Value: v}), put(msttest.Entry{Suffix: key(255), Value: v}),
		put(msttest.Entry{Suffix: key(255), Value: v}, msttest.Entry{Shared: 255, Suffix: "k", Value: v}))
	unusual = append(unusual,
		put(msttest.Entry{Suffix: key(256), Value: v}),
		put(msttest.Entry{Suffix: key(256), Value: v}, msttest.Entry{Shared: 256, Suffix: "k", Value: v}),
		put(msttest.Entry{Suffix: "k", Value: raw}), put(msttest.Entry{Suffix: "k", Value: []byte{1, 2}}))
	return usual, unusual
}

func TestUsualNodesAreReadOnTheFastPath(t *testing.T) {
	usual, unusual := someNodes()
	for _, block := range usual {
		if !sameAsStrict(t, block) {
			t.Errorf("%x takes the long way", block)
		}
	}
	var out rawNode
	for _, block := range unusual {
		if sameAsStrict(t, block) {
			t.Errorf("%x takes the short way", block)
		}
		if _, err := parse(block, &out, nil); err != nil {
			t.Errorf("%x: %v", block, err)
		}
	}
}

// TestTheFastPathTakesNothingThatIsWrong changes each byte of some nodes, and
// cuts them, so that every check of the short way is met.
func TestTheFastPathTakesNothingThatIsWrong(t *testing.T) {
	usual, _ := someNodes()
	for _, block := range usual[len(usual)-20:] {
		for at := range block {
			sameAsStrict(t, block[:at])
			sameAsStrict(t, append(bytes.Clone(block[:at]), block[at+1:]...))
			for _, c := range []byte{0, 1, block[at] + 1, block[at] - 1, block[at] ^ 0x20, block[at] ^ 0x80, 0xf6, 0xff} {
				changed := bytes.Clone(block)
				changed[at] = c
				sameAsStrict(t, changed)
			}
		}
	}
}

func TestTheFastPathTakesNoNullAsAValue(t *testing.T) {
	entry := func(key, v string) string { return "a4616b41" + key + "6170006174f66176" + v }
	block, err := hex.DecodeString("a2616582" + entry("61", "f6") + entry("62", cidHex()) + "616cf6")
	must(t, err)
	if sameAsStrict(t, block) {
		t.Error("taken")
	}
}

func FuzzParseUsual(f *testing.F) {
	usual, unusual := someNodes()
	for _, block := range append(usual[len(usual)-12:], unusual...) {
		f.Add(block)
	}
	for _, text := range []string{"a2616580616cf6", "a261659800616cf6", "a2616580616cf600", "a26165"} {
		block, err := hex.DecodeString(text)
		must(f, err)
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, block []byte) { sameAsStrict(t, block) })
}
