package resync

import (
	"context"
	"testing"

	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// between leases the one row that is due, asks the network, and lets something
// happen before the end of the look is stored.
func (w *world) between(step store.Step, happens func()) {
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
// stored. An event has told of it meanwhile, which asks for nothing but a look.
func TestAQuestionDuringALookIsAsked(t *testing.T) {
	for name, begin := range map[string]struct {
		why  store.Reason
		step store.Step
	}{
		"at the status": {store.StatusCheck, store.AskStatus},
		"at the repo":   {store.Discontinuity, store.Fetch},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			w.with(did, func(tx *store.Tx, r *store.Repo) error {
				if begin.step == store.Fetch {
					return tx.Desynchronize(r, begin.why)
				}
				return tx.Enqueue(r, begin.why, tx.Now())
			})
			w.between(begin.step, func() {
				if err := w.net.Deactivate(did); err != nil {
					t.Fatal(err)
				}
				w.enqueue(did, store.StatusCheck)
			})
			if r := w.repo(did); begin.step == store.Fetch && r.State != store.Desynchronized {
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
	w.with(did, func(tx *store.Tx, r *store.Repo) error {
		_, err := tx.PutIdentity(r, present.Key, "old.sim.test", true)
		if err != nil {
			return err
		}
		return tx.Enqueue(r, store.StatusCheck, tx.Now())
	})
	w.between(store.AskStatus, func() {
		w.with(did, func(tx *store.Tx, r *store.Repo) error {
			if _, err := tx.PutIdentity(r, present.Key, present.Host, present.Insecure); err != nil {
				return err
			}
			return tx.Moved(r)
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
func TestAFirstEventDuringTheSecondLookIsNotLost(t *testing.T) {
	w := newWorld(t, 1)
	did := w.net.DIDs()[0]
	directory := w.rs.cfg.Resolver
	w.rs.cfg.Resolver = ignorant{directory}
	w.enqueue(did, store.FirstSight)
	w.work()
	w.now = w.now.Add(notFoundSecond)
	w.between(store.Resolve, func() {
		w.rs.cfg.Resolver = directory
		w.enqueue(did, store.FirstSight)
	})
	w.work()
	w.settled(did)
}

// ignorant is a directory that has no document of anybody.
type ignorant struct{ Resolver }

func (ignorant) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, refusal.New(refusal.IdentityUnresolved, "%w", identity.ErrNoDocument)
}
