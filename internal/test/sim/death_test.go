package sim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing/synctest"

	"railyard/internal/store"
)

// errKilled is what a writer hears whose process is dead.
var errKilled = errors.New("the process was killed")

// death is how a run ends without being asked: at its moment the file is kept as
// it is, and nothing that the run still does reaches it.
type death struct {
	of   *running
	dies func(store.Point) bool // nil: not by itself

	mu   sync.Mutex
	met  map[store.Point]int // points passed
	dead bool
	gone chan struct{} // closed at the death
	err  error
}

// at is asked by the writer at each point.
func (d *death) at(p store.Point) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.met == nil {
		d.met = make(map[store.Point]int)
	}
	d.met[p]++
	if !d.dead && d.dies != nil && d.dies(p) {
		d.kill()
	}
	if d.dead {
		return errKilled
	}
	return nil
}

// kill keeps the file and cuts the process off. The caller holds the lock.
func (d *death) kill() {
	d.dead = true
	d.err = copyFile(d.of.file, d.of.file+".kept")
	close(d.gone)
	d.of.cancel()
}

func (d *death) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// off lets a run live from now on, if it does.
func (d *death) off() (alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dies = nil
	return !d.dead
}

// copyFile copies a database with its write-ahead log, as it is on the disk. The
// file first: what a checkpoint writes meanwhile is in the log, too.
func copyFile(from, to string) error {
	for _, tail := range []string{"", "-wal"} {
		if err := copyOne(from+tail, to+tail); err != nil {
			return err
		}
	}
	return nil
}

func copyOne(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return removeIfThere(to)
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(copyBlocks(out, in), out.Close())
}

// copyBlocks copies a file and leaves holes where it has only zeros.
func copyBlocks(out, in *os.File) error {
	block, zeros := make([]byte, 1<<18), make([]byte, 1<<18)
	for size := int64(0); ; {
		n, err := io.ReadFull(in, block)
		if !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

// crash kills the run now, whatever it is doing, and leaves the file as it was at
// that moment.
func (r *running) crash() {
	r.t.Helper()
	synctest.Wait()
	r.death.mu.Lock()
	if !r.death.dead {
		r.death.kill()
	}
	r.death.mu.Unlock()
	r.bury()
}

// stop ends the service as an operator does, who does not know that it may die.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	err := <-r.ended
	switch {
	case r.death.isDead():
		r.ended <- err
		r.bury()
	case err != nil:
		r.t.Errorf("the service ended with: %v", err)
	}
}

// bury waits for the end of a killed run and puts the file back that it left.
func (r *running) bury() {
	r.t.Helper()
	<-r.ended // whatever it says: nobody hears it
	if err := errors.Join(r.death.err, r.restore(r.file+".kept")); err != nil {
		r.t.Fatal(err)
	}
}

// backup copies the file of a run.
func (r *running) backup(to string) {
	r.t.Helper()
	synctest.Wait() // between two transactions
	if err := copyFile(r.file, to); err != nil {
		r.t.Fatal(err)
	}
}

// restore puts a copy into the place of the file, which nobody may have open.
func (r *running) restore(from string) error {
	return errors.Join(copyFile(from, r.file), removeIfThere(r.file+"-shm"))
}

// renew makes the file an older copy.
func (r *running) renew() {
	r.t.Helper()
	st, err := store.Open(r.t.Context(), store.Config{Path: r.file, Version: "sim", NewIndexID: true})
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func removeIfThere(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
