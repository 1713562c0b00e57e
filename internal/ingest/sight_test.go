package ingest

import (
	"testing"
	"time"

	"railyard/internal/store"
)

// An upstream brings more unknown DIDs than the directory could be asked about.
// What is over the limit is counted and leaves no row; another upstream has a limit
// of its own, and DIDs that are known are judged as always.
func TestAnUpstreamBringsALimitedNumberOfUnknownDIDs(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known("app.bsky.feed.post")
	start := time.Now()
	l := newLimits()
	taken := 0
	for range sightsBurst + 1000 {
		if l.allowSight(1, start) {
			taken++
		}
	}
	if taken != sightsBurst || !l.allowSight(2, start) {
		t.Errorf("%d were taken at once", taken)
	}
	later := 0
	for range 1000 {
		if l.allowSight(1, start.Add(10*time.Second)) {
			later++
		}
	}
	if later != 10*sights {
		t.Errorf("%d were taken after ten seconds", later)
	}
	for s.in.limits.allowSight(s.up.id, s.now) {
	}
	sl := commit(50, 1, 2, []string{posts}, nil)
	sl.frame.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	s.want(s.tell(sl), unseen)
	if r := s.repoOf(sl.frame.DID); r != nil {
		t.Errorf("it became a row: %+v", r)
	}
	s.want(s.tell(commit(50, 1, 2, []string{posts}, nil)), applied)
	s.now = s.now.Add(time.Second)
	s.want(s.tell(sl), waits)
	if s.repoOf(sl.frame.DID) == nil {
		t.Error("its next event did not make it a row")
	}
}

// The directory does not know a DID, and is to be asked once more in ten minutes.
// Its events bring that forward, but not without end. A DID that one host's listing
// alone had told of is no longer that host's candidate, since it speaks here.
func TestEventsOfAnUnknownDIDBringTheSecondLookForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	const did = "did:plc:cccccccccccccccccccccccc"
	var host store.CrawlID
	s.update(func(tx *store.Tx) (err error) {
		if host, err = tx.ListHost("a.example.com", false, "active"); err != nil {
			return err
		}
		_, err = tx.TakeListed(store.Lister{Host: host.Server, Capped: true}, []store.Listed{{DID: did, Active: true}})
		return err
	})
	budget := func() (n int64) {
		s.update(func(tx *store.Tx) (err error) {
			n, err = tx.CandidateBudget(host.Server)
			return err
		})
		return n
	}
	later := func() (later bool) {
		s.update(func(tx *store.Tx) error {
			r, err := tx.RepoByDID(did)
			if err == nil {
				_, later, err = tx.Queued(r)
			}
			return err
		})
		return later
	}
	before := budget()
	putOff := func() {
		s.update(func(tx *store.Tx) error {
			r, err := tx.RepoByDID(did)
			if err != nil {
				return err
			}
			return tx.Retry(r, store.NotFoundAgain, tx.Now().Add(10*time.Minute), true, true)
		})
	}
	putOff()
	sl := commit(50, 1, 2, []string{posts}, nil)
	sl.frame.DID = did
	s.want(s.tell(sl), waits)
	if later() {
		t.Error("the event did not bring the look forward")
	}
	if got := budget(); got != before+1 {
		t.Errorf("the host may have %d candidates more, before %d", got, before)
	}
	putOff()
	for s.in.limits.allowStranger(s.up.id, s.now) {
	}
	s.want(s.tell(sl), waits)
	if !later() {
		t.Error("events without end bring looks without end")
	}
}

func (s *story) repoOf(did string) (r *store.Repo) {
	s.t.Helper()
	s.update(func(tx *store.Tx) (err error) {
		r, err = tx.RepoByDID(did)
		return err
	})
	return r
}
