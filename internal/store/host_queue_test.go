package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"railyard/internal/test/testrepo"
	"slices"
	"strings"
	"testing"
	"time"
)

// leaseDue leases every row that is due. No attempt runs on.
func leaseDue(tx *Tx) (all []*Attempt, err error) {
	for {
		hosts, err := tx.ReadyHosts(1000, 1000)
		if err != nil || len(hosts) == 0 {
			return all, err
		}
		for _, h := range hosts {
			a, err := tx.Lease(h, h.NextAt, tx.Env())
			if err != nil {
				return all, err
			}
			if a == nil {
				continue
			}
			all = append(all, a)
			if err := tx.FinishAttempt(h.ID, h.NextAt); err != nil {
				return all, err
			}
		}
	}
}

func update(t *testing.T, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), "test", fn); err != nil {
		t.Fatal(err)
	}
}

// A row names whoever is asked next, whatever comes first: the row, the identity, a
// doubt, a move.
func TestARowNamesWhoeverIsAskedNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	var plc, web *Repo
	update(t, s, func(tx *Tx) (err error) {
		if plc, err = testrepo.Add(tx, did(0)); err != nil {
			return err
		}
		if web, err = testrepo.Add(tx, "did:web:example.com"); err != nil {
			return err
		}
		return errors.Join(testrepo.Enqueue(tx, plc, Backfill, tx.now), testrepo.Enqueue(tx, web, Backfill, tx.now))
	})
	is := func(when string, r *Repo, want int64) {
		t.Helper()
		if got := scalar[int64](t, path, fmt.Sprintf("SELECT host_id FROM resync_queue WHERE repo_id = %d", r.ID)); got != want {
			t.Errorf("%s: host %d, want %d", when, got, want)
		}
		sound(t, s.Reader)
	}
	identify := func(r *Repo, host string) int64 {
		update(t, s, func(tx *Tx) error {
			_, err := testrepo.SetIdentity(tx, r, testKey, host, false)
			return err
		})
		return r.Identity.HostID
	}
	is("a document that is missing", plc, DirectoryQueue)
	is("a did:web document that is missing", web, WebQueue)
	first := identify(plc, "pds1.example.com")
	is("a resolved one", plc, first)
	is("a did:web document that is missing", web, WebQueue)
	second := identify(web, "pds2.example.com")
	is("a resolved did:web", web, second)
	is("one that moved", plc, identify(plc, "pds2.example.com"))
	update(t, s, func(tx *Tx) error { return errors.Join(testrepo.MarkStale(tx, plc), testrepo.MarkStale(tx, web)) })
	is("a stale one", plc, DirectoryQueue)
	is("a stale did:web", web, WebQueue)
	update(t, s, func(tx *Tx) error {
		_, err := leaseDue(tx)
		return err
	})
	is("one that is being looked up", plc, second)
	is("a did:web that is being looked up", web, second)
	update(t, s, func(tx *Tx) (err error) {
		plc, err = tx.RepoByID(plc.ID)
		return err
	})
	update(t, s, func(tx *Tx) error { return testrepo.Done(tx, plc) })
	update(t, s, func(tx *Tx) error { return testrepo.Enqueue(tx, plc, SyncEvent, tx.now) })
	is("a row that comes after the identity", plc, second)
}

// A host is asked for its most urgent row, and for that which waits longest; not for
// one that is not due yet.
func TestALeaseTakesTheMostUrgentRow(t *testing.T) {
	f := newShelf(t)
	base := f.now.Add(-time.Hour)
	for n, c := range []struct {
		why   Reason
		after time.Duration
	}{
		{Backfill, 30}, {Backfill, 10}, {MissedRev, 0}, {Discontinuity, 50}, {Discontinuity, 40}, {FirstSight, 7200}, {Backfill, 7300},
	} {
		f.update(func(tx *Tx) error {
			r, err := testrepo.Add(tx, did(n))
			if err != nil {
				return err
			}
			return testrepo.Enqueue(tx, r, c.why, base.Add(c.after*time.Second))
		})
	}
	due := func() (dids []string) {
		f.update(func(tx *Tx) error {
			attempts, err := leaseDue(tx)
			for _, a := range attempts {
				dids = append(dids, a.Repo.DID)
				if a.Step != Resolve || !a.At.Equal(f.now) {
					t.Errorf("attempt %+v", a)
				}
			}
			return err
		})
		sound(t, f.Reader)
		return dids
	}
	if got, want := due(), []string{did(4), did(3), did(1), did(0), did(2)}; !slices.Equal(got, want) {
		t.Errorf("leased %s", strings.Join(got, " "))
	}
	var next time.Time
	f.update(func(tx *Tx) (err error) {
		next, err = tx.NextReady(true)
		return err
	})
	if want := base.Add(7200 * time.Second); !next.Equal(want) {
		t.Errorf("the next row is due at %s, want %s", next, want)
	}
	f.now = f.now.Add(2 * time.Hour)
	if got, want := due(), []string{did(5), did(6)}; !slices.Equal(got, want) {
		t.Errorf("leased %s", strings.Join(got, " "))
	}
}

// What a clock has put off that was ahead is brought forward, at every start at the
// latest.
func TestAClockThatWasAheadBlocksNoHost(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	host := f.repo(did(0)).Identity.HostID
	f.with(did(0), func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, StatusCheck, tx.now) })
	ahead := f.now.Add(24 * time.Hour)
	f.update(func(tx *Tx) error { return errors.Join(tx.CoolHost(host, ahead), tx.SetNextAt(host, ahead)) })
	next := func() (at time.Time) {
		f.update(func(tx *Tx) (err error) {
			if _, err = leaseDue(tx); err != nil { // it reads the heads anew
				return err
			}
			at, err = tx.NextReady(true)
			return err
		})
		return at
	}
	if at := next(); !at.Equal(ahead) {
		t.Errorf("it may be asked at %s", at)
	}
	f.update(func(tx *Tx) error { return tx.ClampHosts() })
	if at, want := next(), f.now.Add(mostCooldown); !at.Equal(want) {
		t.Errorf("after the clamp it may be asked at %s, want %s", at, want)
	}
	sound(t, f.Reader)
}

// Hosts that nobody has seen before come all the time. They queue behind the others,
// however long their rows have waited for a document.
func TestNewHostsDoNotGoBeforeOldOnes(t *testing.T) {
	f := newShelf(t)
	long := f.now.Add(-time.Hour)
	n := 0
	add := func(host string, rows int) (id int64) {
		f.update(func(tx *Tx) error {
			for range rows {
				n++
				r, err := testrepo.Add(tx, numbered(n))
				if err != nil {
					return err
				}
				if _, err := testrepo.SetIdentity(tx, r, testKey, host, false); err != nil {
					return err
				}
				if err := testrepo.Enqueue(tx, r, Backfill, long); err != nil {
					return err
				}
				id = r.Identity.HostID
			}
			return nil
		})
		return id
	}
	var old []int64
	for i := range 3 {
		old = append(old, add(fmt.Sprintf("old%d.example.com", i), 20))
	}
	served := map[int64]int{}
	for i := range 30 {
		f.now = f.now.Add(time.Millisecond)
		add(fmt.Sprintf("new%d.example.com", i), 1)
		f.update(func(tx *Tx) error {
			for {
				hosts, err := tx.ReadyHosts(1, 1)
				if err != nil || len(hosts) != 1 {
					return fmt.Errorf("%d hosts are ready: %w", len(hosts), err)
				}
				h := hosts[0]
				a, err := tx.Lease(h, tx.now, tx.Env())
				if err != nil || a != nil {
					served[h.ID]++
					return errors.Join(err, tx.FinishAttempt(h.ID, tx.now))
				}
			}
		})
	}
	for _, id := range old {
		if served[id] < 2 {
			t.Errorf("turns of the old hosts: %d, %d, %d of 30", served[old[0]], served[old[1]], served[old[2]])
			break
		}
	}
}
