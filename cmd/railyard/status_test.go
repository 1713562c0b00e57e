package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestStatusReportsAFile(t *testing.T) {
	path := indexFile(t)
	o := invoke(t, []string{"status", "--db", path, "--json"})
	var s statusReport
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || o.code != exitOK || o.stderr != "" {
		t.Fatal(o, err)
	}
	if s.Source != path || len(s.Index) != 13 || s.Repos["total"] != 2 || s.Repos["active"] != 2 || s.Repos["synchronized"] != 1 ||
		s.Repos["candidate"] != 1 || s.Memberships != 2 || s.Collections != 2 || s.ResyncQueue != 1 || s.ResyncLater != 0 {
		t.Errorf("figures %s", o.stdout)
	}
	if s.Version != nil || s.InFlight != nil {
		t.Errorf("a file knows a process: %s", o.stdout)
	}
	if len(s.Upstreams) != 1 || len(s.Refusals) != 1 || len(s.Hosts) != 1 {
		t.Fatalf("tables %s", o.stdout)
	}
	u := s.Upstreams[0]
	if u.URL != "https://relay.example.com" || *u.Kind != "relay" || *u.Cursor != 12 || u.Connected != nil || u.Rate != nil ||
		time.Since(*u.LastEventAt) > time.Hour || *u.LagSeconds < 0 || *u.LagSeconds > 3600 {
		t.Errorf("upstream %s", o.stdout)
	}
	if r := s.Refusals[0]; r.Reason != "bad-car" || r.Count != 1 || time.Since(r.LastAt) > time.Hour {
		t.Errorf("refusal %+v", r)
	}
	h := s.Hosts[0]
	if h.Host != "pds.example.com" || h.Status != nil || h.Failures != 1 || h.Answers != 0 || h.CooldownUntil == nil ||
		*h.Error != "it said: \x1b[31mno\nway" || h.ErrorAt == nil {
		t.Errorf("host %+v", h)
	}
}

func TestStatusForPeopleIsATableWithoutControlCharacters(t *testing.T) {
	path := indexFile(t)
	o := invoke(t, []string{"status"}, "RAILYARD_DB="+path)
	if o.code != exitOK || o.stderr != "" {
		t.Fatal(o)
	}
	text := strings.Join(strings.Fields(o.stdout), " ")
	for _, want := range []string{
		"source " + path, "repos 2, 2 of them active", "synchronized 1", "memberships 2 in 2 collections", "queue 1, and 0 for later",
		"UPSTREAM KIND CONNECTED CURSOR LAG (S) EVENTS/S https://relay.example.com relay - 12 0.", "REFUSED FOR TIMES LAST bad-car 1 2",
		"pds.example.com - 1 0 2", "it said: ?[31mno?way",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if strings.Contains(o.stdout, "\x1b") {
		t.Error("an escape sequence reaches the terminal")
	}
}

func TestStatusOfARunningService(t *testing.T) {
	t.Parallel()
	p := launch(t, quietly(t, indexFile(t)))
	o := invoke(t, []string{"status", "--url", p.base, "--json"})
	var s statusReport
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || o.code != exitOK || o.stderr != "" {
		t.Fatal(o, err)
	}
	if s.Source != p.base || s.Version == nil || *s.Version != versionText() || s.InFlight == nil || s.Memberships != 2 ||
		s.Repos["total"] != 2 || s.Refusals != nil || s.Hosts != nil {
		t.Errorf("%s", o.stdout)
	}
}

func TestStatusMeasuresHowFastTheCursorMoves(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/stats" {
			t.Errorf("asked for %s", r.URL)
		}
		n := asked.Add(1)
		_, _ = fmt.Fprintf(w, `{"index":"x","upstreams":[{"url":"a","cursor":%d},{"url":"b","cursor":%d},{"url":"c","cursor":null}]}`, 500*n, 100-n)
	}))
	defer srv.Close()
	o := invoke(t, []string{"status", "--json"}, "RAILYARD_URL="+srv.URL)
	var s statusReport
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || len(s.Upstreams) != 3 {
		t.Fatal(o, err)
	}
	if rate := s.Upstreams[0].Rate; rate == nil || *rate < 100 || *rate >= 500 {
		t.Errorf("500 events in a second and a bit: %s", o.stdout)
	}
	if s.Upstreams[1].Rate != nil || s.Upstreams[2].Rate != nil {
		t.Errorf("a rate of a cursor that went back, or of none: %s", o.stdout)
	}
}

func TestStatusFailsWhereThereIsNoService(t *testing.T) {
	answer := func(status int, body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	invoke(t, []string{"status", "--url", "localhost"}).oneLine(t, exitUsage, "--url", "localhost")
	invoke(t, []string{"status", "--url", deadURL(t)}).oneLine(t, exitFail, "refused")
	invoke(t, []string{"status", "--url", answer(503, "{}")}).oneLine(t, exitFail, "status 503")
	invoke(t, []string{"status", "--url", answer(200, "<html>")}).oneLine(t, exitFail, "/v1/stats")
	invoke(t, []string{"status", "--url", answer(200, "{}")}).oneLine(t, exitFail, "not the answer of a railyard")
}

func TestPrintableIsShortAndHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain täxt":               "plain täxt",
		"a\tb\nc\x1b[0m\u202e\xff": "a?b?c?[0m?\ufffd",
		strings.Repeat("ä", 400):   strings.Repeat("ä", maxPrintable) + "...",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
