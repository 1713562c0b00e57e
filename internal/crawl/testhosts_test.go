package crawl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const base = "https://relay.example.com"

// testHosts is a file with one upstream, inside a bubble of fake time.
type testHosts struct {
	*testing.T
	path    string
	raw     *sql.DB // the file once more
	store   *store.Store
	metrics *metrics.Metrics
	up      int64
	shift   *atomic.Int64 // of the machine's clock against the bubble's, nanoseconds
}

// withTestHosts runs a test in a bubble, because crawls wait.
func withTestHosts(t *testing.T, test func(y *testHosts)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	synctest.Test(t, func(t *testing.T) {
		shift := new(atomic.Int64)
		st, err := store.Open(t.Context(), store.Config{Path: path, Version: "test", Now: func() time.Time {
			return time.Now().Add(time.Duration(shift.Load()))
		}})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		y := &testHosts{T: t, path: path, raw: raw, store: st, metrics: metrics.New(), shift: shift}
		defer func() {
			_ = raw.Close()
			if err := y.store.Close(); err != nil {
				t.Error(err)
			}
		}()
		y.update(func(tx *store.Tx) error {
			up, err := tx.AddUpstream(base)
			y.up = up.ID
			return err
		})
		test(y)
	})
}

func (y *testHosts) update(fn func(tx *store.Tx) error) {
	y.Helper()
	if err := y.store.Update(context.WithoutCancel(y.Context()), "test", fn); err != nil {
		y.Fatal(err)
	}
}

// want asks for a crawl, at a moment of its own.
func (y *testHosts) want() {
	y.Helper()
	time.Sleep(time.Second)
	y.update(func(tx *store.Tx) error { return tx.WantCrawl(y.id()) })
	time.Sleep(time.Second)
}

// id names the crawl of the upstream.
func (y *testHosts) id() store.CrawlID { return store.CrawlID{Kind: store.OfUpstream, Server: y.up} }

// row returns the crawl of the upstream.
func (y *testHosts) row() (row store.Crawl) {
	y.Helper()
	err := y.store.View(y.Context(), func(rx *store.Rx) (err error) {
		row, err = rx.Crawl(y.id())
		return err
	})
	if err != nil {
		y.Fatal(err)
	}
	return row
}

func (y *testHosts) repo(did string) (r *repostate.Repo) {
	y.Helper()
	err := y.store.View(y.Context(), func(rx *store.Rx) (err error) {
		r, err = rx.RepoByDID(did)
		return err
	})
	if err != nil {
		y.Fatal(err)
	}
	return r
}

// known returns which of the first n accounts are in the file.
func (y *testHosts) known(n int) (known []int) {
	y.Helper()
	for i := range n {
		if y.repo(didOf(i)) != nil {
			known = append(known, i)
		}
	}
	return known
}

// work is one row of the queue.
type work struct {
	reason repostate.Reason
	rev    atproto.TID
	after  time.Duration // until it is due
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

// queued reads the queue by leasing all of it, in a transaction that is undone.
func (y *testHosts) queued() map[string]work {
	y.Helper()
	rows := make(map[string]work)
	undo := errors.New("undo")
	now := time.Now()
	for wait := time.Duration(0); wait <= time.Minute; wait += 10 * time.Second {
		err := y.store.Update(y.Context(), "check", func(tx *store.Tx) error {
			attempts, err := leaseDue(tx)
			for _, a := range attempts {
				if _, seen := rows[a.Repo.DID]; !seen {
					rows[a.Repo.DID] = work{a.Repo.Waiting.Reason, a.Repo.Waiting.WantRev, time.Since(now).Truncate(10 * time.Second)}
				}
			}
			return errors.Join(err, undo)
		})
		if !errors.Is(err, undo) {
			y.Fatal(err)
		}
		time.Sleep(10 * time.Second)
	}
	return rows
}

func (y *testHosts) count(query string, args ...any) (n int64) {
	y.Helper()
	if err := y.raw.QueryRowContext(y.Context(), query, args...).Scan(&n); err != nil {
		y.Fatal(query, err)
	}
	return n
}

func (y *testHosts) sound() {
	y.Helper()
	_, broken, err := y.store.Check(y.Context())
	if err != nil || len(broken) > 0 {
		y.Errorf("the file's rules: %+v, %v", broken, err)
	}
}

func (y *testHosts) metric(name string) string {
	y.Helper()
	w := httptest.NewRecorder()
	y.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(y.Context(), "GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return "no"
}

// crawler makes a crawler over a listing.
func (y *testHosts) crawler(l Lister) *Crawler {
	return New(Config{Store: y.store, Lister: l, Log: slog.New(slog.DiscardHandler), Metrics: y.metrics}, []int64{y.up})
}

// start runs a crawler; stop ends it and returns what Run returned.
func (y *testHosts) start(c *Crawler) (stop func() error) {
	ctx, cancel := context.WithCancel(y.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// crawl runs one wanted crawl of a listing until everything is idle.
func (y *testHosts) crawl(l Lister) {
	y.Helper()
	c := y.crawler(l)
	stop := y.start(c)
	c.Wake(y.up)
	synctest.Wait()
	if err := stop(); err != nil {
		y.Errorf("Run: %v", err)
	}
}

// listing is a Lister by a function; it notes the cursors that it was asked for,
// and when.
type listing struct {
	mu    sync.Mutex
	asked []string
	at    []time.Time
	page  func(cursor string) (pds.ReposPage, error)
	hosts []pds.HostEntry                                       // of the relay
	other map[string]func(cursor string) (pds.ReposPage, error) // listings of hosts, by their base URL
	tally map[string]int                                        // pages that were asked for, by base URL
}

func (l *listing) ListHosts(_ context.Context, at, cursor string, limit int) (pds.HostsPage, error) {
	if at != base || limit != pageSize || cursor != "" {
		return pds.HostsPage{}, fmt.Errorf("asked %s for %d hosts after %q", at, limit, cursor)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return pds.HostsPage{Hosts: slices.Clone(l.hosts)}, nil
}

// asks is how many pages a host was asked for.
func (l *listing) asks(base string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally[base]
}

func (l *listing) ListRepos(ctx context.Context, at, cursor string, limit int) (pds.ReposPage, error) {
	l.mu.Lock()
	if l.tally == nil {
		l.tally = make(map[string]int)
	}
	l.tally[at]++
	if page := l.other[at]; page != nil {
		l.mu.Unlock()
		return page(cursor)
	}
	l.asked, l.at = append(l.asked, cursor), append(l.at, time.Now())
	l.mu.Unlock()
	if at != base || limit != pageSize {
		return pds.ReposPage{}, fmt.Errorf("asked %s for %d", at, limit)
	}
	if err := ctx.Err(); err != nil {
		return pds.ReposPage{}, err
	}
	return l.page(cursor)
}

// cursors returns the cursors that were asked for.
func (l *listing) cursors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// times returns the times at which a cursor was asked for.
func (l *listing) times(cursor string) (at []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range l.asked {
		if c == cursor {
			at = append(at, l.at[i])
		}
	}
	return at
}

// pages lists n pages with one account each: the cursors are "1", "2", ...
func pages(n int) *listing {
	return &listing{page: func(cursor string) (pds.ReposPage, error) { return pageOf(cursor, n), nil }}
}

func pageOf(cursor string, n int) pds.ReposPage {
	i, _ := strconv.Atoi(cursor)
	p := pds.ReposPage{Repos: []pds.RepoEntry{{DID: didOf(i), Active: true}}}
	if i+1 < n {
		p.Cursor = strconv.Itoa(i + 1)
	}
	return p
}

func didOf(n int) string {
	return "did:plc:aaaaaaaaaaaaaaaaaaaaaa" + string("abcdefghijklmnopqrstuvwxyz"[n/26]) + string("abcdefghijklmnopqrstuvwxyz"[n%26])
}
