package faultvfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"
)

// Call is a kind of call of SQLite, or several of them, joined with |.
type Call uint

// The kinds of calls.
const (
	Open Call = 1 << iota
	Read
	Write
	Truncate
	Sync
	Delete
	Size
	Lock
	ShmMap // of the index of the write-ahead log, which is shared memory

	// Change is every call that changes what is on the disk.
	Change = Write | Truncate | Sync | Delete
)

// File is a kind of file, or several of them, joined with |.
type File uint

// The kinds of files.
const (
	Main  File = 1 << iota // the database itself
	WAL                    // its write-ahead log
	Other                  // rollback journals and temporary files

	Any = Main | WAL | Other
)

// Fault makes calls fail.
type Fault struct {
	Call Call
	File File
	Nth  int // the first of these calls that fails, from 1
	// Times is how many fail from there on; 0 means all until Mend.
	Times int
	Code  int32 // the result that SQLite gets, SQLITE_FULL or SQLITE_IOERR_...
	Short bool  // the first half of a write lands
	// Cut: the power is cut. The call does not end, and all later ones fail until
	// Reboot.
	Cut bool

	seen, fired int // guarded by the disk
}

// Disk is a VFS. One that is not told to fail works.
type Disk struct {
	name string
	vfs  *registration

	mu     sync.Mutex // guards what follows, and one call that changes a file
	faults []*Fault
	dead   bool
	open   int               // files
	images map[string]*image // of the files that were written to, by path
}

// New registers a disk for one test.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{images: make(map[string]*image)}
	if err := d.register(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.unregister(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Name is the vfs parameter of a connection.
func (d *Disk) Name() string { return d.name }

// Fail arms a fault. It acts beside those that are armed already.
func (d *Disk) Fail(f Fault) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &f)
	return &f
}

// Fired returns how often a fault has acted.
func (d *Disk) Fired(f *Fault) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f.fired
}

// Mend disarms all faults. It does not bring the power back.
func (d *Disk) Mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// Cut cuts the power now: every call fails until Reboot.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// fault returns the fault that a call meets, nil if it goes well. The caller holds mu.
func (d *Disk) fault(c Call, f File) *Fault {
	if d.dead {
		return &Fault{Code: deadCode(c), Cut: true}
	}
	var met *Fault
	for _, x := range d.faults {
		if x.Call&c == 0 || x.File&f == 0 {
			continue
		}
		x.seen++
		if met != nil || x.seen < x.Nth || (x.Times > 0 && x.seen >= x.Nth+x.Times) {
			continue
		}
		x.fired++
		met = x
	}
	if met != nil && met.Cut {
		d.dead = true
		return &Fault{Code: deadCode(c), Cut: true}
	}
	return met
}

// check is fault for calls that change no file: its result for SQLite.
func (d *Disk) check(c Call, f File) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.fault(c, f); x != nil {
		return x.Code
	}
	return sqlite3.SQLITE_OK
}

// deadCode is the result of a call without power.
func deadCode(c Call) int32 {
	switch c {
	case Open:
		return sqlite3.SQLITE_CANTOPEN
	case Read:
		return sqlite3.SQLITE_IOERR_READ
	case Write:
		return sqlite3.SQLITE_IOERR_WRITE
	case Truncate:
		return sqlite3.SQLITE_IOERR_TRUNCATE
	case Sync:
		return sqlite3.SQLITE_IOERR_FSYNC
	case Delete:
		return sqlite3.SQLITE_IOERR_DELETE
	case Size:
		return sqlite3.SQLITE_IOERR_FSTAT
	case Lock:
		return sqlite3.SQLITE_IOERR_LOCK
	}
	return sqlite3.SQLITE_IOERR_SHMMAP
}

// kindOf returns the kind of a file that SQLite opens or deletes.
func kindOf(path string, flags int32) File {
	switch {
	case flags&sqlite3.SQLITE_OPEN_MAIN_DB != 0:
		return Main
	case flags&sqlite3.SQLITE_OPEN_WAL != 0 || strings.HasSuffix(path, "-wal"):
		return WAL
	}
	return Other
}

// opened counts a file in, and remembers what is in it.
func (d *Disk) opened(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	if path == "" {
		return nil // a temporary file: nobody finds it again
	}
	im := d.images[path]
	if im == nil {
		im = new(image)
		d.images[path] = im
	}
	im.open++
	if im.open > 1 || len(im.pending) > 0 {
		return nil
	}
	return im.load(path)
}

func (d *Disk) closed(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if im := d.images[path]; im != nil {
		im.open--
	}
}

// Reboot ends a power cut: the files become what the disk has kept, and all faults
// are disarmed. Every connection must be closed by then.
func (d *Disk) Reboot(fate Fate) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open > 0 {
		return fmt.Errorf("%d files are open", d.open)
	}
	for _, path := range slices.Sorted(maps.Keys(d.images)) { // one seed, one fate
		if err := d.images[path].reboot(path, fate); err != nil {
			return err
		}
	}
	d.dead, d.faults, d.images = false, nil, make(map[string]*image)
	return nil
}
