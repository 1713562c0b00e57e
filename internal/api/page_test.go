package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard"
	"railyard/internal/health"
	"railyard/internal/metrics"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// document is a page that was read as strictly as XML is: every element closed,
// every attribute quoted.
type document struct {
	text     string // of all elements but style, with single spaces
	rows     []string
	lines    string // what stands in code
	elements map[string]int
	links    []string
	style    string
	attrs    map[string]bool
}

var void = regexp.MustCompile(`<(meta|br|hr|img|link|input)\b([^>]*[^/])>`)

func parsePage(t *testing.T, page string) (d document) {
	t.Helper()
	d.elements, d.attrs = make(map[string]int), make(map[string]bool)
	dec := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(page, "<$1$2/>")))
	var path, words, row []string
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			d.elements[e.Name.Local]++
			for _, a := range e.Attr {
				d.attrs[a.Name.Local] = true
				if a.Name.Local == "href" || a.Name.Local == "src" {
					d.links = append(d.links, a.Value)
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			if e.Name.Local == "tr" {
				d.rows, row = append(d.rows, strings.Join(row, " ")), nil
			}
		case xml.CharData:
			switch {
			case slices.Contains(path, "style"):
				d.style += string(e)
				continue
			case slices.Contains(path, "pre"):
				d.lines += string(e) + "\n"
			case slices.Contains(path, "tr"):
				row = append(row, strings.Fields(string(e))...)
			}
			words = append(words, strings.Fields(string(e))...)
		}
	}
	d.text = strings.Join(words, " ")
	return d
}

// front asks for the first page.
func (x *index) front(r *http.Request) *httptest.ResponseRecorder {
	x.Helper()
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		x.Errorf("content type %q", got)
	}
	return w
}

func (x *index) frontPage() document {
	x.Helper()
	w := x.front(httptest.NewRequestWithContext(x.Context(), "GET", "http://yard.example.com:2526/", nil))
	if w.Code != http.StatusOK {
		x.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return parsePage(x.TB.(*testing.T), w.Body.String())
}

// live makes the handler that of a process with these figures.
func (x *index) live(l Live) {
	x.handler = Handler(Config{
		Store: x.store, Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Metrics: x.metrics, Live: func() Live { return l },
	})
}

// upstream adds a firehose with an event in it.
func (x *index) upstream(url string) (u store.Upstream) {
	x.Helper()
	err := x.store.Update(x.Context(), "test", func(tx *store.Tx) (err error) {
		if u, err = tx.AddUpstream(url); err != nil {
			return err
		}
		if err := tx.SetKind(u.ID, store.KindRelay, ""); err != nil {
			return err
		}
		return tx.SetCursor(u.ID, 1234567, tx.Now().Add(-90*time.Second))
	})
	if err != nil {
		x.Fatal(err)
	}
	return u
}

func TestTheFirstPageShowsTheFigures(t *testing.T) {
	x := newIndex(t)
	relay := x.upstream("https://relay.example.com")
	x.upstream("https://no-longer-followed.example.com")
	x.live(Live{InFlight: 12, Connected: map[int64]bool{relay.ID: true}})
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), posts)
	x.establish(didOf(3), posts, lists)
	x.deactivate(didOf(3))
	for n := 4; n < 7; n++ {
		x.change(didOf(n), func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Enqueue(tx, r, repostate.Backfill, tx.Now())
		})
	}
	x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.EnqueueMissed(tx, r, tx.Now().Add(time.Hour), 1<<60)
	})
	d := x.frontPage()
	for _, want := range []string{
		"Following 3 repos still to be proven",
		"Repos 6 5 of active accounts", "Memberships 3 pairs", "Collections 2 with",
		"Queue 3 waiting to be proven; 12 in flight; 1 for a second look",
		"https://relay.example.com connected Last event just now Lag 1 min Cursor 1234567 Kind relay",
		"index " + x.store.IndexID(), "railyard 1.2.3",
	} {
		if !strings.Contains(d.text, want) {
			t.Errorf("the page lacks %q: %s", want, d.text)
		}
	}
	if strings.Contains(d.text, "no-longer") {
		t.Error("the page shows an upstream that is not followed")
	}
	for _, want := range []string{
		posts + " 2", likes + " 1",
		"synchronized proven; commits are applied as they come 2 33.3 %",
		"desynchronized may be wrong, or its account is inactive 1 16.7 %",
		"candidate heard of, never proven 3 50.0 %", "resyncing being fetched from its host 0 0 %",
	} {
		if !slices.Contains(d.rows, want) {
			t.Errorf("no row %q in %q", want, d.rows)
		}
	}
	if slices.Index(d.rows, posts+" 2") > slices.Index(d.rows, likes+" 1") {
		t.Errorf("the smaller collection comes first: %q", d.rows)
	}
	if strings.Contains(d.text, lists) {
		t.Error("the page shows a collection without visible members")
	}
}

func TestTheFirstPageOfAnEmptyIndexSaysSo(t *testing.T) {
	d := parsePage(t, newIndex(t).front(httptest.NewRequest("GET", "/", nil)).Body.String())
	for _, want := range []string{"Reading", "None yet.", "None is followed.", "Repos 0 ", "synchronized"} {
		if !strings.Contains(d.text, want) {
			t.Errorf("the page lacks %q: %s", want, d.text)
		}
	}
}

func TestTheFirstPageShowsTheLargestCollectionsOnly(t *testing.T) {
	x := newIndex(t)
	var nsids []string
	for n := range 40 {
		nsids = append(nsids, "com.example.c"+strings.Repeat("x", n))
	}
	for n := range 40 {
		x.establish(didOf(n), nsids[:n+1]...)
	}
	shown := 0
	for _, row := range x.frontPage().rows {
		if strings.HasPrefix(row, "com.example.c") {
			shown++
		}
	}
	if shown != 25 {
		t.Errorf("%d collections, want 25", shown)
	}
}

func TestTheFirstPageEscapesWhatComesFromOutside(t *testing.T) {
	x := newIndex(t)
	const evil = `<script>alert("1")</script>'"><img src=x onerror=y>{{.}}`
	u := x.upstream("https://" + evil)
	x.establish(didOf(1), "com.example."+evil)
	x.handler = Handler(Config{Store: x.store, Version: evil, Log: slog.New(slog.DiscardHandler), Metrics: x.metrics,
		Live: func() Live { return Live{Connected: map[int64]bool{u.ID: true}} }})
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/?q="+evil[:8], nil)
	r.Host = evil
	r.Header.Set("X-Forwarded-Proto", evil)
	page := x.front(r).Body.String()
	d := parsePage(t, page)
	if d.elements["script"]+d.elements["img"] != 0 || d.attrs["onerror"] || strings.Contains(page, "<script") {
		t.Errorf("elements %v, attributes %v", d.elements, d.attrs)
	}
	for _, want := range []string{"https://" + evil, "com.example." + evil, "railyard " + evil} {
		if !strings.Contains(d.text, want) {
			t.Errorf("the page lacks the text %q: %s", want, d.text)
		}
	}
	if !strings.Contains(d.lines, "curl 'http://HOST/xrpc/") || strings.Contains(d.lines, "alert") {
		t.Errorf("lines for a shell: %s", d.lines)
	}
	for _, link := range d.links {
		if strings.ContainsAny(link, `<>"' `) {
			t.Errorf("link %q", link)
		}
	}
}

func TestTheFirstPageNeedsNothingButItself(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	w := x.front(httptest.NewRequest("GET", "/", nil))
	d := parsePage(t, w.Body.String())
	sum := sha256.Sum256([]byte(d.style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := w.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %s\nwant   %s", got, want)
	}
	if len(d.style) < 1000 || strings.Contains(d.style, "url(") || strings.Contains(d.style, "@import") {
		t.Errorf("style of %d bytes", len(d.style))
	}
	for _, element := range []string{"script", "link", "img", "iframe", "object", "form", "base"} {
		if d.elements[element] != 0 {
			t.Errorf("the page has a %s", element)
		}
	}
	if d.attrs["style"] || d.attrs["src"] {
		t.Errorf("attributes that the policy forbids: %v", d.attrs)
	}
	for _, link := range d.links {
		if !strings.HasPrefix(link, "/") || strings.HasPrefix(link, "//") {
			t.Errorf("link %q leads away", link)
		}
		if w := x.get(link); w.Code != http.StatusOK {
			t.Errorf("link %s: status %d", link, w.Code)
		}
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Access-Control-Allow-Origin": "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// Every line that the page proposes gets an answer: of this very index those for
// curl, of any file those for sqlite3.
func TestTheLinesToTryWork(t *testing.T) {
	x := newIndex(t)
	x.establish("did:plc:ewvi7nxzyoun6zhxrhs64oiz", posts)
	file, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	file.SetMaxOpenConns(1)
	if _, err := file.Exec(railyard.Schema); err != nil {
		t.Fatal(err)
	}
	requests, queries := 0, 0
	for line := range strings.Lines(x.frontPage().lines) {
		line = strings.TrimSpace(line)
		if target, is := strings.CutPrefix(line, "curl 'http://yard.example.com:2526"); is {
			requests++
			if w := x.ask("GET", strings.TrimSuffix(target, "'")); w.Code != http.StatusOK {
				t.Errorf("%s: status %d: %s", line, w.Code, w.Body)
			}
		} else if query, is := strings.CutPrefix(line, `sqlite3 -readonly railyard.db "`); is {
			queries++
			if _, err := file.Exec(strings.TrimSuffix(query, `"`)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		} else if line != "" {
			t.Errorf("neither curl nor sqlite3: %s", line)
		}
	}
	if requests < 5 || queries < 3 {
		t.Errorf("%d requests, %d queries", requests, queries)
	}
}

func TestTheFirstPageNamesTheHostThatWasAsked(t *testing.T) {
	for _, c := range []struct {
		host, proto string
		secure      bool
		want        string
	}{
		{"yard.example.com", "", false, "http://yard.example.com"},
		{"127.0.0.1:2526", "", false, "http://127.0.0.1:2526"},
		{"[::1]:2526", "", false, "http://[::1]:2526"},
		{"yard.example.com", "https", false, "https://yard.example.com"},
		{"yard.example.com", "", true, "https://yard.example.com"},
		{"yard.example.com", "javascript", false, "http://yard.example.com"},
		{"", "", false, "http://HOST"},
		{"x';reboot;'", "", false, "http://HOST"},
		{"$(reboot)", "", false, "http://HOST"},
		{"a b", "", false, "http://HOST"},
		{"a\nb", "", false, "http://HOST"},
		{"a.example.com\n", "", false, "http://HOST"},
		{"a.example.com:123456", "", false, "http://HOST"},
		{"b\u00fccher.example.com", "", false, "http://HOST"},
		{strings.Repeat("a", 254), "", false, "http://HOST"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		r.Header.Set("X-Forwarded-Proto", c.proto)
		if c.secure {
			r.TLS = &tls.ConnectionState{}
		}
		if got := baseOf(r); got != c.want {
			t.Errorf("host %.40q, proto %q: %s, want %s", c.host, c.proto, got, c.want)
		}
	}
}

func TestOnlyTheRootIsTheFirstPage(t *testing.T) {
	x := newIndex(t)
	for _, path := range []string{"/index.html", "/x", "/page.html", "/page.css", "/favicon.ico"} {
		x.refused(x.ask("GET", path), 404, "NotFound")
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		w := x.front(httptest.NewRequest(method, "/", nil))
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		if d := parsePage(t, w.Body.String()); !strings.Contains(d.text, "Error method "+method) {
			t.Errorf("%s: %s", method, d.text)
		}
	}
	if w := x.front(httptest.NewRequest("GET", "/?any=thing", nil)); w.Code != 200 {
		t.Errorf("with a query: status %d", w.Code)
	}
	for status, want := range map[string]string{"200": "1", "405": "3"} {
		if got := x.metric(`railyard_http_requests_total{route="/",status="` + status + `"}`); got != want {
			t.Errorf("%s pages with status %s were counted, want %s", got, status, want)
		}
	}
}

func TestHeadOfTheFirstPageHasItsHeadersAndNoBody(t *testing.T) {
	x := newIndex(t)
	base, _ := x.serving(x.handler)
	get, body := fetch(t, "GET", base+"/")
	head, none := fetch(t, "HEAD", base+"/")
	if get.StatusCode != 200 || head.StatusCode != 200 || len(none) != 0 || len(body) == 0 {
		t.Errorf("GET %d with %d bytes, HEAD %d with %d", get.StatusCode, len(body), head.StatusCode, len(none))
	}
	for _, name := range []string{"Content-Type", "Content-Security-Policy", "Content-Length"} {
		if g, h := get.Header.Get(name), head.Header.Get(name); g != h || g == "" {
			t.Errorf("%s: GET %q, HEAD %q", name, g, h)
		}
	}
}

func TestTheFirstPageSaysHowTheServiceIs(t *testing.T) {
	both := func(a, b bool, troubles ...health.Trouble) *Live {
		return &Live{Connected: map[int64]bool{1: a, 2: b}, Troubles: troubles}
	}
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	locked := health.Trouble{Kind: health.Locked, Why: "process 12 holds the lock", Since: since}
	behind := health.Trouble{Kind: health.Behind, Upstream: "https://one.example.com", Why: "its events are 2h0m0s old", Since: since}
	for _, c := range []struct {
		live    *Live
		waiting bool
		stopped bool
		want    string
	}{
		{both(true, true), false, false, "In step Connected, and no repo"},
		{both(true, true), true, false, "Following 1 repo still"},
		{both(true, false), true, false, "Disconnected Connected to 1 of 2 upstreams."},
		{&Live{}, false, false, "Disconnected Connected to 0 of 0 upstreams."},
		{nil, true, false, "Reading This process"},
		{both(true, true, locked), false, false, "Standing still Process 12 holds the lock, since 2026-01-02T03:04:05Z."},
		{both(true, true, behind), true, false, "In trouble https://one.example.com: its events are 2h0m0s old, since 2026"},
		{both(true, true), false, true, "Stopped The index is no longer written"},
		{nil, false, true, "Stopped The index is no longer written"},
	} {
		x := newIndex(t)
		x.upstream("https://one.example.com")
		x.upstream("https://two.example.com")
		if c.live != nil {
			x.live(*c.live)
		}
		if c.waiting {
			x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Enqueue(tx, r, repostate.Backfill, tx.Now())
			})
		}
		if c.stopped {
			x.store.Stop(errors.New("disk /secret/place is full"))
		}
		if d := x.frontPage(); !strings.Contains(d.text, c.want) || strings.Contains(d.text, "secret") {
			t.Errorf("want %q in %s", c.want, d.text)
		}
	}
}

func TestAFailureIsAPageThatHidesItsCause(t *testing.T) {
	x := newIndex(t)
	var log bytes.Buffer
	x.handler = Handler(Config{Store: x.store, Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: x.metrics})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := x.front(httptest.NewRequestWithContext(gone, "GET", "/", nil)); w.Code != 503 || log.Len() > 0 {
		t.Errorf("a client that went away: status %d, log %q", w.Code, log.String())
	}
	if err := x.store.Close(); err != nil {
		t.Fatal(err)
	}
	w := x.front(httptest.NewRequest("GET", "/", nil))
	d := parsePage(t, w.Body.String())
	if w.Code != 500 || !strings.Contains(d.text, "Error the index could not be read") || strings.Contains(d.text, "closed") {
		t.Errorf("status %d: %s", w.Code, d.text)
	}
	if !strings.Contains(log.String(), "closed") {
		t.Errorf("the operator reads %q", log.String())
	}
	if w.Header().Get("Content-Security-Policy") == "" {
		t.Error("the error has no policy")
	}
}

// However often the page is asked for, the figures are read at most once a second.
func TestFiguresAreReadAnewWhenTheyAreOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		reads := 0
		x := &index{TB: t, store: st, metrics: metrics.New()}
		x.handler = Handler(Config{Store: st, Log: slog.New(slog.DiscardHandler), Metrics: x.metrics, Live: func() Live {
			reads++
			return Live{}
		}})
		shows := func(repos string, wantReads int) {
			t.Helper()
			if d := x.frontPage(); !strings.Contains(d.text, "Repos "+repos+" ") || reads != wantReads {
				t.Errorf("%d reads, want %d; want %s repos in %s", reads, wantReads, repos, d.text)
			}
		}
		shows("0", 1)
		x.establish(didOf(1), posts)
		time.Sleep(figuresKept - time.Nanosecond)
		shows("0", 1)
		time.Sleep(time.Nanosecond)
		shows("1", 2)
	})
}

// Whoever reads the figures may be slow: the others wait for so long and no longer.
func TestWaitingForFiguresEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFrontPage(newServer(Config{Log: slog.New(slog.DiscardHandler)}))
		p.turn <- struct{}{}
		w, start := httptest.NewRecorder(), time.Now()
		p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		if w.Code != http.StatusServiceUnavailable || time.Since(start) != queryTimeout {
			t.Errorf("status %d after %s", w.Code, time.Since(start))
		}
	})
}

func TestNumbersAndTimesAsPeopleReadThem(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567", -1: "-1", -123: "-123", -1234: "-1,234",
	} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for _, c := range []struct {
		part, whole int64
		want        string
	}{
		{0, 0, "0 %"}, {0, 5, "0 %"}, {5, 5, "100 %"}, {1, 3, "33.3 %"}, {1, 100_000, "< 0.1 %"}, {99_999, 100_000, "> 99.9 %"},
	} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d is %s, want %s", c.part, c.whole, got, c.want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 999 * time.Millisecond: "just now", time.Second: "1 s ago", 59 * time.Second: "59 s ago",
		time.Minute: "1 min ago", 59 * time.Minute: "59 min ago", time.Hour: "1 h ago", 47 * time.Hour: "47 h ago", 50 * time.Hour: "2 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
