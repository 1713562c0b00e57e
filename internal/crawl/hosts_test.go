package crawl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const day = 24 * time.Hour

// numbered is the DID of an account; there is no end of them.
func numbered(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	text := []byte("did:plc:" + strings.Repeat("a", 24))
	for i := len(text) - 1; n > 0; i, n = i-1, n/32 {
		text[i] = letters[n%32]
	}
	return string(text)
}

// shelves lists the accounts from one number up to another, in pages; a cursor is
// the number of the next one.
func shelves(from, to, page int) func(cursor string) (pds.ReposPage, error) {
	return func(cursor string) (pds.ReposPage, error) {
		at := from
		if cursor != "" {
			at, _ = strconv.Atoi(cursor)
		}
		var p pds.ReposPage
		for n := at; n < min(at+page, to); n++ {
			p.Repos = append(p.Repos, pds.RepoEntry{DID: numbered(n), Active: true})
		}
		if at+page < to {
			p.Cursor = strconv.Itoa(at + page)
		}
		return p, nil
	}
}

// network is a relay with hosts; the relay itself lists nothing.
func network(hosts map[string]func(cursor string) (pds.ReposPage, error)) *listing {
	l := &listing{page: func(string) (pds.ReposPage, error) { return pds.ReposPage{}, nil }, other: make(map[string]func(string) (pds.ReposPage, error))}
	for name, page := range hosts {
		l.hosts = append(l.hosts, pds.HostEntry{Hostname: name, Status: "active"})
		l.other["https://"+name] = page
	}
	return l
}

// deep makes a deep crawler.
func (y *testHosts) deep(l Lister, every time.Duration) *Crawler {
	y.update(func(tx *store.Tx) error { return tx.SetKind(y.up, store.KindRelay, "") })
	return New(Config{
		Store: y.store, Lister: l, Deep: true, SweepEvery: every, Log: slog.New(slog.DiscardHandler), Metrics: y.metrics,
		Now: func() time.Time { return time.Now().Add(time.Duration(y.shift.Load())) },
	}, []int64{y.up})
}

// crawls runs a deep crawl for a while.
func (y *testHosts) crawls(l Lister, every, during time.Duration) {
	y.Helper()
	c := y.deep(l, every)
	stop := y.start(c)
	c.Wake(y.up)
	time.Sleep(during)
	synctest.Wait()
	if err := stop(); err != nil {
		y.Errorf("Run: %v", err)
	}
	y.sound()
}

// resolve gives every candidate the identity that its document has; "" means that
// the DID does not exist.
func (y *testHosts) resolve(hostOf func(did string) string) (resolved int) {
	y.Helper()
	rows, err := y.raw.QueryContext(y.Context(), "SELECT did FROM repo r WHERE NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = r.id)")
	if err != nil {
		y.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var dids []string
	for rows.Next() {
		var did string
		if err := rows.Scan(&did); err != nil {
			y.Fatal(err)
		}
		dids = append(dids, did)
	}
	y.update(func(tx *store.Tx) error {
		for _, did := range dids {
			r, err := tx.RepoByDID(did)
			if err != nil {
				return err
			}
			if host := hostOf(did); host == "" {
				_, err = tx.Apply(r, repostate.Decision{Repo: r, Forget: true})
			} else {
				_, err = testrepo.SetIdentity(tx, r, "\xe7\x01\x02"+strings.Repeat("k", 32), host, false)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(dids)
}

func at(host string) func(string) string { return func(string) string { return host } }

func TestADeepCrawlReadsTheHostsThatTheRelayFollows(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(0, 5, 2)})
		l.other["https://idle.example.com"] = shelves(5, 6, 2)
		for name, status := range map[string]string{
			"IDLE.example.com.": "idle", "off.example.com": "offline", "bad.example.com": "banned",
			"10.0.0.1": "active", "port.example.com:8443": "active", "localhost": "active", "two words": "active",
		} {
			l.hosts = append(l.hosts, pds.HostEntry{Hostname: name, Status: status})
		}
		y.crawls(l, 0, time.Hour)
		if a, idle := l.asks("https://a.example.com"), l.asks("https://idle.example.com"); a != 3 || idle != 1 {
			y.Errorf("%d and %d pages were asked for, want 3 and 1", a, idle)
		}
		if len(l.tally) != 2 {
			y.Errorf("asked %v", l.tally)
		}
		if n := y.count("SELECT count(*) FROM repo WHERE found_host_id IS NOT NULL"); n != 6 {
			y.Errorf("%d candidates, want 6", n)
		}
		if n := y.count("SELECT count(*) FROM host WHERE listed_status IN ('offline', 'banned') AND NOT EXISTS (SELECT 1 FROM crawl WHERE kind = 'host' AND server_id = host.id)"); n != 2 {
			y.Errorf("%d hosts are offline or banned, want 2", n)
		}
		if got := y.metric(`railyard_refusals_total{reason="forbidden-address"}`); got != "4" {
			y.Errorf("%s names were refused, want 4", got)
		}
	})
}

// A host lists a million DIDs that nobody has ever made. A hundred rows of it are there
// at a time, and more and more rarely new ones; it is asked for a page each time.
func TestAHostThatInventsDIDsLeavesNoMoreThanItsCap(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){
			"liar.example.com": shelves(0, 1_000_000, 1000), "good.example.com": shelves(2_000_000, 2_000_010, 1000),
		})
		c := y.deep(l, day)
		stop := y.start(c)
		c.Wake(y.up)
		good := make(map[string]bool)
		for n := range 10 {
			good[numbered(2_000_000+n)] = true
		}
		most, total := int64(0), 0
		for range 10 * 24 {
			time.Sleep(time.Hour)
			most = max(most, y.count("SELECT count(*) FROM repo WHERE found_host_id IS NOT NULL"))
			total += y.resolve(func(did string) string {
				if good[did] {
					return "good.example.com"
				}
				return ""
			})
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
		if most > 110 || total < 110 || total > 110+100*24 {
			y.Errorf("%d rows at most, %d in ten days", most, total)
		}
		if n := l.asks("https://liar.example.com"); n > 25 {
			y.Errorf("the liar was asked for %d pages in ten days", n)
		}
		if n := y.count("SELECT count(*) FROM repo"); n != 10 {
			y.Errorf("%d rows are left, want those of the good host", n)
		}
		y.sound()
	})
}

// A host of four thousand accounts proves right: its budget doubles each time that
// its candidates are resolved, until whole pages fit.
func TestAnHonestHostIsCrawledToItsEnd(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"big.example.com": shelves(0, 4000, 500)})
		c := y.deep(l, 0)
		stop := y.start(c)
		c.Wake(y.up)
		for range 20 {
			time.Sleep(5 * time.Minute)
			y.resolve(at("big.example.com"))
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
		if n := y.count("SELECT count(*) FROM repo"); n != 4000 {
			y.Errorf("%d repos are known", n)
		}
		if n := l.asks("https://big.example.com"); n > 16 {
			y.Errorf("%d pages for eight", n)
		}
		if n := y.count("SELECT count(*) FROM crawl WHERE kind = 'host' AND finished_at IS NOT NULL AND started_at IS NULL"); n != 1 {
			y.Error("the crawl is not over")
		}
		y.sound()
	})
}

// A host lists the accounts of another one over and over, each time with a new
// cursor. That ends, is refused, and no repo is asked about.
func TestAnEndlessListingOfOthersAccountsEnds(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(0, 100, 1000)})
		y.crawls(l, 0, time.Minute)
		y.resolve(at("a.example.com"))
		queued := y.count("SELECT sum(generation) FROM resync_queue")
		l.hosts = append(l.hosts, pds.HostEntry{Hostname: "loop.example.com"})
		l.other["https://loop.example.com"] = func(cursor string) (pds.ReposPage, error) {
			p, _ := shelves(0, 100, 1000)("")
			n, _ := strconv.Atoi(cursor)
			p.Cursor = strconv.Itoa(n + 1)
			for i := range p.Repos {
				p.Repos[i].Active = false
			}
			return p, nil
		}
		y.crawls(l, 0, time.Minute)
		if n := l.asks("https://loop.example.com"); n != idleFree/100+2 {
			y.Errorf("%d pages were asked for", n)
		}
		if n := y.count("SELECT sum(generation) FROM resync_queue"); n != queued {
			y.Errorf("another host's listing has queued something: %d, before %d", n, queued)
		}
		if got := y.metric(`railyard_refusals_total{reason="answer-loop"}`); got != "1" {
			y.Errorf("%s loops were counted, want 1", got)
		}
		if got := y.metric(`railyard_listed_total{what="foreign"}`); got != strconv.Itoa(100*(idleFree/100+2)) {
			y.Errorf("%s foreign entries were counted", got)
		}
	})
}

// The file dies with the cursor of a page, and the process with it. The next one
// finds neither the page nor the cursor, and takes both.
func TestACrashBetweenAPageAndItsCursorLosesNeither(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(0, 8, 2)})
		if _, err := y.raw.ExecContext(y.Context(), `CREATE TRIGGER crash BEFORE UPDATE OF cursor ON crawl
			WHEN new.cursor = '4' BEGIN SELECT raise(ABORT, 'disk full'); END`); err != nil {
			y.Fatal(err)
		}
		c := y.deep(l, 0)
		c.Wake(y.up)
		if err := c.Run(y.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
			y.Fatalf("Run: %v, want the failure of the file", err)
		}
		if n := y.count("SELECT count(*) FROM repo"); n != 2 {
			y.Errorf("%d repos after the crash, want the first page", n)
		}
		if _, err := y.raw.ExecContext(y.Context(), `DROP TRIGGER crash`); err != nil {
			y.Fatal(err)
		}
		if err := y.store.Close(); err != nil {
			y.Fatal(err)
		}
		st, err := store.Open(y.Context(), store.Config{Path: y.path, Version: "test"})
		if err != nil {
			y.Fatal(err)
		}
		y.store = st
		before := l.asks("https://a.example.com")
		y.crawls(l, 0, time.Minute)
		if n := l.asks("https://a.example.com") - before; n != 3 {
			y.Errorf("%d pages after the crash, want the three that were left", n)
		}
		if n := y.count("SELECT count(*) FROM repo"); n != 8 {
			y.Errorf("%d repos, want 8", n)
		}
	})
}

// One host is dead, one refuses by rate; the third is crawled at once all the same.
// The dead one is asked more and more rarely, the busy one not before it said, also
// by a new process.
func TestHostsThatFailAreLeftAloneAndDelayNobody(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		var limited atomic.Bool
		limited.Store(true)
		l := network(map[string]func(string) (pds.ReposPage, error){
			"dead.example.com": func(string) (pds.ReposPage, error) { return pds.ReposPage{}, errors.New("no route") },
			"busy.example.com": func(cursor string) (pds.ReposPage, error) {
				if limited.Load() {
					return pds.ReposPage{}, &pds.Error{Status: http.StatusTooManyRequests, Outcome: pds.RateLimited, RetryAfter: 3 * time.Hour}
				}
				return shelves(0, 3, 10)(cursor)
			},
			"good.example.com": shelves(3, 6, 10),
		})
		y.crawls(l, 0, time.Minute)
		if n := y.count("SELECT count(*) FROM repo"); n != 3 || l.asks("https://busy.example.com") != 1 {
			y.Errorf("%d repos are known, the busy host was asked %d times", n, l.asks("https://busy.example.com"))
		}
		limited.Store(false)
		y.crawls(l, 0, 2*time.Hour)
		if n := l.asks("https://busy.example.com"); n != 1 {
			y.Errorf("the busy host was asked %d times before its time", n)
		}
		y.crawls(l, 0, 2*time.Hour)
		if n := y.count("SELECT count(*) FROM repo"); n != 6 {
			y.Errorf("%d repos are known after the busy host's time", n)
		}
		before := l.asks("https://dead.example.com")
		y.crawls(l, 0, 5*day)
		if n := l.asks("https://dead.example.com") - before; n > 20 || n < 5 {
			y.Errorf("a dead host was asked %d times in five days", n)
		}
	})
}

// Forty hosts take ten minutes for a page. No more than a few are crawled at once,
// none is forgotten, and a slow crawl of many pages makes place for the others.
func TestSlowHostsShareTheirPlaces(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		var now, most atomic.Int64
		hosts := make(map[string]func(string) (pds.ReposPage, error))
		for i := range 40 {
			hosts[fmt.Sprintf("h%d.example.com", i)] = func(cursor string) (pds.ReposPage, error) {
				n := now.Add(1)
				most.Store(max(most.Load(), n))
				time.Sleep(10 * time.Minute)
				now.Add(-1)
				return shelves(10*i, 10*i+10, 1)(cursor)
			}
		}
		l := network(hosts)
		y.crawls(l, 0, 100*time.Minute)
		if most.Load() != hostsAtOnce {
			y.Errorf("%d hosts were asked at once, want %d", most.Load(), hostsAtOnce)
		}
		if n := y.count("SELECT count(DISTINCT found_host_id) FROM repo"); n != 40 {
			y.Errorf("%d hosts were begun in 100 minutes", n)
		}
		y.crawls(l, 0, day)
		if n := y.count("SELECT count(*) FROM repo"); n != 400 {
			y.Errorf("%d repos are known after a day", n)
		}
	})
}

// The clock was a year ahead when a crawl ended, and is right again: the next crawl
// is not a year away.
func TestAClockThatWasAheadPutsNoCrawlOff(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(0, 1, 10)})
		y.shift.Store(int64(365 * day))
		y.crawls(l, day, time.Minute)
		y.shift.Store(0)
		y.crawls(l, day, 27*time.Hour)
		if n := l.asks("https://a.example.com"); n != 2 {
			y.Errorf("asked %d times, want twice", n)
		}
	})
}

func TestHostsOfManyPagesOfListHostsAreFoundAndLoopsEnd(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		many := &manyHosts{listing: network(nil)}
		y.crawls(many, 0, time.Minute)
		if n := y.count("SELECT count(*) FROM host"); n != 4 {
			y.Errorf("%d hosts are known, want 4", n)
		}
		if got := y.metric(`railyard_refusals_total{reason="answer-loop"}`); got != "1" {
			y.Errorf("%s loops were counted, want 1", got)
		}
	})
}

// manyHosts lists one host a page, in a ring of four pages.
type manyHosts struct{ *listing }

func (m *manyHosts) ListHosts(_ context.Context, _, cursor string, _ int) (pds.HostsPage, error) {
	n, _ := strconv.Atoi(cursor)
	return pds.HostsPage{
		Hosts:  []pds.HostEntry{{Hostname: fmt.Sprintf("h%d.example.com", n), Status: "offline"}},
		Cursor: strconv.Itoa((n + 1) % 4),
	}, nil
}

func TestAHostIsCrawledOnlyOnceWithoutRepetition(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(0, 3, 10)})
		y.crawls(l, 0, 3*day)
		y.crawls(l, 0, 3*day)
		if n := l.asks("https://a.example.com"); n != 1 {
			y.Errorf("asked %d times", n)
		}
		y.crawls(l, day, 10*day)
		if n := l.asks("https://a.example.com"); n < 1+9 || n > 1+10 {
			y.Errorf("asked %d times in ten days more with a crawl every day", n)
		}
	})
}

func TestAClientsRequestIsBoundedAndCrawled(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := network(nil)
		l.other["https://new.example.com"] = shelves(0, 3, 10)
		c := y.deep(l, 0)
		stop := y.start(c)
		ask := func(name string) bool {
			accepted, err := c.Request(y.Context(), name)
			if err != nil {
				y.Fatal(err)
			}
			synctest.Wait()
			return accepted
		}
		for range 5 {
			if !ask("new.example.com") {
				y.Error("refused")
			}
		}
		if n := l.asks("https://new.example.com"); n != 1 {
			y.Errorf("five requests within an hour led to %d crawls", n)
		}
		time.Sleep(2 * time.Hour)
		ask("new.example.com")
		time.Sleep(time.Minute)
		if n := l.asks("https://new.example.com"); n != 2 {
			y.Errorf("a request two hours later: %d crawls in all", n)
		}
		accepted := 0
		for n := range 1000 {
			if ask(fmt.Sprintf("junk%d.example.com", n)) {
				accepted++
			}
		}
		if accepted > requestsAtOnce || accepted < requestsAtOnce-1 {
			y.Errorf("%d unknown hosts were taken at once", accepted)
		}
		if !ask("new.example.com") {
			y.Error("a known host is refused because of others")
		}
		time.Sleep(3 * day) // they never answer, and nobody lists them
		if n := y.count("SELECT count(*) FROM crawl WHERE kind = 'host' AND due_at IS NOT NULL"); n != 0 {
			y.Errorf("%d hosts that never answered are still asked", n)
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
		y.sound()
	})
}

// A request during a crawl is no reason to begin it anew, or a large host's crawl would never
// end: it is followed by another one.
func TestARequestDuringAHostsCrawlComesAfterIt(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		var c *Crawler
		var l *listing
		l = network(map[string]func(string) (pds.ReposPage, error){"a.example.com": func(cursor string) (pds.ReposPage, error) {
			if cursor == "2" && l.asks("https://a.example.com") == 2 {
				if _, err := c.Request(y.Context(), "a.example.com"); err != nil {
					y.Error(err)
				}
			}
			return shelves(0, 6, 2)(cursor)
		}})
		c = y.deep(l, 0)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(time.Minute)
		if n := l.asks("https://a.example.com"); n != 6 {
			y.Errorf("%d pages, want two crawls of three", n)
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}
