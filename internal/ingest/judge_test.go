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
	"railyard/internal/store"
)

const (
	alice   = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	likes   = "com.example.like"
	posts   = "com.example.post"
	homeKey = "home key"
	home    = "pds.home.test"
)

// story tells events to the judge, one batch each, and looks at what became of
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

func newStory(t *testing.T, kind store.Kind) *story {
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
		Store: st, Upstreams: []string{"http://relay.test"}, Log: log, Now: func() time.Time { return s.now },
		Kind:     func(context.Context, string) (store.Kind, error) { return kind, nil },
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

func head(rev int64, n byte) store.Head {
	return store.Head{Rev: atproto.TID(rev), Data: tree(n), CID: cid(n)}
}

// known puts alice into service at rev 10 with tree 1.
func (s *story) known(collections ...string) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		r, err := tx.AddRepo(alice)
		if err != nil {
			return err
		}
		if _, err := tx.PutIdentity(r, homeKey, home, false); err != nil {
			return err
		}
		_, _, err = tx.Establish(r, head(10, 1), collections, store.ProofTree)
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
			_, err = tx.PutIdentity(r, homeKey, home, false)
		}
		return err
	})
}

// tell judges one event in a batch of its own.
func (s *story) tell(sl *slot) verdict {
	s.t.Helper()
	s.seq++
	sl.up, sl.cursor = s.up, s.seq
	if sl.frame.DID == "" {
		sl.frame.DID = alice
	}
	sl.done = make(chan struct{})
	var v verdict
	s.update(func(tx *store.Tx) (err error) {
		c := &court{in: s.in, tx: tx, verdicts: map[verdict]int{}}
		if v, err = c.judge(sl); err != nil {
			return err
		}
		if err := tx.AddRefusals(c.refused); err != nil {
			return err
		}
		return c.cursors([]*slot{sl})
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

func (s *story) repo() *store.Repo {
	s.t.Helper()
	var r *store.Repo
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
	err := s.st.View(s.t.Context(), func(rx *store.Rx) (err error) {
		p, err = rx.List([]string{collection}, 0, 10)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.Contains(p.DIDs, alice)
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

// claimDue leases what is due.
func claimDue(tx *store.Tx, step store.Step) (all []*store.Task, err error) {
	for {
		hosts, err := tx.ReadyHosts(100, 100)
		if err != nil || len(hosts) == 0 {
			return all, err
		}
		for _, h := range hosts {
			t, err := tx.Lease(h, h.NextAt, func(*store.Task) store.Step { return step })
			if t != nil && err == nil {
				all, err = append(all, t), tx.EndAttempt(h.ID, h.NextAt)
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// claim takes what is due and gives the one task that there must be.
func (s *story) claim(step store.Step) *store.Task {
	s.t.Helper()
	var tasks []*store.Task
	s.update(func(tx *store.Tx) (err error) {
		tasks, err = claimDue(tx, step)
		return err
	})
	if len(tasks) != 1 {
		s.t.Fatalf("%d tasks are due, want 1", len(tasks))
	}
	return tasks[0]
}

func (s *story) current(t *store.Task) (is bool) {
	s.t.Helper()
	s.update(func(tx *store.Tx) (err error) {
		is, err = tx.Current(t)
		return err
	})
	return is
}

func (s *story) want(got, want verdict) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("verdict %s, want %s", got, want)
	}
}

func (s *story) wantState(state store.State, rev int64) {
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
	s.want(s.tell(commit(11, 1, 2, []string{likes}, []string{posts})), applied)
	s.wantState(store.Synchronized, 11)
	s.wantListed(likes)
	s.want(s.tell(commit(11, 1, 2, []string{likes}, []string{posts})), stale) // the other relay's copy
	s.want(s.tell(commit(10, 0, 1, []string{posts}, nil)), stale)             // a replay
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
			s.want(s.tell(ev), applied)
			s.wantState(store.Synchronized, 12)
			s.wantListed(posts)
			if st := s.stats(); st.Waiting+st.WaitingLater != 0 {
				t.Error("a look is queued")
			}
		})
	}
}

func TestACommitThatDoesNotFollowIsNotArguedWith(t *testing.T) {
	for _, tc := range []struct {
		name string
		ev   *slot
		want verdict
		seen int64
	}{
		{"broken chain", commit(12, 2, 3, []string{likes}, nil), desynchronized, 12},
		{"equal rev with another commit", commit(10, 0, 7, nil, nil), desynchronized, 10},
		{"a sync with other data", syncAt(12, 3), desynchronized, 12},
		{"a key that is not the row's", func() *slot { sl := commit(11, 1, 2, nil, nil); sl.key = "old key"; return sl }(), desynchronized, 0},
		{"a real commit with a broken tree", refusedWith(commit(11, 1, 2, nil, nil), refusal.BadTree), rejected, 11},
		{"a real commit of Sync 1.0", refusedWith(commit(11, 1, 2, nil, nil), refusal.NoPrev), rejected, 11},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.tell(tc.ev), tc.want)
			s.wantState(store.Desynchronized, 10)
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
			s.want(s.tell(refusedWith(commit(11, 1, 2, nil, nil), reason)), rejected)
			s.wantState(store.Synchronized, 10)
			if n := s.stats().Waiting; n != 0 {
				t.Errorf("%d rows in the queue", n)
			}
			s.want(s.tell(commit(11, 1, 2, []string{likes}, nil)), applied)
		})
	}
}

// A bad signature can mean that the key was rotated: the document is looked at,
// and the repo stays in service, because a lying upstream must not be able to
// take it out.
func TestABadSignatureMakesUsLookAtTheDocument(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.tell(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature)), rejected)
	s.wantState(store.Synchronized, 10)
	if !s.repo().Identity.Stale {
		t.Error("the identity is not stale")
	}
	if got := s.claim(store.Resolve); got.Reason != store.IdentityCheck {
		t.Errorf("reason %s", got.Reason)
	}
	s.want(s.tell(commit(11, 1, 2, []string{likes}, nil)), applied)
}

// An identity that was resolved a moment ago is believed for a minute, then
// looked at: the wish must not be lost, because no other event may come.
func TestABadSignatureJustAfterAResolutionIsLookedAtLater(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.resolve()
	s.tell(refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature))
	s.update(func(tx *store.Tx) error {
		if tasks, err := claimDue(tx, store.Resolve); len(tasks) != 0 {
			t.Errorf("looked at once: %v", err)
		}
		return nil
	})
	s.now = s.now.Add(identityRest + time.Second)
	s.claim(store.Resolve)
}

func TestTheFirstSightOfARepoQueuesIt(t *testing.T) {
	for name, ev := range map[string]*slot{
		"commit": commit(11, 1, 2, nil, nil), "sync": syncAt(11, 2), "account": account(true, ""), "identity": {kind: identityEvent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.want(s.tell(ev), waits)
			s.wantState(store.Candidate, 0)
			if got := s.claim(store.Resolve); got.Reason != store.FirstSight {
				t.Errorf("reason %s", got.Reason)
			}
		})
	}
}

// While a repo is fetched its commits wait in the buffer. A #sync that repeats
// one of them says nothing new; any other, and a commit that cannot be kept,
// makes the fetch void.
func TestCommitsWaitWhileTheRepoIsFetched(t *testing.T) {
	fetching := func(t *testing.T) (*story, *store.Task) {
		s := newStory(t, store.KindRelay)
		s.known(posts)
		s.tell(commit(12, 2, 3, nil, nil)) // a gap
		task := s.claim(store.Fetch)
		s.wantState(store.Resyncing, 10)
		s.want(s.tell(commit(13, 3, 4, []string{likes}, nil)), buffered)
		return s, task
	}
	t.Run("and the fetch stays good", func(t *testing.T) {
		s, task := fetching(t)
		s.want(s.tell(commit(13, 3, 4, []string{likes}, nil)), buffered)
		s.want(s.tell(syncAt(13, 4)), noted)
		if !s.current(task) {
			t.Error("the fetch is void")
		}
		s.wantListed(posts)
	})
	for name, ev := range map[string]*slot{
		"another sync":                          syncAt(14, 9),
		"a sync below what was buffered":        syncAt(11, 9),
		"another commit of the same rev":        commit(13, 3, 9, nil, nil),
		"a real commit that cannot be proven":   refusedWith(commit(14, 4, 5, nil, nil), refusal.InversionFailed),
		"a commit that was proven with no key":  func() *slot { sl := commit(14, 4, 5, nil, nil); sl.key = ""; return sl }(),
		"an account event that hides the repo":  account(false, "takendown"),
		"an account event that asks for a look": account(false, "throttled"),
	} {
		t.Run(name+" makes it void", func(t *testing.T) {
			s, task := fetching(t)
			s.tell(ev)
			if s.current(task) {
				t.Error("the fetch is still good")
			}
		})
	}
	t.Run("and an answer older than a sync is stale", func(t *testing.T) {
		s, _ := fetching(t)
		s.want(s.tell(syncAt(14, 9)), desynchronized)
		if s.repo().SeenRev != 14 {
			t.Errorf("seen rev %d", s.repo().SeenRev)
		}
	})
	t.Run("and too many of them make it void", func(t *testing.T) {
		s, task := fetching(t)
		var v verdict
		for i := range int64(300) {
			if v = s.tell(commit(14+i, byte(4+i), byte(5+i), nil, nil)); v != buffered {
				break
			}
		}
		s.want(v, desynchronized)
		if s.current(task) {
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
	s.want(s.tell(account(false, "deactivated")), hidden)
	s.wantListed()
	if n := s.stats().Waiting; n != 0 {
		t.Errorf("%d rows in the queue", n)
	}
	s.want(s.tell(account(true, "")), checked)
	s.wantListed() // until a fetch has proven the set
	s.wantState(store.Desynchronized, 10)
	if got := s.claim(store.Fetch); got.Reason != store.Reactivated {
		t.Errorf("reason %s", got.Reason)
	}
}

// The account may have moved while we missed the #identity: the old host's word
// hides it, and the document is looked at, so that the new host can be asked.
func TestAHostThatIsKnownFromAnOldDocumentIsLookedAt(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.up.host = home
	s.want(s.tell(account(false, "deactivated")), hidden)
	if got := s.claim(store.Resolve); got.Reason != store.IdentityCheck {
		t.Errorf("reason %s", got.Reason)
	}
}

// A second look after "not found" is no reason to overlook the host's word: a
// fetch under way would make the account visible again.
func TestTheHostsWordVoidsASecondLook(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.tell(commit(12, 2, 3, nil, nil))
	s.claim(store.Fetch)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err == nil {
			err = tx.Retry(r, store.NotFoundAgain, tx.Now(), true, true)
		}
		return err
	})
	task := s.claim(store.Fetch)
	s.tell(account(false, "deactivated"))
	if s.current(task) {
		t.Error("the fetch is still good")
	}
}

// Relays repeat what hosts say, and hosts repeat themselves. Of an account that is
// asked about later, a copy tells nothing new.
func TestCopiesOfAStatusKeepThePauseOfAnAccount(t *testing.T) {
	for _, kind := range []store.Kind{store.KindRelay, store.KindPDS} {
		t.Run(string(kind), func(t *testing.T) {
			s := newStory(t, kind)
			s.known(posts)
			s.resolve()
			s.up.host = home
			s.tell(account(false, "deactivated"))
			s.update(func(tx *store.Tx) error {
				r, err := tx.RepoByDID(alice)
				if err == nil {
					err = tx.Enqueue(r, store.StatusCheck, tx.Now())
				}
				return err
			})
			s.claim(store.AskStatus)
			s.update(func(tx *store.Tx) error {
				r, err := tx.RepoByDID(alice)
				if err == nil {
					err = tx.Retry(r, store.StatusCheck, tx.Now().Add(time.Hour), true, false)
				}
				return err
			})
			s.tell(account(false, "deactivated"))
			s.update(func(tx *store.Tx) error {
				tasks, err := claimDue(tx, store.AskStatus)
				if len(tasks) != 0 {
					t.Error("it is due at once")
				}
				return err
			})
		})
	}
}

// The reason of a row is for people. What it stands for adds up: an identity
// check that waits must not swallow a status check, or a sweep.
func TestARowStandsForAllThatWasAsked(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(&slot{kind: identityEvent})
	s.tell(account(false, "newword"))
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err == nil {
			err = tx.EnqueueSweep(r, tx.Now(), 99)
		}
		return err
	})
	task := s.claim(store.Resolve)
	if !task.AskStatus || task.WantRev != 99 || task.Looks != 2 {
		t.Errorf("task %+v", task)
	}
}

// One account that repeats #identity costs one look per rest, and takes nothing
// from the others.
func TestARepeatedIdentityEventIsOneLook(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for range 1000 {
		s.tell(&slot{kind: identityEvent})
	}
	s.claim(store.Resolve)
	for range 1000 {
		if !s.in.limits.allowCheck(s.repo().Identity.HostID, s.now) {
			return // the limit is there for others, and the loop of events did not use it up
		}
	}
	t.Error("no limit")
}

// The second look at an unchanged document waits in the background. A rotation
// that happens meanwhile makes the repo wrong, and it must count as such.
func TestADoubtBringsASecondLookForward(t *testing.T) {
	for name, ev := range map[string]*slot{
		"identity": {kind: identityEvent}, "signature": refusedWith(commit(11, 1, 2, nil, nil), refusal.BadSignature),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.tell(&slot{kind: identityEvent})
			s.claim(store.Resolve)
			s.update(func(tx *store.Tx) error {
				r, err := tx.RepoByDID(alice)
				if err != nil {
					return err
				}
				if err := tx.MarkStale(r); err != nil {
					return err
				}
				return tx.Retry(r, store.IdentityCheck, tx.Now().Add(time.Hour), false, true)
			})
			if s.stats().Waiting != 0 {
				t.Fatal("the second look counts")
			}
			s.tell(ev)
			if s.stats().Waiting != 1 {
				t.Error("the repo may be wrong, and nothing says so")
			}
			s.claim(store.Resolve)
		})
	}
}

// A look that failed backs off; an #identity says that trying again may help.
func TestAnIdentityEventBringsARetryForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(&slot{kind: identityEvent})
	s.claim(store.Resolve)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		if err := tx.MarkStale(r); err != nil {
			return err
		}
		return tx.Retry(r, store.IdentityCheck, tx.Now().Add(time.Hour), true, false)
	})
	s.tell(&slot{kind: identityEvent})
	s.claim(store.Resolve)
}

// The directory has said that a DID does not exist, and is asked once more ten
// minutes later. Whatever the account sends meanwhile is no reason to ask sooner,
// but for an #identity.
func TestADIDThatDoesNotResolveIsNotAskedForByEachEvent(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(commit(12, 7, 8, nil, nil)) // does not follow
	s.claim(store.Resolve)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		return errors.Join(tx.MarkStale(r), tx.Unresolved(r, tx.Now()),
			tx.Retry(r, store.NotFoundAgain, tx.Now().Add(10*time.Minute), true, true))
	})
	s.now = s.now.Add(time.Minute)
	for rev := range int64(5) {
		s.want(s.tell(commit(13+rev, 8, 9, nil, nil)), waits)
		s.want(s.tell(refusedWith(commit(13+rev, 8, 9, nil, nil), refusal.BadSignature)), rejected)
	}
	if n := s.due(); n != 0 {
		t.Errorf("%d looks are due after an event", n)
	}
	s.tell(&slot{kind: identityEvent})
	if n := s.due(); n != 1 {
		t.Errorf("%d looks are due after an #identity", n)
	}
	s.claim(store.Resolve)
}

// due gives the number of rows that could be claimed.
func (s *story) due() (n int) {
	s.t.Helper()
	undone := errors.New("undone")
	err := s.st.Update(s.t.Context(), "test", func(tx *store.Tx) error {
		tasks, err := claimDue(tx, store.Nothing)
		n = len(tasks)
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
	for s.in.limits.allowCheck(s.repo().Identity.HostID, s.now) {
		continue
	}
	s.tell(&slot{kind: identityEvent})
	s.now = s.now.Add(identityWait + time.Minute)
	s.claim(store.Resolve)
}

// A commit that we could not judge for a reason of our own, or for one more than
// the limit of its host, is not forgotten: the host is asked unless the head gets
// there.
func TestACommitThatCannotBeJudgedIsSweptFor(t *testing.T) {
	for _, reason := range []refusal.Reason{refusal.Internal, refusal.FutureRev, refusal.BadTree} {
		t.Run(string(reason), func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			for reason == refusal.BadTree && s.in.limits.allowDesync(s.repo().Identity.HostID, s.now) {
				continue
			}
			s.want(s.tell(refusedWith(commit(11, 1, 2, nil, nil), reason)), rejected)
			s.wantState(store.Synchronized, 10)
			s.now = s.now.Add(store.SweepGrace)
			if task := s.claim(store.Fetch); task.WantRev != 11 || !task.InService {
				t.Errorf("task %+v", task)
			}
		})
	}
}

// The same while the repo is being fetched: the fetch may have read an older tree.
func TestACommitThatCannotBeJudgedDuringAFetchIsSweptFor(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(commit(12, 2, 3, nil, nil))
	task := s.claim(store.Fetch)
	s.tell(refusedWith(commit(13, 3, 4, nil, nil), refusal.Internal))
	if !s.current(task) || task.WantRev != 13 {
		t.Errorf("wanted rev %d", task.WantRev)
	}
}

// So is a rev that a listing shows.
func TestAListedRevDuringAFetchIsNotForgotten(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.tell(commit(12, 2, 3, nil, nil))
	task := s.claim(store.Fetch)
	s.update(func(tx *store.Tx) error {
		_, err := tx.AddListed([]store.Listed{{DID: alice, Rev: 13, Active: true}})
		return err
	})
	if !s.current(task) || task.WantRev != 13 {
		t.Errorf("wanted rev %d", task.WantRev)
	}
}

func TestADeletedAccountLeavesNothing(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts, likes)
	s.up.host = home
	s.tell(account(false, "deleted"))
	s.wantListed()
	s.wantState(store.Candidate, 0)
	s.tell(account(true, ""))
	s.wantListed()
	s.claim(store.Fetch)
}

// The old host of a moved account goes on sending: neither its words nor its
// commits count, but they make us look at the document.
func TestAForeignHostIsRefused(t *testing.T) {
	for name, ev := range map[string]*slot{
		"account": account(false, "deactivated"), "commit": commit(11, 1, 2, []string{likes}, nil), "sync": syncAt(11, 2),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindPDS)
			s.known(posts)
			s.up.host = "old.host.test"
			s.want(s.tell(ev), rejected)
			s.wantState(store.Synchronized, 10)
			s.wantListed(posts)
			if !s.repo().Identity.Stale {
				t.Error("the identity is not looked at")
			}
		})
	}
}

func TestARelaysWordOnAnAccountIsChecked(t *testing.T) {
	for _, tc := range []struct {
		ev     *slot
		want   verdict
		hidden bool
	}{
		{account(false, "takendown"), hidden, true},
		{account(false, "suspended"), hidden, true},
		{account(false, "deactivated"), hidden, true},
		{account(false, "deleted"), hidden, true},
		{account(false, "throttled"), checked, false},
		{account(false, "desynchronized"), checked, false},
		{account(false, "newword"), checked, false},
		{account(false, ""), checked, false},
		{account(true, ""), noted, false},
	} {
		t.Run(tc.ev.frame.Event.(*event.Account).Status, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			s.want(s.tell(tc.ev), tc.want)
			if s.listed(posts) == tc.hidden {
				t.Errorf("hidden: %t", !tc.hidden)
			}
			if tc.want != noted {
				if got := s.claim(store.AskStatus); got.Reason != store.StatusCheck {
					t.Errorf("reason %s", got.Reason)
				}
			}
		})
	}
}

// Each word of a relay that is not what the index holds is a question. None is an
// answer: neither what makes the account active again, nor what ends it for good.
func TestTheWordsOfARelayAreQuestions(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	for _, word := range []struct {
		ev     *slot
		want   verdict
		status string
	}{
		{account(false, "takendown"), hidden, "takendown"},
		{account(false, "takendown"), noted, "takendown"},
		{account(false, "deleted"), checked, "takendown"},
		{account(true, ""), checked, "takendown"},
	} {
		s.want(s.tell(word.ev), word.want)
		if r := s.repo(); r.Active || r.Status != word.status {
			t.Errorf("active %t, status %q", r.Active, r.Status)
		}
		s.wantState(store.Desynchronized, 10)
		if word.want == noted {
			continue
		}
		s.claim(store.AskStatus)
		s.update(func(tx *store.Tx) error { // the host is asked in vain, and the row goes
			r, err := tx.RepoByDID(alice)
			if err == nil {
				err = tx.Done(r)
			}
			return err
		})
	}
}

// A relay's "deleted" is checked: if it was wrong, what is known of the repo is needed.
func TestARelayCannotDeleteARepo(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.tell(account(false, "deleted")), hidden)
	s.wantState(store.Desynchronized, 10)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		set, err := tx.Set(r)
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
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err == nil {
			err = tx.SetState(r, store.NotFound)
		}
		return err
	})
	s.wantListed()
	s.want(s.tell(account(true, "")), checked)
	if got := s.claim(store.Fetch); got.Reason != store.Reactivated {
		t.Errorf("reason %s", got.Reason)
	}
}

// A host does not commit for an inactive account: it is asked, once in a while.
func TestAVerifiedCommitOfAnInactiveAccountAsksTheHost(t *testing.T) {
	s := newStory(t, store.KindPDS)
	s.known(posts)
	s.resolve()
	s.up.host = home
	s.tell(account(false, "deactivated"))
	s.want(s.tell(commit(11, 1, 2, []string{likes}, nil)), hidden)
	s.wantListed()
	if got := s.claim(store.AskStatus); got.Reason != store.StatusCheck {
		t.Errorf("reason %s", got.Reason)
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
			s.tell(&slot{notice: n})
			if !s.crawlWanted() {
				t.Error("no crawl is wanted")
			}
		})
	}
	for missed, want := range map[int64]bool{0: false, missedNumbers - 1: false, missedNumbers: true} {
		s := newStory(t, store.KindRelay)
		s.tell(&slot{missed: missed})
		if got := s.crawlWanted(); got != want {
			t.Errorf("%d missed: a crawl is wanted: %t", missed, got)
		}
	}
}

func TestTheCursorFollowsItsEventsAndCanBeReset(t *testing.T) {
	s := newStory(t, store.KindRelay)
	cursor := func() int64 { return s.stats().Upstreams[0].Cursor }
	s.known(posts)
	s.tell(commit(11, 1, 2, nil, nil))
	s.tell(refusedWith(commit(12, 2, 3, nil, nil), refusal.BadCAR))
	if cursor() != 2 {
		t.Errorf("cursor %d after two events", cursor())
	}
	s.update(func(tx *store.Tx) error {
		c := &court{in: s.in, tx: tx}
		return c.cursors([]*slot{{up: s.up, cursor: 7}, {up: s.up}, {up: s.up, reset: true}})
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
		c := &court{in: s.in, tx: tx, verdicts: map[verdict]int{}}
		for _, sl := range []*slot{commit(11, 1, 2, []string{"com.example.new"}, nil), bad} {
			sl.up, sl.frame.DID, sl.cursor = s.up, alice, 99
			if _, err := c.judge(sl); err != nil {
				return err
			}
		}
		if err := c.cursors([]*slot{{up: s.up, cursor: 99}}); err != nil {
			return err
		}
		panic("a fault of ours")
	})
	if err == nil {
		t.Fatal("no error")
	}
	s.wantState(store.Synchronized, 10)
	s.wantListed(posts)
	if s.stats().Upstreams[0].Cursor != 0 {
		t.Error("the cursor moved")
	}
	s.want(s.tell(commit(11, 1, 2, []string{"com.example.new"}, nil)), applied)
	if !s.listed("com.example.new") {
		t.Error("the row of a collection that a failed batch had added is missing")
	}
}
