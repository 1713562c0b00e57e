package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// other opens a file as another program would.
func other(t *testing.T, path string) *sql.Conn {
	t.Helper()
	d, err := sql.Open("sqlite", dsn(path, "_pragma=busy_timeout(5000)"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = d.Close()
	})
	return conn
}

func run(t *testing.T, conn *sql.Conn, script string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

// lockedOut returns a store whose file another program has locked, the end of an Update
// that waits, and the lock.
func lockedOut(t *testing.T, ctx context.Context) (st *Store, ended <-chan error, lock *sql.Conn) {
	t.Helper()
	st = open(t, filepath.Join(t.TempDir(), "x.db"))
	if err := st.writer.run(t.Context(), "PRAGMA busy_timeout=5"); err != nil {
		t.Fatal(err)
	}
	lock = other(t, st.path)
	run(t, lock, "BEGIN IMMEDIATE")
	end := make(chan error, 1)
	go func() { end <- st.Update(ctx, "a test", func(tx *Tx) error { return tx.SetCursor(1, 7, time.Time{}) }) }()
	for st.Locked().IsZero() {
		time.Sleep(time.Millisecond)
	}
	return st, end, lock
}

// A lock of another program is waited for, however long it lasts, and nothing is lost.
func TestAnUpdateWaitsForAnotherProgramsLock(t *testing.T) {
	st, ended, lock := lockedOut(t, t.Context())
	select {
	case err := <-ended:
		t.Fatalf("the Update did not wait: %v", err)
	default:
	}
	if holder := st.Holder(); !strings.Contains(holder, "another program") { // it is this process
		t.Errorf("the holder is %s", holder)
	}
	run(t, lock, "ROLLBACK")
	if err := <-ended; err != nil || !st.Locked().IsZero() || st.Err() != nil {
		t.Errorf("after the lock: %v, locked since %s, stopped: %v", err, st.Locked(), st.Err())
	}
}

// Whoever ends does not wait for ever.
func TestAnUpdateThatIsToEndWaitsNoLonger(t *testing.T) {
	t.Run("its context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		st, ended, _ := lockedOut(t, ctx)
		cancel()
		if err := <-ended; err == nil || st.Err() != nil {
			t.Errorf("%v; stopped: %v", err, st.Err())
		}
	})
	t.Run("the process ends", func(t *testing.T) {
		st, ended, _ := lockedOut(t, t.Context())
		st.WaitNoLonger()
		if err := <-ended; !busy(err) || st.Err() != nil {
			t.Errorf("%v; stopped: %v", err, st.Err())
		}
	})
}

// Whoever waits for a lock notices that the file is taken away.
func TestALockedFileThatIsTakenAwayStopsTheWriter(t *testing.T) {
	st, ended, _ := lockedOut(t, t.Context())
	if err := os.Remove(st.path); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrStopped) || st.Err() == nil || !st.Locked().IsZero() {
		t.Errorf("%v; stopped: %v", err, st.Err())
	}
}

// What is written into a file that its path does not name any more nobody would find.
func TestAFileThatIsTakenAwayStopsTheWriter(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"deleted":  os.Remove,
		"moved":    func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error { return os.Rename(path+".other", path) },
	} {
		t.Run(name, func(t *testing.T) {
			st := open(t, filepath.Join(t.TempDir(), "x.db"))
			if err := os.WriteFile(st.path+".other", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if st.inPlace(); st.Err() != nil {
				t.Fatal(st.Err())
			}
			if err := take(st.path); err != nil {
				t.Fatal(err)
			}
			st.inPlace()
			if err := st.Err(); err == nil || !strings.Contains(err.Error(), st.path) {
				t.Errorf("the writer goes on: %v", err)
			}
		})
	}
}

// A log that a reader has pinned is no success of the upkeep: it fails until the reader
// has left, and tells the size.
func TestALogThatAReaderPinsIsToldOf(t *testing.T) {
	const large = 1 << 20
	st := open(t, filepath.Join(t.TempDir(), "x.db"))
	st.logSize = large
	own, err := st.openUpkeep()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	reader := other(t, st.path)
	run(t, reader, "BEGIN; SELECT count(*) FROM repo")
	big := other(t, st.path)
	run(t, big, "PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; CREATE TABLE junk (x)")
	run(t, big, "INSERT INTO junk VALUES (zeroblob(2 << 20))")
	update := func() {
		t.Helper()
		if err := st.Update(t.Context(), "a test", func(tx *Tx) error { return tx.SetCursor(1, 7, time.Time{}) }); err != nil {
			t.Fatal(err)
		}
	}
	update()
	for range 2 {
		if err := st.checkpoint(t.Context(), own); !errors.Is(err, errPinned) || st.Pinned() < large {
			t.Errorf("a pinned log of %d MiB: %v", st.Pinned()>>20, err)
		}
	}
	run(t, reader, "COMMIT")
	update()
	st.shortened = time.Time{}
	if err := st.checkpoint(t.Context(), own); err != nil || st.Pinned() != 0 {
		t.Errorf("after the reader has left: %v, %d MiB", err, st.Pinned()>>20)
	}
	if info, err := os.Stat(st.path + "-wal"); err != nil || info.Size() > large {
		t.Errorf("the log has %d bytes: %v", info.Size(), err)
	}
}
