package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// sim is a simulated network with the service on it, inside a bubble.
type sim struct {
	t      *testing.T
	pipes  *simnet.Pipes
	net    *simnet.Network
	dir    string
	starts int
	// configure changes the flags of the runs that start from now on, if set.
	configure func(*daemon.Config)
	quiet     bool         // nothing is logged
	listener  slog.Handler // hears the log all the same, if set
}

func newSim(t *testing.T, cfg simnet.Config) *sim {
	s := &sim{t: t, pipes: simnet.NewPipes(), dir: t.TempDir()}
	cfg.Listen = s.pipes.Listen
	n, err := simnet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.net = n
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// upstreams are all the PDSes, or the relay.
func (s *sim) upstreams(pds int) []string {
	if pds == 0 {
		return []string{s.net.Relay()}
	}
	var urls []string
	for i := range pds {
		urls = append(urls, s.net.PDS(i))
	}
	return urls
}

// running is one run of the service.
type running struct {
	*sim
	base    string
	file    string
	client  *http.Client
	service *daemon.Service // nil if the file could not be opened
	cancel  func()
	ended   chan error
	death   death
}

// start runs the service on the file of a name, following upstreams.
func (s *sim) start(file string, upstreams ...string) *running {
	s.t.Helper()
	return s.startDoomed(file, nil, upstreams...)
}

// startDoomed is start for a process that dies at the first point for which dies
// says so; nil never does.
func (s *sim) startDoomed(file string, dies func(store.Point) bool, upstreams ...string) *running {
	s.t.Helper()
	s.starts++
	l, err := s.pipes.Listen(fmt.Sprintf("railyard%d", s.starts))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &running{
		sim: s, base: "http://" + l.Addr().String(), file: filepath.Join(s.dir, file), cancel: cancel, ended: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{DialContext: s.pipes.Dial, DisableKeepAlives: true}},
	}
	r.death = death{of: r, dies: dies, gone: make(chan struct{})}
	cfg := daemon.Config{
		DB: r.file, Version: "sim", Upstreams: upstreams, PLCURL: s.net.PLC(), PLCQPS: 1000,
		Crawl: daemon.Relay, CrawlQPS: 1000, SweepEvery: 24 * time.Hour, ResyncMethod: establish.Auto,
		DescribeTimeout: 30 * time.Second, RepoTimeout: 5 * time.Minute, AllowPrivate: true,
		Dial: s.pipes.Dial, Lookup: s.pipes.Lookup, Die: r.death.at,
	}
	if s.configure != nil {
		s.configure(&cfg)
	}
	var log []slog.Handler
	if !s.quiet {
		log = append(log, slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if s.listener != nil {
		log = append(log, s.listener)
	}
	r.service, err = daemon.Open(ctx, cfg, slog.New(slog.NewMultiHandler(log...)))
	if err != nil {
		_ = l.Close()
		if !r.death.isDead() {
			s.t.Fatal(err)
		}
		r.ended <- err
		return r
	}
	go func() { r.ended <- errors.Join(r.service.Run(ctx, l, nil), r.service.Close()) }()
	return r
}

// end stops the service as an operator does.
func (r *running) end() {
	r.t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("the service ended with: %v", err)
	}
}

func (r *running) get(path string, into any) {
	r.t.Helper()
	resp, err := r.client.Get(r.base + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		r.t.Fatalf("%s: status %d: %v", path, resp.StatusCode, err)
	}
}

// list pages through a listing from a cursor and returns its last cursor.
func (r *running) list(cursor string, collections ...string) (dids []string, last string) {
	r.t.Helper()
	path := "/xrpc/com.atproto.sync.listReposByCollection?limit=7"
	for _, c := range collections {
		path += "&collection=" + c
	}
	for last = cursor; ; {
		var page struct {
			Repos []struct {
				DID string `json:"did"`
			} `json:"repos"`
			Cursor string `json:"cursor"`
		}
		r.get(path+"&cursor="+last, &page)
		if (len(page.Repos) == 0) != (page.Cursor == "") {
			r.t.Fatalf("a page of %d repos with cursor %q", len(page.Repos), page.Cursor)
		}
		if len(page.Repos) == 0 {
			return dids, last
		}
		for _, repo := range page.Repos {
			dids = append(dids, repo.DID)
		}
		last = page.Cursor
	}
}

// settle waits, in the bubble's time, until the service says that it is settled
// and has every event of its upstreams.
func (r *running) settle(names ...string) {
	r.t.Helper()
	for range 600 {
		time.Sleep(time.Second)
		synctest.Wait()
		if r.settled(names) {
			return
		}
		r.sound()
	}
	var st any
	r.get("/v1/stats", &st)
	r.t.Fatalf("not settled: %v", st)
}

func (r *running) settled(names []string) bool {
	var st struct {
		ResyncQueue int64 `json:"resync_queue"`
		InFlight    int64 `json:"in_flight"`
		Upstreams   []struct {
			URL       string `json:"url"`
			Cursor    *int64 `json:"cursor"`
			Connected bool   `json:"connected"`
		} `json:"upstreams"`
	}
	r.get("/v1/stats", &st)
	if st.ResyncQueue != 0 || st.InFlight != 0 || len(st.Upstreams) != len(names) {
		return false
	}
	for _, up := range st.Upstreams {
		if !up.Connected {
			return false
		}
		for _, name := range names {
			if strings.Contains(up.URL, name+".") && up.Cursor != nil && *up.Cursor != r.net.LastSeq(name) {
				return false
			}
		}
	}
	return true
}

// sound checks the invariants of the file as it stands, whatever goes on.
func (r *running) sound() {
	r.t.Helper()
	rd, err := store.OpenReader(r.t.Context(), r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	_, broken, err := rd.Check(r.t.Context())
	if err := errors.Join(err, rd.Close()); err != nil {
		r.t.Fatal(err)
	}
	for _, v := range broken {
		r.t.Errorf("%s: %s: %d: %s", v.Invariant, v.Explanation, v.Count, strings.Join(v.Rows, "; "))
	}
}

// same compares what is served with the truth, exactly.
func (r *running) same() {
	r.t.Helper()
	r.sound()
	truth := r.net.Truth()
	wrong := make(map[string]bool)
	want := map[string][]string{"": nil}
	for did, collections := range truth {
		want[""] = append(want[""], did)
		for _, c := range collections {
			want[c] = append(want[c], did)
		}
	}
	for c, dids := range want {
		var asked []string
		if c != "" {
			asked = []string{c}
		}
		got, _ := r.list("", asked...)
		slices.Sort(got)
		slices.Sort(dids)
		if !slices.Equal(got, dids) {
			r.t.Errorf("collection %q: %s", c, difference(got, dids))
			for _, did := range slices.Concat(got, dids) {
				if slices.Contains(got, did) != slices.Contains(dids, did) {
					wrong[did] = true
				}
			}
		}
	}
	for did := range wrong {
		r.explain(did)
	}
	var st struct {
		Memberships int `json:"memberships"`
		Collections int `json:"collections"`
	}
	r.get("/v1/stats", &st)
	if l := r.net.Ledger(); st.Memberships != l.Memberships || st.Collections != l.Collections {
		r.t.Errorf("stats say %d memberships in %d collections, the ledger %d in %d",
			st.Memberships, st.Collections, l.Memberships, l.Collections)
	}
}

// explain prints what the ledger and the index know of a repo.
func (r *running) explain(did string) {
	r.t.Helper()
	truth, err := r.net.Repo(did)
	var index any
	r.get("/v1/repo?did="+did, &index)
	r.t.Logf("the ledger: %+v, %v\nthe index: %v", truth, err, index)
}

func difference(got, want []string) string {
	var out []string
	for _, did := range want {
		if !slices.Contains(got, did) {
			out = append(out, "missing "+did)
		}
	}
	for i, did := range got {
		if !slices.Contains(want, did) {
			out = append(out, "extra "+did)
		}
		if i > 0 && got[i-1] == did {
			out = append(out, "twice "+did)
		}
	}
	return strings.Join(out, ", ")
}

func (s *sim) live(steps int) {
	s.t.Helper()
	for range steps {
		if err := s.net.Step(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// commits lets accounts commit, and nothing else happen.
func (s *sim) commits(times int) {
	s.t.Helper()
	for range times {
		if err := s.net.StepCommit(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// seeds is how many histories are tried: two, or RAILYARD_SEEDS.
func seeds(t *testing.T) uint64 {
	n, ok := number(t, "RAILYARD_SEEDS")
	if !ok {
		return 2
	}
	return n
}

// sweep returns the seeds of a sweep: so many as seeds, or the one of RAILYARD_SEED,
// whose log is then written.
func sweep(t *testing.T) (list []uint64, quiet bool) {
	if seed, ok := number(t, "RAILYARD_SEED"); ok {
		return []uint64{seed}, false
	}
	for seed := range seeds(t) {
		list = append(list, seed)
	}
	return list, len(list) > 1
}

// repeatable prints the command that repeats a history, if it has failed.
func repeatable(t *testing.T, test string, seed uint64) {
	if t.Failed() {
		t.Logf("to see it: RAILYARD_SEED=%d go test -run '%s$' -v ./internal/test/sim", seed, test)
	}
}

func number(t *testing.T, variable string) (uint64, bool) {
	text := os.Getenv(variable)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n, true
}

func TestServeEqualsTheLedgerOfASimulatedNetwork(t *testing.T) {
	for _, tc := range []struct {
		name string
		pds  int // follow so many PDSes, or the relay
	}{{"through a relay", 0}, {"from the PDSes", 2}} {
		for seed := range seeds(t) {
			t.Run(fmt.Sprintf("%s, seed %d", tc.name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 30, Records: 30, Relay: true, Start: time.Now()})
					names := []string{"relay"}
					if tc.pds > 0 {
						names = []string{"pds1", "pds2"}
					}
					early := s.start("early.db", s.upstreams(tc.pds)...)
					s.live(200)
					early.settle(names...)
					early.same()

					late := s.start("late.db", s.upstreams(tc.pds)...)
					late.settle(names...)
					late.same()

					s.live(200)
					early.settle(names...)
					early.same()
					early.end()

					s.live(200) // while it is down
					again := s.start("early.db", s.upstreams(tc.pds)...)
					again.settle(names...)
					again.same()
					late.settle(names...)
					late.same()
					again.end()
					late.end()
				})
			})
		}
	}
}
