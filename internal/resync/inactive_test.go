package resync

import (
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// An account whose set was a claim is deactivated: that ends the row.
func TestAClaimOfAnInactiveAccountIsNotQueued(t *testing.T) {
	w, did := filled(t)
	truth, _ := w.net.Repo(did)
	w.described(did, truth.Collections)
	if err := w.net.Deactivate(did); err != nil {
		t.Fatal(err)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.Hide(tx, r, "deactivated"); err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.StatusCheck, tx.Now())
	})
	w.work()
	w.asked = nil
	for range 144 {
		w.later(10 * time.Minute)
	}
	if n := len(w.asked); n > 1 {
		t.Errorf("its host was asked %d times in a day", n)
	}
}

// A host that has no such repo was asked for its status: late commits of the account
// are no reason to ask at once again.
func TestAHostWithoutTheRepoWasAskedForTheStatus(t *testing.T) {
	w, did := filled(t)
	w.work()
	w.net.SetHook("pds1", simnet.Hook{HTTP: notFoundFault})
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if r.Identity.StatusAskedAt.IsZero() || tx.Now().Sub(r.Identity.StatusAskedAt) > time.Minute {
			t.Errorf("asked at %s, and it is %s", r.Identity.StatusAskedAt, tx.Now())
		}
		return nil
	})
}
