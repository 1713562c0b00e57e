package sim

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"railyard/internal/test/faultvfs"
	"railyard/internal/test/simnet"
)

// onDisk is a simulated network with a service on a disk that can fail.
func onDisk(t *testing.T) (*sim, *faultvfs.Disk) {
	t.Helper()
	disk := faultvfs.New(t)
	if err := disk.MakeDefault(); err != nil {
		t.Fatal(err)
	}
	return newSim(t, simnet.Config{Seed: 5, PDS: 2, Accounts: 20, Records: 10, Relay: true, Start: time.Now()}), disk
}

// A disk that fails ends the service with the cause, also a service that has nothing
// to do. The next start, on a disk that works, goes on from where the file is, and
// ends with the rows of the truth.
func TestTheServiceEndsWhenTheDiskFailsAndLosesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		fault faultvfs.Fault
		quiet bool // nothing happens in the network
		says  []string
	}{
		"a full disk":          {faultvfs.Fault{Call: faultvfs.Write, File: faultvfs.Any, Nth: 9, Code: sqlite3.SQLITE_FULL}, false, []string{"full"}},
		"writes that fail":     {faultvfs.Fault{Call: faultvfs.Write, File: faultvfs.WAL, Nth: 20, Code: sqlite3.SQLITE_IOERR_WRITE}, false, []string{"writing failed"}},
		"a sync that fails":    {faultvfs.Fault{Call: faultvfs.Sync, File: faultvfs.Any, Nth: 1, Times: 1, Code: sqlite3.SQLITE_IOERR_FSYNC}, true, []string{"not known what has reached the disk"}},
		"a power cut":          {faultvfs.Fault{Call: faultvfs.Change, File: faultvfs.Any, Nth: 100, Cut: true}, false, dead},
		"reads that fail":      {faultvfs.Fault{Call: faultvfs.Read, File: faultvfs.Any, Nth: 1, Code: sqlite3.SQLITE_IOERR_READ}, false, []string{"reading failed"}},
		"a power cut, at once": {faultvfs.Fault{Call: faultvfs.Change, File: faultvfs.Any, Nth: 1, Cut: true}, false, dead},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, disk := onDisk(t)
				r := s.start("index.db", s.net.Relay())
				r.settle("relay")
				s.live(50) // from here on there is a cursor
				r.settle("relay")
				if c.quiet {
					s.live(1)
					time.Sleep(300 * time.Millisecond) // it is in the log, and no checkpoint came
				}
				armed := disk.Fail(c.fault)
				if !c.quiet {
					s.live(200)
				}
				r.dies(c.says...)
				if disk.Fired(armed) == 0 {
					t.Error("the disk did not fail")
				}
				disk.Mend()
				if err := disk.Reboot(faultvfs.Torn(3)); err != nil {
					t.Fatal(err)
				}
				s.live(50) // while it is down
				again := s.start("index.db", s.net.Relay())
				again.settle("relay")
				again.same()
				again.end()
			})
		})
	}
}

// A dead disk, in the words of SQLite: which of them comes depends on whether a
// connection that is open or one that is being opened meets it first.
var dead = []string{"I/O error", "unable to open database file"}

// dies waits until the service ends by itself, with an error that names the file and
// has one of the words.
func (r *running) dies(words ...string) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		says := func(word string) bool { return strings.Contains(err.Error(), word) }
		if err == nil || !slices.ContainsFunc(words, says) || !strings.Contains(err.Error(), "database "+r.file) {
			r.t.Errorf("the service ended with: %v", err)
		}
	case <-time.After(5 * time.Second):
		r.t.Fatal("the service goes on as if nothing had happened")
	}
}

// Where the file cannot grow but its log can, events go on being indexed and queries
// answered, and nothing is lost when there is room again, or at the next start.
func TestTheServiceGoesOnWhileOnlyCheckpointsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk := onDisk(t)
		r := s.start("index.db", s.net.Relay())
		r.settle("relay")
		f := disk.Fail(faultvfs.Fault{Call: faultvfs.Write, File: faultvfs.Main, Nth: 1, Code: sqlite3.SQLITE_FULL})
		s.live(200)
		r.settle("relay")
		r.same()
		if disk.Fired(f) == 0 {
			t.Error("the disk did not fail")
		}
		r.end() // without room for the file
		disk.Mend()
		again := s.start("index.db", s.net.Relay())
		again.settle("relay")
		again.same()
		again.end()
	})
}

// What came before the first cursor was stored is in no order that could be gone on
// with: the crawl of the listing and the next one find it.
func TestAPowerCutBeforeTheFirstEventIsStoredIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk := onDisk(t)
		r := s.start("index.db", s.net.Relay())
		r.settle("relay")
		disk.Cut()
		s.live(200)
		r.dies(dead...)
		if err := disk.Reboot(faultvfs.Lost()); err != nil {
			t.Fatal(err)
		}
		again := s.start("index.db", s.net.Relay())
		again.settle("relay")
		time.Sleep(time.Hour)
		again.settle("relay")
		again.same()
		again.end()
	})
}
