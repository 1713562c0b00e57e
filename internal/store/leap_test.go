package store

import (
	"path/filepath"
	"testing"
	"time"
)

// A backup tool may hold an older state of the file for as long as it likes. A start
// neither waits for it nor leaves the raised counter to a checkpoint.
func TestAReaderOfAnOlderStateDoesNotHoldUpAStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	st := open(t, path)
	older, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = older.Close() }()
	err = older.View(t.Context(), func(rx *Rx) error {
		was, err := rx.q.Meta(rx.ctx)
		if err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
		began := time.Now()
		st = open(t, path)
		if took := time.Since(began); took > 4*time.Second { // the busy timeout is 5
			t.Errorf("the start took %s", took)
		}
		if st.seq != was.NextSeq+seqLeap {
			t.Errorf("the counter is %d, want %d more than %d", st.seq, seqLeap, was.NextSeq)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatMustBeOnTheDiskIsSynced(t *testing.T) {
	st := open(t, filepath.Join(t.TempDir(), "index.db"))
	level := func() (n int) {
		t.Helper()
		if err := st.writer.QueryRow("PRAGMA synchronous").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	err := st.onDisk(t.Context(), func() error {
		if n := level(); n != 2 {
			t.Errorf("synchronous is %d, want 2 (FULL: each commit syncs the log)", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := level(); n != 1 {
		t.Errorf("synchronous is %d afterwards, want 1 (NORMAL)", n)
	}
}
