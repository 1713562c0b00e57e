package resync

import (
	"fmt"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// A busy repo of an old host: a commit that cannot be undone comes during each fetch.
func TestABusyRepoOfAnOldHostGetsOn(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Create(did, "com.example.new/a"); err != nil {
		t.Fatal(err)
	}
	n := 0
	var busy func(string, string)
	busy = func(string, string) {
		n++
		rev := atproto.TIDAt(w.now) + atproto.TID(n)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Saw(tx, r, rev) }) // a real commit that was refused
		w.hook = busy
	}
	w.hook = busy
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	for range 60 {
		w.later(time.Minute)
	}
	t.Logf("%d commits, %d fetches", n, w.count("getRepo"))
	w.same(did, true)
}

// A commit that cannot be buffered comes during the fetch of a repo with a wrong
// row. The answer is as new as what was seen before it, so the row is mended; the
// repo stays out of service, and no older answer counts, until one has that commit.
func TestAnAnswerThatACommitHasOvertaken(t *testing.T) {
	w, did := filled(t)
	wrong := collectionOf(t, w, did)
	var after atproto.TID
	w.hook = func(string, string) {
		if err := w.net.Create(did, "com.example.after/a"); err != nil {
			t.Error(err)
		}
		state, _ := w.net.Repo(did)
		after = state.Rev
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Saw(tx, r, after) })
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if _, err := testrepo.RemoveMemberships(tx, r, []string{wrong}); err != nil {
			return err
		}
		return testrepo.Desynchronize(tx, r, repostate.Audit)
	})
	w.work()
	if dids, _ := w.listed(wrong); len(dids) != 1 {
		t.Error("the row is not mended")
	}
	if r := w.repo(did); r.State != repostate.Desynchronized || r.SeenRev != after {
		t.Errorf("state %s, seen rev %s; want %s", r.State, r.SeenRev, after)
	}
	w.later(staleRetry)
	w.settled(did)
}

// What was fetched and what was buffered never meet. The host is asked again after
// a pause, each time.
func TestAFetchThatNeverMeetsTheBufferIsPaced(t *testing.T) {
	w, did := filled(t)
	n := 0
	var lose func(string, string)
	lose = func(string, string) {
		n++
		before, _ := w.net.Repo(did)
		for range 2 {
			if err := w.net.Create(did, fmt.Sprintf("com.example.meanwhile/a%d", len(w.net.Paths(did)))); err != nil {
				t.Error(err)
			}
		}
		after, _ := w.net.Repo(did)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			lost := before.Data
			lost[0]++
			return testrepo.Buffer(tx, r, repostate.Commit{Prev: lost, Head: repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit}})
		})
		w.hook = lose
	}
	w.hook = lose
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	if n != 1 {
		t.Errorf("%d fetches at one moment", n)
	}
	for range 5 {
		w.later(staleMost)
		if r := w.repo(did); r.State != repostate.Desynchronized {
			t.Errorf("state %s", r.State)
		}
	}
	w.hook = nil
	w.later(staleMost)
	w.settled(did)
}
