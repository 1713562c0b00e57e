package ingest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const (
	alice   = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	likes   = "com.example.like"
	posts   = "com.example.post"
	homeKey = "home key"
	home    = "pds.home.test"
)

// story judges events, one batch each, and checks what became of
// the repo. Proofs are made up: whether they are right is package verify's.
type story struct {
	t    *testing.T
	path string
	st   *store.Store
	in   *Ingest
	up   *upstream
	now  time.Time
	seq  int64
}

func newStory(t *testing.T, kind store.Kind, others ...string) *story {
	s := &story{t: t, path: filepath.Join(t.TempDir(), "index.db"), now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	st, err := store.Open(t.Context(), store.Config{
		Path: s.path, Version: "test", Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	s.st = st
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s.in, err = New(t.Context(), Config{
		Store: st, Upstreams: append([]string{"http://relay.test"}, others...), Log: log, Now: func() time.Time { return s.now },
		Kind:     func(context.Context, string) (store.Kind, string, error) { return kind, "", nil },
		HostName: func(base string) (string, error) { return base[len("http://"):], nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.up = s.in.upstreams[0]
	s.up.kind.Store(kind)
	return s
}

func (s *story) update(fn func(tx *store.Tx) error) {
	s.t.Helper()
	if err := s.st.Update(s.t.Context(), "test", fn); err != nil {
		s.t.Fatal(err)
	}
}

func tree(n byte) atproto.Digest { return atproto.Digest{0: n} }
func cid(n byte) atproto.Digest  { return atproto.Digest{31: n} }

func head(rev int64, n byte) repostate.Head {
	return repostate.Head{Rev: atproto.TID(rev), Data: tree(n), CID: cid(n)}
}

// known puts alice into service at rev 10 with tree 1.
func (s *story) known(collections ...string) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		r, err := testrepo.Add(tx, alice)
		if err != nil {
			return err
		}
		if _, err := testrepo.SetIdentity(tx, r, homeKey, home, false); err != nil {
			return err
		}
		_, _, err = testrepo.Establish(tx, r, head(10, 1), collections, repostate.ProofTree)
		return err
	})
	s.now = s.now.Add(time.Hour) // the identity is not fresh
}

// resolve makes the identity fresh.
func (s *story) resolve() {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err == nil {
			_, err = testrepo.SetIdentity(tx, r, homeKey, home, false)
		}
		return err
	})
}

// judge judges one event in a batch of its own.
func (s *story) judge(sl *slot) repostate.Outcome {
	s.t.Helper()
	s.seq++
	sl.up, sl.cursor = s.up, s.seq
	if sl.frame.DID == "" {
		sl.frame.DID = alice
	}
	sl.done = make(chan struct{})
	var v repostate.Outcome
	s.update(func(tx *store.Tx) (err error) {
		b := &batch{in: s.in, tx: tx}
		if v, err = b.judge(sl); err != nil {
			return err
		}
		if err := tx.AddRefusals(b.refused); err != nil {
			return err
		}
		return b.cursors([]*slot{sl}, nil)
	})
	return v
}

// commit is a proven #commit at a rev, from one tree to another.
func commit(rev int64, from, to byte, present, died []string) *slot {
	h := head(rev, to)
	return &slot{kind: commitEvent, key: homeKey, rev: h.Rev, proof: proof{
		Rev: h.Rev, Commit: h.CID, Data: h.Data, Prev: tree(from), Present: present, Died: died,
	}}
}

func syncAt(rev int64, to byte) *slot {
	sl := commit(rev, 0, to, nil, nil)
	sl.kind = syncEvent
	return sl
}

func refusedWith(sl *slot, reason refusal.Reason) *slot {
	sl.refusal = refusal.New(reason, "made up")
	if !reason.AfterSignature() {
		sl.proof = proof{}
	}
	return sl
}

func account(active bool, status string) *slot {
	return &slot{kind: accountEvent, frame: event.Frame{Event: &event.Account{DID: alice, Active: active, Status: status}}}
}

func (s *story) repo() *repostate.Repo {
	s.t.Helper()
	var r *repostate.Repo
	err := s.st.View(s.t.Context(), func(rx *store.Rx) (err error) {
		r, err = rx.RepoByDID(alice)
		return err
	})
	if err != nil || r == nil {
		s.t.Fatalf("repo: %v, %v", r, err)
	}
	return r
}

func (s *story) listed(collection string) bool {
	s.t.Helper()
	var p store.Page
	err := s.st.View(s.t.Context(), func(rx *store.Rx) error { return rx.List(&p, []string{collection}, 0, 10) })
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.Contains(p.DIDs(), alice)
}

func (s *story) stats() store.Stats {
	s.t.Helper()
	var st store.Stats
	err := s.st.View(s.t.Context(), func(rx *store.Rx) (err error) {
		st, err = rx.Stats()
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// leaseDue leases what is due.
func leaseDue(tx *store.Tx) (all []*repostate.Attempt, err error) {
	for {
		hosts, err := tx.ReadyHosts(100, 100)
		if err != nil || len(hosts) == 0 {
			return all, err
		}
		for _, h := range hosts {
			a, err := tx.Lease(h, h.NextAt, tx.Env())
			if a != nil && err == nil {
				all, err = append(all, a), tx.FinishAttempt(h.ID, h.NextAt)
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// lease takes what is due and returns the one attempt that there must be.
func (s *story) lease(step repostate.Step) *repostate.Attempt {
	s.t.Helper()
	var attempts []*repostate.Attempt
	s.update(func(tx *store.Tx) (err error) {
		attempts, err = leaseDue(tx)
		return err
	})
	if len(attempts) != 1 || attempts[0].Step != step {
		s.t.Fatalf("%d rows are due, want 1 and step %d: %+v", len(attempts), step, attempts)
	}
	return attempts[0]
}

// end finishes an attempt.
func (s *story) end(a *repostate.Attempt, e repostate.Result) {
	s.t.Helper()
	e.Attempt = a
	s.change(func(tx *store.Tx, r *repostate.Repo) error {
		env := tx.Env()
		env.Budget, env.Backoff = testrepo.Unlimited{}, func(first, _ time.Duration, _ int) time.Duration { return first }
		_, err := tx.Apply(r, repostate.Decide(r, e, env))
		return err
	})
}

// current reports whether what an attempt brings is not void.
func (s *story) current(a *repostate.Attempt) bool {
	s.t.Helper()
	return s.repo().Waiting.Generation == a.Repo.Waiting.Generation
}

// change changes what is known of alice.
func (s *story) change(fn func(tx *store.Tx, r *repostate.Repo) error) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
}

// signedEarlier makes what was seen up to a rev the work of an earlier key.
func (s *story) signedEarlier(rev atproto.TID) {
	s.t.Helper()
	next := s.repo()
	next.Identity.EarlierRev = rev
	s.change(func(tx *store.Tx, r *repostate.Repo) error {
		_, err := tx.Apply(r, repostate.Decision{Repo: next})
		return err
	})
}

// budget is what is left to the upstream, for alice.
func (s *story) budget() repostate.Budget {
	s.t.Helper()
	return s.in.limits.of(s.up.id, s.repo(), s.now)
}

func (s *story) want(got, want repostate.Outcome) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("outcome %s, want %s", got, want)
	}
}

func (s *story) wantState(state repostate.State, rev int64) {
	s.t.Helper()
	r := s.repo()
	if r.State != state {
		s.t.Errorf("state %s, want %s", r.State, state)
	}
	if got := int64(0); r.Head != nil {
		if got = int64(r.Head.Rev); got != rev {
			s.t.Errorf("head at rev %d, want %d", got, rev)
		}
	} else if rev != 0 {
		s.t.Errorf("no head, want rev %d", rev)
	}
}

func (s *story) wantListed(want ...string) {
	s.t.Helper()
	for _, c := range []string{likes, posts} {
		if got := s.listed(c); got != slices.Contains(want, c) {
			s.t.Errorf("listed under %s: %t", c, got)
		}
	}
	if got := s.stats().Memberships; got != int64(len(want)) {
		s.t.Errorf("%d memberships counted, want %d", got, len(want))
	}
}

func TestACommitThatFollowsBearsAndKills(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(commit(11, 1, 2, []string{likes}, []string{posts})), repostate.Applied)
	s.wantState(repostate.Synchronized, 11)
	s.wantListed(likes)
	s.want(s.judge(commit(11, 1, 2, []string{likes}, []string{posts})), repostate.Stale) // the other relay's copy
	s.want(s.judge(commit(10, 0, 1, []string{posts}, nil)), repostate.Stale)             // a replay
	s.wantListed(likes)
	if n := s.stats().Waiting; n != 0 {
		t.Errorf("%d rows in the queue", n)
	}
}

// Whatever came between, what leads to the tree that we hold leaves the rows right.
func TestTheTreeThatWeHoldUnderANewRev(t *testing.T) {
	for name, ev := range map[string]*slot{"commit": commit(12, 7, 1, nil, nil), "sync": syncAt(12, 1)} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.judge(ev), repostate.Applied)
			s.wantState(repostate.Synchronized, 12)
			s.wantListed(posts)
			if st := s.stats(); st.Waiting+st.WaitingLater != 0 {
				t.Error("an attempt is queued")
			}
		})
	}
}

func TestACommitThatDoesNotFollowIsNotArguedWith(t *testing.T) {
	for _, tc := range []struct {
		name string
		ev   *slot
		want repostate.Outcome
		seen int64
	}{
		{"broken chain", commit(12, 2, 3, []string{likes}, nil), repostate.Broken, 12},
		{"equal rev with another commit", commit(10, 0, 7, nil, nil), repostate.Broken, 10},
		{"a sync with other data", syncAt(12, 3), repostate.Broken, 12},
		{"a key that is not the row's", func() *slot { sl := commit(11, 1, 2, nil, nil); sl.key = "old key"; return sl }(), repostate.Broken, 0},
		{"a real commit with a broken tree", refusedWith(commit(11, 1, 2, nil, nil), refusal.BadTree), repostate.Refused, 11},
		{"a real commit of Sync 1.0", refusedWith(commit(11, 1, 2, nil, nil), refusal.NoPrev), repostate.Refused, 11},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.judge(tc.ev), tc.want)
			s.wantState(repostate.Desynchronized, 10)
			s.wantListed(posts) // its rows stay until a fetch has proven others
			if got := int64(s.repo().SeenRev); got != tc.seen {
				t.Errorf("seen rev %d, want %d", got, tc.seen)
			}
			if n := s.stats().Waiting; n != 1 {
				t.Errorf("%d rows in the queue, want 1", n)
			}
		})
	}
}

func TestWhatIsNotSignedChangesNothing(t *testing.T) {
	for _, reason := range []refusal.Reason{refusal.BadCAR, refusal.BadBlock, refusal.BadCommit, refusal.CommitMismatch} {
		t.Run(string(reason), func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.judge(refusedWith(commit(11, 1, 2, nil, nil), reason)), repostate.Refused)
			s.wantState(repostate.Synchronized, 10)
			if n := s.stats().Waiting; n != 0 {
				t.Errorf("%d rows in the queue", n)
			}
			s.want(s.judge(commit(11, 1, 2, []string{likes}, nil)), repostate.Applied)
		})
	}
}

// A bad signature can mean that the key was rotated: the document is looked up,
// and the repo stays in service, because a lying upstream must not be able to
// take it out.
func TestABadSignatureQueuesALookUp(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature)), repostate.Refused)
	s.wantState(repostate.Synchronized, 10)
	if !s.repo().Identity.Stale {
		t.Error("the identity is not stale")
	}
	if got := s.lease(repostate.Resolve); got.Repo.Waiting.Reason != repostate.IdentityCheck {
		t.Errorf("reason %s", got.Repo.Waiting.Reason)
	}
	s.want(s.judge(commit(11, 1, 2, []string{likes}, nil)), repostate.Applied)
}

// An identity that was resolved a moment ago is believed for a minute, then
// looked up again: the request must not be lost, because no other event may come.
func TestABadSignatureJustAfterAResolutionWaits(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.resolve()
	s.judge(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature))
	s.update(func(tx *store.Tx) error {
		if attempts, err := leaseDue(tx); len(attempts) != 0 {
			t.Errorf("looked up at once: %v", err)
		}
		return nil
	})
	s.now = s.now.Add(time.Minute + time.Second)
	s.lease(repostate.Resolve)
}

func TestTheFirstSightOfARepoQueuesIt(t *testing.T) {
	for name, ev := range map[string]*slot{
		"commit": commit(11, 1, 2, nil, nil), "sync": syncAt(11, 2),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.want(s.judge(ev), repostate.Waits)
			s.wantState(repostate.Candidate, 0)
			if got := s.lease(repostate.Resolve); got.Repo.Waiting.Reason != repostate.FirstSight {
				t.Errorf("reason %s", got.Repo.Waiting.Reason)
			}
		})
	}
}

// Nothing is known of a repo of which only an #identity or #account tells: DIDs are
// easily invented.
func TestWordsAboutAnUnknownDIDLeaveNoRow(t *testing.T) {
	s := newStory(t, store.KindRelay)
	for _, ev := range []*slot{account(true, ""), account(false, "deleted"), {kind: identityEvent}} {
		s.want(s.judge(ev), repostate.Noted)
	}
	if r := s.repoOf(alice); r != nil {
		t.Errorf("a row: %+v", r)
	}
}

// While a repo is fetched its commits wait in the buffer. A #sync that repeats
// one of them says nothing new; any other, and a commit that cannot be kept,
// makes the fetch void.
func TestCommitsWaitWhileTheRepoIsFetched(t *testing.T) {
	fetching := func(t *testing.T) (*story, *repostate.Attempt) {
		s := newStory(t, store.KindRelay)
		s.known(posts)
		s.judge(commit(12, 2, 3, nil, nil)) // a gap
		attempt := s.lease(repostate.Fetch)
		s.wantState(repostate.Resyncing, 10)
		s.want(s.judge(commit(13, 3, 4, []string{likes}, nil)), repostate.Kept)
		return s, attempt
	}
	t.Run("and the fetch stays good", func(t *testing.T) {
		s, attempt := fetching(t)
		s.want(s.judge(commit(13, 3, 4, []string{likes}, nil)), repostate.Kept)
		s.want(s.judge(syncAt(13, 4)), repostate.Noted)
		if !s.current(attempt) {
			t.Error("the fetch is void")
		}
		s.wantListed(posts)
	})
	for name, ev := range map[string]*slot{
		"another sync":                              syncAt(14, 9),
		"a sync below what was buffered":            syncAt(11, 9),
		"another commit of the same rev":            commit(13, 3, 9, nil, nil),
		"a real commit that cannot be proven":       refusedWith(commit(14, 4, 5, nil, nil), refusal.InversionFailed),
		"a commit that was proven with no key":      func() *slot { sl := commit(14, 4, 5, nil, nil); sl.key = ""; return sl }(),
		"an account event that hides the repo":      account(false, "takendown"),
		"an account event that asks for an attempt": account(false, "throttled"),
	} {
		t.Run(name+" makes it void", func(t *testing.T) {
			s, attempt := fetching(t)
			s.judge(ev)
			if s.current(attempt) {
				t.Error("the fetch is still good")
			}
		})
	}
	t.Run("and an answer older than a sync is stale", func(t *testing.T) {
		s, _ := fetching(t)
		s.want(s.judge(syncAt(14, 9)), repostate.Broken)
		if s.repo().SeenRev != 14 {
			t.Errorf("seen rev %d", s.repo().SeenRev)
		}
	})
	t.Run("and too many of them make it void", func(t *testing.T) {
		s, attempt := fetching(t)
		var v repostate.Outcome
		for i := range int64(300) {
			if v = s.judge(commit(14+i, byte(4+i), byte(5+i), nil, nil)); v != repostate.Kept {
				break
			}
		}
		s.want(v, repostate.Broken)
		if s.current(attempt) {
			t.Error("the fetch is still good")
		}
		if s.repo().SeenRev < 200 {
			t.Errorf("seen rev %d: what was dropped is forgotten", s.repo().SeenRev)
		}
	})
}

func TestTheHostItselfDecidesOnTheAccount(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.want(s.judge(account(false, "deactivated")), repostate.Hidden)
	s.wantListed()
	if n := s.stats().Waiting; n != 0 {
		t.Errorf("%d rows in the queue", n)
	}
	s.want(s.judge(account(true, "")), repostate.Checked)
	s.wantListed() // until a fetch has proven the set
	s.wantState(repostate.Desynchronized, 10)
	if got := s.lease(repostate.Fetch); got.Repo.Waiting.Reason != repostate.Reactivated {
		t.Errorf("reason %s", got.Repo.Waiting.Reason)
	}
}

// The account may have moved while we missed the #identity: the old host's word
// hides it, and the document is looked up, so that the new host can be asked.
func TestAHostThatIsKnownFromAnOldDocumentIsLookedUp(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.up.host = home
	s.want(s.judge(account(false, "deactivated")), repostate.Hidden)
	if got := s.lease(repostate.Resolve); got.Repo.Waiting.Reason != repostate.IdentityCheck {
		t.Errorf("reason %s", got.Repo.Waiting.Reason)
	}
}

// A second attempt after "not found" is no reason to overlook the host's word: a
// fetch under way would make the account visible again.
func TestTheHostsWordVoidsASecondAttempt(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.judge(commit(12, 2, 3, nil, nil))
	s.lease(repostate.Fetch)
	s.change(func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Retry(tx, r, repostate.NotFoundAgain, tx.Now(), true, true)
	})
	attempt := s.lease(repostate.Fetch)
	s.judge(account(false, "deactivated"))
	if s.current(attempt) {
		t.Error("the fetch is still good")
	}
}

// Relays repeat what hosts say, and hosts repeat themselves. Of an account that is
// asked about later, a copy says nothing new.
func TestCopiesOfAStatusKeepThePauseOfAnAccount(t *testing.T) {
	for _, kind := range []store.Kind{store.KindRelay, store.KindPDS} {
		t.Run(string(kind), func(t *testing.T) {
			s := newStory(t, kind)
			s.known(posts)
			s.resolve()
			s.up.host = home
			s.judge(account(false, "deactivated"))
			s.change(func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Enqueue(tx, r, repostate.StatusCheck, tx.Now())
			})
			s.lease(repostate.AskStatus)
			s.change(func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Retry(tx, r, repostate.StatusCheck, tx.Now().Add(time.Hour), true, false)
			})
			s.judge(account(false, "deactivated"))
			s.update(func(tx *store.Tx) error {
				attempts, err := leaseDue(tx)
				if len(attempts) != 0 {
					t.Error("it is due at once")
				}
				return err
			})
		})
	}
}

// The reason of a row is for people. What it stands for adds up: an identity
// check that waits must not swallow a status check, or a rev that was missed.
func TestARowStandsForAllThatWasAsked(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(&slot{kind: identityEvent})
	s.judge(account(false, "newword"))
	s.change(func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.EnqueueMissed(tx, r, tx.Now(), 99)
	})
	if w := s.lease(repostate.Resolve).Repo.Waiting; !w.AskStatus || w.WantRev != 99 || w.IdentityChecks != 2 {
		t.Errorf("row %+v", w)
	}
}

// One account that repeats #identity costs one attempt per minimum age, and takes nothing
// from the others.
func TestARepeatedIdentityEventIsOneAttempt(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for range 1000 {
		s.judge(&slot{kind: identityEvent})
	}
	s.lease(repostate.Resolve)
	for range 1000 {
		if _, ok := s.budget().Check(); !ok {
			return // the limit is there for others, and the loop of events did not use it up
		}
	}
	t.Error("no limit")
}

// The second look-up of an unchanged document waits in the background. A rotation
// that happens meanwhile makes the repo wrong, and it must count as such.
func TestADoubtBringsASecondAttemptForward(t *testing.T) {
	for name, ev := range map[string]*slot{
		"identity": {kind: identityEvent}, "signature": refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.judge(&slot{kind: identityEvent})
			s.lease(repostate.Resolve)
			s.update(func(tx *store.Tx) error {
				r, err := tx.RepoByDID(alice)
				if err != nil {
					return err
				}
				if err := testrepo.MarkStale(tx, r); err != nil {
					return err
				}
				return testrepo.Retry(tx, r, repostate.IdentityCheck, tx.Now().Add(time.Hour), false, true)
			})
			if s.stats().Waiting != 0 {
				t.Fatal("the second look-up counts")
			}
			s.judge(ev)
			if s.stats().Waiting != 1 {
				t.Error("the repo may be wrong, and nothing says so")
			}
			s.lease(repostate.Resolve)
		})
	}
}

// An attempt that failed backs off; an #identity says that trying again may help.
func TestAnIdentityEventBringsARetryForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(&slot{kind: identityEvent})
	s.lease(repostate.Resolve)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		if err := testrepo.MarkStale(tx, r); err != nil {
			return err
		}
		return testrepo.Retry(tx, r, repostate.IdentityCheck, tx.Now().Add(time.Hour), true, false)
	})
	s.judge(&slot{kind: identityEvent})
	s.lease(repostate.Resolve)
}

// The directory has said that a DID does not exist, and is asked once more ten
// minutes later. Whatever the account sends meanwhile is no reason to ask sooner,
// but for an #identity.
func TestADIDThatDoesNotResolveIsNotAskedForByEachEvent(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(&slot{kind: identityEvent})
	s.judge(commit(12, 7, 8, nil, nil)) // does not follow
	s.end(s.lease(repostate.Resolve), repostate.Result{Failure: &repostate.Failure{Kind: repostate.FailedNoDID}})
	s.now = s.now.Add(time.Minute)
	for rev := range int64(5) {
		s.want(s.judge(commit(13+rev, 8, 9, nil, nil)), repostate.Waits)
		s.want(s.judge(refusedWith(commit(13+rev, 8, 9, nil, nil), refusal.BadSignature)), repostate.Refused)
	}
	if n := s.due(); n != 0 {
		t.Errorf("%d attempts are due after an event", n)
	}
	s.judge(&slot{kind: identityEvent})
	if n := s.due(); n != 1 {
		t.Errorf("%d attempts are due after an #identity", n)
	}
	s.lease(repostate.Resolve)
}

// due returns the number of rows that could be leased.
func (s *story) due() (n int) {
	s.t.Helper()
	undone := errors.New("undone")
	err := s.st.Update(s.t.Context(), "test", func(tx *store.Tx) error {
		attempts, err := leaseDue(tx)
		n = len(attempts)
		return errors.Join(err, undone)
	})
	if !errors.Is(err, undone) {
		s.t.Fatal(err)
	}
	return n
}

func TestTheLimitOfAHostDelaysAndLosesNothing(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for ok := true; ok; _, ok = s.budget().Check() {
		continue
	}
	s.judge(&slot{kind: identityEvent})
	if got := s.lease(repostate.Resolve).Repo.Waiting.Priority; got != repostate.PriorityBackground {
		t.Errorf("priority %d", got)
	}
}

// A commit that we could not judge for a reason of our own, or for one more than
// the limit of its host, is not forgotten: the host is asked unless the head gets
// there.
func TestACommitThatCannotBeJudgedIsSweptFor(t *testing.T) {
	for _, reason := range []refusal.Reason{refusal.Internal, refusal.FutureRev, refusal.BadTree} {
		t.Run(string(reason), func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			for reason == refusal.BadTree && s.budget().Desync() {
				continue
			}
			s.want(s.judge(refusedWith(commit(11, 1, 2, nil, nil), reason)), repostate.Refused)
			s.wantState(repostate.Synchronized, 10)
			s.now = s.now.Add(repostate.MissedGrace)
			if attempt := s.lease(repostate.Fetch); attempt.Repo.Waiting.WantRev != 11 || !attempt.WasSynchronized() {
				t.Errorf("attempt %+v of row %+v", attempt, attempt.Repo.Waiting)
			}
		})
	}
}

// The same while the repo is being fetched: the fetch may have read an older tree.
func TestACommitThatCannotBeJudgedDuringAFetchIsSweptFor(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(commit(12, 2, 3, nil, nil))
	attempt := s.lease(repostate.Fetch)
	s.judge(refusedWith(commit(13, 3, 4, nil, nil), refusal.Internal))
	if want := s.repo().Waiting.WantRev; !s.current(attempt) || want != 13 {
		t.Errorf("wanted rev %d", want)
	}
}

// So is a rev that a listing shows.
func TestAListedRevDuringAFetchIsNotForgotten(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.judge(commit(12, 2, 3, nil, nil))
	attempt := s.lease(repostate.Fetch)
	s.update(func(tx *store.Tx) error {
		return testrepo.List(tx, map[string]repostate.Entry{alice: {Rev: 13, Active: true}})
	})
	if want := s.repo().Waiting.WantRev; !s.current(attempt) || want != 13 {
		t.Errorf("wanted rev %d", want)
	}
}

func TestADeletedAccountLeavesNothing(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts, likes)
	s.resolve()
	s.up.host = home
	s.judge(account(false, "deleted"))
	s.wantListed()
	s.wantState(repostate.Candidate, 0)
	s.judge(account(true, ""))
	s.wantListed()
	s.lease(repostate.Fetch)
}

// The old host of a moved account goes on sending: neither its words nor its
// commits count, but the document is looked up.
func TestAForeignHostIsRefused(t *testing.T) {
	for name, ev := range map[string]*slot{
		"account": account(false, "deactivated"), "commit": commit(11, 1, 2, []string{likes}, nil), "sync": syncAt(11, 2),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindPDS)
			s.known(posts)
			s.up.host = "old.host.test"
			s.want(s.judge(ev), repostate.Refused)
			s.wantState(repostate.Synchronized, 10)
			s.wantListed(posts)
			if !s.repo().Identity.Stale {
				t.Error("the identity is not looked up")
			}
		})
	}
}

func TestARelaysWordOnAnAccountIsChecked(t *testing.T) {
	for _, tc := range []struct {
		ev     *slot
		want   repostate.Outcome
		hidden bool
	}{
		{account(false, "takendown"), repostate.Hidden, true},
		{account(false, "suspended"), repostate.Hidden, true},
		{account(false, "deactivated"), repostate.Hidden, true},
		{account(false, "deleted"), repostate.Hidden, true},
		{account(false, "throttled"), repostate.Checked, false},
		{account(false, "desynchronized"), repostate.Checked, false},
		{account(false, "newword"), repostate.Hidden, true},
		{account(false, ""), repostate.Hidden, true},
		{account(true, ""), repostate.Noted, false},
	} {
		t.Run(tc.ev.frame.Event.(*event.Account).Status, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.judge(tc.ev), tc.want)
			if s.listed(posts) == tc.hidden {
				t.Errorf("hidden: %t", !tc.hidden)
			}
			if tc.want != repostate.Noted {
				if got := s.lease(repostate.AskStatus); got.Repo.Waiting.Reason != repostate.StatusCheck {
					t.Errorf("reason %s", got.Repo.Waiting.Reason)
				}
			}
		})
	}
}

// Each word of a relay that is not what the index holds is a question. None is an
// answer: what its host has said it does not take back, and it ends nothing for good.
func TestTheWordsOfARelayAreQuestions(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for _, word := range []struct {
		ev     *slot
		want   repostate.Outcome
		status string
	}{
		{account(false, "takendown"), repostate.Hidden, "takendown"},
		{account(false, "takendown"), repostate.Noted, "takendown"},
		{account(false, "deleted"), repostate.Checked, "takendown"},
		{account(true, ""), repostate.Checked, "takendown"},
	} {
		s.want(s.judge(word.ev), word.want)
		if r := s.repo(); r.Active || r.Status != word.status {
			t.Errorf("active %t, status %q", r.Active, r.Status)
		}
		s.wantState(repostate.Desynchronized, 10)
		if word.want == repostate.Noted {
			continue
		}
		s.lease(repostate.AskStatus)
		s.change(func(tx *store.Tx, r *repostate.Repo) error { // the host says so too, and the row goes
			if err := testrepo.Hide(tx, r, r.Status); err != nil {
				return err
			}
			return testrepo.Done(tx, r)
		})
	}
}

// What only a relay has said a relay takes back, whatever becomes of the question: the
// account is listed again with the rows that it had.
func TestARelayTakesBackItsWord(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(account(false, "takendown")), repostate.Hidden)
	if r := s.repo(); r.StatusFrom != repostate.FromRelay || r.StatusAt.IsZero() || s.listed(posts) {
		t.Fatalf("the word of %s, since %s", r.StatusFrom, r.StatusAt)
	}
	s.want(s.judge(account(true, "")), repostate.Checked)
	if r := s.repo(); !r.Active || r.StatusFrom != 0 || !s.listed(posts) {
		t.Errorf("active %t, by the word of %q, listed %t", r.Active, r.StatusFrom, s.listed(posts))
	}
	s.lease(repostate.AskStatus)
}

// A relay's "deleted" is checked: if it was wrong, what is known of the repo is needed.
func TestARelayCannotDeleteARepo(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(account(false, "deleted")), repostate.Hidden)
	s.wantState(repostate.Desynchronized, 10)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		set, err := tx.SomeOfSet(r, 0, 100)
		if !slices.Equal(set, []string{posts}) {
			t.Errorf("set %q", set)
		}
		return err
	})
}

// The host that had no such repo says that the account is active.
func TestTheHostsWordBringsBackARepoThatItDidNotHave(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.change(func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.SetState(tx, r, repostate.NotFound)
	})
	s.wantListed()
	s.want(s.judge(account(true, "")), repostate.Checked)
	if got := s.lease(repostate.Fetch); got.Repo.Waiting.Reason != repostate.Reactivated {
		t.Errorf("reason %s", got.Repo.Waiting.Reason)
	}
}

// A host does not commit for an inactive account: it is asked, once in a while.
func TestAVerifiedCommitOfAnInactiveAccountAsksTheHost(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.judge(account(false, "deactivated"))
	s.want(s.judge(commit(11, 1, 2, []string{likes}, nil)), repostate.Hidden)
	s.wantListed()
	if got := s.lease(repostate.AskStatus); got.Repo.Waiting.Reason != repostate.StatusCheck {
		t.Errorf("reason %s", got.Repo.Waiting.Reason)
	}
	if s.repo().SeenRev != 11 {
		t.Errorf("seen rev %d", s.repo().SeenRev)
	}
}

func (s *story) crawlWanted() (wanted bool) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		row, err := tx.Crawl(store.CrawlID{Kind: store.OfUpstream, Server: s.up.id})
		wanted = row.Wanted()
		return err
	})
	return wanted
}

func TestLostEventsAskForACrawl(t *testing.T) {
	for _, n := range []firehose.Notice{firehose.Reset, firehose.Gap, firehose.Future, firehose.Skipped} {
		t.Run(n.String(), func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.judge(&slot{notice: n})
			if !s.crawlWanted() {
				t.Error("no crawl is wanted")
			}
		})
	}
	for missed, want := range map[int64]bool{0: false, missedNumbers - 1: false, missedNumbers: true} {
		s := newStory(t, store.KindRelay)
		s.judge(&slot{missed: missed})
		if got := s.crawlWanted(); got != want {
			t.Errorf("%d missed: a crawl is wanted: %t", missed, got)
		}
	}
}

func TestTheCursorFollowsItsEventsAndCanBeReset(t *testing.T) {
	s := newStory(t, store.KindRelay)
	cursor := func() int64 { return s.stats().Upstreams[0].Cursor }
	s.known(posts)
	s.judge(commit(11, 1, 2, nil, nil))
	s.judge(refusedWith(commit(12, 2, 3, nil, nil), refusal.BadCAR))
	if cursor() != 2 {
		t.Errorf("cursor %d after two events", cursor())
	}
	s.update(func(tx *store.Tx) error {
		b := &batch{in: s.in, tx: tx}
		return b.cursors([]*slot{{up: s.up, cursor: 7}, {up: s.up}, {up: s.up, reset: true}}, nil)
	})
	if cursor() != 0 {
		t.Errorf("cursor %d after a reset", cursor())
	}
}

// A batch that fails leaves no trace: not in the file, not in the caches.
func TestAFailedBatchLeavesNothing(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	bad := commit(12, 2, 3, []string{"com.example.new"}, nil)
	err := s.st.Update(t.Context(), "test", func(tx *store.Tx) error {
		b := &batch{in: s.in, tx: tx}
		for _, sl := range []*slot{commit(11, 1, 2, []string{"com.example.new"}, nil), bad} {
			sl.up, sl.frame.DID, sl.cursor = s.up, alice, 99
			if _, err := b.judge(sl); err != nil {
				return err
			}
		}
		if err := b.cursors([]*slot{{up: s.up, cursor: 99}}, nil); err != nil {
			return err
		}
		panic("a fault of ours")
	})
	if err == nil {
		t.Fatal("no error")
	}
	s.wantState(repostate.Synchronized, 10)
	s.wantListed(posts)
	if s.stats().Upstreams[0].Cursor != 0 {
		t.Error("the cursor moved")
	}
	s.want(s.judge(commit(11, 1, 2, []string{"com.example.new"}, nil)), repostate.Applied)
	if !s.listed("com.example.new") {
		t.Error("the row of a collection that a failed batch had added is missing")
	}
}

// The operator follows a PDS by another name than its documents have.
func TestAPDSSpeaksUnderEachOfItsNames(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.want(s.judge(commit(11, 1, 2, nil, nil)), repostate.Refused)
	s.up.name.Store(home)
	s.want(s.judge(commit(11, 1, 2, nil, nil)), repostate.Applied)
	s.want(s.judge(account(false, "deactivated")), repostate.Hidden)
	s.up.name.Store("elsewhere.example.com")
	s.want(s.judge(account(true, "")), repostate.Refused)
	s.up.name.Store(home)
	s.up.kind.Store(store.KindRelay)
	s.want(s.judge(commit(12, 2, 3, nil, nil)), repostate.Hidden) // a relay needs no name
}

// Requests to a PDS go where the operator has it, unless another upstream is at its name.
func TestRequestsFollowTheOperatorsURL(t *testing.T) {
	in := new(Ingest)
	for _, up := range []struct {
		host, name string
		kind       store.Kind
	}{
		{"pds:3000", "pds.example.com", store.KindPDS},
		{"mirror:3000", "own.example.com", store.KindPDS},
		{"own.example.com", "", store.KindPDS},
		{"relay", "was-a-pds.example.com", store.KindRelay},
		{"new", "", store.KindUnknown},
	} {
		u := &upstream{base: "http://" + up.host, host: up.host}
		u.kind.Store(up.kind)
		u.name.Store(up.name)
		in.upstreams = append(in.upstreams, u)
	}
	for base, want := range map[string]string{
		"https://pds.example.com":       "http://pds:3000",
		"https://own.example.com":       "https://own.example.com",
		"https://was-a-pds.example.com": "https://was-a-pds.example.com",
		"https://other.example.com":     "https://other.example.com",
		"http://pds:3000":               "http://pds:3000",
		"https://":                      "https://",
	} {
		if got := in.Route(base); got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
}

func TestUpstreamsAreReadAsOperatorsWriteThem(t *testing.T) {
	for raw, want := range map[string][2]string{
		"wss://bsky.network":              {"https://bsky.network"},
		"http://pds:3000#Pds.Example.com": {"http://pds:3000", "pds.example.com"},
		"ws://pds:3000/#localhost:2583":   {"http://pds:3000", "localhost:2583"},
		"http://pds:3000#":                {},
		"http://pds:3000#a/b":             {},
		"http://pds:3000#https://a.com":   {},
		"http://pds:3000#a#b":             {},
		"ftp://pds":                       {},
		"http://pds/xrpc":                 {},
	} {
		base, name, err := ParseUpstream(raw)
		if got := [2]string{base, name}; err == nil && got != want || (err != nil) != (want[0] == "") {
			t.Errorf("%s: %q, %v, want %q", raw, got, err, want)
		}
	}
}
