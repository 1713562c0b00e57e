package establish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"railyard/internal/pds"
	"railyard/internal/refusal"
)

func TestTheMethodOfARequest(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		request               Request
		auto, describe, probe Method
	}{
		{"of what is new", Request{New: true}, Describe, Describe, Probe},
		{"after a failure", Request{New: true, Attempts: 1}, Describe, Describe, Probe},
		{"after failures", Request{New: true, Attempts: 2}, Probe, Probe, Probe},
		{"after many failures", Request{New: true, Attempts: 4}, WholeRepo, WholeRepo, WholeRepo},
		{"of a host that was wrong", Request{New: true, WrongDescription: true}, Probe, Probe, Probe},
		{"of a bridge", Request{New: true, NoAbsenceProofs: true}, WholeRepo, WholeRepo, WholeRepo},
		{"of what was proven before", Request{}, Probe, Describe, Probe},
		{"for a proof", Request{MustProve: true}, Probe, Probe, Probe},
		{"for the proof of what is new", Request{New: true, MustProve: true}, Probe, Probe, Probe},
		{"for a proof at a bridge", Request{MustProve: true, NoAbsenceProofs: true}, WholeRepo, WholeRepo, WholeRepo},
	} {
		for m, want := range map[Method]Method{Auto: tc.auto, Describe: tc.describe, Probe: tc.probe, WholeRepo: WholeRepo} {
			if got := m.choose(&tc.request); got != want {
				t.Errorf("%s, method %s: %s, want %s", tc.name, m, got, want)
			}
		}
	}
}

func TestTheBudgetOfARepo(t *testing.T) {
	for records, want := range map[int64]int{0: 0, 1: 0, 218: 0, 219: 4, 691: 12, 5_560: 102, 60_000: 1000, 1 << 62: 1000} {
		if got := budget(records); got != want {
			t.Errorf("%d records have a budget of %d requests, want %d", records, got, want)
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
		{fmt.Errorf("%w: %w", errNoAbsenceProof, host(pds.NoRecord)), true},
		{refusal.New(refusal.AnswerPartial, "%w", errNoAbsenceProof), true},
		{fmt.Errorf("%w: 5", errExpensive), true},
		{fmt.Errorf("%w: x", errMoved), true},
		{refusal.New(refusal.AnswerInvalid, "%w", errDescription), true},
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
