package resync

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// testHosts has many hosts on in-memory connections, inside a bubble whose clock costs
// nothing, and the workers running on its queue. Its repos are in service, and
// their hosts are to be asked for the accounts' status: one request each.
type testHosts struct {
	*testing.T
	path  string
	st    *store.Store
	rs    *Resyncer
	out   *outbound.Client
	pipes *simnet.Pipes
	cfg   Config
	start time.Time
	repos int
	stop  func()
	tune  func(*Resyncer) // before it runs
	rows  strings.Builder // not in the file yet

	servers []*http.Server
	serving sync.WaitGroup

	mu      sync.Mutex
	asked   map[string][]time.Duration // when each host was asked
	order   []string                   // the hosts in that order
	open    map[string]int             // requests that wait for an answer
	mostFew int                        // the most of them at once, at hosts that count counts
	count   func(host string) bool
}

// withTestHosts makes a testHosts; fill is a script for its file, which has no hosts yet.
func withTestHosts(t *testing.T, cfg Config, act func(w *testHosts)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &testHosts{
			T: t, cfg: cfg, pipes: simnet.NewPipes(), path: filepath.Join(t.TempDir(), "index.db"), start: time.Now(),
			asked: map[string][]time.Duration{}, open: map[string]int{}, count: func(string) bool { return false },
		}
		w.out = outbound.New(outbound.Config{AllowPrivate: true, Dial: w.pipes.Dial, Lookup: w.pipes.Lookup})
		st, err := store.Open(t.Context(), store.Config{Path: w.path, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		act(w)
		if w.stop != nil {
			w.close()
		}
		for _, srv := range w.servers {
			_ = srv.Close()
		}
		w.out.Close()
		w.serving.Wait()
		time.Sleep(time.Minute) // the connections notice
	})
}

// host adds a server. serve answers the status of an account; nil says active.
func (w *testHosts) host(id int, answered bool, serve http.HandlerFunc) string {
	w.Helper()
	name := fmt.Sprintf("h%d", id)
	l, err := w.pipes.Listen(name)
	if err != nil {
		w.Fatal(err)
	}
	if serve == nil {
		serve = active
	}
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer w.enter(name)()
		serve(rw, r)
	})}
	w.servers = append(w.servers, srv)
	w.serving.Go(func() { _ = srv.Serve(l) })
	answers := 0
	if answered {
		answers = 1
	}
	fmt.Fprintf(&w.rows, "INSERT INTO host (id, hostname, insecure) VALUES (%d, '%s.sim.test', 1);", id, name)
	fmt.Fprintf(&w.rows, "UPDATE host_queue SET answers = %d WHERE host_id = %d;", answers, id)
	return name
}

// enter notes a request; what it returns notes its end.
func (w *testHosts) enter(name string) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[name] = append(w.asked[name], time.Since(w.start))
	w.order = append(w.order, name)
	w.open[name]++
	few := 0
	for host, n := range w.open {
		if w.count(host) {
			few += n
		}
	}
	w.mostFew = max(w.mostFew, few)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open[name]--
	}
}

func active(rw http.ResponseWriter, r *http.Request) {
	time.Sleep(20 * time.Millisecond) // on its way
	_, _ = fmt.Fprintf(rw, `{"did":%q,"active":true}`, r.URL.Query().Get("did"))
}

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// accounts adds repos of a host that wait with a priority.
func (w *testHosts) accounts(host, n, priority int) {
	w.Helper()
	fmt.Fprintf(&w.rows, `
		DROP TABLE IF EXISTS temp.n;
		CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT %[2]d UNION ALL SELECT i + 1 FROM n WHERE i < %[3]d) SELECT i FROM n;
		INSERT INTO repo (id, did, state, seq, proof, proven_at) SELECT i, printf('did:plc:%%024d', i), 3, i, 1, 1 FROM n;
		INSERT INTO repo_head (repo_id, rev, data, cid) SELECT i, 5, zeroblob(32), zeroblob(32) FROM n;
		INSERT INTO identity (repo_id, signing_key, host_id, fetched_at)
		SELECT i, x'e7010279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798', %[1]d, %[5]d FROM n;
		INSERT INTO resync_queue (repo_id, reason, priority, ask_status, not_before, generation, queued_at, host_id)
		SELECT i, 9, %[4]d, 1, 1, 0, 1, %[1]d FROM n;`, host, w.repos+1, w.repos+n, priority,
		w.start.AddDate(1, 0, 0).UnixMicro()) // documents that stay new
	w.repos += n
}

// write puts what was added into the file.
func (w *testHosts) write() {
	w.Helper()
	script(w, w.path, "PRAGMA synchronous = OFF; BEGIN;"+w.rows.String()+"COMMIT")
	w.rows.Reset()
}

// run starts the workers.
func (w *testHosts) run() {
	w.Helper()
	w.write()
	var err error
	if w.st, err = store.Open(w.Context(), store.Config{Path: w.path, Version: "test"}); err != nil {
		w.Fatal(err)
	}
	cfg := w.cfg
	cfg.Store, cfg.Hosts, cfg.Log = w.st, pds.New(w.out), slog.New(slog.NewTextHandler(io.Discard, nil))
	w.rs = New(cfg)
	if w.tune != nil {
		w.tune(w.rs)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.rs.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("Run: %v", err)
		}
	}
}

// close stops the workers and checks what they leave behind.
func (w *testHosts) close() {
	w.Helper()
	w.stop()
	w.stop = nil
	if s := &w.rs.scheduler; s.running != 0 || s.unproven != 0 || len(w.rs.pacer.accounts) != 0 {
		w.Errorf("%d attempts run on, %d of them at unproven hosts, with %d accounts", s.running, s.unproven, len(w.rs.pacer.accounts))
	}
	if n := w.number("SELECT sum(running) FROM host_queue"); n != 0 {
		w.Errorf("%d attempts run on in the file", n)
	}
	_, broken, err := w.st.Check(context.WithoutCancel(w.Context()))
	for _, b := range broken {
		// the rows are not whole: they have no clock and no birth numbers
		if b.Invariant == "queue hosts" || b.Invariant == "host queues" || b.Invariant == "queue rows" || b.Invariant == "resyncing" {
			w.Errorf("%s: %v", b.Invariant, b.Rows)
		}
	}
	if err != nil {
		w.Error(err)
	}
	if n := w.number("SELECT count(*) FROM resync_queue WHERE lease IS NOT NULL"); n != 0 {
		w.Errorf("%d leases were not given back", n)
	}
	if err := w.st.Close(); err != nil {
		w.Error(err)
	}
}

// number reads one number from the file.
func (w *testHosts) number(query string) (n int) {
	w.Helper()
	d, err := sql.Open("sqlite", w.path)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.QueryRow(query).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// waiting is how many rows of a host are in the queue.
func (w *testHosts) waiting(host int) int {
	w.Helper()
	return w.number(fmt.Sprintf(`SELECT (SELECT count(*) FROM resync_queue WHERE lease IS NULL AND host_id = %[1]d) +
		(SELECT count(*) FROM resync_queue WHERE lease IS NOT NULL AND host_id = %[1]d)`, host))
}

func (w *testHosts) times(name string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked[name])
}

// turns returns the hosts in the order in which they were asked.
func (w *testHosts) turns() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}

// most is how many requests waited at once for hosts that count counts.
func (w *testHosts) most() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mostFew
}

// busiest is the most requests within any window of a length.
func busiest(times []time.Duration, window time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for times[first] <= at-window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// noDirectory fails every look-up of a document.
type noDirectory struct{}

func (noDirectory) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, &identity.Unavailable{Status: http.StatusBadGateway}
}

func (noDirectory) EarlierKeys(context.Context, string) ([]identity.EarlierKey, error) {
	return nil, &identity.Unavailable{Status: http.StatusBadGateway}
}
