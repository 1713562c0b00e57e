package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"railyard/internal/test/faultvfs"
)

// maintained runs the upkeep of a file for a test, in a bubble. Updates go on.
func maintained(t *testing.T, during func(a *tale)) (log string, err error) {
	content := template(t)
	synctest.Test(t, func(t *testing.T) {
		a := openTale(t, faultvfs.New(t), content)
		defer a.end()
		a.Store.now = time.Now // the bubble's
		var lines bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Maintain(ctx, slog.New(slog.NewTextHandler(&lines, nil))) }()
		during(a)
		stop()
		err = <-ended
		log = lines.String()
	})
	return log, err
}

// pass lets seconds pass, with an Update in each.
func (a *tale) pass(seconds int) error {
	for range seconds {
		err := a.Update(a.t.Context(), "a second", func(tx *Tx) error { return tx.SetCursor(1, time.Now().Unix(), time.Time{}) })
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		synctest.Wait()
	}
	return nil
}

// A checkpoint that finds no room in the file is logged and counted, each minute
// once, and goes on to be tried. Nothing else stops.
func TestCheckpointsThatFailAreReportedUntilTheyWork(t *testing.T) {
	var failures int64
	log, err := maintained(t, func(a *tale) {
		if err := a.pass(3); err != nil {
			t.Fatal(err)
		}
		f := a.disk.Fail(faultvfs.Fault{Call: faultvfs.Write, File: faultvfs.Main, Nth: 1, Code: sqlite3.SQLITE_FULL})
		if err := a.pass(150); err != nil {
			t.Errorf("an Update failed: %v", err)
		}
		if failures = a.UpkeepFailures(); failures < 145 || failures > 151 || a.disk.Fired(f) == 0 {
			t.Errorf("%d failures in 150 seconds", failures)
		}
		a.disk.Mend()
		if err := a.pass(3); err != nil {
			t.Fatal(err)
		}
		if a.UpkeepFailures() != failures || a.Err() != nil {
			t.Errorf("%d failures after %d; stopped: %v", a.UpkeepFailures(), failures, a.Err())
		}
	})
	logged := strings.Count(log, "level=WARN msg=checkpoint")
	if err != nil || logged < 3 || logged > 4 || strings.Count(log, "msg=\"checkpoint works again\"") != 1 || strings.Count(log, "\n") != logged+1 {
		t.Errorf("%v; the log is\n%s", err, log)
	}
	if !strings.Contains(log, "index.db: checkpoint: database or disk is full") {
		t.Errorf("cause or file are not named:\n%s", log)
	}
}

// After a sync that failed nobody knows what is on the disk: the writer stops, and the
// upkeep ends with the cause.
func TestASyncThatFailsStopsTheWriter(t *testing.T) {
	_, err := maintained(t, func(a *tale) {
		a.disk.Fail(faultvfs.Fault{Call: faultvfs.Sync, File: faultvfs.Any, Nth: 1, Times: 1, Code: sqlite3.SQLITE_IOERR_FSYNC})
		if err := a.pass(5); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "checkpoint") {
			t.Errorf("the writer goes on: %v", err)
		}
		if a.Err() == nil {
			t.Error("the writer has not stopped")
		}
	})
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "not known what has reached the disk") {
		t.Errorf("the upkeep ended with %v", err)
	}
}

// A writer that was stopped for another reason ends the upkeep too.
func TestTheUpkeepEndsWithTheWriter(t *testing.T) {
	cause := errors.New("out of order")
	log, err := maintained(t, func(a *tale) {
		a.Stop(cause)
		time.Sleep(2 * checkpointEvery)
	})
	if !errors.Is(err, cause) {
		t.Errorf("the upkeep ended with %v", err)
	}
	if strings.Count(log, "\n") > 1 {
		t.Errorf("the log is\n%s", log)
	}
}
