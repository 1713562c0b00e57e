package ingest

import (
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// old makes a commit one of Sync 1.0, which follows rev since.
func old(sl *slot, since int64) *slot {
	sl = refusedWith(sl, refusal.NoPrevData)
	sl.proof.Legacy = true
	if since != 0 {
		rev := atproto.TID(since)
		sl.proof.Since = &rev
	}
	return sl
}

// undone makes it one whose ops lead back to a tree by themselves.
func undone(sl *slot) *slot {
	sl.proof.Inverted = true
	return sl
}

// sync11 tells the story that the host has sent a complete commit before.
func (s *story) sync11() {
	s.t.Helper()
	sl := commit(11, 1, 2, nil, nil)
	sl.proof.Sync11 = true
	s.want(s.tell(sl), applied)
}

func TestWhoMaySendCommitsOfSyncOneZero(t *testing.T) {
	for _, tc := range []struct {
		mode    Sync11
		updated bool // the host has sent complete commits
		want    store.State
	}{
		{Auto, false, store.Synchronized}, {Auto, true, store.Desynchronized},
		{Strict, false, store.Desynchronized}, {Strict, true, store.Desynchronized},
		{Lenient, false, store.Synchronized}, {Lenient, true, store.Synchronized},
		{"", false, store.Synchronized}, {"", true, store.Desynchronized},
	} {
		s := newStory(t, store.KindRelay)
		s.in.cfg.Sync11 = tc.mode
		s.known(posts)
		if tc.updated {
			s.sync11()
		} else {
			s.tell(commit(11, 1, 2, nil, nil))
		}
		s.tell(old(commit(12, 0, 3, []string{likes}, nil), 11))
		if got := s.repo().State; got != tc.want {
			t.Errorf("%q, updated %t: %s, want %s", tc.mode, tc.updated, got, tc.want)
		}
	}
}

// A message that names prevData but lacks the prev of an op is a downgrade in
// every mode: its proof is not Legacy.
func TestADowngradeIsRefusedInEveryMode(t *testing.T) {
	for _, mode := range []Sync11{Auto, Strict, Lenient} {
		s := newStory(t, store.KindRelay)
		s.in.cfg.Sync11 = mode
		s.known(posts)
		s.want(s.tell(refusedWith(commit(11, 1, 2, nil, nil), refusal.NoPrevData)), rejected)
		s.wantState(store.Desynchronized, 10)
	}
}

// The commit is chained by the rev that it claims to follow. What it shows is
// applied at once, and proven by a fetch later, because it may not show all.
func TestACommitOfSyncOneZeroIsAppliedAndProvenLater(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.tell(old(commit(11, 0, 2, []string{likes}, []string{posts}), 10)), applied)
	s.wantState(store.Synchronized, 11)
	s.wantListed(likes)
	if r := s.repo(); r.Proof != store.ProofClaim {
		t.Errorf("proof %d", r.Proof)
	}
	if st := s.stats(); st.Waiting != 0 {
		t.Errorf("%d rows of the queue count as wrong", st.Waiting)
	}
	s.now = s.now.Add(legacyProof)
	if task := s.claim(store.Fetch); !task.InService || task.Reason != store.Prove {
		t.Errorf("%+v", task)
	}
	s.want(s.tell(old(commit(11, 0, 2, nil, nil), 10)), stale)
}

// Whether a collection has a key left may be hidden: then the proof is due at once.
func TestAnUnsureDeathIsProvenAtOnce(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	sl := old(commit(11, 0, 2, nil, nil), 10)
	sl.proof.Unsure = []string{posts}
	s.want(s.tell(sl), applied)
	s.wantListed(posts)
	s.claim(store.Fetch)
}

func TestACommitOfSyncOneZeroThatDoesNotFollow(t *testing.T) {
	for name, since := range map[string]int64{"another rev": 9, "no rev": 0} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.tell(old(commit(12, 0, 2, []string{likes}, nil), since)), desynchronized)
			s.wantState(store.Desynchronized, 10)
			s.wantListed(posts)
			if got := s.repo().SeenRev; got != 12 {
				t.Errorf("seen rev %d", got)
			}
		})
	}
}

// Ops that can be undone by themselves give the tree before, which is compared
// with ours: as good as Sync 1.1.
func TestACommitOfSyncOneZeroThatCanBeUndoneIsProven(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.tell(undone(old(commit(11, 1, 2, []string{likes}, nil), 0))), applied)
	s.wantListed(likes, posts)
	if r := s.repo(); r.Proof != store.ProofTree || r.Identity.Sync11 {
		t.Errorf("proof %d, sync 1.1 %t", r.Proof, r.Identity.Sync11)
	}
	s.want(s.tell(undone(old(commit(12, 7, 8, nil, nil), 11))), desynchronized)
}

// While the repo is fetched such a commit cannot wait in the buffer, unless it can
// be undone: an answer that is older than it is stale.
func TestACommitOfSyncOneZeroDuringAFetch(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(commit(12, 2, 3, nil, nil))
	task := s.claim(store.Fetch)
	s.want(s.tell(old(commit(13, 0, 4, []string{likes}, nil), 12)), waits)
	if got := s.repo().SeenRev; got != 13 || !s.current(task) {
		t.Errorf("seen rev %d, current %t", got, s.current(task))
	}
	s.want(s.tell(undone(old(commit(14, 4, 5, []string{likes}, nil), 13))), buffered)
}

func TestACommitOfSyncOneZeroOfAnInactiveAccountAsksTheHost(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(account(false, "deactivated"))
	s.update(func(tx *store.Tx) error { return tx.Done(s.repo()) })
	s.now = s.now.Add(time.Hour)
	s.want(s.tell(old(commit(11, 0, 2, []string{likes}, nil), 10)), hidden)
	s.claim(store.AskStatus)
}
