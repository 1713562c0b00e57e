package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"railyard/internal/atproto"
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
		_, err := tx.Bear(r, []string{"com.example.never"}, SourceCommit)
		tx.AfterCommit(func() { t.Error("after a commit that was not") })
		return err
	})
	f.with(did(0), func(tx *Tx, r *Repo) error {
		if _, err := tx.Bear(r, []string{"com.example.b"}, SourceCommit); err != nil {
			return err
		}
		set, err := tx.Set(r)
		if slices.Sort(set); !slices.Equal(set, []string{"com.example.a", "com.example.b"}) {
			t.Errorf("set %q", set)
		}
		return err
	})
	f.undone(did(0), func(tx *Tx, r *Repo) error {
		_, err := tx.Bear(r, []string{"com.example.c"}, SourceCommit)
		return err
	})
	f.with(did(0), func(tx *Tx, r *Repo) error {
		births, err := tx.Bear(r, []string{"com.example.c"}, SourceCommit)
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
	f.undone(did(0), func(tx *Tx, r *Repo) error { return tx.Enqueue(r, SyncEvent, tx.now) })
	if n := len(f.Wakeup()); n != 0 {
		t.Errorf("%d wake-ups", n)
	}
	for name, fn := range map[string]func(tx *Tx, r *Repo) error{
		"a row":             func(tx *Tx, r *Repo) error { return tx.Enqueue(r, SyncEvent, tx.now) },
		"a row given back":  func(tx *Tx, r *Repo) error { return tx.Release(r, tx.now) },
		"a row put off":     func(tx *Tx, r *Repo) error { return tx.Retry(r, Sweep, tx.now, true, true) },
		"another host":      func(tx *Tx, r *Repo) error { return tx.MarkStale(r) },
		"a host":            func(tx *Tx, r *Repo) error { return tx.HostAnswered(r.Identity.HostID) },
		"hosts put forward": func(tx *Tx, _ *Repo) error { return tx.ClampHosts() },
	} {
		f.with(did(0), fn)
		if len(f.Wakeup()) != 1 {
			t.Errorf("%s: nobody is woken", name)
		}
		for len(f.Wakeup()) > 0 {
			<-f.Wakeup()
		}
	}
}

// Answers that are older than what was seen are counted as long as they are equal,
// from the first of them on.
func TestEqualStaleAnswersAreCounted(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	f.with(did(0), func(tx *Tx, r *Repo) error { return tx.Desynchronize(r, Discontinuity) })
	var since time.Time
	for _, c := range []struct{ rev, count int }{{7, 1}, {7, 2}, {7, 3}, {6, 1}, {7, 1}, {7, 2}} {
		f.now = f.now.Add(time.Minute)
		if c.count == 1 {
			since = f.now
		}
		f.with(did(0), func(tx *Tx, r *Repo) error {
			count, first, err := tx.Stale(r, atproto.TID(c.rev))
			if count != c.count || !first.Equal(since) {
				t.Errorf("rev %d: answer %d since %s; want %d since %s", c.rev, count, first, c.count, since)
			}
			return err
		})
	}
}
