package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"railyard/internal/test/faultvfs"
)

// fates is what a power cut may leave: all that was written, only what was synced, or
// any part between.
func fates(seed uint64) map[string]faultvfs.Fate {
	return map[string]faultvfs.Fate{"kept": faultvfs.Kept(), "lost": faultvfs.Lost(), "torn": faultvfs.Torn(seed)}
}

// The power is cut at each write of a story in turn. What is left is the story up to
// one of its steps, and numbers that were served are not given again.
func TestAPowerCutLeavesAPrefix(t *testing.T) {
	content := template(t)
	want := chapters(t, content)
	left := make(map[int]bool)
	n := 1
	for cut := true; cut; n += stride(t) {
		for name, fate := range fates(uint64(n)) {
			where := fmt.Sprintf("power cut at change %d, %s", n, name)
			var at int
			if at, cut = powerCut(t, where, content, want, n, fate); !cut {
				break
			}
			left[at] = true
		}
	}
	if len(left) < 3 {
		t.Errorf("only these steps were ever the last ones: %v", left)
	}
	t.Logf("no power cut from change %d on; the last steps were %v", n, left)
}

// powerCut returns the last step that was left, and whether the power was cut at all.
func powerCut(t *testing.T, where string, content []byte, want []string, n int, fate faultvfs.Fate) (int, bool) {
	t.Helper()
	disk := faultvfs.New(t)
	a := openTale(t, disk, content)
	defer a.end()
	if err := a.checkpoint(t.Context(), a.own); err != nil { // what Open did is on the disk
		t.Fatal(err)
	}
	armed := disk.Fail(faultvfs.Fault{Call: faultvfs.Change, File: faultvfs.Any, Nth: n, Cut: true})
	done, served := 0, int64(0)
	for _, s := range story() {
		if err := s.do(t.Context(), a); err != nil {
			break
		}
		a.now = a.now.Add(time.Minute)
		done, served = done+1, a.seq-1
	}
	if disk.Fired(armed) == 0 {
		return 0, false
	}
	a.end()
	if err := disk.Reboot(fate); err != nil {
		t.Fatal(err)
	}
	got := contents(t, a.path)
	at := slices.Index(want, got)
	if at < 0 || at > done+1 {
		t.Errorf("%s, in step %d: what is left is none of the steps before it; to the one before: %s", where, done+1, unlike(got, want[done]))
	}
	if err := a.open(); err != nil {
		t.Fatalf("%s: the next start: %v", where, err)
	}
	if a.seq <= served {
		t.Errorf("%s: the next number is %d, and %d was served", where, a.seq, served)
	}
	sound(t, a.Reader)
	return at, true
}

// Numbers are served from the moment Open returns. Whenever the power is cut then, and
// whatever it leaves, also if it is cut again in the next Open, they are not given
// again.
func TestServedNumbersSurviveAPowerCutInOpen(t *testing.T) {
	content := template(t)
	for n := 1; ; n += 1 + stride(t)/8 {
		for name, fate := range fates(uint64(n)) {
			where := fmt.Sprintf("power cut at change %d, %s", n, name)
			disk := faultvfs.New(t)
			a := openTale(t, disk, content)
			served := a.seq
			disk.Cut()
			a.end()
			if err := disk.Reboot(fate); err != nil {
				t.Fatal(err)
			}
			armed := disk.Fail(faultvfs.Fault{Call: faultvfs.Change, File: faultvfs.Any, Nth: n, Cut: true})
			if err := a.open(); err == nil {
				served = max(served, a.seq)
			}
			a.end()
			if disk.Fired(armed) == 0 {
				if n < 4 {
					t.Errorf("Open changes the file less than %d times", n)
				}
				return
			}
			if err := disk.Reboot(fate); err != nil {
				t.Fatal(err)
			}
			if err := a.open(); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if a.seq <= served {
				t.Errorf("%s: the next number is %d, and %d was served", where, a.seq, served)
			}
			sound(t, a.Reader)
			a.end()
		}
	}
}

// Somebody who reads the file while the service starts keeps the write-ahead log from
// being copied into it. The leap is on the disk all the same.
func TestAReaderDoesNotTakeTheLeapBack(t *testing.T) {
	disk := faultvfs.New(t)
	a := openTale(t, disk, template(t))
	if err := a.Update(t.Context(), "a row", func(tx *Tx) error { return tx.SetCursor(1, 77, time.Time{}) }); err != nil {
		t.Fatal(err)
	}
	a.end()
	rd, err := openPool(t.Context(), a.path, through(disk.Name())...)
	if err != nil {
		t.Fatal(err)
	}
	err = rd.View(t.Context(), func(rx *Rx) error {
		if _, err := rx.Upstreams(); err != nil {
			return err
		}
		return a.open()
	})
	if err != nil {
		t.Fatal(err)
	}
	served := a.seq
	disk.Cut()
	a.end()
	_ = rd.Close()
	if err := disk.Reboot(faultvfs.Lost()); err != nil {
		t.Fatal(err)
	}
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	defer a.end()
	if a.seq <= served {
		t.Errorf("the next number is %d, and %d was served", a.seq, served)
	}
}

// A reader that stays holds the checkpoints up, which are what else brings commits to
// the disk. Before a client can have numbers beyond the leap, they are brought there.
func TestNumbersBeyondTheLeapAreOnTheDisk(t *testing.T) {
	for _, tc := range []struct{ given, cursor int64 }{{maxUnsynced - 1, 12}, {maxUnsynced, 77}} {
		disk := faultvfs.New(t)
		a := openTale(t, disk, template(t))
		if err := a.checkpoint(t.Context(), a.own); err != nil {
			t.Fatal(err)
		}
		if err := a.Update(t.Context(), "a row", func(tx *Tx) error { return tx.SetCursor(1, 77, time.Time{}) }); err != nil {
			t.Fatal(err)
		}
		a.durable = a.seq - tc.given
		if err := a.Update(t.Context(), "another", func(tx *Tx) error { return tx.SetCursor(1, 78, time.Time{}) }); err != nil {
			t.Fatal(err)
		}
		a.mirrored()
		disk.Cut()
		a.end()
		if err := disk.Reboot(faultvfs.Lost()); err != nil {
			t.Fatal(err)
		}
		if cursor := scalar[int64](t, a.path, "SELECT cursor FROM upstream"); cursor != tc.cursor {
			t.Errorf("after %d numbers the cursor of %d is left, want %d", tc.given, cursor, tc.cursor)
		}
	}
}

// starts are the files that Open may find.
func starts(t *testing.T) map[string][]byte {
	t.Helper()
	return map[string][]byte{"new": nil, "with leases": template(t)}
}

// A start meets a fault at each of its calls in turn, or a power cut. It says so, and
// the next start finds a whole file of one of the versions and completes it.
func TestAStartThatFailsIsDoneAgain(t *testing.T) {
	cut := fault{"a power cut", faultvfs.Fault{Call: faultvfs.Change, File: faultvfs.Any, Cut: true}, nil}
	for start, content := range starts(t) {
		whole := shapes(t, content)
		for _, f := range append(faults(), cut) {
			if f.Short {
				continue // a power cut leaves worse
			}
			t.Run(start+", "+f.name, func(t *testing.T) {
				f.Nth = 1
				for failedStart(t, content, whole, f) {
					f.Nth += stride(t)
				}
			})
		}
	}
}

// shapes returns the schemas that a file may have, before a start and after it.
func shapes(t *testing.T, content []byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shape.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	before := shape(t, path)
	open(t, path)
	return []string{before, shape(t, path)}
}

// shape reads the schema of a copy: only who may write to a file takes back the
// transaction that a power cut has left in its rollback journal.
func shape(t *testing.T, path string) string {
	t.Helper()
	there := filepath.Join(t.TempDir(), "copy.db")
	for _, part := range []string{"", "-journal", "-wal"} {
		content, err := os.ReadFile(path + part)
		if err == nil {
			err = os.WriteFile(there+part, content, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	raw(t, there, "SELECT count(*) FROM sqlite_schema")
	return scalar[string](t, there, `SELECT (SELECT user_version FROM pragma_user_version) || coalesce(
		(SELECT group_concat(name || sql, ';') FROM (SELECT name, sql FROM sqlite_schema ORDER BY name)), '')`)
}

func failedStart(t *testing.T, content []byte, whole []string, f fault) bool {
	t.Helper()
	where := fmt.Sprintf("%s %d", f.name, f.Nth)
	disk := faultvfs.New(t)
	a := &tale{t: t, disk: disk, path: filepath.Join(t.TempDir(), "index.db"), now: time.Unix(1_800_100_000, 0)}
	if err := os.WriteFile(a.path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	defer a.end()
	armed := disk.Fail(f.Fault)
	err := a.open()
	acted := disk.Fired(armed) > 0
	a.end()
	if f.Cut {
		if err := disk.Reboot(faultvfs.Torn(uint64(f.Nth))); err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		a.says(where, err, f)
	}
	disk.Mend()
	if got := shape(t, a.path); !slices.Contains(whole, got) {
		t.Errorf("%s: half a schema was left: %.300s", where, got)
	}
	if err := a.open(); err != nil {
		t.Fatalf("%s: the next start: %v", where, err)
	}
	if got := shape(t, a.path); got != whole[1] {
		t.Errorf("%s: after the next start the schema is %.300s", where, got)
	}
	sound(t, a.Reader)
	if content != nil {
		repos := scalar[int](t, a.path, "SELECT count(*) FROM repo")
		leased := scalar[int](t, a.path, "SELECT count(*) FROM resync_queue WHERE lease IS NOT NULL")
		if repos < 2 || leased != 0 {
			t.Errorf("%s: %d repos, and %d rows are leased", where, repos, leased)
		}
	}
	return acted
}

// A disk is full for a while. Every Update fails meanwhile, and the same store goes on
// once there is room.
func TestTheStoreGoesOnWhenThereIsRoomAgain(t *testing.T) {
	content := template(t)
	want := chapters(t, content)
	disk := faultvfs.New(t)
	a := openTale(t, disk, content)
	defer a.end()
	for i, s := range story() {
		f := disk.Fail(faultvfs.Fault{Call: faultvfs.Write, File: faultvfs.Any, Nth: 1, Code: sqlite3.SQLITE_FULL})
		var failed []error
		for range 3 {
			failed = append(failed, s.do(context.Background(), a))
		}
		if disk.Fired(f) > 0 && (failed[0] == nil || failed[2] == nil) {
			t.Errorf("%s succeeded on a full disk: %v", s.name, failed)
		}
		if errors.Is(a.Err(), ErrStopped) {
			t.Fatalf("%s: the writer stopped: %v", s.name, a.Err())
		}
		disk.Mend()
		if err := s.do(context.Background(), a); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		a.now = a.now.Add(time.Minute)
		if got := contents(t, a.path); got != want[i+1] {
			t.Errorf("%s: %s", s.name, unlike(got, want[i+1]))
		}
	}
}
