package store

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// otherKey has the form of a signing key.
var otherKey = "\xe7\x01\x03" + strings.Repeat("o", 32)

// shelf is a file whose clock the test moves.
type shelf struct {
	*Store
	t   *testing.T
	now time.Time
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	f := &shelf{t: t, now: time.Unix(1_800_000_000, 0)}
	f.open(filepath.Join(t.TempDir(), "index.db"))
	t.Cleanup(func() {
		sound(t, f.Reader)
		_ = f.Close()
	})
	return f
}

func (f *shelf) open(path string) {
	f.t.Helper()
	var err error
	f.Store, err = Open(f.t.Context(), Config{Path: path, Version: "test", Now: func() time.Time { return f.now }})
	if err != nil {
		f.t.Fatal(err)
	}
}

// restart ends the process and begins another one.
func (f *shelf) restart() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open(f.path)
}

func (f *shelf) update(fn func(tx *Tx) error) {
	f.t.Helper()
	if err := f.Update(f.t.Context(), "test", fn); err != nil {
		f.t.Fatal(err)
	}
}

// with gives the repo of a DID; an unknown one is found by a crawl.
func (f *shelf) with(did string, fn func(tx *Tx, r *Repo) error) {
	f.t.Helper()
	f.update(func(tx *Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil && r == nil {
			if r, err = tx.AddRepo(did); err == nil {
				err = tx.Enqueue(r, Backfill, tx.now)
			}
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
}

func (f *shelf) find(did string) *Repo { f.with(did, nothing); return f.repo(did) }

func nothing(*Tx, *Repo) error { return nil }

func (f *shelf) repo(did string) (r *Repo) {
	f.t.Helper()
	if err := f.View(f.t.Context(), func(rx *Rx) (err error) {
		r, err = rx.RepoByDID(did)
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return r
}

// claimable gives the DIDs of the rows that are due, and what would be done for
// them by whoever looks at the identity alone.
func (f *shelf) claimable() (dids []string) {
	f.t.Helper()
	stop := fmt.Errorf("undone")
	_ = f.Update(f.t.Context(), "test", func(tx *Tx) error {
		tasks, err := leaseDue(tx, func(task *Task) Step {
			if task.Repo.Identity == nil || task.Repo.Identity.Stale {
				return Resolve
			}
			return Nothing
		})
		for _, task := range tasks {
			dids = append(dids, fmt.Sprintf("%s %d", task.Repo.DID, task.Step))
		}
		if err != nil {
			f.t.Error(err)
		}
		return stop
	})
	slices.Sort(dids)
	return dids
}

// inService makes a repo that is proven, with an identity of now.
func (f *shelf) inService(did string) {
	f.t.Helper()
	f.with(did, func(tx *Tx, r *Repo) error {
		if _, err := tx.PutIdentity(r, testKey, "pds.example.com", false); err != nil {
			return err
		}
		if _, _, err := tx.Establish(r, Head{Rev: 5}, []string{"com.example.a"}, ProofTree); err != nil {
			return err
		}
		return tx.Done(r)
	})
}

func (f *shelf) learn(did string, op Logged) (l Learned) {
	f.t.Helper()
	f.with(did, func(tx *Tx, r *Repo) (err error) {
		l, err = tx.Learn(r, op)
		return err
	})
	return l
}

func TestAnOperationIsTheAnswerToALookUpOfItsTime(t *testing.T) {
	same := Logged{Key: testKey, Host: "pds.example.com"}
	key := Logged{Key: otherKey, Host: "pds.example.com"}
	host := Logged{Key: testKey, Host: "other.example.com"}
	end := Logged{}
	for _, c := range []struct {
		name  string
		op    Logged
		at    time.Duration // after the identity was looked up
		atEnd bool          // of the log
		want  Learned
		state State
		stale bool
		since time.Duration // the identity's time, after the look-up
	}{
		{"the same", same, time.Hour, false, LearnedSame, Synchronized, false, time.Hour},
		{"the same, at the end", same, time.Hour, true, LearnedSame, Synchronized, false, 2 * time.Hour},
		{"another key", key, time.Hour, false, LearnedMove, Desynchronized, false, time.Hour},
		{"another key, at the end", key, time.Hour, true, LearnedMove, Desynchronized, false, 2 * time.Hour},
		{"another host", host, time.Hour, false, LearnedMove, Desynchronized, false, time.Hour},
		{"the end of the DID", end, time.Hour, true, LearnedDoubt, Synchronized, true, 0},
		{"older", key, -time.Hour, true, LearnedOlder, Synchronized, false, 0},
		{"older, the end of the DID", end, -time.Hour, true, LearnedOlder, Synchronized, false, 0},
		{"older, and the same", same, -time.Second, true, LearnedOlder, Synchronized, false, 0},
		{"older by a moment", key, -time.Second, true, LearnedDoubt, Synchronized, true, 0},
		{"of the same moment", host, 0, false, LearnedDoubt, Synchronized, true, 0},
		{"older by a moment, the end of the DID", end, -clockSkew, true, LearnedDoubt, Synchronized, true, 0},
		{"older by more than clocks differ", key, -clockSkew - time.Second, true, LearnedOlder, Synchronized, false, 0},
		{"of a future", key, 10 * time.Hour, true, LearnedMove, Desynchronized, false, 3 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newShelf(t)
			f.inService(did(0))
			looked := f.now
			f.now = f.now.Add(3 * time.Hour)
			op := c.op
			op.At = looked.Add(c.at)
			if c.atEnd {
				op.AsOf = looked.Add(2 * time.Hour)
			}
			if got := f.learn(did(0), op); got != c.want {
				t.Errorf("learned %s, want %s", got, c.want)
			}
			r := f.repo(did(0))
			if r.State != c.state || r.Identity.Stale != c.stale || !r.Identity.FetchedAt.Equal(looked.Add(c.since)) {
				t.Errorf("state %s, stale %t, of %s", r.State, r.Identity.Stale, r.Identity.FetchedAt.Sub(looked))
			}
			if put := c.want == LearnedMove; put != (r.Identity.Key == c.op.Key && r.Identity.Host == c.op.Host && c.op != same) {
				t.Errorf("identity %+v", r.Identity)
			}
			if queued := len(f.claimable()) > 0; queued != (c.want == LearnedMove || c.want == LearnedDoubt) {
				t.Errorf("queued: %t", queued)
			}
		})
	}
}

// An inactive account that moved is asked for at its new host; it is no
// discontinuity, since its commits are ignored.
func TestAnInactiveAccountThatMovedIsAskedFor(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	f.with(did(0), func(tx *Tx, r *Repo) error { return tx.SetInactive(r, "deactivated") })
	op := Logged{Key: testKey, Host: "other.example.com", At: f.now.Add(time.Second)}
	f.now = f.now.Add(time.Minute)
	if got := f.learn(did(0), op); got != LearnedMove {
		t.Errorf("learned %s", got)
	}
	f.with(did(0), func(tx *Tx, r *Repo) error {
		row, err := tx.q.QueueRow(tx.ctx, r.ID)
		if row.Reason != int64(StatusCheck) || row.AskStatus != 1 {
			t.Errorf("row %+v", row)
		}
		return err
	})
}

// A worker that asked the directory before the operation was made must not have
// the last word.
func TestALookUnderWayDoesNotUndoWhatWasLearned(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	f.find(did(1))
	f.with(did(0), func(tx *Tx, r *Repo) error { return tx.doubt(r) })
	f.update(func(tx *Tx) error {
		tasks, err := leaseDue(tx, func(*Task) Step { return Resolve })
		if len(tasks) != 2 {
			t.Errorf("%d tasks", len(tasks))
		}
		return err
	})
	f.now = f.now.Add(time.Minute)
	for n := range 2 {
		f.learn(did(n), Logged{Key: otherKey, Host: "pds.example.com", At: f.now, AsOf: f.now})
		if r := f.repo(did(n)); r.Identity == nil || !r.Identity.Stale || r.Identity.Key != otherKey {
			t.Errorf("%d: identity %+v", n, r.Identity)
		}
		f.with(did(n), func(tx *Tx, r *Repo) error { return tx.Release(r, tx.now) })
	}
	if got := f.claimable(); !slices.Equal(got, []string{did(0) + " 1", did(1) + " 1"}) {
		t.Errorf("due: %q", got)
	}
}

// While the log is read for the first time there may be later operations of a
// DID: only rows that are held back take what it says, and nobody acts on it.
func TestOneWithoutIdentityLearnsItAtTheEndOfTheLog(t *testing.T) {
	f := newShelf(t)
	f.find(did(0))
	op := Logged{Key: testKey, Host: "pds.example.com", At: f.now.Add(-time.Hour)}
	if got := f.learn(did(0), op); got != LearnedNothing || f.repo(did(0)).Identity != nil {
		t.Errorf("learned %s", got)
	}
	if got := f.learn(did(0), Logged{At: op.At, AsOf: f.now}); got != LearnedNothing {
		t.Errorf("learned %s of an end", got)
	}
	op.AsOf = f.now
	if got := f.learn(did(0), op); got != LearnedIdentity {
		t.Errorf("learned %s", got)
	}
	if got := f.claimable(); !slices.Equal(got, []string{did(0) + " 0"}) {
		t.Errorf("due: %q", got)
	}
}

func (f *shelf) log(l PLCLog) {
	f.t.Helper()
	f.update(func(tx *Tx) error { return tx.PutPLCLog(l) })
}

func TestBackfillIsHeldBackWhileTheLogIsReadForTheFirstTime(t *testing.T) {
	f := newShelf(t)
	const web = "did:web:pds.example.com"
	sight, known := did(0), did(1)
	f.find(did(2)) // before the log was wanted
	f.find(web)
	f.inService(known)
	f.log(PLCLog{URL: "https://plc.example.com"})
	f.find(did(3))
	f.find(did(4))
	f.inService(did(5)) // its identity is known
	f.with(did(5), func(tx *Tx, r *Repo) error { return tx.Enqueue(r, Backfill, tx.now) })
	f.find("did:web:other.example.com")
	f.with(sight, func(tx *Tx, r *Repo) error { return tx.Enqueue(r, FirstSight, tx.now) })
	f.with(known, func(tx *Tx, r *Repo) error { return tx.Desynchronize(r, Discontinuity) })
	if err := f.HoldBackfill(t.Context()); err != nil {
		t.Fatal(err)
	}
	free := []string{sight + " 1", known + " 0", did(5) + " 0", "did:web:other.example.com 1", web + " 1"}
	if got := f.claimable(); !slices.Equal(got, free) {
		t.Errorf("due: %q", got)
	}
	f.now = f.now.Add(10_000 * time.Hour)
	if got := f.claimable(); !slices.Equal(got, free) {
		t.Errorf("due a year later: %q", got)
	}
	// What the log says of them is not acted upon, however often it changes.
	for i, op := range []Logged{{Key: testKey, Host: "a.example.com"}, {Key: otherKey, Host: "b.example.com"}} {
		op.At = f.now.Add(time.Duration(i-5) * time.Hour)
		if got := f.learn(did(3), op); got != LearnedIdentity {
			t.Errorf("learned %s", got)
		}
		if got := f.claimable(); !slices.Equal(got, free) {
			t.Errorf("due after an operation: %q", got)
		}
	}
	// An event of one makes it due, and its document is looked up.
	f.learn(did(4), Logged{Key: testKey, Host: "a.example.com", At: f.now.Add(-time.Hour)})
	f.with(did(4), func(tx *Tx, r *Repo) error {
		if queued, later, err := tx.Queued(r); !queued || !later || err != nil {
			t.Errorf("queued %t, later %t, %v", queued, later, err)
		}
		return tx.Enqueue(r, FirstSight, tx.now)
	})
	free = slices.Sorted(slices.Values(append(free, did(4)+" 1")))
	if got := f.claimable(); !slices.Equal(got, free) {
		t.Errorf("due after an event: %q", got)
	}
	// Another listing says nothing that the look will not find out.
	f.update(func(tx *Tx) error {
		_, err := tx.AddListed([]Listed{{DID: did(2)}, {DID: did(3)}})
		return err
	})
	if got := f.claimable(); !slices.Equal(got, free) {
		t.Errorf("due after another listing: %q", got)
	}
	// A restart in the middle changes nothing.
	f.restart()
	sound(t, f.Reader)
	f.find(did(6))
	if got := f.claimable(); !slices.Equal(got, free) {
		t.Errorf("due after a restart: %q", got)
	}

	if err := f.FinishPLCLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(append(free, did(2)+" 1", did(3)+" 0", did(6)+" 1")))
	if got := f.claimable(); !slices.Equal(got, want) {
		t.Errorf("due at the end: %q", got)
	}
	f.find(did(7))
	if got := f.claimable(); !slices.Contains(got, did(7)+" 1") {
		t.Errorf("held back after the end: %q", got)
	}
	if r := f.repo(did(3)); r.Identity.Key != otherKey || r.Identity.Host != "b.example.com" || r.Identity.Stale {
		t.Errorf("identity %+v", r.Identity)
	}
}

// Who no longer wants the log has each document looked up: there may be later
// operations than those that were read.
func TestAFirstReadingThatIsGivenUp(t *testing.T) {
	f := newShelf(t)
	f.log(PLCLog{URL: "https://plc.example.com"})
	f.find(did(0))
	f.find(did(1))
	f.learn(did(1), Logged{Key: testKey, Host: "a.example.com", At: f.now.Add(-time.Hour)})
	if err := f.DropPLCLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.find(did(2))
	if got := f.claimable(); !slices.Equal(got, []string{did(0) + " 1", did(1) + " 1", did(2) + " 1"}) {
		t.Errorf("due: %q", got)
	}
	var l PLCLog
	f.update(func(tx *Tx) (err error) { l, err = tx.PLCLog(); return err })
	if l.URL != "" || l.Done {
		t.Errorf("log %+v", l)
	}
	f.log(PLCLog{URL: "https://plc.example.com", Done: true})
	if err := f.DropPLCLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.update(func(tx *Tx) (err error) { l, err = tx.PLCLog(); return err })
	if l.URL == "" || !l.Done {
		t.Errorf("a log that was read is kept: %+v", l)
	}
}

func TestThePositionInTheLogIsKept(t *testing.T) {
	f := newShelf(t)
	want := PLCLog{URL: "https://plc.example.com", After: time.UnixMilli(1_700_000_000_123).UTC(), Done: true,
		Seen: map[string]time.Time{"bafya": time.UnixMilli(1_700_000_000_124).UTC()}}
	f.log(want)
	var got PLCLog
	f.update(func(tx *Tx) (err error) { got, err = tx.PLCLog(); return err })
	if got.URL != want.URL || !got.After.Equal(want.After) || !got.Done || !maps.Equal(got.Seen, want.Seen) {
		t.Errorf("got %+v", got)
	}
	f.log(PLCLog{URL: "https://other.example.com"})
	f.update(func(tx *Tx) (err error) { got, err = tx.PLCLog(); return err })
	if got.URL != "https://other.example.com" || !got.After.IsZero() || got.Done || len(got.Seen) != 0 {
		t.Errorf("got %+v", got)
	}
}
