package resync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/pds"
	"railyard/internal/probe"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

func TestTheWayOfATask(t *testing.T) {
	type given struct {
		reason     store.Reason
		proof      store.Proof
		inService  bool
		distrusted bool
		absent     store.Ability
		attempts   int
	}
	for _, tc := range []struct {
		name                        string
		given                       given
		auto, describe, probe, repo way
	}{
		{"first sight", given{reason: store.FirstSight}, byDescription, byDescription, byProbe, byRepo},
		{"backfill", given{reason: store.Backfill}, byDescription, byDescription, byProbe, byRepo},
		{"backfill of an able host", given{reason: store.Backfill, absent: store.Able}, byDescription, byDescription, byProbe, byRepo},
		{"backfill of what is a claim", given{reason: store.Backfill, proof: store.ProofClaim}, byDescription, byDescription, byProbe, byRepo},
		{"first sight of what was proven", given{reason: store.FirstSight, proof: store.ProofTree}, byProbe, byDescription, byProbe, byRepo},
		{"backfill after a failure", given{reason: store.Backfill, attempts: 1}, byDescription, byDescription, byProbe, byRepo},
		{"backfill after failures", given{reason: store.Backfill, attempts: 2}, byProbe, byProbe, byProbe, byRepo},
		{"backfill after many failures", given{reason: store.Backfill, attempts: 4}, byRepo, byRepo, byRepo, byRepo},
		{"backfill of a host that lied", given{reason: store.Backfill, distrusted: true}, byProbe, byProbe, byProbe, byRepo},
		{"backfill of a bridge", given{reason: store.Backfill, absent: store.Unable}, byRepo, byRepo, byRepo, byRepo},
		{"discontinuity", given{reason: store.Discontinuity}, byProbe, byDescription, byProbe, byRepo},
		{"unprovable", given{reason: store.Unprovable}, byProbe, byDescription, byProbe, byRepo},
		{"rotated", given{reason: store.Rotated}, byProbe, byDescription, byProbe, byRepo},
		{"sync", given{reason: store.SyncEvent}, byProbe, byDescription, byProbe, byRepo},
		{"reactivated", given{reason: store.Reactivated}, byProbe, byDescription, byProbe, byRepo},
		{"identity", given{reason: store.IdentityCheck}, byProbe, byDescription, byProbe, byRepo},
		{"not found before", given{reason: store.NotFoundAgain}, byProbe, byDescription, byProbe, byRepo},
		{"audit", given{reason: store.Audit}, byProbe, byProbe, byProbe, byRepo},
		{"audit of a host that lied", given{reason: store.Audit, distrusted: true}, byProbe, byProbe, byProbe, byRepo},
		{"audit at a bridge", given{reason: store.Audit, absent: store.Unable}, byRepo, byRepo, byRepo, byRepo},
		{"proof of a claim", given{reason: store.Prove, proof: store.ProofClaim, inService: true}, byProbe, byProbe, byProbe, byRepo},
		{"proof of a claim that fell out of service", given{reason: store.Prove, proof: store.ProofClaim}, byProbe, byProbe, byProbe, byRepo},
		{"sweep of what is in service", given{reason: store.Sweep, inService: true}, byProbe, byProbe, byProbe, byRepo},
		{"backfill of a claim in service", given{reason: store.Backfill, proof: store.ProofClaim, inService: true}, byProbe, byProbe, byProbe, byRepo},
	} {
		task := &store.Task{
			Reason: tc.given.reason, InService: tc.given.inService, Attempts: tc.given.attempts,
			Repo: &store.Repo{Proof: tc.given.proof, Identity: &store.Identity{DescribeTrusted: !tc.given.distrusted, AbsentProofs: tc.given.absent}},
		}
		for m, want := range map[Method]way{Auto: tc.auto, Describe: tc.describe, Probe: tc.probe, WholeRepo: tc.repo} {
			if got := m.way(task); got != want {
				t.Errorf("%s, method %s: way %d, want %d", tc.name, m, got, want)
			}
		}
	}
}

func TestWhatARepoIsWorth(t *testing.T) {
	for records, want := range map[int64]int{0: 0, 1: 0, 218: 0, 219: 4, 691: 12, 5_560: 102, 60_000: 1000, 1 << 62: 1000} {
		if got := worth(probe.Size{Records: records}); got != want {
			t.Errorf("%d records are worth %d requests, want %d", records, got, want)
		}
	}
}

// A refusal by rate, a word about the account and silence never lead to a heavier
// request.
func TestWhichFailuresWantTheWholeRepo(t *testing.T) {
	host := func(o pds.Outcome) error { return &pds.Error{Outcome: o} }
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{host(pds.RateLimited), false},
		{host(pds.NotFound), false},
		{host(pds.Takendown), false},
		{host(pds.Suspended), false},
		{host(pds.Deactivated), false},
		{host(pds.Deleted), false},
		{host(pds.NotSynchronized), false},
		{host(pds.Transient), false},
		{host(pds.Unsupported), true},
		{fmt.Errorf("%w: %w", probe.ErrNoAbsenceProof, host(pds.NoRecord)), true},
		{refusal.New(refusal.AnswerPartial, "%w", probe.ErrNoAbsenceProof), true},
		{fmt.Errorf("%w: 5", probe.ErrRequests), true},
		{errDear, true},
		{&probe.Moved{}, true},
		{&probe.Unsuited{}, true},
		{refusal.New(refusal.AnswerInvalid, "%w", probe.ErrClaim), true},
		{refusal.New(refusal.BadCAR, "x"), true},
		{refusal.New(refusal.BadBlock, "x"), true},
		{refusal.New(refusal.BadCommit, "x"), true},
		{refusal.New(refusal.BadTree, "x"), true},
		{refusal.New(refusal.AnswerTooBig, "x"), true},
		{refusal.New(refusal.AnswerWrongDID, "x"), true},
		{refusal.New(refusal.BadSignature, "x"), false},
		{refusal.New(refusal.FutureRev, "x"), false},
		{refusal.New(refusal.AnswerTooSlow, "x"), false},
		{refusal.New(refusal.ForbiddenAddress, "x"), false},
		{refusal.New(refusal.Internal, "x"), false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{io.ErrUnexpectedEOF, false},
		{errors.New("x"), false},
	} {
		if got := wantsRepo(tc.err); got != tc.want {
			t.Errorf("%v: %t", tc.err, got)
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
