package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// lane gives the lane of a repo's row in the queue.
func laneOf(t *testing.T, path string, r *Repo) int64 {
	t.Helper()
	return scalar[int64](t, path, fmt.Sprintf("SELECT lane FROM resync_queue WHERE repo_id = %d", r.ID))
}

func update(t *testing.T, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), "test", fn); err != nil {
		t.Fatal(err)
	}
}

// A row is in the lane of whoever is asked next, whatever comes first: the row, the
// identity, a doubt, a move.
func TestARowIsInTheLaneOfWhoeverIsAskedNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	var plc, web *Repo
	update(t, s, func(tx *Tx) (err error) {
		if plc, err = tx.AddRepo(did(0)); err != nil {
			return err
		}
		if web, err = tx.AddRepo("did:web:example.com"); err != nil {
			return err
		}
		return errors.Join(tx.Enqueue(plc, Backfill, tx.now), tx.Enqueue(web, Backfill, tx.now))
	})
	is := func(when string, r *Repo, want int64) {
		t.Helper()
		if got := laneOf(t, path, r); got != want {
			t.Errorf("%s: lane %d, want %d", when, got, want)
		}
		sound(t, s.Reader)
	}
	identify := func(r *Repo, host string) int64 {
		update(t, s, func(tx *Tx) error {
			_, err := tx.PutIdentity(r, testKey, host, false)
			return err
		})
		return r.Identity.HostID
	}
	is("a document that is missing", plc, DirectoryLane)
	is("a did:web document that is missing", web, WebLane)
	first := identify(plc, "pds1.example.com")
	is("a resolved one", plc, first)
	is("a resolved did:web", web, WebLane)
	second := identify(web, "pds2.example.com")
	is("a resolved did:web", web, second)
	is("one that moved", plc, identify(plc, "pds2.example.com"))
	update(t, s, func(tx *Tx) error { return errors.Join(tx.MarkStale(plc), tx.MarkStale(web)) })
	is("a stale one", plc, DirectoryLane)
	is("a stale did:web", web, WebLane)
	update(t, s, func(tx *Tx) error {
		_, _, err := tx.Claim(Wanted{DirectoryLane, prioBackfill, 1}, func(*Task) Step { return Resolve })
		return err
	})
	is("one that is being looked at", plc, second)
	update(t, s, func(tx *Tx) error { return tx.Done(plc) })
	update(t, s, func(tx *Tx) error { return tx.Enqueue(plc, SyncEvent, tx.now) })
	is("a row that comes after the identity", plc, second)
}

// waiting makes rows: for each lane a host, and rows of some priorities.
func waiting(t *testing.T, s *Store, hosts, each int) {
	t.Helper()
	n := 0
	update(t, s, func(tx *Tx) error {
		for host := range hosts {
			for i := range each {
				r, err := tx.AddRepo(fmt.Sprintf("did:plc:%024d", n))
				if err != nil {
					return err
				}
				n++
				if _, err := tx.PutIdentity(r, testKey, fmt.Sprintf("pds%d.example.com", host), false); err != nil {
					return err
				}
				why := []Reason{Discontinuity, SyncEvent, Sweep}[i%3]
				if err := tx.Enqueue(r, why, tx.now.Add(time.Duration(i-1)*time.Minute)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// The heads are found whatever the size of the pieces, one for each lane and
// priority, the earliest, and without what is claimed.
func TestHeadsAreReadInPieces(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	waiting(t, s, 5, 9)
	update(t, s, func(tx *Tx) error {
		_, _, err := tx.Claim(Wanted{1, prioLive, 9}, func(*Task) Step { return Nothing })
		return err
	})
	read := func(piece int) (all []LaneHead) {
		after := BeforeLanes()
		for {
			var heads []LaneHead
			if err := s.View(t.Context(), func(rx *Rx) (err error) {
				heads, err = rx.LaneHeads(after, piece)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			all = append(all, heads...)
			if len(heads) < piece {
				return all
			}
			after = heads[len(heads)-1]
		}
	}
	want := read(1000)
	if len(want) != 15 {
		t.Fatalf("%d heads, want 15", len(want))
	}
	for i, h := range want {
		if h.Lane != int64(i/3)+1 || h.Priority != []int64{prioLive, prioCheck, prioBackground}[i%3] {
			t.Errorf("head %d is %+v", i, h)
		}
		// the first rows of a priority are due a minute ago, now, in a minute; one
		// that was due is claimed
		first := []time.Duration{0, 1, 2}[i%3] * time.Minute
		if i == 0 {
			first = 3 * time.Minute
		}
		if got := h.NotBefore.Sub(want[3].NotBefore); got != first {
			t.Errorf("head %d is due %s after the first one, want %s", i, got, first)
		}
	}
	for piece := 1; piece < 17; piece++ {
		if got := read(piece); !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %+v", piece, got)
		}
	}
}

// A claim takes the rows of one lane and priority that are due, those first that
// wait longest, and says when the next one is.
func TestAClaimTakesWhatWaitsLongest(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	base := time.Now().Truncate(time.Second).Add(-time.Hour)
	update(t, s, func(tx *Tx) error {
		for i, after := range []time.Duration{30, 10, 20, 7200, 40} {
			r, err := tx.AddRepo(did(i))
			if err != nil {
				return err
			}
			if err := tx.Enqueue(r, Backfill, base.Add(after*time.Second)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		want Wanted
		dids []string
		next time.Duration // -1 = none
	}{
		{Wanted{DirectoryLane, prioLive, 5}, nil, -1},
		{Wanted{WebLane, prioBackfill, 5}, nil, -1},
		{Wanted{DirectoryLane, prioBackfill, 2}, []string{did(1), did(2)}, 30 * time.Second},
		{Wanted{DirectoryLane, prioBackfill, 0}, nil, 30 * time.Second},
		{Wanted{DirectoryLane, prioBackfill, 9}, []string{did(0), did(4)}, 7200 * time.Second},
		{Wanted{DirectoryLane, prioBackfill, 9}, nil, 7200 * time.Second},
	} {
		var dids []string
		var next time.Time
		update(t, s, func(tx *Tx) error {
			tasks, n, err := tx.Claim(c.want, func(*Task) Step { return Resolve })
			for _, task := range tasks {
				dids = append(dids, task.Repo.DID)
				if task.Lane != c.want.Lane || task.Priority != c.want.Priority {
					t.Errorf("task %+v", task)
				}
			}
			next = n
			return err
		})
		if !slices.Equal(dids, c.dids) {
			t.Errorf("%+v: claimed %v", c.want, dids)
		}
		if (c.next < 0) != next.IsZero() || (c.next >= 0 && !next.Equal(base.Add(c.next))) {
			t.Errorf("%+v: the next is due at %s", c.want, next)
		}
	}
}

// News are what a commit has done, once, and nothing of what was undone.
func TestNewsTellWhatCommitsHaveDone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	told := func() bool {
		select {
		case <-s.Wakeup():
			return true
		default:
			return false
		}
	}
	undone := errors.New("undone")
	var r *Repo
	enqueue := func(tx *Tx) (err error) {
		if r, err = tx.AddRepo(did(0)); err != nil {
			return err
		}
		return tx.Enqueue(r, Backfill, tx.now)
	}
	_ = s.Update(t.Context(), "test", func(tx *Tx) error { return errors.Join(enqueue(tx), undone) })
	if n := s.News(); told() || len(n.Heads)+len(n.Hosts) != 0 {
		t.Errorf("news of what was undone: %+v", n)
	}
	update(t, s, enqueue)
	if n := s.News(); !told() || len(n.Heads) != 1 || n.Heads[0].Lane != DirectoryLane || n.Heads[0].Priority != prioBackfill {
		t.Errorf("news %+v", n)
	}
	if n := s.News(); len(n.Heads) != 0 {
		t.Errorf("told twice: %+v", n)
	}
	var host int64
	update(t, s, func(tx *Tx) error {
		_, err := tx.PutIdentity(r, testKey, "pds.example.com", false)
		host = r.Identity.HostID
		return err
	})
	if n := s.News(); len(n.Heads) != 1 || n.Heads[0].Lane != host {
		t.Errorf("news of an identity: %+v", n)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	update(t, s, func(tx *Tx) error {
		_, err := tx.HostFailed(host, tx.now, "no")
		return errors.Join(err, tx.SetRate(host, 2))
	})
	update(t, s, func(tx *Tx) error { return tx.CoolHost(host, until) })
	want := Manners{Cooling: until, Failures: 1, Rate: 2}
	if n := s.News(); !told() || len(n.Hosts) != 1 || n.Hosts[host] != want {
		t.Errorf("news of a host: %+v", n)
	}
	update(t, s, func(tx *Tx) error { return tx.Enqueue(r, Backfill, tx.now.Add(-time.Hour)) })
	update(t, s, func(tx *Tx) error { return tx.Enqueue(r, Backfill, tx.now) })
	update(t, s, func(tx *Tx) error { return tx.HostAnswered(host) })
	want.Failures, want.Answered = 0, true
	n := s.News()
	if len(n.Heads) != 1 || time.Since(n.Heads[0].NotBefore) < time.Hour {
		t.Errorf("the earliest of three: %+v", n.Heads)
	}
	if n.Hosts[host] != want {
		t.Errorf("manners %+v, want %+v", n.Hosts[host], want)
	}
}

// Nobody asks for the news: they stay within bounds, and say that some were lost.
func TestNewsStayWithinBounds(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	heads := make([]LaneHead, maxNews)
	for i := range heads {
		heads[i] = LaneHead{Lane: int64(i) + 1, Priority: prioBackfill}
	}
	s.tell(heads, nil, false)
	if n := s.News(); n.Lost || len(n.Heads) != maxNews {
		t.Errorf("lost %t, %d heads", n.Lost, len(n.Heads))
	}
	s.tell(heads, nil, false)
	s.tell([]LaneHead{{Lane: maxNews + 1, Priority: prioBackfill}}, map[int64]Manners{maxNews + 2: {}}, false)
	if n := s.News(); !n.Lost || len(n.Heads) != maxNews || len(n.Hosts) != maxNews {
		t.Errorf("lost %t, %d heads, %d hosts", n.Lost, len(n.Heads), len(n.Hosts))
	}
	if n := s.News(); n.Lost {
		t.Error("lost for ever")
	}
}
