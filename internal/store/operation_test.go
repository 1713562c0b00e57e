package store

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
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

// with returns the repo of a DID; an unknown one is found by a crawl.
func (f *shelf) with(did string, fn func(tx *Tx, r *Repo) error) {
	f.t.Helper()
	f.update(func(tx *Tx) error {
		r, err := tx.RepoOrNew(did)
		if err == nil && r.ID == 0 {
			err = decide(tx, r, repostate.Entry{Active: true})
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

// leasable returns the DIDs of the rows that are due, and what an attempt at each would do.
func (f *shelf) leasable() (steps []string) {
	f.t.Helper()
	_ = f.Update(f.t.Context(), "test", func(tx *Tx) error {
		attempts, err := leaseDue(tx)
		for _, a := range attempts {
			steps = append(steps, fmt.Sprintf("%s %d", a.Repo.DID, a.Step))
		}
		if err != nil {
			f.t.Error(err)
		}
		return errUndone
	})
	slices.Sort(steps)
	return steps
}

// inService makes a repo that is proven, with an identity of now.
func (f *shelf) inService(did string) {
	f.t.Helper()
	f.with(did, func(tx *Tx, r *Repo) error {
		if _, err := testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false); err != nil {
			return err
		}
		if _, _, err := testrepo.Establish(tx, r, Head{Rev: 5}, []string{"com.example.a"}, ProofTree); err != nil {
			return err
		}
		return testrepo.Done(tx, r)
	})
}

// applyOperation applies an operation of the directory's log.
func (f *shelf) applyOperation(did, key, host string, at time.Time) {
	f.t.Helper()
	f.with(did, func(tx *Tx, r *Repo) error {
		id, err := tx.IdentityAtHost(key, host, false)
		if err != nil {
			return err
		}
		return decide(tx, r, repostate.Operation{Identity: id, At: at})
	})
}

func (f *shelf) log(l PLCLog) {
	f.t.Helper()
	f.update(func(tx *Tx) error { return tx.PutPLCLog(l) })
}

func TestBackfillIsParkedWhileTheLogIsReadForTheFirstTime(t *testing.T) {
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
	f.with(did(5), func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, Backfill, tx.now) })
	f.find("did:web:other.example.com")
	f.with(sight, func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, FirstSight, tx.now) })
	f.with(known, func(tx *Tx, r *Repo) error { return testrepo.Desynchronize(tx, r, Discontinuity) })
	if err := f.ParkBackfill(t.Context()); err != nil {
		t.Fatal(err)
	}
	const resolve, nothing, fetch = " 1", " 0", " 3"
	free := []string{sight + resolve, known + fetch, did(5) + nothing, "did:web:other.example.com" + resolve, web + resolve}
	if got := f.leasable(); !slices.Equal(got, free) {
		t.Errorf("due: %q", got)
	}
	f.now = f.now.Add(10_000 * time.Hour)
	if got := f.leasable(); !slices.Equal(got, free) {
		t.Errorf("due a year later: %q", got)
	}
	// What the log says of them is not acted upon, however often it changes.
	for i, op := range []struct{ key, host string }{{testKey, "a.example.com"}, {otherKey, "b.example.com"}} {
		f.applyOperation(did(3), op.key, op.host, f.now.Add(time.Duration(i-5)*time.Hour))
		if got := f.leasable(); !slices.Equal(got, free) {
			t.Errorf("due after an operation: %q", got)
		}
	}
	// An event of one makes it due, and its document is looked up.
	f.applyOperation(did(4), testKey, "a.example.com", f.now.Add(-time.Hour))
	f.with(did(4), func(tx *Tx, r *Repo) error {
		if !r.Waiting.Parked || !r.Waiting.Later() {
			t.Errorf("its row %+v", r.Waiting)
		}
		return testrepo.Enqueue(tx, r, FirstSight, tx.now)
	})
	free = slices.Sorted(slices.Values(append(free, did(4)+resolve)))
	if got := f.leasable(); !slices.Equal(got, free) {
		t.Errorf("due after an event: %q", got)
	}
	// Another listing says nothing that the attempt will not show.
	f.update(func(tx *Tx) error {
		return testrepo.List(tx, map[string]repostate.Entry{did(2): {Active: true}, did(3): {Active: true}})
	})
	if got := f.leasable(); !slices.Equal(got, free) {
		t.Errorf("due after another listing: %q", got)
	}
	// A restart in the middle changes nothing.
	f.restart()
	sound(t, f.Reader)
	f.find(did(6))
	if got := f.leasable(); !slices.Equal(got, free) {
		t.Errorf("due after a restart: %q", got)
	}

	if err := f.FinishPLCLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(append(free, did(2)+resolve, did(3)+fetch, did(6)+resolve)))
	if got := f.leasable(); !slices.Equal(got, want) {
		t.Errorf("due at the end: %q", got)
	}
	f.find(did(7))
	if got := f.leasable(); !slices.Contains(got, did(7)+resolve) {
		t.Errorf("parked after the end: %q", got)
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
	f.applyOperation(did(1), testKey, "a.example.com", f.now.Add(-time.Hour))
	if err := f.DropPLCLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.find(did(2))
	if got := f.leasable(); !slices.Equal(got, []string{did(0) + " 1", did(1) + " 1", did(2) + " 1"}) {
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
	want := PLCLog{URL: "https://plc.example.com", Form: BySeq, After: 87_000_000, Done: true, Seen: map[string]int64{"bafya": 87_000_001}}
	f.log(want)
	var got PLCLog
	f.update(func(tx *Tx) (err error) { got, err = tx.PLCLog(); return err })
	if got.URL != want.URL || got.Form != want.Form || got.After != want.After || !got.Done || !maps.Equal(got.Seen, want.Seen) {
		t.Errorf("got %+v", got)
	}
	f.log(PLCLog{URL: "https://other.example.com"})
	f.update(func(tx *Tx) (err error) { got, err = tx.PLCLog(); return err })
	if got.URL != "https://other.example.com" || got.Form != "" || got.After != 0 || got.Done || len(got.Seen) != 0 {
		t.Errorf("got %+v", got)
	}
}
