package faultvfs

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver
	sqlite3 "modernc.org/sqlite/lib"
)

// database is a database on a disk.
type database struct {
	t    *testing.T
	disk *Disk
	path string
	db   *sql.DB
}

func newDatabase(t *testing.T) *database {
	y := &database{t: t, disk: New(t), path: filepath.Join(t.TempDir(), "x.db")}
	y.open()
	y.must("CREATE TABLE a (b)")
	y.must("PRAGMA wal_checkpoint(TRUNCATE)")
	return y
}

func (y *database) open() {
	y.t.Helper()
	var err error
	y.db, err = sql.Open("sqlite", "file:"+y.path+"?vfs="+y.disk.Name()+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		y.t.Fatal(err)
	}
	y.db.SetMaxOpenConns(1)
	y.t.Cleanup(func() { _ = y.db.Close() })
}

func (y *database) do(script string) error {
	_, err := y.db.Exec(script)
	return err
}

func (y *database) must(script string) {
	y.t.Helper()
	if err := y.do(script); err != nil {
		y.t.Fatalf("%s: %v", script, err)
	}
}

func (y *database) rows() (n int) {
	y.t.Helper()
	if err := y.db.QueryRow("SELECT count(*) FROM a").Scan(&n); err != nil {
		y.t.Fatal(err)
	}
	return n
}

func TestADiskThatIsNotToldToFailWorks(t *testing.T) {
	y := newDatabase(t)
	y.must("INSERT INTO a VALUES (randomblob(10000))")
	y.must("BEGIN; DELETE FROM a; ROLLBACK")
	if n := y.rows(); n != 1 {
		t.Errorf("%d rows", n)
	}
	y.must("VACUUM")
	if err := y.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"-wal", "-shm", "-journal"} {
		if _, err := os.Stat(y.path + left); err == nil {
			t.Errorf("%s was left", left)
		}
	}
	y.disk.mu.Lock()
	defer y.disk.mu.Unlock()
	if y.disk.open != 0 {
		t.Errorf("%d files are open", y.disk.open)
	}
}

func TestOnlyTheNamedCallsFail(t *testing.T) {
	y := newDatabase(t)
	f := y.disk.Fail(Fault{Call: Write, File: WAL, Nth: 3, Times: 1, Code: sqlite3.SQLITE_FULL})
	other := y.disk.Fail(Fault{Call: Sync | Truncate, File: Main, Nth: 1, Times: 1, Code: sqlite3.SQLITE_IOERR_FSYNC})
	var failed []int
	for i := range 4 {
		if err := y.do("INSERT INTO a VALUES (1)"); err != nil {
			if !strings.Contains(err.Error(), "full (13)") {
				t.Error(err)
			}
			failed = append(failed, i)
		}
	}
	// The header of the log, then the header of a frame, then its page.
	if len(failed) != 1 || failed[0] != 0 || y.disk.Fired(f) != 1 || y.disk.Fired(other) != 0 || y.rows() != 3 {
		t.Errorf("failed: %v; the fault acted %d times, the other %d; %d rows", failed, y.disk.Fired(f), y.disk.Fired(other), y.rows())
	}
	if err := y.do("PRAGMA wal_checkpoint"); err == nil || !strings.Contains(err.Error(), "(1034)") {
		t.Errorf("a checkpoint whose sync fails: %v", err)
	}
	y.must("PRAGMA wal_checkpoint")
}

func TestAFullDiskIsFullUntilItIsMended(t *testing.T) {
	y := newDatabase(t)
	f := y.disk.Fail(Fault{Call: Write, File: Any, Nth: 1, Code: sqlite3.SQLITE_FULL})
	for range 3 {
		if err := y.do("INSERT INTO a VALUES (1)"); err == nil {
			t.Error("there was room")
		}
	}
	y.disk.Mend()
	y.must("INSERT INTO a VALUES (1)")
	if y.rows() != 1 || y.disk.Fired(f) < 3 {
		t.Errorf("%d rows, %d faults", y.rows(), y.disk.Fired(f))
	}
}

func TestHalfAWriteLands(t *testing.T) {
	y := newDatabase(t)
	y.must("INSERT INTO a VALUES (1)")
	before, _ := os.Stat(y.path + "-wal")
	y.disk.Fail(Fault{Call: Write, File: WAL, Nth: 2, Times: 1, Code: sqlite3.SQLITE_IOERR_WRITE, Short: true})
	if err := y.do("INSERT INTO a VALUES (2)"); err == nil {
		t.Error("the write succeeded")
	}
	after, _ := os.Stat(y.path + "-wal")
	if grown := after.Size() - before.Size(); grown != 24+4096/2 {
		t.Errorf("the log has grown by %d bytes", grown)
	}
}

// What was synced is there after a power cut, and what was not is there as the fate
// says. Without power nothing works.
func TestAPowerCutTakesWhatWasNotSynced(t *testing.T) {
	for name, c := range map[string]struct {
		fate Fate
		want func(n int) bool
	}{
		"kept": {Kept(), func(n int) bool { return n == 4 }},
		"lost": {Lost(), func(n int) bool { return n == 2 }},
		"torn": {Torn(7), func(n int) bool { return n >= 2 && n < 4 }},
	} {
		t.Run(name, func(t *testing.T) {
			y := newDatabase(t)
			y.must("INSERT INTO a VALUES (1), (2)")
			y.must("PRAGMA wal_checkpoint")
			y.must("INSERT INTO a VALUES (3)")
			y.must("INSERT INTO a VALUES (4)")
			y.disk.Cut()
			if err := y.do("INSERT INTO a VALUES (5)"); err == nil {
				t.Error("written without power")
			}
			if err := y.disk.Reboot(c.fate); err == nil {
				t.Error("rebooted with open files")
			}
			_ = y.db.Close()
			if _, err := os.Stat(y.path + "-wal"); err != nil {
				t.Errorf("the log was deleted without power: %v", err)
			}
			if err := y.disk.Reboot(c.fate); err != nil {
				t.Fatal(err)
			}
			y.open()
			if n := y.rows(); !c.want(n) {
				t.Errorf("%d rows", n)
			}
			y.must("INSERT INTO a VALUES (6)")
		})
	}
}

func TestThePowerIsCutAtACall(t *testing.T) {
	y := newDatabase(t)
	f := y.disk.Fail(Fault{Call: Change, File: Any, Nth: 4, Cut: true})
	_ = y.do("INSERT INTO a VALUES (1)")
	_ = y.do("INSERT INTO a VALUES (2)")
	if err := y.do("SELECT * FROM a"); err == nil || y.disk.Fired(f) != 1 {
		t.Errorf("the power is on: %v, %d", err, y.disk.Fired(f))
	}
	_ = y.db.Close()
	if err := y.disk.Reboot(Lost()); err != nil {
		t.Fatal(err)
	}
	y.open()
	if n := y.rows(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestChangesBecomeContent(t *testing.T) {
	im := image{synced: []byte("abc"), pending: []change{{1, []byte("XY")}, {5, []byte("Z")}, {at: 2}, {3, []byte("!")}}}
	im.sync()
	if want := []byte("aX\x00!"); !bytes.Equal(im.synced, want) || im.pending != nil {
		t.Errorf("%q, want %q", im.synced, want)
	}
	parts := change{500, bytes.Repeat([]byte("x"), 600)}.sectors()
	if len(parts) != 3 || len(parts[0].data) != 12 || parts[1].at != 512 || parts[2].at != 1024 || len(parts[2].data) != 76 {
		t.Errorf("sectors: %+v", parts)
	}
}
