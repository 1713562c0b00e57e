package resync

import (
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// described makes the repo's set a claim of these collections, which waits for its
// proof.
func (w *scenario) described(did string, collections []string) {
	w.t.Helper()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if _, _, err := testrepo.Establish(tx, r, *r.Head, collections, repostate.ProofClaim); err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.Prove, tx.Now())
	})
}

// A claim is proven by a fetch while the repo stays in service, right or wrong.
func TestAClaimIsProvenInTheBackground(t *testing.T) {
	for name, collections := range map[string][]string{
		"a right one": nil,
		"a wrong one": {"com.example.invented"},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			if collections == nil {
				truth, _ := w.net.Repo(did)
				collections = truth.Collections
			}
			w.described(did, collections)
			if st := w.stats(); st.Waiting != 0 {
				t.Errorf("%d rows of the queue count as wrong", st.Waiting)
			}
			w.work()
			w.settled(did)
			if r := w.repo(did); r.Proof != repostate.ProofTree {
				t.Errorf("proof %d", r.Proof)
			}
			if n := w.count("getRepo"); n != 1 {
				t.Errorf("%d fetches", n)
			}
		})
	}
}

// The host is ahead of us because a commit is on its way: the repo stays in
// service, and the claim is proven once the commit has come.
func TestAClaimIsNotProvenAgainstAnotherHead(t *testing.T) {
	w, did := filled(t)
	before, _ := w.net.Repo(did)
	w.described(did, before.Collections)
	if err := w.net.Create(did, "com.example.late/a"); err != nil {
		t.Fatal(err)
	}
	after, _ := w.net.Repo(did)
	w.work()
	if r := w.repo(did); r.State != repostate.Synchronized || r.Proof != repostate.ProofClaim {
		t.Fatalf("state %s, proof %d", r.State, r.Proof)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if _, err := testrepo.Advance(tx, r, before.Data, repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit}); err != nil {
			return err
		}
		_, err := testrepo.AddMemberships(tx, r, []string{"com.example.late"})
		return err
	})
	w.later(repostate.MissedGrace)
	w.settled(did)
	if r := w.repo(did); r.Proof != repostate.ProofTree {
		t.Errorf("proof %d", r.Proof)
	}
}

// The same, but the commit never comes: its event was lost, and the repo is wrong.
func TestAProofFindsALostEvent(t *testing.T) {
	w, did := filled(t)
	before, _ := w.net.Repo(did)
	w.described(did, before.Collections)
	if err := w.net.Create(did, "com.example.lost/a"); err != nil {
		t.Fatal(err)
	}
	w.work()
	w.later(repostate.MissedGrace)
	w.settled(did)
	if r := w.repo(did); r.Proof != repostate.ProofTree {
		t.Errorf("proof %d", r.Proof)
	}
}

// Tests of the path of events leave proofs out: the claim goes on waiting, and an attempt
// for another reason is made.
func TestWithoutProofsAClaimWaits(t *testing.T) {
	w, did := filled(t)
	w.rs.cfg.NoProofs = true
	w.described(did, []string{"com.example.invented"})
	w.work()
	w.later(2 * claimRest)
	if r := w.repo(did); r.Proof != repostate.ProofClaim || w.count("getRepo") != 0 {
		t.Errorf("proof %d, %d fetches", r.Proof, w.count("getRepo"))
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.EnqueueMissed(tx, r, tx.Now(), r.Head.Rev+1)
	})
	w.work()
	if w.count("getRepo") == 0 {
		t.Error("no fetch for a newer rev")
	}
}
