package resync_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/resync"
	"railyard/internal/store"
)

// backfillMost is how long a backfill may take before it is given up.
const backfillMost = time.Hour

// scene is one backfill.
type scene struct {
	method    establish.Method
	hosts     int
	repos     int
	attackers int     // hosts beside them that misbehave
	rate      float64 // requests per second to one host; 0 = no bound
}

// result is what came of it.
type result struct {
	scene
	spent     time.Duration
	cpu       time.Duration // of our process
	loadHosts account
	memory    int64 // the most bytes that our process had in memory
	heap      int64 // those that Go holds of them at the end; most of the rest is SQLite's cache
	proofs    map[repostate.Proof]int
}

func (r *result) perSecond() float64 { return float64(r.repos) / r.spent.Seconds() }

func (r *result) report(b *testing.B) {
	b.Helper()
	requests := 0
	for _, n := range r.loadHosts.Asks {
		requests += n
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.repos) }
	b.ReportMetric(r.perSecond(), "resyncs/s")
	b.ReportMetric(float64(requests)/r.spent.Seconds(), "requests/s")
	b.ReportMetric(each(r.cpu), "cpu-µs/resync")
	b.ReportMetric(each(r.loadHosts.CPU), "hosts-µs/resync")
	b.ReportMetric(float64(r.memory)/(1<<20), "peak-MiB")
	b.ReportMetric(float64(r.heap)/(1<<20), "go-MiB")
	b.ReportMetric(float64(r.proofs[repostate.ProofTree]), "trees")
	b.ReportMetric(float64(r.proofs[repostate.ProofProbe]), "probes")
	b.ReportMetric(float64(r.proofs[repostate.ProofClaim]), "claims")
	b.Logf("%s: %v requests, load %s", r.method, r.loadHosts.Asks, load())
}

// load is what else the machine does.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// truth is what the load hosts is made of, without what only the load hosts needs.
var truth = sync.OnceValue(func() *loadRepos { return newLoadRepos().slim() })

// run does one backfill and compares its file with what the load hosts holds.
func run(tb testing.TB, s scene) *result {
	tb.Helper()
	loadHosts := startLoadHosts(tb)
	path := filepath.Join(tb.TempDir(), "index.db")
	e := truth()
	s.fill(tb, path, e)
	forgetPeak(tb)
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(tb.Context(), store.Config{Path: path, Version: "test"})
	must(tb, err)
	way := s.way(loadHosts)
	out := outbound.New(way.config())
	rs := resync.New(resync.Config{
		Store: st, Resolver: noDirectory{}, Hosts: pds.New(out), Method: s.method, HostQPS: s.rate,
		KeyChanged: func(string) {}, Log: log, Metrics: metrics.New(),
	})
	before := loadHosts.ask(tb, s.rate > 0)
	used := processorTime()

	ctx, cancel := context.WithTimeout(tb.Context(), backfillMost)
	defer cancel()
	var working sync.WaitGroup
	var failures [2]error
	start := time.Now()
	working.Go(func() { failures[0] = rs.Run(ctx) })
	working.Go(func() { failures[1] = st.Maintain(ctx, log) })
	s.await(ctx, tb, st)
	r := &result{scene: s, spent: time.Since(start), cpu: processorTime() - used, memory: peak(tb)}
	r.heap = memory()
	r.loadHosts = loadHosts.ask(tb, false)
	r.loadHosts.CPU -= before.CPU
	cancel()
	working.Wait()
	must(tb, errors.Join(failures[:]...))
	out.Close()
	s.compare(tb, st, path, e, r)
	must(tb, st.Close())
	if n := way.inside.Load(); n > 0 {
		tb.Errorf("%d connections to an address inside were begun", n)
	}
	asks := r.loadHosts.Asks
	if s.attackers >= 5 && (asks["endless"] == 0 || asks["drip"] == 0 || asks["hop"] == 0 || way.dead.Load() == 0 || way.named.Load() == 0) {
		tb.Errorf("some attackers were not asked: %v, %d dials of the dead one, %d look-ups of names inside",
			asks, way.dead.Load(), way.named.Load())
	}
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// loadClient talks to a loadHosts in a process of its own.
type loadClient struct{ address string }

func startLoadHosts(tb testing.TB) *loadClient {
	tb.Helper()
	program, err := os.Executable()
	must(tb, err)
	child := exec.Command(program)
	child.Env = append(os.Environ(), loadVariable+"=1", "GOGC=400")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	must(tb, err)
	out, err := child.StdoutPipe()
	must(tb, err)
	must(tb, child.Start())
	tb.Cleanup(func() {
		_ = in.Close()
		must(tb, child.Wait())
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	must(tb, err)
	return &loadClient{strings.TrimSpace(address)}
}

// ask returns what the load hosts has seen since it was asked last.
func (c *loadClient) ask(tb testing.TB, log bool) (a account) {
	tb.Helper()
	url := "http://" + c.address + "/report"
	if log {
		url += "?log="
	}
	resp, err := http.Get(url)
	must(tb, err)
	defer func() { _ = resp.Body.Close() }()
	must(tb, json.NewDecoder(resp.Body).Decode(&a))
	return a
}

// way leads the client to the load hosts, under as much of the guard as the benchmark
// allows: the load hosts's hosts are exempt, and what they lead to is not.
type way struct {
	loadHosts string
	exempt    []string
	dead      atomic.Int64 // dials of the host that is dead
	named     atomic.Int64 // look-ups of names of addresses inside
	inside    atomic.Int64 // dials of those, of which there are to be none
}

// The addresses behind the names.
var (
	loadAddress   = netip.MustParseAddr("198.18.0.1")
	deadAddress   = netip.MustParseAddr("203.0.113.1")
	insideAddress = netip.MustParseAddr("127.0.0.1")
)

func (s scene) way(loadHosts *loadClient) *way {
	w := &way{loadHosts: loadHosts.address}
	for _, h := range s.everyHost() {
		if h.insecure {
			w.exempt = append(w.exempt, net.JoinHostPort(h.name, "80"))
		}
	}
	return w
}

func (w *way) config() outbound.Config {
	return outbound.Config{Exempt: w.exempt, Dial: w.dial, Lookup: w.lookup}
}

func (w *way) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	switch {
	case strings.HasPrefix(host, "dead"):
		return []netip.Addr{deadAddress}, nil
	case strings.HasPrefix(host, "inside"):
		w.named.Add(1)
		return []netip.Addr{insideAddress}, nil
	}
	return []netip.Addr{loadAddress}, nil
}

func (w *way) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	switch host {
	case loadAddress.String():
		var d net.Dialer
		return d.DialContext(ctx, network, w.loadHosts)
	case insideAddress.String():
		w.inside.Add(1)
	default:
		w.dead.Add(1)
	}
	<-ctx.Done() // nobody there, nobody who says so
	return nil, ctx.Err()
}

// host is one of the scene, with so many repos.
type host struct {
	name     string
	insecure bool
	repos    int
}

// deadRepos, or as many as the healthy hosts have, are at one host that does not
// answer; other attackers have fewer.
const deadRepos, attackerRepos = 10_000, 100

// everyHost returns the healthy hosts and then the attackers: one that is dead, and a
// quarter each of those that send without end, drip, lead elsewhere, or are names
// of addresses inside.
func (s scene) everyHost() (hosts []host) {
	for i := range s.hosts {
		n := s.repos / s.hosts
		if i < s.repos%s.hosts {
			n++
		}
		hosts = append(hosts, host{loadHost(i, s.hosts), true, n})
	}
	for i := range s.attackers {
		if i == 0 {
			hosts = append(hosts, host{"dead0.load.test", true, min(deadRepos, s.repos)})
			continue
		}
		name := []string{"endless", "drip", "hop", "inside"}[i%4]
		hosts = append(hosts, host{name + strconv.Itoa(i) + ".load.test", name != "inside", attackerRepos})
	}
	return hosts
}

// fill makes a file in which all repos wait for their first attempt.
func (s scene) fill(tb testing.TB, path string, e *loadRepos) {
	tb.Helper()
	st, err := store.Open(tb.Context(), store.Config{Path: path, Version: "test"})
	must(tb, err)
	must(tb, st.Close())
	d, err := sql.Open("sqlite", path)
	must(tb, err)
	d.SetMaxOpenConns(1)
	defer func() { must(tb, d.Close()) }()
	_, err = d.Exec("PRAGMA synchronous = OFF")
	must(tb, err)
	tx, err := d.Begin()
	must(tb, err)
	defer func() { _ = tx.Rollback() }()
	insert := func(query string) *sql.Stmt {
		stmt, err := tx.Prepare(query)
		must(tb, err)
		return stmt
	}
	hosts := insert("INSERT INTO host (id, hostname, insecure) VALUES (?, ?, ?)")
	repos := insert("INSERT INTO repo (id, did) VALUES (?, ?)")
	identities := insert("INSERT INTO identity (repo_id, signing_key, host_id, fetched_at) VALUES (?, ?, ?, ?)")
	queue := insert(`INSERT INTO resync_queue (repo_id, reason, priority, not_before, generation, queued_at, host_id)
		VALUES (?, 9, 4, ?, 0, ?, ?)`)
	now := time.Now().UnixMicro()
	add := func(repo, host int) {
		for _, row := range []struct {
			into   *sql.Stmt
			values []any
		}{
			{repos, []any{repo + 1, loadDID(repo)}},
			{identities, []any{repo + 1, []byte(e.key(repo).public), host, now}},
			{queue, []any{repo + 1, now + int64(repo), now, host}},
		} {
			_, err := row.into.Exec(row.values...)
			must(tb, err)
		}
	}
	all := s.everyHost()
	for i, h := range all {
		_, err := hosts.Exec(i+1, h.name, h.insecure)
		must(tb, err)
	}
	next := 0
	for ; next < s.repos; next++ {
		add(next, next%s.hosts+1)
	}
	for i, h := range all[s.hosts:] {
		for range h.repos {
			add(next, s.hosts+i+1)
			next++
		}
	}
	must(tb, tx.Commit())
}

// await returns when all repos of healthy hosts are in service.
func (s scene) await(ctx context.Context, tb testing.TB, st *store.Store) {
	tb.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var stats store.Stats
		must(tb, st.View(ctx, func(rx *store.Rx) (err error) {
			stats, err = rx.Stats()
			return err
		}))
		if stats.Repos[repostate.Synchronized] >= int64(s.repos) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%d of %d repos are in service", stats.Repos[repostate.Synchronized], s.repos)
		}
	}
}

// samples is how many repos are compared row by row.
const samples = 500

// compare ends the benchmark if the file is not what the load hosts holds: for a sample
// of repos the head and each row, for all of them the number of rows.
func (s scene) compare(tb testing.TB, st *store.Store, path string, e *loadRepos, r *result) {
	tb.Helper()
	_, broken, err := st.Check(tb.Context())
	must(tb, err)
	for _, v := range broken {
		tb.Errorf("%s: %v", v.Invariant, v.Rows)
	}
	d, err := sql.Open("sqlite", path)
	must(tb, err)
	defer func() { _ = d.Close() }()
	want := 0
	for repo := range s.repos {
		want += len(e.tree(repo).collections)
	}
	if got := texts(tb, d, "SELECT count(*) FROM membership WHERE seq > 0"); got[0] != strconv.Itoa(want) {
		tb.Errorf("%s rows, want %d", got[0], want)
	}
	for i := range min(samples, s.repos) {
		repo := i * s.repos / min(samples, s.repos)
		if got := texts(tb, d, "SELECT nsid FROM repo_collections WHERE did = ? AND visible ORDER BY nsid", loadDID(repo)); !slices.Equal(got, e.tree(repo).collections) {
			tb.Errorf("repo %d: %v, want %v", repo, got, e.tree(repo).collections)
		}
		_, cid := e.commit(repo)
		head := fmt.Sprintf("%d %X %X", loadRev(repo), e.tree(repo).root.digest[:], cid[:])
		if got := texts(tb, d, `SELECT format('%d %s %s', h.rev, hex(h.data), hex(h.cid))
			FROM repo r JOIN repo_head h ON h.repo_id = r.id WHERE r.did = ?`, loadDID(repo)); len(got) != 1 || got[0] != head {
			tb.Errorf("repo %d: head %v, want %s", repo, got, head)
		}
	}
	r.proofs = make(map[repostate.Proof]int)
	for _, text := range texts(tb, d, "SELECT format('%d %d', proof, count(*)) FROM repo WHERE proof IS NOT NULL GROUP BY proof") {
		var proof repostate.Proof
		var n int
		_, err := fmt.Sscan(text, &proof, &n)
		must(tb, err)
		r.proofs[proof] = n
	}
}

// texts returns the one column of an answer.
func texts(tb testing.TB, d *sql.DB, query string, args ...any) (all []string) {
	tb.Helper()
	rows, err := d.Query(query, args...)
	must(tb, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		must(tb, rows.Scan(&text))
		all = append(all, text)
	}
	must(tb, rows.Err())
	return all
}

// forgetPeak makes the system forget how much memory the process had.
func forgetPeak(tb testing.TB) {
	tb.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	must(tb, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200))
}

// memory is what that Go has from the system, in bytes.
func memory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// peak is the most memory that the process had since, in bytes.
func peak(tb testing.TB) int64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/status")
	must(tb, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib int64
			_, err := fmt.Sscan(value, &kib)
			must(tb, err)
			return kib << 10
		}
	}
	tb.Fatal("the system does not say")
	return 0
}

// noDirectory: the identities are known, and nobody has to be asked for one.
type noDirectory struct{}

func (noDirectory) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, &identity.Unavailable{Status: http.StatusBadGateway}
}

func (noDirectory) EarlierKeys(context.Context, string) ([]identity.EarlierKey, error) {
	return nil, &identity.Unavailable{Status: http.StatusBadGateway}
}
