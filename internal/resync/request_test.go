package resync

import (
	"testing"

	"railyard/internal/repostate"
)

// What may be taken on the host's word, and what must be proven.
func TestWhatIsAskedForAnAttempt(t *testing.T) {
	const none, claim, tree = repostate.Proof(0), repostate.ProofClaim, repostate.ProofTree
	for _, tc := range []struct {
		name           string
		reason         repostate.Reason
		proof          repostate.Proof
		inService      bool
		mustProve, new bool
	}{
		{"first sight", repostate.FirstSight, none, false, false, true},
		{"backfill", repostate.Backfill, none, false, false, true},
		{"backfill of what is a claim", repostate.Backfill, claim, false, false, true},
		{"first sight of what was proven", repostate.FirstSight, tree, false, false, false},
		{"discontinuity", repostate.Discontinuity, none, false, false, false},
		{"unprovable", repostate.Unprovable, none, false, false, false},
		{"rotated", repostate.Rotated, tree, false, false, false},
		{"sync", repostate.SyncEvent, tree, false, false, false},
		{"reactivated", repostate.Reactivated, tree, false, false, false},
		{"identity", repostate.IdentityCheck, tree, false, false, false},
		{"not found before", repostate.NotFoundAgain, tree, false, false, false},
		{"audit", repostate.Audit, tree, false, true, false},
		{"proof of a claim", repostate.Prove, claim, true, true, false},
		{"proof of a claim that fell out of service", repostate.Prove, claim, false, true, false},
		{"a missed rev of what is in service", repostate.MissedRev, tree, true, true, false},
		{"backfill of a claim in service", repostate.Backfill, claim, true, true, true},
	} {
		a := &repostate.Attempt{Repo: &repostate.Repo{
			DID: "did:web:a.example", Proof: tc.proof, Waiting: &repostate.Waiting{Reason: tc.reason, Attempts: 3},
			Identity: &repostate.Identity{Host: "pds.example", Key: "key", DescribeTrusted: true},
		}}
		if tc.inService {
			a.Repo.State = repostate.Synchronized
		}
		q := new(Resyncer).request(a)
		if q.MustProve != tc.mustProve || q.New != tc.new || q.Attempts != 3 || q.NoAbsenceProofs || q.WrongDescription ||
			q.DID != "did:web:a.example" || q.Host != "https://pds.example" || q.Key != "key" {
			t.Errorf("%s: %+v", tc.name, q)
		}
		a.Repo.Identity.DescribeTrusted, a.Repo.Identity.AbsentProofs = false, repostate.Unable
		if q := new(Resyncer).request(a); !q.NoAbsenceProofs || !q.WrongDescription {
			t.Errorf("%s: what was observed of the host is not passed on: %+v", tc.name, q)
		}
	}
}
