package ingest

import (
	"testing"

	"railyard/internal/refusal"
)

// A real commit was seen that could not be followed: no unchecked one is put over
// it, or the look for it would seem to be done.
func TestAnUncheckedCommitIsNotPutOverASeenOne(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	for s.in.limits.allowDesync(s.repo().Identity.HostID, s.now) {
	}
	s.want(s.tell(refusedWith(commit(50, 1, 2, nil, nil), refusal.BadTree)), rejected)
	s.want(s.tell(spared(commit(60, 1, 3, nil, nil))), waits)
	if r := s.repo(); r.Head.Rev != 10 || r.Reached(50) {
		t.Errorf("head at %d, 50 reached: %t", r.Head.Rev, r.Reached(50))
	}
}
