package resync

import (
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// A real commit could not be followed, and its host had used up its limit: the
// repo stays in service, and is fetched after a while.
func TestACommitThatWasSeenIsFetched(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Create(did, "com.example.missed/a"); err != nil {
		t.Fatal(err)
	}
	after, _ := w.net.Repo(did)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error { // what the refusal of a real commit does
		if err := testrepo.Saw(tx, r, after.Rev); err != nil {
			return err
		}
		return testrepo.EnqueueMissed(tx, r, tx.Now().Add(repostate.MissedGrace), after.Rev)
	})
	w.later(repostate.MissedGrace)
	w.later(time.Hour)
	w.settled(did)
	if w.count("getRepo") == 0 {
		t.Error("never fetched")
	}
	// nor does a listing help
	w.list(did, after.Rev)
	w.later(repostate.MissedGrace)
	w.settled(did)
}

// A replica that lags serves our head, and a signed commit beyond it was seen.
func TestAnAnswerOfOurHeadBelowWhatWasSeenIsStale(t *testing.T) {
	w, did := filled(t)
	state, _ := w.net.Repo(did)
	seen := state.Rev + 1<<20
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.Saw(tx, r, seen); err != nil {
			return err
		}
		return testrepo.EnqueueMissed(tx, r, tx.Now(), seen)
	})
	w.later(time.Second)
	if r := w.repo(did); r.SeenRev != seen {
		t.Errorf("seen rev %d is forgotten", r.SeenRev)
	}
	for range 300 {
		w.later(time.Minute)
	}
	w.settled(did) // believed after an hour
	if n := w.count("getRepo"); n < staleTimes || n > 40 {
		t.Errorf("%d fetches", n)
	}
}

// A proof that races with a commit leaves the repo in service.
func TestACommitDuringAProof(t *testing.T) {
	w, did := filled(t)
	before, _ := w.net.Repo(did)
	w.described(did, before.Collections)
	state := repostate.Synchronized
	w.hook = func(string, string) {
		if err := w.net.Create(did, w.net.Paths(did)[0]+"x"); err != nil {
			t.Error(err)
		}
		after, _ := w.net.Repo(did)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			moved, err := testrepo.Advance(tx, r, before.Data, repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit})
			if !moved {
				t.Error("not moved")
			}
			return err
		})
		w.hook = func(string, string) { state = w.repo(did).State }
	}
	w.work()
	for range 30 {
		w.later(time.Minute)
	}
	w.settled(did)
	if state != repostate.Synchronized {
		t.Errorf("fetched again in state %s", state)
	}
	t.Logf("%d fetches", w.count("getRepo"))
}
