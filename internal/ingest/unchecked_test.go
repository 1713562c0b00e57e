package ingest

import (
	"testing"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/store"
)

// sparing is a story of a service that checks signatures only where the set
// changes.
func sparing(t *testing.T) *story {
	s := newStory(t, store.KindRelay)
	s.in.cfg.Changes = true
	return s
}

// spared makes a commit one whose signature nobody looked at.
func spared(sl *slot) *slot {
	sl.proof.Unchecked = true
	sl.cid = sl.proof.Commit
	return sl
}

func signed(sl *slot) *slot {
	sl.cid = sl.proof.Commit
	return sl
}

// An unchecked commit moves the head and writes no row, whatever it names.
func TestAnUncheckedCommitMovesTheHeadAlone(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.want(s.tell(spared(commit(11, 1, 2, []string{likes}, []string{posts}))), applied)
	s.wantState(store.Synchronized, 11)
	s.wantListed(posts)
	if r := s.repo(); !r.Unchecked || r.SeenRev != 10 {
		t.Errorf("unchecked %t, seen rev %d", r.Unchecked, r.SeenRev)
	}
	s.want(s.tell(signed(commit(12, 2, 3, []string{likes}, nil))), applied)
	s.wantListed(likes, posts)
	if s.repo().Unchecked {
		t.Error("a head whose signature was checked is said to be unchecked")
	}
}

// The copies of a second relay are repetitions, and so is what lies below the last
// head that was checked. Any other commit that is not newer contradicts the head.
func TestACommitThatIsNotNewerThanAnUncheckedHead(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ev    *slot
		want  verdict
		state store.State
	}{
		{"the copy of another relay", spared(commit(11, 1, 2, nil, nil)), stale, store.Synchronized},
		{"the head again", signed(commit(12, 2, 3, nil, nil)), stale, store.Synchronized},
		{"below the last checked head", signed(commit(9, 0, 1, nil, nil)), stale, store.Synchronized},
		{"another commit of its rev", signed(commit(12, 2, 7, nil, nil)), desynchronized, store.Desynchronized},
		{"another commit below it", signed(commit(11, 1, 7, nil, nil)), desynchronized, store.Desynchronized},
		{"another unchecked one below it", spared(commit(11, 1, 7, nil, nil)), desynchronized, store.Desynchronized},
		{"a sync below it", syncAt(11, 7), desynchronized, store.Desynchronized},
		{"what is not signed", refusedWith(commit(11, 1, 7, nil, nil), refusal.BadSignature), rejected, store.Synchronized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sparing(t)
			s.known(posts)
			s.tell(spared(commit(11, 1, 2, nil, nil)))
			s.tell(spared(commit(12, 2, 3, nil, nil)))
			s.want(s.tell(tc.ev), tc.want)
			s.wantState(tc.state, 12)
			s.wantListed(posts)
		})
	}
}

// The forged head lies ahead of the account's real commits. They are not taken for
// old ones, and the host's answer is not taken for a stale one.
func TestAForgedHeadDoesNotHideWhatTheAccountDoes(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.want(s.tell(spared(commit(90, 1, 66, nil, nil))), applied)
	s.want(s.tell(signed(commit(11, 1, 2, []string{likes}, nil))), desynchronized)
	task := s.claim(store.Fetch)
	if r := s.repo(); r.Floor() != 11 || task.WantRev != 90 {
		t.Errorf("an answer below %s counts as stale; wanted %d", r.Floor(), task.WantRev)
	}
	s.want(s.tell(signed(commit(12, 2, 3, nil, nil))), buffered)
	s.want(s.tell(spared(commit(91, 66, 67, nil, nil))), buffered)
	if r := s.repo(); r.SeenRev != 12 {
		t.Errorf("seen rev %d: a rev that nobody signed", r.SeenRev)
	}
}

// A listing finds the commit that a forged head was meant to hide.
func TestAListedRevBelowAnUncheckedHeadIsLookedAt(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.tell(spared(commit(90, 1, 66, nil, nil)))
	for rev, want := range map[int64]bool{9: false, 10: false, 90: false, 50: true, 91: true} {
		s.update(func(tx *store.Tx) error {
			r, err := tx.RepoByDID(alice)
			if err != nil {
				return err
			}
			if err := tx.Done(r); err != nil {
				return err
			}
			if _, err = tx.AddListed([]store.Listed{{DID: alice, Rev: head(rev, 1).Rev, Active: true}}); err != nil {
				return err
			}
			queued, _, err := tx.Queued(r)
			if queued != want {
				t.Errorf("listed at rev %d: queued %t", rev, queued)
			}
			return err
		})
	}
}

// While its repo is out of service an unchecked commit leaves its rev as a hint.
func TestAnUncheckedCommitOfAWaitingRepoIsAHint(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.tell(signed(commit(12, 2, 3, nil, nil)))
	s.want(s.tell(spared(commit(13, 3, 4, nil, nil))), waits)
	if got := s.repo().SeenRev; got != 12 {
		t.Errorf("seen rev %d", got)
	}
	if task := s.claim(store.Fetch); task.WantRev != 13 {
		t.Errorf("wanted rev %d", task.WantRev)
	}
}

// A host one of whose accounts had a wrong signature, or a head that was
// contradicted, is watched for a day, across restarts too.
func TestAHostThatWasCaughtIsWatched(t *testing.T) {
	for name, caught := range map[string]func(s *story){
		"by a signature": func(s *story) { s.tell(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature)) },
		"by a contradiction": func(s *story) {
			s.tell(spared(commit(90, 1, 66, nil, nil)))
			s.tell(signed(commit(11, 1, 2, nil, nil)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sparing(t)
			s.known(posts)
			host := s.repo().Identity.HostID
			spares := func(u *unchecked) bool {
				for range 100 {
					if u.skips(host, s.now) {
						return true
					}
				}
				return false
			}
			if !spares(s.in.unchecked) {
				t.Fatal("every signature is checked")
			}
			caught(s)
			again, err := newUnchecked(t.Context(), s.st, 0, s.now)
			if err != nil {
				t.Fatal(err)
			}
			if spares(s.in.unchecked) || spares(again) {
				t.Error("it is not watched")
			}
			s.now = s.now.Add(watchTime + time.Second)
			if !spares(s.in.unchecked) || !spares(again) {
				t.Error("it is watched for ever")
			}
		})
	}
}

func TestOneSignatureInAFewIsChecked(t *testing.T) {
	u, err := newUnchecked(t.Context(), sparing(t).st, 4, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for range 4000 {
		if !u.skips(1, time.Now()) {
			checked++
		}
	}
	if checked < 800 || checked > 1200 {
		t.Errorf("%d of 4000 are checked, want one in four", checked)
	}
}
