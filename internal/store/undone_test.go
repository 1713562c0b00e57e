package store

import (
	"errors"
	"slices"
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

var errUndone = errors.New("undone")

// undone does what a transaction does that fails at its end.
func (f *shelf) undone(did string, fn func(tx *Tx, r *Repo) error) {
	f.t.Helper()
	err := f.Update(f.t.Context(), "test", func(tx *Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil {
			err = fn(tx, r)
		}
		return errors.Join(err, errUndone)
	})
	if !errors.Is(err, errUndone) {
		f.t.Fatal(err)
	}
}

// What a failed transaction has added is not in the file, and the numbers that it
// took are given to others: nothing in memory may name what they were.
func TestAFailedTransactionIsForgotten(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	f.undone(did(0), func(tx *Tx, r *Repo) error {
		_, err := testrepo.AddMemberships(tx, r, []string{"com.example.never"})
		tx.AfterCommit(func() { t.Error("after a commit that was not") })
		return err
	})
	f.with(did(0), func(tx *Tx, r *Repo) error {
		if _, err := testrepo.AddMemberships(tx, r, []string{"com.example.b"}); err != nil {
			return err
		}
		set, err := tx.SomeOfSet(r, 0, 100)
		if slices.Sort(set); !slices.Equal(set, []string{"com.example.a", "com.example.b"}) {
			t.Errorf("set %q", set)
		}
		return err
	})
	f.undone(did(0), func(tx *Tx, r *Repo) error {
		_, err := testrepo.AddMemberships(tx, r, []string{"com.example.c"})
		return err
	})
	f.with(did(0), func(tx *Tx, r *Repo) error {
		births, err := testrepo.AddMemberships(tx, r, []string{"com.example.c"})
		if births != 1 {
			t.Errorf("%d births of a collection that a failed transaction had added", births)
		}
		return err
	})
}

// Nobody is woken for what is not in the file.
func TestAFailedTransactionWakesNobody(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	for len(f.Wakeup()) > 0 {
		<-f.Wakeup()
	}
	f.undone(did(0), func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, SyncEvent, tx.now) })
	if n := len(f.Wakeup()); n != 0 {
		t.Errorf("%d wake-ups", n)
	}
	for _, c := range []struct {
		name string
		fn   func(tx *Tx, r *Repo) error
	}{
		{"a row", func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, SyncEvent, tx.now) }},
		{"another host", func(tx *Tx, r *Repo) error { return testrepo.MarkStale(tx, r) }},
		{"a row given back", func(tx *Tx, r *Repo) error {
			return errors.Join(decide(tx, r, repostate.Lease{}), testrepo.Release(tx, r, tx.now))
		}},
		{"a row put off", func(tx *Tx, r *Repo) error { return testrepo.Retry(tx, r, MissedRev, tx.now, true, true) }},
		{"a host", func(tx *Tx, r *Repo) error { return tx.HostAnswered(r.Identity.HostID) }},
		{"hosts put forward", func(tx *Tx, _ *Repo) error { return tx.ClampHosts() }},
	} {
		f.with(did(0), c.fn)
		if len(f.Wakeup()) != 1 {
			t.Errorf("%s: nobody is woken", c.name)
		}
		for len(f.Wakeup()) > 0 {
			<-f.Wakeup()
		}
	}
}
