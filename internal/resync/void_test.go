package resync

import (
	"context"
	"testing"
	"time"

	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// between leases the one row that is due, asks the network, and lets something
// happen before the result of the attempt is stored.
func (w *scenario) between(step repostate.Step, happens func()) {
	w.t.Helper()
	attempts, err := w.rs.lease(w.t.Context())
	if err != nil || len(attempts) != 1 || attempts[0].Step != step {
		w.t.Fatalf("leased %v, %v", attempts, err)
	}
	res := w.rs.try(w.t.Context(), attempts[0])
	happens()
	if err := w.rs.store(w.t.Context(), []*result{res}); err != nil {
		w.t.Fatal(err)
	}
}

// The account was active when its host was asked, and is not when the answer is
// stored. An event has named it meanwhile, which asks for nothing but an attempt.
func TestAQuestionDuringAnAttemptIsAsked(t *testing.T) {
	for name, begin := range map[string]struct {
		why  repostate.Reason
		step repostate.Step
	}{
		"at the status": {repostate.StatusCheck, repostate.AskStatus},
		"at the repo":   {repostate.Discontinuity, repostate.Fetch},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if begin.step == repostate.Fetch {
					return testrepo.Desynchronize(tx, r, begin.why)
				}
				return testrepo.Enqueue(tx, r, begin.why, tx.Now())
			})
			w.between(begin.step, func() {
				if err := w.net.Deactivate(did); err != nil {
					t.Fatal(err)
				}
				w.enqueue(did, repostate.StatusCheck)
			})
			if r := w.repo(did); begin.step == repostate.Fetch && r.State != repostate.Desynchronized {
				t.Errorf("state %s after a fetch that is void", r.State)
			}
			w.work()
			w.same(did, false)
			if r := w.repo(did); r.Status != "deactivated" {
				t.Errorf("status %q", r.Status)
			}
		})
	}
}

// The answer of a host counts only as long as the account is there: it moves
// between the answer and its end, and the old host has called it deactivated.
func TestTheWordOfAHostEndsWithAMove(t *testing.T) {
	w, did := filled(t)
	present := *w.repo(did).Identity
	w.setHosts(elsewhere{w.rs.cfg.Hosts})
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		_, err := testrepo.SetIdentity(tx, r, present.Key, "old.sim.test", true)
		if err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.StatusCheck, tx.Now())
	})
	w.between(repostate.AskStatus, func() {
		w.now = w.now.Add(time.Second)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return decide(tx, r, repostate.Operation{Identity: &present, At: tx.Now(), AsOf: tx.Now()})
		})
	})
	if !w.repo(did).Active {
		t.Error("the word of the old host counts")
	}
	w.work()
	w.settled(did)
}

// The directory says for the second time that it has no such DID, and while it says
// so the account is made and sends its first event.
func TestAFirstEventDuringTheSecondLookUpIsNotLost(t *testing.T) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	directory := w.rs.cfg.Resolver
	w.rs.cfg.Resolver = ignorant{directory}
	w.enqueue(did, repostate.FirstSight)
	w.work()
	w.now = w.now.Add(notFoundSecond)
	w.between(repostate.Resolve, func() {
		w.rs.cfg.Resolver = directory
		w.enqueue(did, repostate.FirstSight)
	})
	w.work()
	w.settled(did)
}

// ignorant is a directory that has no document of anybody.
type ignorant struct{ Resolver }

func (ignorant) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, refusal.New(refusal.IdentityUnresolved, "%w", identity.ErrNoDocument)
}
