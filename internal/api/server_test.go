package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const listingPath = "/xrpc/com.atproto.sync.listReposByCollection"

func TestMethodsRoutesAndTheirErrors(t *testing.T) {
	x := newIndex(t)
	for _, c := range []struct {
		method, target string
		status         int
		name           string
	}{
		{"POST", listingPath, 405, "InvalidRequest"},
		{"PUT", "/v1/stats", 405, "InvalidRequest"},
		{"DELETE", "/_health", 405, "InvalidRequest"},
		{"POST", "/xrpc/_health", 405, "InvalidRequest"},
		{"GET", "/xrpc/com.atproto.sync.getBlob", 501, "MethodNotImplemented"},
		{"POST", "/xrpc/com.atproto.server.createSession", 501, "MethodNotImplemented"},
		{"GET", "/xrpc/", 501, "MethodNotImplemented"},
		{"GET", listingPath + "/", 501, "MethodNotImplemented"},
		{"GET", "/v1/nothing", 404, "NotFound"},
		{"GET", "/nothing", 404, "NotFound"},
		{"GET", listingPath + "?limit=x", 400, "InvalidRequest"},
	} {
		w := x.ask(c.method, c.target)
		x.refused(w, c.status, c.name)
		if allow := w.Header().Get("Allow"); (allow == "GET, HEAD") != (c.status == 405) {
			t.Errorf("%s %s: Allow %q", c.method, c.target, allow)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: headers %v", c.method, c.target, w.Header())
		}
	}
}

func TestRequestsAreCountedByRouteAndNeverByPath(t *testing.T) {
	x := newIndex(t)
	x.ask("GET", "/some/path")
	x.ask("GET", "/xrpc/com.example.minted")
	x.ask("GET", listingPath)
	x.ask("GET", listingPath+"?limit=0")
	for metric, want := range map[string]string{
		`railyard_http_requests_total{route="other",status="404"}`:               "1",
		`railyard_http_requests_total{route="other",status="501"}`:               "1",
		`railyard_http_requests_total{route="` + listingPath + `",status="200"}`: "1",
		`railyard_http_requests_total{route="` + listingPath + `",status="400"}`: "1",
	} {
		if got := x.metric(metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}
}

func TestHealthFailsOnceTheWriterHasStopped(t *testing.T) {
	x := newIndex(t)
	for _, path := range []string{"/_health", "/xrpc/_health"} {
		if w := x.ask("GET", path); w.Code != 200 || w.Body.String() != `{"version":"1.2.3"}` {
			t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
		}
	}
	x.establish(didOf(1), posts)
	x.store.Stop(errors.New("disk /secret/place is full"))
	for _, path := range []string{"/_health", "/xrpc/_health"} {
		w := x.ask("GET", path)
		x.refused(w, 503, "WriterStopped")
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s tells the cause to strangers: %s", path, w.Body)
		}
	}
	if got, _ := x.page("", 10, posts); len(got) != 1 {
		t.Errorf("the listing stops with the writer: %q", got)
	}
}

// A page in a browser may ask with whatever headers the official client sends, and only
// names of headers are repeated.
func TestAPreflightAllowsWhatItAsksFor(t *testing.T) {
	x := newIndex(t)
	for asked, want := range map[string]string{
		"":                        "*",
		"atproto-accept-labelers": "atproto-accept-labelers",
		"atproto-accept-labelers,atproto-proxy, content-type": "atproto-accept-labelers,atproto-proxy, content-type",
		"a\"b":                          "*",
		strings.Repeat("a,", 500) + "a": "*",
	} {
		for _, path := range append(x.paths(), "/xrpc/com.atproto.sync.getBlob", "/nothing") {
			r := httptest.NewRequestWithContext(t.Context(), "OPTIONS", path, nil)
			r.Header.Set("Origin", "https://app.example.com")
			r.Header.Set("Access-Control-Request-Method", "GET")
			r.Header.Set("Access-Control-Request-Headers", asked)
			w := httptest.NewRecorder()
			x.handler.ServeHTTP(w, r)
			if h := w.Header(); w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Headers") != want ||
				!strings.Contains(h.Get("Access-Control-Allow-Methods"), "GET") {
				t.Errorf("%s with %q: %d %v", path, asked, w.Code, h)
			}
		}
	}
}

func TestAFailureOfTheFileHidesItsCauseFromTheClient(t *testing.T) {
	x := newIndex(t)
	var log bytes.Buffer
	x.handler = Handler(Config{Store: x.store, Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: x.metrics})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", listingPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, req)
	x.refused(w, 503, "RequestCancelled")
	if log.Len() > 0 {
		t.Errorf("a client that goes away writes a log line: %s", &log)
	}
	if err := x.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{listingPath, "/v1/stats"} {
		if message := x.refused(x.ask("GET", path), 500, "InternalServerError"); message != "the index could not be read" {
			t.Errorf("%s: message %q", path, message)
		}
		if !strings.Contains(log.String(), path) || !strings.Contains(log.String(), "closed") {
			t.Errorf("%s: the operator reads %q", path, log.String())
		}
	}
}

// wireStats is /v1/stats as a client reads it.
type wireStats struct {
	Index       string           `json:"index"`
	Repos       map[string]int64 `json:"repos"`
	Memberships *int64           `json:"memberships"`
	Collections *int64           `json:"collections"`
	ResyncQueue *int64           `json:"resync_queue"`
	InFlight    *int64           `json:"in_flight"`
	ResyncLater *int64           `json:"resync_later"`
	Upstreams   []map[string]any `json:"upstreams"`
	Version     string           `json:"version"`
	Troubles    []map[string]any `json:"troubles"`
}

func (x *index) stats() (s wireStats) {
	x.Helper()
	w := x.ask("GET", "/v1/stats")
	if w.Code != 200 {
		x.Fatalf("status %d: %s", w.Code, w.Body)
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		x.Fatal(err)
	}
	return s
}

func TestStatsOfAnEmptyIndexAreZeroAndUnknownFiguresNull(t *testing.T) {
	x := newIndex(t)
	body := x.ask("GET", "/v1/stats").Body.String()
	want := `{"index":"` + x.store.IndexID() + `","repos":{"active":0,"candidate":0,"desynchronized":0,"not_found":0,` +
		`"resyncing":0,"synchronized":0,"total":0},"memberships":0,"collections":0,"resync_queue":0,"in_flight":null,` +
		`"resync_later":0,"upstreams":[],"version":"1.2.3","troubles":[]}`
	if body != want {
		t.Errorf("stats %s\nwant  %s", body, want)
	}
}

func TestStatsCountWhatTheFileHolds(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), posts)
	x.establish(didOf(3), lists)
	x.deactivate(didOf(3)) // desynchronized; its collection has no visible member
	x.establish(didOf(4), posts)
	x.change(didOf(4), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	x.bear(didOf(5), posts) // a candidate; not visible
	x.change(didOf(5), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Enqueue(tx, r, repostate.Backfill, tx.Now())
	})
	x.establish(didOf(6), posts)
	x.change(didOf(6), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
	x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.EnqueueMissed(tx, r, tx.Now().Add(time.Hour), atproto.TIDAt(tx.Now()))
	})
	s := x.stats()
	for state, want := range map[string]int64{
		"total": 6, "active": 5, "candidate": 1, "desynchronized": 2, "resyncing": 0, "synchronized": 2, "not_found": 1,
	} {
		if got, ok := s.Repos[state]; got != want || !ok {
			t.Errorf("repos.%s is %d (%t), want %d", state, got, ok, want)
		}
	}
	for name, c := range map[string]struct {
		got  *int64
		want int64
	}{
		"memberships": {s.Memberships, 4}, "collections": {s.Collections, 2},
		"resync_queue": {s.ResyncQueue, 2}, "resync_later": {s.ResyncLater, 1},
	} {
		if c.got == nil || *c.got != c.want {
			t.Errorf("%s is %v, want %d", name, c.got, c.want)
		}
	}
}

func TestStatsTellOfUpstreamsWhatIsKnown(t *testing.T) {
	x := newIndex(t)
	var relay, quiet store.Upstream
	err := x.store.Update(t.Context(), "test", func(tx *store.Tx) (err error) {
		if relay, err = tx.AddUpstream("https://relay.example.com"); err != nil {
			return err
		}
		if quiet, err = tx.AddUpstream("https://quiet.example.com"); err != nil {
			return err
		}
		if _, err = tx.AddUpstream("https://former.example.com"); err != nil {
			return err
		}
		if err = tx.SetKind(relay.ID, store.KindRelay, ""); err != nil {
			return err
		}
		return tx.SetCursor(relay.ID, 42, tx.Now().Add(-90*time.Second))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(x.stats().Upstreams); n != 3 {
		t.Errorf("without a process that follows some, %d upstreams, want all 3", n)
	}
	live := func() Live {
		return Live{InFlight: 7, Connected: map[int64]bool{relay.ID: true, quiet.ID: false}}
	}
	x.handler = Handler(Config{Store: x.store, Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Live: live})
	s := x.stats()
	if s.InFlight == nil || *s.InFlight != 7 {
		t.Errorf("in_flight is %v, want 7", s.InFlight)
	}
	if len(s.Upstreams) != 2 {
		t.Fatalf("upstreams %v, want the two that are followed", s.Upstreams)
	}
	up := s.Upstreams[0]
	at, err := time.Parse(time.RFC3339, up["last_event_at"].(string))
	if err != nil || time.Since(at) > time.Minute || at.Location() != time.UTC {
		t.Errorf("last_event_at %v: %v", up["last_event_at"], err)
	}
	delete(up, "last_event_at")
	for i, want := range []map[string]any{
		{"url": "https://relay.example.com", "kind": "relay", "cursor": 42.0, "connected": true, "lag_seconds": 90.0},
		{"url": "https://quiet.example.com", "kind": nil, "cursor": nil, "connected": false, "last_event_at": nil, "lag_seconds": nil},
	} {
		for field, value := range want {
			if got, ok := s.Upstreams[i][field]; got != value || !ok {
				t.Errorf("upstream %d: %s is %v, want %v", i, field, got, value)
			}
		}
		if len(s.Upstreams[i]) != len(want) {
			t.Errorf("upstream %d has the fields %v", i, s.Upstreams[i])
		}
	}
}

// serving runs Serve on loopback until the test ends or stop is called, which
// returns what Serve returned.
func (x *index) serving(h http.Handler) (base string, stop func() error) {
	x.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.Context()))
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h, 100, slog.New(slog.DiscardHandler)) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	x.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

func TestHeadHasTheHeadersOfGetAndNoBody(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	base, _ := x.serving(x.handler)
	for _, path := range append(x.paths(), listingPath+"?limit=0") {
		get, body := fetch(t, "GET", base+path)
		head, none := fetch(t, "HEAD", base+path)
		if get.StatusCode != head.StatusCode || get.ContentLength != head.ContentLength || get.ContentLength != int64(len(body)) {
			t.Errorf("%s: GET %d with %d bytes, HEAD %d with %d", path, get.StatusCode, get.ContentLength, head.StatusCode, head.ContentLength)
		}
		if none != "" {
			t.Errorf("%s: HEAD has the body %q", path, none)
		}
	}
}

func fetch(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity") // else the client asks for gzip and hides it
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServeFinishesTheRequestsThatAreUnderWay(t *testing.T) {
	x := newIndex(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	base, stop := x.serving(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = w.Write([]byte("answered"))
	}))
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(base)
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answer <- string(body)
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for err := error(nil); err == nil; { // until the listener is closed
		var c net.Conn
		if c, err = net.Dial("tcp", strings.TrimPrefix(base, "http://")); err == nil {
			_ = c.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("Serve returned %v before its request was answered", err)
	default:
	}
	close(finish)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "answered" {
		t.Errorf("the client got %q", got)
	}
}

func TestServeRefusesHeadersBeyondTheirBound(t *testing.T) {
	x := newIndex(t)
	base, _ := x.serving(x.handler)
	resp, _ := fetch(t, "GET", base+listingPath+"?collection="+strings.Repeat("a", maxHeader+8<<10))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}
