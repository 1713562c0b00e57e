package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/store"
)

// feed asks for a page of changes, which must be there.
func (x *index) feed(params url.Values) (a changesAnswer) {
	x.Helper()
	w := x.ask("GET", "/v1/changes?"+params.Encode())
	if w.Code != http.StatusOK {
		x.Fatalf("%v: status %d: %s", params, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !ownCursor.MatchString(strings.TrimSuffix(a.Cursor, aheadMark)) {
		x.Fatalf("%s: %v", w.Body, err)
	}
	return a
}

// told returns the changes in words, without their numbers and times.
func told(changes []changeAnswer) (lines []string) {
	for _, c := range changes {
		set := "-"
		if c.Collections != nil {
			set = fmt.Sprint(*c.Collections)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintln(c.DID == didOf(1), c.Collection, c.Visible, c.Cause, set)))
	}
	return lines
}

func TestChangesSayWhatIsListedNow(t *testing.T) {
	x := newIndex(t)
	start := x.feed(nil)
	if len(start.Changes) > 0 || start.More {
		t.Fatalf("without a cursor: %+v", start)
	}
	if again := x.feed(url.Values{"cursor": {start.Cursor}}); len(again.Changes) > 0 || again.Cursor+aheadMark != start.Cursor || again.More {
		t.Errorf("nothing has happened: %+v", again)
	}
	x.establish(didOf(1), posts)
	x.bear(didOf(1), likes)
	x.kill(didOf(1), posts)
	x.establish(didOf(2), lists)
	x.deactivate(didOf(2))
	const one, two = "true", "false"
	all := []string{
		one + "  true new [" + likes + "]", // posts died since
		one + " " + likes + " true birth -",
		one + " " + posts + " false death -",
		two + "  true new []",
		two + "  false inactive -",
	}
	for _, c := range []struct {
		name   string
		params url.Values
		want   []string
	}{
		{"all", nil, all},
		{"one collection", url.Values{"collection": {likes}}, []string{all[0], all[1], all[4]}},
		{"a pattern", url.Values{"collection": {"app.bsky.graph.*"}}, all[4:]},
		{"a pattern and a name", url.Values{"collection": {"app.bsky.graph.*", posts}}, []string{all[2], all[4]}},
	} {
		for limit := range 7 {
			params := url.Values{"cursor": {start.Cursor}}
			maps.Copy(params, c.params)
			if limit > 0 {
				params.Set("limit", strconv.Itoa(limit))
			}
			var got []string
			for {
				a := x.feed(params)
				got = append(got, told(a.Changes)...)
				params.Set("cursor", a.Cursor)
				if !a.More {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, limit %d:\n%s\nwant\n%s", c.name, limit, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		}
	}
}

func TestBadQueriesOfTheFeedAreNamed(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	id := x.store.IndexID()
	for _, c := range []struct{ query, name, message string }{
		{"cursor=garbage", "InvalidRequest", `cursor "garbage"`},
		{"cursor=&cursor=", "InvalidRequest", "cursor: given 2 times"},
		{"collection=*", "InvalidRequest", `collection "*"`},
		{"collection=x", "InvalidRequest", `collection "x"`},
		{"collection=" + strings.Repeat("a", 5000), "InvalidRequest", "collection"},
		{strings.Repeat("collection="+posts+"&", 101), "InvalidRequest", "101 times"},
		{"cursor=" + otherIndex + ".5", "CursorForeign", beginAnew},
		{"cursor=did:web:example.com", "CursorForeign", beginAnew},
		{"cursor=" + id + ".5", "CursorLost", beginAnew}, // a number that was left out
		{"cursor=" + id + ".9223372036854775807", "CursorLost", beginAnew},
	} {
		for _, path := range []string{"/v1/changes", "/v1/changes/stream"} {
			message := x.refused(x.ask("GET", path+"?"+c.query), 400, c.name)
			if !strings.Contains(message, c.message) || len(message) > 600 {
				t.Errorf("%s?%.60s: message %q", path, c.query, message)
			}
		}
	}
	for _, limit := range []string{"0", "-1", "10001", "x", "1e3"} {
		x.refused(x.ask("GET", "/v1/changes?limit="+limit), 400, "InvalidRequest")
	}
	x.refused(x.ask("POST", "/v1/changes/stream"), 405, "InvalidRequest")
	if w := x.send("HEAD", "/v1/changes/stream"); w.Code != 200 || w.Body.Len() > 0 {
		t.Errorf("HEAD: %d %q", w.Code, w.Body)
	}
}

// stream is a client of server-sent events.
type stream struct {
	http.ResponseWriter
	pieces chan string
}

func (s *stream) Write(b []byte) (int, error) { s.pieces <- string(b); return len(b), nil }
func (s *stream) Flush()                      {}

func TestStreamsResumeAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t)
		closing := make(chan struct{})
		x.handler = Handler(Config{Store: x.store, Log: nil, Metrics: x.metrics, Closing: closing})
		open := func(headers ...string) *stream {
			s := &stream{httptest.NewRecorder(), make(chan string, 100)}
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/changes/stream", nil)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			go func() {
				defer close(s.pieces)
				x.handler.ServeHTTP(s, r)
			}()
			return s
		}
		s := open("Accept-Encoding", "gzip")
		start := <-s.pieces
		if h := s.Header(); h.Get("Content-Type") != eventStream || h.Get("Content-Encoding") != "" || !strings.HasPrefix(start, "id: ") || strings.Contains(start, "data") {
			t.Errorf("headers %v, begins with %q", h, start)
		}
		began := time.Now()
		if beat := <-s.pieces; beat != start || time.Since(began) != heartbeat {
			t.Errorf("after %s: %q", time.Since(began), beat)
		}
		x.establish(didOf(1), posts)
		began = time.Now()
		first := <-s.pieces
		if !strings.Contains(first, `"cause":"new"`) || time.Since(began) > watchEvery {
			t.Errorf("after %s: %q", time.Since(began), first)
		}
		x.bear(didOf(1), likes)
		second := <-s.pieces
		id, _, _ := strings.Cut(strings.TrimPrefix(first, "id: "), "\n")
		again := open("Last-Event-ID", id)
		if got := <-again.pieces; got != second {
			t.Errorf("resumed with %q, want %q", got, second)
		}
		close(closing)
		for _, s := range []*stream{s, again} {
			for range s.pieces {
			}
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	x := newIndex(t)
	f := &changeStreams{server: newServer(Config{Store: x.store, Metrics: x.metrics}), slots: make(chan struct{})}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/changes/stream", nil))
	x.refused(w, 503, "TooManyStreams")
	if w.Header().Get("Retry-After") != "30" {
		t.Errorf("headers %v", w.Header())
	}
}

// mirror is what a client has of the index, by HTTP alone: the collections of each listed
// repo.
type mirror struct {
	repos  map[string]map[string]bool
	cursor string
	behind []string // collections of which it reads the listing still
	place  string   // in it
}

// step asks one question and applies the answer. It reports whether there was nothing
// more to be had.
func (m *mirror) step(x *index, limit int) (done bool) {
	x.Helper()
	if m.cursor == "" {
		m.repos, m.behind, m.place = make(map[string]map[string]bool), []string{"", posts, likes, lists}, ""
		m.cursor = x.feed(nil).Cursor
		return false
	}
	if len(m.behind) > 0 {
		nsid := m.behind[0]
		nsids := []string{nsid}
		if nsid == "" {
			nsids = nil
		}
		dids, next := x.page(m.place, limit, nsids...)
		for _, did := range dids {
			if m.repos[did] == nil {
				m.repos[did] = make(map[string]bool)
			}
			if nsid != "" {
				m.repos[did][nsid] = true
			}
		}
		if m.place = next; len(dids) == 0 {
			m.behind = m.behind[1:]
		}
		return false
	}
	w := x.ask("GET", fmt.Sprintf("/v1/changes?cursor=%s&limit=%d", m.cursor, limit))
	if w.Code != http.StatusOK {
		if !strings.Contains(w.Body.String(), `"Cursor`) || !strings.Contains(w.Body.String(), beginAnew) {
			x.Fatalf("status %d: %s", w.Code, w.Body)
		}
		m.cursor = ""
		return false
	}
	var a changesAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		x.Fatal(err)
	}
	for _, c := range a.Changes {
		switch set := m.repos[c.DID]; {
		case c.Collection != "" && c.Visible:
			if set == nil {
				set = make(map[string]bool)
				m.repos[c.DID] = set
			}
			set[c.Collection] = true
		case c.Collection != "":
			delete(set, c.Collection)
		default:
			delete(m.repos, c.DID)
			if c.Visible {
				m.repos[c.DID] = make(map[string]bool)
				for _, nsid := range *c.Collections {
					m.repos[c.DID][nsid] = true
				}
			}
		}
	}
	m.cursor = a.Cursor
	return !a.More
}

// life is an index whose file is closed, copied, and replaced by older copies.
type life struct {
	*index
	path string
	now  time.Time
	rnd  *rand.Rand
	copy []byte
}

func (l *life) open(anew bool) {
	l.Helper()
	st, err := store.Open(l.Context(), store.Config{Path: l.path, Version: "test", NewIndexID: anew, Now: func() time.Time { return l.now }})
	if err != nil {
		l.Fatal(err)
	}
	l.store = st
	l.handler = Handler(Config{Store: st, Metrics: l.metrics})
}

func (l *life) shut() {
	l.Helper()
	if err := l.store.Close(); err != nil {
		l.Fatal(err)
	}
}

func (l *life) happen() {
	l.Helper()
	l.now = l.now.Add(time.Duration(l.rnd.IntN(2000)) * time.Millisecond)
	did := didOf(l.rnd.IntN(6))
	one := []string{everyCollection[l.rnd.IntN(3)]}
	switch n := l.rnd.IntN(40); {
	case n < 8:
		l.establish(did, (&network{rnd: l.rnd}).some(everyCollection)...)
	case n < 18:
		l.bear(did, one...)
	case n < 28:
		l.kill(did, one...)
	case n < 32:
		l.deactivate(did)
	case n < 35:
		l.reactivate(did, one...)
	case n == 35:
		l.shut()
		l.open(false)
	case n == 36: // a copy, of a file that is closed
		l.shut()
		content, err := os.ReadFile(l.path)
		if err != nil {
			l.Fatal(err)
		}
		l.copy = content
		l.open(false)
	case n == 37 && l.copy != nil:
		l.shut()
		if err := os.WriteFile(l.path, l.copy, 0o600); err != nil {
			l.Fatal(err)
		}
		l.open(false)
	case n == 38 && l.rnd.IntN(4) == 0:
		l.shut()
		l.open(true)
	case n == 39:
		l.now = l.now.Add(8 * 24 * time.Hour)
		if err := l.store.Prune(l.Context()); err != nil {
			l.Fatal(err)
		}
	}
}

// A client that follows the feed ends with what is listed, whatever happens to the index
// and its file, and however rarely the client asks.
func TestAMirrorEndsAsTheIndex(t *testing.T) {
	histories := 20
	if testing.Short() {
		histories = 3
	}
	if text := os.Getenv("RAILYARD_HISTORIES"); text != "" {
		histories, _ = strconv.Atoi(text)
	}
	for seed := range histories {
		l := &life{index: newIndex(t), path: filepath.Join(t.TempDir(), "index.db"), now: time.Unix(1_800_000_000, 0), rnd: rand.New(rand.NewPCG(uint64(seed), 14))}
		l.open(false)
		var m mirror
		lazy := 1 + l.rnd.IntN(20)
		for range 150 {
			l.happen()
			if l.rnd.IntN(lazy) == 0 {
				m.step(l.index, 1+l.rnd.IntN(5))
			}
		}
		for !m.step(l.index, 3) {
		}
		got, want := make(map[string]bool), make(map[string]bool)
		for did, set := range m.repos {
			got[did] = true
			for nsid := range set {
				got[did+" "+nsid] = true
			}
		}
		for _, nsid := range everyCollection {
			dids, _ := l.walk("", 10, nsid)
			for _, did := range dids {
				want[did+" "+nsid] = true
			}
		}
		dids, _ := l.walk("", 10)
		for _, did := range dids {
			want[did] = true
		}
		if !maps.Equal(got, want) {
			t.Fatalf("seed %d: the mirror has %v, the index %v", seed, got, want)
		}
		l.shut()
	}
}

// What a client has read ahead of its cursor may be lost although all before the cursor is
// kept: an older copy of the file is served, which has the cursor's number.
func TestAClientThatIsAheadBeginsAnewAfterAStart(t *testing.T) {
	l := &life{index: newIndex(t), path: filepath.Join(t.TempDir(), "index.db"), now: time.Unix(1_800_000_000, 0)}
	l.open(false)
	defer func() { l.shut() }()
	end := l.feed(url.Values{"cursor": {strings.TrimSuffix(l.feed(nil).Cursor, aheadMark)}}).Cursor
	l.establish(didOf(1))
	listings := l.feed(nil).Cursor
	l.establish(didOf(2))
	middle := l.feed(url.Values{"cursor": {end}, "limit": {"1"}}).Cursor // the first repo, with what it has by then
	l.shut()
	content, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	l.open(false)
	l.bear(didOf(1), posts)
	l.shut()
	if err := os.WriteFile(l.path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add(time.Second)
	l.open(false)
	for _, cursor := range []string{listings, middle} {
		l.refused(l.ask("GET", "/v1/changes?cursor="+cursor), 400, "CursorLost")
	}
	if a := l.feed(url.Values{"cursor": {end}}); len(a.Changes) != 2 {
		t.Errorf("from a cursor of the end: %+v", a)
	}
}
