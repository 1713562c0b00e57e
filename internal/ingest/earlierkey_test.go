package ingest

import (
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// A host that goes on signing with an earlier key: such commits are never taken from
// a stream, but the host is asked for its head. It is not, where the present key has
// signed already.
func TestACommitOfAnEarlierKeyMakesUsAskItsHost(t *testing.T) {
	for name, tc := range map[string]struct {
		earlier atproto.TID
		asks    bool
	}{
		"the head is by an earlier key":  {10, true},
		"the head is by the present key": {0, false},
		"the key changed before it":      {9, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.signedEarlier(tc.earlier)
			s.want(s.judge(refusedWith(commit(11, 1, 2, []string{likes}, nil), refusal.BadSignature)), repostate.Refused)
			s.wantState(repostate.Synchronized, 10)
			if s.listed(likes) {
				t.Error("the commit was taken")
			}
			s.now = s.now.Add(repostate.MissedGrace)
			if got := s.lease(repostate.Resolve).Repo.Waiting; (got.WantRev == 11) != tc.asks {
				t.Errorf("wanted: rev %d", got.WantRev)
			}
		})
	}
}

// Somebody else's commits of this kind cause no more attempts than the host's share.
func TestForgedCommitsOfAnEarlierKeyAreLimited(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for s.budget().Desync() {
	}
	s.signedEarlier(10)
	s.judge(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature))
	s.now = s.now.Add(time.Minute)
	if got := s.lease(repostate.Resolve).Repo.Waiting; got.WantRev != 0 {
		t.Errorf("wanted: rev %d", got.WantRev)
	}
}
