package ingest

import (
	"testing"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// The head that we hold comes once more, in a message that is broken: nothing was
// missed.
func TestABrokenMessageOfOurOwnHead(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(refusedWith(commit(10, 0, 1, nil, nil), refusal.BadTree)), repostate.Refused)
	s.wantState(repostate.Synchronized, 10)
	if st := s.stats(); st.Waiting+st.WaitingLater != 0 {
		t.Error("an attempt is queued")
	}
	s.want(s.judge(refusedWith(commit(10, 0, 7, nil, nil), refusal.BadTree)), repostate.Refused)
	s.wantState(repostate.Desynchronized, 10)
}

// The prover had the key of before a change. It is forgotten, or every commit that
// follows would be proven with it, and take the repo out of service again.
func TestTheKeyOfBeforeAChangeIsForgotten(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.in.keys.keys.Add(alice, cachedKey{raw: "old key"})
	if k, err := s.in.keys.get(t.Context(), alice); err != nil || k.raw != "old key" {
		t.Fatalf("key %q, %v", k.raw, err)
	}
	old := commit(11, 1, 2, nil, nil)
	old.key = "old key"
	s.want(s.judge(old), repostate.Broken)
	if k, _ := s.in.keys.get(t.Context(), alice); k.raw == "old key" {
		t.Error("the old key is used again")
	}
}

// A key was read from the file, and changed before it was kept.
func TestAKeyThatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	c := newKeyCache(nil)
	read := c.epoch.Load()
	c.forget(alice)
	c.keep(alice, cachedKey{raw: "old key"}, read)
	if k, kept := c.keys.Get(alice); kept {
		t.Errorf("%q is kept", k.raw)
	}
	c.keep(alice, cachedKey{raw: "new key"}, c.epoch.Load())
	if k, _ := c.keys.Get(alice); k.raw != "new key" {
		t.Errorf("key %q", k.raw)
	}
}

// A fetch has failed and backs off. A #sync says that the repo is another one now,
// and so perhaps one that can be fetched.
func TestASyncBringsAFetchForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(commit(12, 2, 3, nil, nil))
	s.lease(repostate.Fetch)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		return testrepo.Retry(tx, r, repostate.Discontinuity, tx.Now().Add(time.Hour), true, false)
	})
	s.want(s.judge(commit(13, 3, 4, nil, nil)), repostate.Waits)
	if n := s.due(); n != 0 {
		t.Errorf("%d attempts are due after a commit", n)
	}
	s.want(s.judge(syncAt(14, 9)), repostate.Waits)
	if n := s.due(); n != 1 {
		t.Errorf("%d attempts are due after a #sync", n)
	}
	if s.repo().SeenRev != 14 {
		t.Errorf("seen rev %d", s.repo().SeenRev)
	}
}
