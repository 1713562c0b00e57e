package resync

import (
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/store"
)

// What may be taken on the host's word, and what must be proven.
func TestWhatIsAskedForATask(t *testing.T) {
	const none, claim, tree = store.Proof(0), store.ProofClaim, store.ProofTree
	for _, tc := range []struct {
		name           string
		reason         store.Reason
		proof          store.Proof
		inService      bool
		mustProve, new bool
	}{
		{"first sight", store.FirstSight, none, false, false, true},
		{"backfill", store.Backfill, none, false, false, true},
		{"backfill of what is a claim", store.Backfill, claim, false, false, true},
		{"first sight of what was proven", store.FirstSight, tree, false, false, false},
		{"discontinuity", store.Discontinuity, none, false, false, false},
		{"unprovable", store.Unprovable, none, false, false, false},
		{"rotated", store.Rotated, tree, false, false, false},
		{"sync", store.SyncEvent, tree, false, false, false},
		{"reactivated", store.Reactivated, tree, false, false, false},
		{"identity", store.IdentityCheck, tree, false, false, false},
		{"not found before", store.NotFoundAgain, tree, false, false, false},
		{"audit", store.Audit, tree, false, true, false},
		{"proof of a claim", store.Prove, claim, true, true, false},
		{"proof of a claim that fell out of service", store.Prove, claim, false, true, false},
		{"sweep of what is in service", store.Sweep, tree, true, true, false},
		{"backfill of a claim in service", store.Backfill, claim, true, true, true},
	} {
		task := &store.Task{
			Reason: tc.reason, InService: tc.inService, Attempts: 3,
			Repo: &store.Repo{DID: "did:web:a.example", Proof: tc.proof, Identity: &store.Identity{Host: "pds.example", Key: "key", DescribeTrusted: true}},
		}
		q := new(Resyncer).request(task)
		if q.MustProve != tc.mustProve || q.New != tc.new || q.Attempts != 3 || q.NoAbsenceProofs || q.WrongDescription ||
			q.DID != "did:web:a.example" || q.Host != "https://pds.example" || q.Key != "key" {
			t.Errorf("%s: %+v", tc.name, q)
		}
		task.Repo.Identity.DescribeTrusted, task.Repo.Identity.AbsentProofs = false, store.Unable
		if q := new(Resyncer).request(task); !q.NoAbsenceProofs || !q.WrongDescription {
			t.Errorf("%s: what was learned of the host is not passed on: %+v", tc.name, q)
		}
	}
}

func TestWhenAHeadOfAnEarlierKeyIsOvertaken(t *testing.T) {
	for _, tc := range []struct {
		name                         string
		old                          bool
		head, seen, earlier, checked atproto.TID
		want                         bool
	}{
		{"never seen before", true, 5, 0, 0, 5, false},
		{"seen before the change", true, 5, 5, 5, 5, false},
		{"more seen before the change", true, 5, 8, 8, 5, false}, // merely stale
		{"seen after the change", true, 5, 7, 5, 5, true},
		{"older than what was seen after the change", true, 9, 7, 5, 9, true},
		{"and the present key leads on", true, 5, 7, 5, 7, false},
		{"and the present key does not lead far enough", true, 5, 7, 5, 6, true},
		{"of the present key", false, 5, 7, 5, 5, false},
	} {
		f := &fetched{head: store.Head{Rev: tc.head}, oldKey: tc.old}
		r := &store.Repo{SeenRev: tc.seen, Identity: &store.Identity{EarlierRev: tc.earlier}}
		if got := f.overtaken(r, tc.checked); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}
