package ingest

import (
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// An upstream brings more unknown DIDs than the directory could be asked about.
// What is over the limit is counted and leaves no row; another upstream has a limit
// of its own, and DIDs that are known are judged as always.
func TestAnUpstreamBringsALimitedNumberOfUnknownDIDs(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known("app.bsky.feed.post")
	start := time.Now()
	l := newLimits()
	of := func(upstream int64, now time.Time) repostate.Budget { return l.of(upstream, new(repostate.Repo), now) }
	taken := 0
	for range sightsBurst + 1000 {
		if of(1, start).Sight() {
			taken++
		}
	}
	if taken != sightsBurst || !of(2, start).Sight() {
		t.Errorf("%d were taken at once", taken)
	}
	later := 0
	for range 1000 {
		if of(1, start.Add(10*time.Second)).Sight() {
			later++
		}
	}
	if later != 10*sights {
		t.Errorf("%d were taken after ten seconds", later)
	}
	for s.budget().Sight() {
	}
	sl := commit(50, 1, 2, []string{posts}, nil)
	sl.frame.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	s.want(s.judge(sl), repostate.Unseen)
	if r := s.repoOf(sl.frame.DID); r != nil {
		t.Errorf("it became a row: %+v", r)
	}
	s.want(s.judge(commit(50, 1, 2, []string{posts}, nil)), repostate.Applied)
	s.now = s.now.Add(time.Second)
	s.want(s.judge(sl), repostate.Waits)
	if s.repoOf(sl.frame.DID) == nil {
		t.Error("its next event did not make it a row")
	}
}

// The directory does not know a DID, and is to be asked once more in ten minutes.
// Its events bring that forward, but not without end. A DID that one host's listing
// alone had named is no longer that host's candidate, since it speaks here.
func TestEventsOfAnUnknownDIDBringTheSecondAttemptForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	const did = "did:plc:cccccccccccccccccccccccc"
	var host store.CrawlID
	s.update(func(tx *store.Tx) (err error) {
		if host, err = tx.ListHost("a.example.com", false, "active"); err != nil {
			return err
		}
		return testrepo.List(tx, map[string]repostate.Entry{did: {Active: true, Host: host.Server, Candidate: true}})
	})
	left := func() (n int64) {
		s.update(func(tx *store.Tx) (err error) {
			c, err := tx.Candidates(host.Server)
			n = c.Left
			return err
		})
		return n
	}
	later := func() bool { return s.repoOf(did).Waiting.Later() }
	before := left()
	putOff := func() {
		s.update(func(tx *store.Tx) error {
			r, err := tx.RepoByDID(did)
			if err != nil {
				return err
			}
			return testrepo.Retry(tx, r, repostate.NotFoundAgain, tx.Now().Add(10*time.Minute), true, true)
		})
	}
	putOff()
	sl := commit(50, 1, 2, []string{posts}, nil)
	sl.frame.DID = did
	s.want(s.judge(sl), repostate.Waits)
	if later() {
		t.Error("the event did not bring the look forward")
	}
	if got := left(); got != before+1 {
		t.Errorf("the host may have %d candidates more, before %d", got, before)
	}
	putOff()
	for s.in.limits.of(s.up.id, s.repoOf(did), s.now).Unknown() {
	}
	s.want(s.judge(sl), repostate.Waits)
	if !later() {
		t.Error("events without end bring attempts without end")
	}
}

func (s *story) repoOf(did string) (r *repostate.Repo) {
	s.t.Helper()
	s.update(func(tx *store.Tx) (err error) {
		r, err = tx.RepoByDID(did)
		return err
	})
	return r
}
