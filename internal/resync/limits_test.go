package resync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// addUnknown adds repos of which nothing is known but the DID.
func (w *testHosts) addUnknown(n int, method string, priority int) {
	fmt.Fprintf(&w.rows, `
		DROP TABLE IF EXISTS temp.n;
		CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT %[1]d UNION ALL SELECT i + 1 FROM n WHERE i < %[2]d) SELECT i FROM n;
		INSERT INTO repo (id, did) SELECT i, '%[3]s' || CASE '%[3]s' WHEN 'did:plc:' THEN printf('%%024d', i) ELSE i || '.example.com' END FROM n;
		INSERT INTO resync_queue (repo_id, reason, priority, not_before, generation, queued_at, host_id)
		SELECT i, 8, %[4]d, 1, 0, 1, CASE '%[3]s' WHEN 'did:plc:' THEN 0 ELSE -1 END FROM n;`, w.repos+1, w.repos+n, method, priority)
	w.repos += n
}

// hanging is a resolver whose answers take for ever.
type hanging struct {
	mu   sync.Mutex
	now  map[bool]int // attempts under way; of the directory or not
	most map[bool]int
}

func (h *hanging) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	plc := strings.HasPrefix(did, "did:plc:")
	h.mu.Lock()
	h.now[plc]++
	h.most[plc] = max(h.most[plc], h.now[plc])
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.now[plc]--
	h.mu.Unlock()
	return identity.Identity{}, ctx.Err()
}

func (h *hanging) EarlierKeys(ctx context.Context, _ string) ([]identity.EarlierKey, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// The directory hangs, the hosts of ten thousand did:web hang, and so do hosts that
// nobody knows: each kind has its part, and the workers that are left do the rest.
func TestHangingDirectoriesHoldTheirPart(t *testing.T) {
	h := &hanging{now: map[bool]int{}, most: map[bool]int{}}
	withTestHosts(t, Config{Workers: 16, Resolver: h, HostQPS: 8}, func(w *testHosts) {
		w.addUnknown(10_000, "did:web:", 1)
		w.addUnknown(1000, "did:plc:", 3)
		for id := 1; id <= 4; id++ {
			w.host(id, false, silent)
			w.accounts(id, 2, 1)
		}
		w.host(31, true, nil)
		w.accounts(31, 80, 4)
		w.count = func(string) bool { return true }
		w.run()
		time.Sleep(11 * time.Second)
		if n := w.waiting(31); n != 0 {
			t.Errorf("%d of 80 rows of a good host wait", n)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.most[true] != 4 || h.most[false] != 2 {
			t.Errorf("%d attempts at the directory at once, %d at hosts of did:web; want 4 and 2 of 16 workers", h.most[true], h.most[false])
		}
		if running := w.rs.Running(); running != 4+2+4 {
			t.Errorf("%d attempts hang", running)
		}
	})
}

// counted counts what a resolver is asked.
type counted struct {
	Resolver
	mu sync.Mutex
	n  int
}

func (c *counted) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Resolver.Resolve(ctx, did)
}

// The directory fails for an hour. A million rows do not all ask it once; when it
// is back, it is found back soon.
func TestADirectoryThatFailsIsLeftAlone(t *testing.T) {
	c := &counted{Resolver: noDirectory{}}
	withTestHosts(t, Config{Resolver: c}, func(w *testHosts) {
		w.addUnknown(3000, "did:plc:", 3)
		w.run()
		time.Sleep(time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n < 60 || c.n > 200 {
			t.Errorf("the directory was asked %d times in the hour in which it failed", c.n)
		}
	})
}

// end closes what a bubble must not leave behind.
func (w *scenario) end() {
	_ = w.net.Close()
	time.Sleep(time.Hour)
}

// unready fails every fetch in the same way.
type unready struct {
	Hosts
	err error
}

func (u unready) GetRepo(context.Context, string, string) (io.ReadCloser, error) { return nil, u.err }

// There is no memory for the tree: the row waits a while, without a failure.
func TestAFetchWithoutMemoryIsPutOff(t *testing.T) {
	for err, pause := range map[error]time.Duration{establish.ErrNoMemory: memoryPause, establish.ErrOversized: oversizedPause} {
		w, did := filled(t)
		hosts := w.rs.cfg.Hosts
		w.setHosts(unready{hosts, err})
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
		})
		w.work()
		w.setHosts(hosts)
		w.later(pause - time.Millisecond)
		if n := w.count("getRepo"); n != 0 {
			t.Errorf("%v: %d fetches at once", err, n)
		}
		w.later(time.Millisecond)
		w.settled(did)
	}
}

// We have no descriptor for a connection: the row waits a moment, and nobody is blamed.
func TestAShortageOfOurOwnIsNobodysFault(t *testing.T) {
	lack := fmt.Errorf("dial: %w", os.NewSyscallError("socket", syscall.EMFILE))
	for name, err := range map[string]error{
		"by the client of hosts": &pds.Error{Method: "com.atproto.sync.getRepo", Host: "a", Outcome: pds.Transient, Err: lack},
		"bare":                   lack,
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			hosts := w.rs.cfg.Hosts
			w.setHosts(unready{hosts, err})
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
			})
			w.work()
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if r.Waiting.Attempts != 0 || r.Error != "" {
					t.Errorf("the repo has %d failures, and the error %q", r.Waiting.Attempts, r.Error)
				}
				if failures, err := tx.HostFailed(r.Identity.HostID, 0, tx.Now(), "the first"); err != nil || failures != 1 {
					t.Errorf("%d failures of the host are counted, %v", failures, err)
				}
				return nil
			})
			w.setHosts(hosts)
			w.later(shortPause)
			w.settled(did)
		})
	}
}

// The directory is not asked for want of a descriptor, and is not left alone for it.
func TestAShortageIsNotTheDirectorys(t *testing.T) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	directory := w.rs.cfg.Resolver
	w.rs.cfg.Resolver = lacking{directory}
	w.enqueue(did, repostate.FirstSight)
	w.work()
	for range 5 {
		w.later(shortPause)
	}
	w.update(func(tx *store.Tx) error {
		if failures, err := tx.HostFailed(store.DirectoryQueue, 0, tx.Now(), "the first"); err != nil || failures != 1 {
			t.Errorf("%d failures are counted, %v", failures, err)
		}
		return nil
	})
	w.rs.cfg.Resolver = directory
	w.later(shortPause)
	w.settled(did)
}

// lacking has no descriptors for the directory.
type lacking struct{ Resolver }

func (lacking) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, &identity.Unavailable{Err: os.NewSyscallError("socket", syscall.EMFILE)}
}

// One attempt of a group cannot be ended because of a fault of ours: the others are
// ended, and that one is tried again later.
func TestAFaultInOneEndDoesNotSpoilTheOthers(t *testing.T) {
	w := newScenario(t, 3)
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	attempts, err := w.rs.lease(t.Context())
	if err != nil || len(attempts) != 3 {
		t.Fatal(attempts, err)
	}
	for _, a := range attempts {
		if err := w.rs.run(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	w.update(func(tx *store.Tx) error { return tx.HostAnswered(w.repo(w.net.DIDs()[0]).Identity.HostID) })
	if attempts, err = w.rs.lease(t.Context()); err != nil || len(attempts) != 3 {
		t.Fatal(attempts, err)
	}
	var group []*result
	for _, a := range attempts {
		group = append(group, w.rs.try(t.Context(), a))
	}
	bad := group[1].Repo.DID
	group[1] = &result{attempt: group[1].attempt} // of a fetch that has nothing
	if err := w.rs.store(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	for _, f := range group {
		r := w.repo(f.Repo.DID)
		if want := f.Repo.DID != bad; (r.State == repostate.Synchronized) != want {
			t.Errorf("%s is %s", f.Repo.DID, r.State)
		}
	}
	if n := w.rs.Running(); n != 0 {
		t.Errorf("%d attempts run on", n)
	}
	w.later(brokenFirst)
	w.settled(bad)
}

// The file has failed: nothing can be stored, and the workers end with its error.
func TestAFailureOfTheFileEndsTheWorkers(t *testing.T) {
	w := newScenario(t, 3)
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	cause := fmt.Errorf("the disk is full")
	w.rs.cfg.Resolver = counting{w.rs.cfg.Resolver, func() { w.st.Stop(cause) }}
	ended := make(chan error, 1)
	go func() { ended <- w.rs.Run(t.Context()) }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run goes on")
	}
}

// A second request of one attempt waits for its turn as the first one did, and is not
// sent to a host that has begun to cool down.
func TestAnAttemptThatAsksTwiceKeepsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, did := filled(t)
		w.rs.cfg.Now, w.rs.pacer = time.Now, newPacer(2)
		w.now = time.Now()
		w.enqueue(did, repostate.StatusCheck)
		attempts, err := w.rs.lease(t.Context())
		if err != nil || len(attempts) != 1 {
			t.Fatal(attempts, err)
		}
		a, start := attempts[0], time.Now()
		for range 5 {
			if err := a.pace(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("five requests at two a second took %s", took)
		}
		w.update(func(tx *store.Tx) error { return tx.CoolHost(a.host, time.Now().Add(time.Minute)) })
		if err := a.pace(t.Context()); err != errCooling {
			t.Errorf("a request to a host that cools down: %v", err)
		}
		time.Sleep(time.Minute)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.pace(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("a stop: %v", err)
		}
		w.end()
	})
}

// Whoever asks a host beside the attempts is charged to the same account, whether an
// attempt runs or not.
func TestOnePaceHoldsForAllWhoAskAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, did := filled(t)
		w.rs.cfg.Now, w.rs.pacer = time.Now, newPacer(2)
		w.now = time.Now()
		host := w.repo(did).Identity.HostID
		pace := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if err := w.rs.Pace(t.Context(), host); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("it waited %s, want %s", took, want)
			}
			w.now = time.Now()
		}
		pace(0)
		pace(time.Second / 2)
		w.enqueue(did, repostate.StatusCheck)
		if attempts, err := w.rs.lease(t.Context()); err != nil || len(attempts) != 0 {
			t.Error("a row is leased before the host may be asked", err)
		}
		time.Sleep(time.Second / 2)
		w.now = time.Now()
		attempts, err := w.rs.lease(t.Context())
		if err != nil || len(attempts) != 1 {
			t.Fatal(attempts, err)
		}
		pace(time.Second / 2)
		for range 2 { // the first request is the one that was charged
			if err := attempts[0].pace(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if since := time.Since(w.now); since != time.Second/2 {
			t.Errorf("the attempt waited %s", since)
		}
		w.now = time.Now()
		pace(time.Second / 2)
		if n := len(w.rs.pacer.accounts); n != 1 {
			t.Errorf("%d accounts are open while one host is asked", n)
		}
		if err := w.rs.run(t.Context(), attempts[0]); err != nil {
			t.Fatal(err)
		}
		if n := len(w.rs.pacer.accounts); n != 0 {
			t.Errorf("%d accounts stay open", n)
		}
		time.Sleep(10 * time.Second)
		w.now = time.Now()
		pace(0)
		w.end()
	})
}

// The limits that a fetch hears of are stored with the fetched host.
func TestAFetchHeedsTheHeaders(t *testing.T) {
	w, did := filled(t)
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("RateLimit-Policy", "300;w=60")
		return false
	}})
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.settled(did)
	var limits store.HostLimits
	w.update(func(tx *store.Tx) (err error) {
		limits, err = tx.HostLimits(w.repo(did).Identity.HostID)
		return err
	})
	if limits.Rate != 5 {
		t.Errorf("limits %+v", limits)
	}
}
