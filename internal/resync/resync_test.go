package resync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// scenario is a simulated network with the workers on it, moved by hand: nothing
// happens between two calls of work, and the clock is the test's.
type scenario struct {
	mu    sync.Mutex // guards asked and hook while a worker runs
	t     *testing.T
	net   *simnet.Network
	st    *store.Store
	rs    *Resyncer
	now   time.Time
	path  string
	asked []string                        // paths of the requests to PDSes
	hook  func(base, did string)          // before a getRepo is answered
	fault func(*http.Request) (int, bool) // answers a request to a PDS with a status

	noPause bool // which does not say when to come back
}

func newScenario(t *testing.T, accounts int) *scenario { return newScenarioOf(t, 1, accounts) }

func newScenarioOf(t *testing.T, pdses, accounts int) *scenario {
	w := &scenario{t: t, now: time.Now()}
	pipes := simnet.NewPipes()
	var err error
	w.net, err = simnet.New(simnet.Config{
		Seed: 5, PDS: pdses, Accounts: accounts, Records: 20, Listen: pipes.Listen, Start: w.now.Add(-time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.net.Close() })
	for n := range pdses {
		w.net.SetHook(fmt.Sprintf("pds%d", n+1), simnet.Hook{HTTP: w.answer})
	}
	w.path = filepath.Join(t.TempDir(), "index.db")
	w.st, err = store.Open(t.Context(), store.Config{
		Path: w.path, Version: "test", Now: func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.st.Close() })
	out := outbound.New(outbound.Config{AllowPrivate: true, Dial: pipes.Dial, Lookup: pipes.Lookup})
	t.Cleanup(out.Close)
	w.rs = New(Config{
		Store: w.st, Workers: 200, Hosts: hooked{pds.New(out), w}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Resolver:   identity.NewResolver(identity.Config{Client: out, PLCURL: w.net.PLC(), Hosts: atproto.Hosts{AllowPrivate: true}}),
		KeyChanged: func(string) {}, Now: func() time.Time { return w.now }, Method: establish.WholeRepo, // one request, one fetch
	})
	return w
}

func (w *scenario) setHosts(h Hosts) {
	w.rs.cfg.Hosts = h
	w.rs.establisher = w.rs.newEstablisher()
}

func (w *scenario) setMethod(m establish.Method) {
	w.rs.cfg.Method = m
	w.rs.establisher = w.rs.newEstablisher()
}

// ask notes a request. Hosts answer several at a time.
func (w *scenario) ask(r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, strings.TrimPrefix(r.URL.Path, "/xrpc/com.atproto.sync."))
}

func (w *scenario) answer(rw http.ResponseWriter, r *http.Request) bool {
	w.ask(r)
	if w.fault == nil {
		return false
	}
	status, ours := w.fault(r)
	if ours {
		if !w.noPause {
			rw.Header().Set("Retry-After", "40")
		}
		rw.WriteHeader(status)
	}
	return ours
}

// hooked lets a test act while a fetch is under way.
type hooked struct {
	*pds.Client
	w *scenario
}

func (h hooked) GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error) {
	body, err := h.Client.GetRepo(ctx, base, did)
	h.w.mu.Lock()
	hook := h.w.hook
	h.w.hook = nil
	h.w.mu.Unlock()
	if hook != nil {
		hook(base, did)
	}
	return body, err
}

func (w *scenario) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.st.Update(context.WithoutCancel(w.t.Context()), "test", fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *scenario) with(did string, fn func(tx *store.Tx, r *repostate.Repo) error) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil && r == nil {
			r, err = testrepo.Add(tx, did)
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
}

func (w *scenario) enqueue(did string, why repostate.Reason) {
	w.t.Helper()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Enqueue(tx, r, why, tx.Now()) })
}

// decide lets a fact reach a repo, from a source that may cause anything.
func decide(tx *store.Tx, r *repostate.Repo, f repostate.Fact) error {
	env := tx.Env()
	env.Budget = testrepo.Unlimited{}
	_, err := tx.Apply(r, repostate.Decide(r, f, env))
	return err
}

// row changes the row of a repo that waits.
func row(tx *store.Tx, r *repostate.Repo, change func(*repostate.Waiting)) error {
	next, w := *r, *r.Waiting
	change(&w)
	next.Waiting = &w
	_, err := tx.Apply(r, repostate.Decision{Repo: &next})
	r.Waiting = &w
	return err
}

// list takes the entry of a relay's listing that shows the repo, active, at a rev.
func (w *scenario) list(did string, rev atproto.TID) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		return testrepo.List(tx, map[string]repostate.Entry{did: {Rev: rev, Active: true}})
	})
}

// run is one attempt, from the lease to the end.
func (rs *Resyncer) run(ctx context.Context, a *attempt) error {
	return rs.store(context.WithoutCancel(ctx), []*result{rs.try(ctx, a)})
}

// work does what is due, and what becomes due by it.
func (w *scenario) work() {
	w.t.Helper()
	for range 1000 {
		attempts, err := w.rs.lease(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(attempts) == 0 {
			return
		}
		for _, a := range attempts {
			if err := w.rs.run(w.t.Context(), a); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.t.Fatal("the work does not end")
}

// later moves the clock and works.
func (w *scenario) later(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	w.work()
}

func (w *scenario) repo(did string) *repostate.Repo {
	w.t.Helper()
	var r *repostate.Repo
	if err := w.st.View(w.t.Context(), func(rx *store.Rx) (err error) {
		r, err = rx.RepoByDID(did)
		return err
	}); err != nil || r == nil {
		w.t.Fatalf("repo %s: %v, %v", did, r, err)
	}
	return r
}

func (w *scenario) stats() (st store.Stats) {
	w.t.Helper()
	if err := w.st.View(w.t.Context(), func(rx *store.Rx) (err error) {
		st, err = rx.Stats()
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *scenario) listed(collection string) (dids []string, last int64) {
	w.t.Helper()
	if err := w.st.View(w.t.Context(), func(rx *store.Rx) error {
		var p store.Page
		err := rx.List(&p, []string{collection}, 0, 10_000)
		dids, last = p.DIDs(), p.Last
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return dids, last
}

// same compares the rows of a repo with the truth; a hidden one must have none.
func (w *scenario) same(did string, visible bool) {
	w.t.Helper()
	state, err := w.net.Repo(did)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range append([]string{"com.example.never"}, state.Collections...) {
		dids, _ := w.listed(c)
		want := visible && slices.Contains(state.Collections, c)
		if slices.Contains(dids, did) != want {
			w.t.Errorf("%s listed under %s: %t", did, c, !want)
		}
	}
	if r := w.repo(did); (r.Seq > 0) != visible {
		w.t.Errorf("%s visible: %t", did, r.Seq > 0)
	}
}

// settled: the repo is in service at its host's head and nothing waits.
func (w *scenario) settled(did string) {
	w.t.Helper()
	state, err := w.net.Repo(did)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.repo(did)
	if r.State != repostate.Synchronized || r.Head == nil || r.Head.CID != state.Commit || r.Head.Rev != state.Rev {
		w.t.Errorf("state %s, head %+v; the host has rev %s", r.State, r.Head, state.Rev)
	}
	w.same(did, true)
	if st := w.stats(); st.Waiting+st.WaitingLater != 0 {
		w.t.Errorf("%d and %d rows wait", st.Waiting, st.WaitingLater)
	}
}

func (w *scenario) count(endpoint string) (n int) {
	for _, path := range w.asked {
		if path == endpoint {
			n++
		}
	}
	return n
}

// filled has one account, in service.
func filled(t *testing.T) (*scenario, string) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.settled(did)
	w.asked = nil
	return w, did
}

func TestBackfillEqualsTheTruth(t *testing.T) {
	w := newScenario(t, 20)
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	w.work()
	for _, did := range w.net.DIDs() {
		w.settled(did)
	}
	if l := w.net.Ledger(); w.stats().Memberships != int64(l.Memberships) {
		t.Errorf("%d memberships, want %d", w.stats().Memberships, l.Memberships)
	}
}

func TestAResyncMakesTheSetEqualByDifference(t *testing.T) {
	w, did := filled(t)
	_, kept := w.listed(collectionOf(t, w, did))
	for _, path := range w.net.Paths(did)[1:] {
		if err := w.net.Delete(did, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.net.Create(did, "com.example.new/a"); err != nil {
		t.Fatal(err)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.settled(did)
	if _, last := w.listed(collectionOf(t, w, did)); last != kept {
		t.Errorf("a row that stayed has birth number %d, had %d", last, kept)
	}
}

// collectionOf returns the collection of the first record, which tests keep.
func collectionOf(t *testing.T, w *scenario, did string) string {
	t.Helper()
	c, _, err := atproto.ParsePath(w.net.Paths(did)[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A commit that arrives while the repo is fetched is replayed over what was
// fetched before it was made.
func TestCommitsOfTheFetchAreReplayed(t *testing.T) {
	w, did := filled(t)
	before, _ := w.net.Repo(did)
	var after simnet.RepoState
	w.hook = func(string, string) {
		if err := w.net.Create(did, "com.example.meanwhile/a"); err != nil {
			t.Error(err)
		}
		after, _ = w.net.Repo(did)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Buffer(tx, r, repostate.Commit{
				Prev:    before.Data,
				Head:    repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit},
				Present: []string{"com.example.meanwhile"},
			})
		})
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.settled(did)
	if n := w.count("getRepo"); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// What was fetched does not lead to what was buffered: an event between them is
// missing. Neither is believed; the repo is fetched again.
func TestAFetchThatDoesNotMeetTheBufferIsRepeated(t *testing.T) {
	w, did := filled(t)
	w.hook = func(string, string) {
		if err := w.net.Create(did, "com.example.lost/a"); err != nil {
			t.Error(err)
		}
		lost, _ := w.net.Repo(did)
		if err := w.net.Create(did, "com.example.meanwhile/a"); err != nil {
			t.Error(err)
		}
		after, _ := w.net.Repo(did)
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Buffer(tx, r, repostate.Commit{Prev: lost.Data, Head: repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit}})
		})
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.later(time.Minute)
	w.settled(did)
}

// The word of a #sync, an #account, a changed key or an operator makes a fetch
// under way worthless: nothing of it is written, and the row is due at once.
func TestAFetchIsVoidWhenSomethingHappensMeanwhile(t *testing.T) {
	w, did := filled(t)
	var wrote bool
	w.hook = func(string, string) {
		if err := w.net.Create(did, "com.example.new/a"); err != nil {
			t.Error(err)
		}
		w.hook = func(string, string) { wrote = w.repo(did).State == repostate.Synchronized }
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Desynchronize(tx, r, repostate.SyncEvent) })
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.settled(did)
	if n := w.count("getRepo"); n != 2 || wrote {
		t.Errorf("%d fetches; the first one was written: %t", n, wrote)
	}
}

// A replica that serves an older repo than a commit that was seen must not roll
// the index back. Three equal answers over an hour are a restored backup.
func TestAStaleAnswerIsNotBelievedAtOnce(t *testing.T) {
	w, did := filled(t)
	state, _ := w.net.Repo(did)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.Saw(tx, r, state.Rev+1000); err != nil {
			return err
		}
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	if r := w.repo(did); r.State != repostate.Desynchronized {
		t.Fatalf("state %s after a stale answer", r.State)
	}
	w.same(did, true)
	for range 200 {
		w.later(30 * time.Second)
		if w.repo(did).State == repostate.Synchronized {
			break
		}
	}
	w.settled(did)
	if waited := w.count("getRepo"); waited < staleTimes {
		t.Errorf("believed after %d answers", waited)
	}
}

// Three answers are not enough before the hour is over, nor is the hour with two.
func TestABackupIsBelievedAfterThreeAnswersAndAnHour(t *testing.T) {
	for name, pauses := range map[string][]time.Duration{
		"soon":  {staleMost, staleMost, staleMost, staleMost + time.Minute},
		"later": {2 * staleBelief, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			state, _ := w.net.Repo(did)
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if err := testrepo.Saw(tx, r, state.Rev+1000); err != nil {
					return err
				}
				return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
			})
			w.work()
			for _, pause := range pauses {
				if r := w.repo(did); r.State != repostate.Desynchronized {
					t.Fatalf("state %s after %d answers and %s", r.State, w.count("getRepo"), pauses)
				}
				w.later(pause)
			}
			w.settled(did)
			// The last one comes again under a document of that moment.
			if n := w.count("getRepo"); n != len(pauses)+2 {
				t.Errorf("%d answers, want %d", n, len(pauses)+2)
			}
		})
	}
}

func TestARotatedKeyIsFoundByTheFetch(t *testing.T) {
	w, did := filled(t)
	if err := w.net.RotateKey(did); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.settled(did)
}

// The key is rotated between the look-up of the document and the fetch.
func TestAKeyThatIsRotatedDuringTheBackfill(t *testing.T) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	w.enqueue(did, repostate.Backfill)
	attempts, err := w.rs.lease(t.Context())
	if err != nil || len(attempts) != 1 || attempts[0].Step != repostate.Resolve {
		t.Fatal(attempts, err)
	}
	if err := w.rs.run(t.Context(), attempts[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.net.RotateKey(did); err != nil {
		t.Fatal(err)
	}
	w.work()
	w.later(rotationPause)
	w.settled(did)
}

// Only a changed key or host takes a repo out of service; an unchanged document
// is looked up once more, because replicas of the directory lag.
func TestAnIdentityCheck(t *testing.T) {
	check := func(w *scenario, did string) {
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			if err := testrepo.MarkStale(tx, r); err != nil {
				return err
			}
			return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
		})
	}
	t.Run("that finds nothing is made once more", func(t *testing.T) {
		w, did := filled(t)
		check(w, did)
		w.work()
		if st := w.stats(); st.Waiting != 0 || st.WaitingLater != 1 {
			t.Errorf("%d and %d rows wait", st.Waiting, st.WaitingLater)
		}
		w.later(identitySecond)
		w.settled(did)
		if n := w.count("getRepo"); n != 0 {
			t.Errorf("%d fetches", n)
		}
	})
	t.Run("whose second look-up finds a new key fetches", func(t *testing.T) {
		w, did := filled(t)
		check(w, did)
		w.work()
		if err := w.net.RotateKey(did); err != nil {
			t.Fatal(err)
		}
		w.later(identitySecond)
		w.settled(did)
		if n := w.count("getRepo"); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
	t.Run("without an answer keeps the repo in service", func(t *testing.T) {
		w, did := filled(t)
		w.net.SetDown("plc", true)
		check(w, did)
		w.work()
		w.same(did, true)
		if r := w.repo(did); r.State != repostate.Synchronized || !r.Identity.Stale {
			t.Errorf("state %s, stale %t", r.State, r.Identity.Stale)
		}
		w.net.SetDown("plc", false)
		w.later(time.Minute)
		w.later(time.Minute)
		w.settled(did)
	})
	t.Run("is not lost when it is asked for during the look-up", func(t *testing.T) {
		w, did := filled(t)
		check(w, did)
		attempts, err := w.rs.lease(t.Context())
		if err != nil || len(attempts) != 1 {
			t.Fatal(attempts, err)
		}
		res := w.rs.try(t.Context(), attempts[0]) // the old document
		if err := w.net.RotateKey(did); err != nil {
			t.Fatal(err)
		}
		check(w, did)
		w.update(func(tx *store.Tx) error {
			_, err := w.rs.finish(tx, res)
			return err
		})
		w.work()
		w.later(identitySecond)
		w.settled(did)
	})
}

func TestAnInactiveAccountIsHiddenAndComesBackAsANewcomer(t *testing.T) {
	for name, gone := range map[string]struct {
		leave, back func(*simnet.Network, string) error
	}{
		"deactivated": {(*simnet.Network).Deactivate, (*simnet.Network).Activate},
		"takendown":   {(*simnet.Network).Takedown, (*simnet.Network).Untakedown},
		"suspended":   {(*simnet.Network).Suspend, (*simnet.Network).Unsuspend},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			c := collectionOf(t, w, did)
			_, before := w.listed(c)
			if err := gone.leave(w.net, did); err != nil {
				t.Fatal(err)
			}
			w.enqueue(did, repostate.StatusCheck)
			w.work()
			w.same(did, false)
			if r := w.repo(did); r.Status != name || r.Active {
				t.Errorf("active %t, status %q", r.Active, r.Status)
			}
			if st := w.stats(); st.Waiting+st.WaitingLater != 0 {
				t.Error("a row waits for an account that is gone")
			}
			if err := gone.back(w.net, did); err != nil {
				t.Fatal(err)
			}
			w.enqueue(did, repostate.StatusCheck)
			w.work()
			w.settled(did)
			if _, after := w.listed(c); after <= before {
				t.Errorf("birth number %d after the return, %d before", after, before)
			}
		})
	}
}

func TestAFetchHidesAnAccountThatIsGone(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Takedown(did); err != nil {
		t.Fatal(err)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.same(did, false)
	if st := w.stats(); st.Waiting+st.WaitingLater != 0 {
		t.Error("a row waits for an account that is gone")
	}
}

// A replica may not have the repo yet: its rows are hidden only after a second
// equal answer, ten minutes later.
func TestARepoThatItsHostDoesNotHaveIsHiddenAtTheSecondAnswer(t *testing.T) {
	w, did := filled(t)
	missing := true
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		return missing && notFoundFault(rw, r)
	}})
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.same(did, true)
	if st := w.stats(); st.Waiting != 0 || st.WaitingLater != 1 {
		t.Errorf("%d and %d rows wait", st.Waiting, st.WaitingLater)
	}
	w.later(notFoundSecond - time.Second)
	w.same(did, true)
	w.later(time.Second)
	w.same(did, false)
	if r := w.repo(did); r.State != repostate.NotFound || !r.Active {
		t.Errorf("state %s, active %t", r.State, r.Active)
	}
	missing = false
	w.later(notFoundLater)
	w.settled(did)
}

// The same of a repo in service, whose host was only asked for its status.
func TestARepoInServiceThatItsHostDoesNotHaveIsHiddenAtTheSecondAnswer(t *testing.T) {
	w, did := filled(t)
	w.net.SetHook("pds1", simnet.Hook{HTTP: notFoundFault})
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	w.same(did, true)
	w.later(notFoundSecond)
	w.same(did, false)
	if r := w.repo(did); r.State != repostate.NotFound {
		t.Errorf("state %s", r.State)
	}
}

// One wrong answer of a replica, and another event before the second question: the
// first answer must neither be forgotten nor believed.
func TestAnIdentityCheckDoesNotForgetANotFound(t *testing.T) {
	w, did := filled(t)
	w.net.SetHook("pds1", simnet.Hook{HTTP: notFoundFault})
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.MarkStale(tx, r); err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
	})
	w.later(time.Second)
	w.same(did, true)
	w.later(notFoundSecond)
	w.later(time.Minute)
	w.same(did, false)
}

func notFoundFault(rw http.ResponseWriter, _ *http.Request) bool {
	rw.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(rw, `{"error":"RepoNotFound","message":"Could not find repo"}`)
	return true
}

// The account has moved, and we missed the #identity: the old host's word about
// it must not be believed on the strength of an old document.
func TestTheWordOfAHostIsCheckedAgainstTheDocument(t *testing.T) {
	for name, ask := range map[string]func(w *scenario, did string){
		"status": func(w *scenario, did string) { w.enqueue(did, repostate.StatusCheck) },
		"fetch": func(w *scenario, did string) {
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				_, err := testrepo.SetIdentity(tx, r, r.Identity.Key, "old.sim.test", true)
				return err
			})
			w.now = w.now.Add(24 * time.Hour)
			w.setHosts(elsewhere{w.rs.cfg.Hosts})
			ask(w, did)
			w.work()
			w.settled(did)
		})
	}
}

// The host's "inactive" under an old document: the document is looked up, and the
// question must still stand after that.
func TestAnInactiveAnswerUnderAnOldDocumentIsAskedForAgain(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Deactivate(did); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(24 * time.Hour)
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	w.same(did, false)
}

// The account has moved unheard, and was deactivated at its new host, which a relay
// knows. The old host still serves it: its "active" under an old document does not
// end the question.
func TestAnActiveAnswerUnderAnOldDocumentIsAskedForAgain(t *testing.T) {
	w := newScenarioOf(t, 2, 1)
	did := w.net.DIDs()[0]
	w.enqueue(did, repostate.FirstSight)
	w.work()
	w.settled(did)
	if err := errors.Join(w.net.Migrate(did, simnet.Migration{To: 1, OldStays: true}), w.net.Deactivate(did)); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(24 * time.Hour)
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	w.same(did, false)
}

// slow lets time pass while a repo is fetched.
type slow struct {
	Hosts
	w    *scenario
	took time.Duration
}

func (s slow) GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error) {
	s.w.now = s.w.now.Add(s.took)
	return s.Hosts.GetRepo(ctx, base, did)
}

// A slow fetch must not make the document look old for ever, and a signature that
// fails must not be fetched again and again.
func TestSlowFetchesDoNotLoop(t *testing.T) {
	t.Run("with a signature that fails", func(t *testing.T) {
		w, did := filled(t)
		w.setHosts(slow{w.rs.cfg.Hosts, w, time.Minute})
		w.rs.cfg.Resolver = anotherKey{w.rs.cfg.Resolver, did}
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
		})
		w.work()
		if n := w.count("getRepo"); n > 6 {
			t.Errorf("%d fetches in a row", n)
		}
	})
	t.Run("with an older repo", func(t *testing.T) {
		w, did := filled(t)
		state, _ := w.net.Repo(did)
		w.setHosts(slow{w.rs.cfg.Hosts, w, 10 * time.Minute})
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			if err := testrepo.Saw(tx, r, state.Rev+1000); err != nil {
				return err
			}
			return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
		})
		for range 40 {
			w.later(10 * time.Minute)
		}
		w.settled(did)
		if n := w.count("getRepo"); n > 12 {
			t.Errorf("%d fetches", n)
		}
	})
}

// anotherKey is a directory with a wrong key for one account.
type anotherKey struct {
	Resolver
	did string
}

func (a anotherKey) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	id, err := a.Resolver.Resolve(ctx, did)
	if did == a.did {
		id.Key = "\xe7\x01\x02\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
	}
	return id, err
}

// A repo that asks for a look-up of its document all the time gets one at a pace.
func TestAFloodOfIdentityEventsIsPaced(t *testing.T) {
	w, did := filled(t)
	lookUps := 0
	w.rs.cfg.Resolver = counting{w.rs.cfg.Resolver, func() {
		lookUps++
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			if err := testrepo.MarkStale(tx, r); err != nil {
				return err
			}
			return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
		})
	}}
	w.rs.cfg.Resolver.(counting).then()
	w.work()
	if lookUps > 3 {
		t.Errorf("%d look-ups at one moment", lookUps)
	}
}

type counting struct {
	Resolver
	then func()
}

func (c counting) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	id, err := c.Resolver.Resolve(ctx, did)
	c.then()
	return id, err
}

// The first "not found" was the old host's; the new host must say it twice too.
func TestANewHostStartsAnew(t *testing.T) {
	w, did := filled(t)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.Enqueue(tx, r, repostate.StatusCheck, tx.Now()); err != nil {
			return err
		}
		if err := row(tx, r, func(w *repostate.Waiting) {
			w.Said, w.SaidTimes, w.SaidSince = repostate.NoSuchRepo, 1, tx.Now().Add(-time.Hour)
		}); err != nil {
			return err
		}
		if err := testrepo.MarkStale(tx, r); err != nil {
			return err
		}
		_, err := testrepo.SetIdentity(tx, r, r.Identity.Key, "old.sim.test", true)
		return err
	})
	w.net.SetHook("pds1", simnet.Hook{HTTP: notFoundFault})
	w.work()
	w.same(did, true)
	w.later(notFoundSecond)
	w.same(did, false)
}

// An #identity arrives while a host that is dying does not answer: the failure's
// back-off must not keep us from looking where the account lives now.
func TestAnIdentityEventDuringAFailingFetchIsHeededSoon(t *testing.T) {
	w, did := filled(t)
	w.fault = func(*http.Request) (int, bool) { return http.StatusBadGateway, true }
	w.hook = func(string, string) {
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			if err := testrepo.MarkStale(tx, r); err != nil {
				return err
			}
			return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
		})
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.Desynchronize(tx, r, repostate.Discontinuity); err != nil {
			return err
		}
		return row(tx, r, func(w *repostate.Waiting) { w.Attempts = 8 })
	})
	w.work()
	w.fault = nil
	w.later(2 * cooldownFirst)
	w.same(did, true)
	if r := w.repo(did); r.State != repostate.Synchronized {
		t.Errorf("state %s", r.State)
	}
}

// elsewhere answers for the old host of a moved account.
type elsewhere struct{ Hosts }

func (e elsewhere) GetRepoStatus(ctx context.Context, base, did string) (pds.AccountStatus, error) {
	if strings.Contains(base, "old.sim.test") {
		return pds.AccountStatus{Status: "deactivated"}, nil
	}
	return e.Hosts.GetRepoStatus(ctx, base, did)
}

func (e elsewhere) GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error) {
	if strings.Contains(base, "old.sim.test") {
		return nil, &pds.Error{Outcome: pds.Deactivated}
	}
	return e.Hosts.GetRepo(ctx, base, did)
}

// A tombstoned DID is a deleted account, once the directory has said so twice.
func TestATombstonedAccountIsDeleted(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Tombstone(did); err != nil {
		t.Fatal(err)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.MarkStale(tx, r); err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
	})
	w.work()
	w.same(did, true)
	w.later(notFoundSecond)
	w.same(did, false)
	if r := w.repo(did); r.Active || r.Status != "deleted" || r.Head != nil {
		t.Errorf("active %t, status %q, head %v", r.Active, r.Status, r.Head)
	}
}

// Thirty refusals of one moment are one refusal.
func TestParallelRateLimitsCountOnce(t *testing.T) {
	w := newScenario(t, 30)
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	}})
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	w.work() // identities, then all ask at once
	w.net.SetHook("pds1", simnet.Hook{})
	w.later(2 * cooldownFirst)
	w.later(2 * cooldownFirst)
	for _, did := range w.net.DIDs() {
		w.settled(did)
	}
}

func TestARateLimitCoolsTheHostAndCountsNoFailure(t *testing.T) {
	w := newScenario(t, 5)
	w.fault = func(*http.Request) (int, bool) { return http.StatusTooManyRequests, true }
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	w.work()
	first := len(w.asked)
	w.later(39 * time.Second)
	if len(w.asked) != first {
		t.Errorf("%d requests while the host cools down", len(w.asked)-first)
	}
	w.fault = nil
	w.later(2 * time.Second)
	for _, did := range w.net.DIDs() {
		w.settled(did)
	}
}

func TestAFailingHostIsTriedLessAndLess(t *testing.T) {
	w := newScenario(t, 30)
	w.fault = func(*http.Request) (int, bool) { return http.StatusBadGateway, true }
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	for range 240 {
		w.later(15 * time.Second) // an hour
	}
	if n := len(w.asked); n > 400 {
		t.Errorf("%d requests to a host that fails for an hour, for 30 repos", n)
	}
	w.fault = nil
	for range 20 {
		w.later(time.Hour)
	}
	for _, did := range w.net.DIDs() {
		w.settled(did)
	}
}

// forbidden is an outbound client that refuses an address.
type forbidden struct{ asked *int }

func (f forbidden) refuse() error {
	*f.asked++
	return refusal.New(refusal.ForbiddenAddress, "a private one")
}

func (f forbidden) GetRepo(context.Context, string, string) (io.ReadCloser, error) {
	return nil, f.refuse()
}

func (f forbidden) GetRecord(context.Context, string, string, string, string) ([]byte, error) {
	return nil, f.refuse()
}

func (f forbidden) DescribeRepo(context.Context, string, string) (pds.RepoDescription, error) {
	return pds.RepoDescription{}, f.refuse()
}

func (f forbidden) ListRepos(context.Context, string, string, int) (pds.ReposPage, error) {
	panic("nobody asks")
}

func (f forbidden) GetRepoStatus(context.Context, string, string) (pds.AccountStatus, error) {
	panic("nobody asks")
}

// A host's name leads to an address that must not be asked: that is so for all its
// accounts, and is tried less and less.
func TestAForbiddenHostIsTriedLessAndLess(t *testing.T) {
	w := newScenario(t, 30)
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	good, asked := w.rs.cfg.Hosts, 0
	w.setHosts(forbidden{&asked})
	for range 240 {
		w.later(15 * time.Second) // an hour
	}
	if asked < 3 || asked > 12 {
		t.Errorf("tried %d times in an hour, for 30 repos", asked)
	}
	w.setHosts(good)
	for range 50 {
		w.later(time.Hour)
	}
	for _, did := range w.net.DIDs() {
		w.settled(did)
	}
}

func TestAnAnswerThatIsNotTheRepoChangesNothing(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "html": "<html>", "half a header": "\x3a\xa2eroots", "no blocks": "\x11\xa2eroots\x80gversion\x01",
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, _ *http.Request) bool {
				_, _ = io.WriteString(rw, body)
				return true
			}})
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
			})
			w.work()
			w.same(did, true)
			if r := w.repo(did); r.State != repostate.Desynchronized {
				t.Errorf("state %s", r.State)
			}
			w.net.SetHook("pds1", simnet.Hook{})
			w.later(brokenFirst)
			w.settled(did)
		})
	}
}

func TestTheRepoOfSomebodyElseIsRefused(t *testing.T) {
	w := newScenario(t, 2)
	dids := w.net.DIDs()
	w.setHosts(swapped{hooked{w.rs.cfg.Hosts.(hooked).Client, w}, dids[1]})
	w.enqueue(dids[0], repostate.Backfill)
	w.work()
	if r := w.repo(dids[0]); r.State != repostate.Candidate || r.Seq > 0 {
		t.Errorf("state %s, visible %t", r.State, r.Seq > 0)
	}
}

type swapped struct {
	hooked
	did string
}

func (s swapped) GetRepo(ctx context.Context, base, _ string) (io.ReadCloser, error) {
	return s.hooked.GetRepo(ctx, base, s.did)
}

// A listing shows a newer rev than ours, and the grace for commits in flight is
// over: an event was lost.
func TestAListingFindsALostEvent(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Create(did, "com.example.lost/a"); err != nil {
		t.Fatal(err)
	}
	state, _ := w.net.Repo(did)
	w.list(did, state.Rev)
	w.work()
	if n := w.count("getRepo"); n != 0 {
		t.Errorf("%d fetches within the grace", n)
	}
	w.later(repostate.MissedGrace)
	w.settled(did)
}

// The same, but the commit arrives in time: nothing is fetched.
func TestAListingIsHarmlessWhenTheCommitArrives(t *testing.T) {
	w, did := filled(t)
	before, _ := w.net.Repo(did)
	if err := w.net.Create(did, "com.example.late/a"); err != nil {
		t.Fatal(err)
	}
	after, _ := w.net.Repo(did)
	w.list(did, after.Rev)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if _, err := testrepo.Advance(tx, r, before.Data, repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit}); err != nil {
			return err
		}
		_, err := testrepo.AddMemberships(tx, r, []string{"com.example.late"})
		return err
	})
	w.later(repostate.MissedGrace)
	w.settled(did)
	if n := w.count("getRepo"); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

// A listing that lies about a rev costs one fetch, not one for ever, and the repo
// stays in service.
func TestAListingThatLiesCostsOneFetch(t *testing.T) {
	w, did := filled(t)
	state, _ := w.net.Repo(did)
	w.list(did, state.Rev+5000)
	w.later(repostate.MissedGrace)
	w.settled(did)
	if n := w.count("getRepo"); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestAStopGivesTheWorkBackWithoutAFailure(t *testing.T) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	w.enqueue(did, repostate.Backfill)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, stepName := range []string{"identity", "fetch"} {
		attempts, err := w.rs.lease(t.Context())
		if err != nil || len(attempts) != 1 {
			t.Fatal(stepName, attempts, err)
		}
		if stepName == "fetch" {
			cancel()
		}
		if err := w.rs.run(ctx, attempts[0]); err != nil {
			t.Fatal(err)
		}
	}
	attempts, err := w.rs.lease(t.Context())
	if err != nil || len(attempts) != 1 || attempts[0].Repo.Waiting.Attempts != 0 {
		t.Fatalf("attempts %v, %v", attempts, err)
	}
}

type panicking struct{ Hosts }

func (panicking) GetRepo(context.Context, string, string) (io.ReadCloser, error) {
	panic("a fault of ours")
}

func TestAPanicOfAWorkerReleasesItsLease(t *testing.T) {
	w := newScenario(t, 1)
	good := w.rs.cfg.Hosts
	w.setHosts(panicking{good})
	w.enqueue(w.net.DIDs()[0], repostate.Backfill)
	w.work()
	w.setHosts(good)
	w.later(brokenFirst)
	w.settled(w.net.DIDs()[0])
}

// Leases die with the process: the next one finds the repos due, and looks the
// documents up again, because that look-up may be what was lost.
func TestARestartReleasesLeases(t *testing.T) {
	w, did := filled(t)
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	if attempts, err := w.rs.lease(t.Context()); err != nil || len(attempts) != 1 {
		t.Fatal(attempts, err)
	}
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Path: w.path, Version: "test", Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w.st, w.rs.cfg.Store = st, st
	w.rs = New(w.rs.cfg)
	if r := w.repo(did); r.State != repostate.Desynchronized {
		t.Errorf("state %s after a restart", r.State)
	}
	w.work()
	w.settled(did)
}
