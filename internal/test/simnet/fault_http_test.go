package simnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
)

// heard is an answer as a client has it that does not wait or read for ever.
type heard struct {
	reply
	err  error // of the request, or of the body
	took time.Duration
}

const (
	patience = 2 * time.Minute
	appetite = 1 << 20
)

func (p *plugged) try(t testing.TB, address string) heard {
	t.Helper()
	began := time.Now()
	client := *p.client
	client.Timeout = patience
	resp, err := client.Get(address)
	if err != nil {
		return heard{err: err, took: time.Since(began)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, appetite))
	return heard{reply{resp.StatusCode, resp.Header, body}, err, time.Since(began)}
}

// wellFormed reads a CAR's sections, checks no hash, and returns the number of blocks
// and of those that are not what their CID says.
func wellFormed(b []byte) (blocks, bad int) {
	sections := 0
	for len(b) > 0 {
		size, n := uvarint(b)
		if n <= 0 || size > len(b)-n {
			return -1, 0
		}
		if s := b[n : n+size]; sections > 0 {
			blocks++
			if d, err := atproto.DigestFromCID(s[:atproto.CIDLen]); err != nil || atproto.DigestOf(s[atproto.CIDLen:]) != d {
				bad++
			}
		}
		sections++
		b = b[n+size:]
	}
	return blocks, bad
}

func uvarint(b []byte) (size, n int) {
	for shift := 0; n < len(b); shift += 7 {
		size |= int(b[n]&0x7f) << shift
		n++
		if b[n-1] < 0x80 {
			return size, n
		}
	}
	return 0, 0
}

// asked is a query of a scenario, and its answer with a fault and without.
type asked struct {
	*scenario
	lie, truth heard
}

func (a *asked) collections(h heard) []string {
	var body struct{ Collections []string }
	if err := json.Unmarshal(h.body, &body); err != nil {
		a.t.Error(err)
	}
	return body.Collections
}

func (a *asked) page(h heard) (page repoPage) {
	if err := json.Unmarshal(h.body, &page); err != nil {
		a.t.Error(err)
	}
	return page
}

// httpStories are, for each fault, what to ask and what the answer shows.
func httpStories() map[FaultName]struct {
	query string
	check func(a *asked) bool
} {
	type story = struct {
		query string
		check func(a *asked) bool
	}
	const repo, describe, head = "sync.getRepo?did=", "repo.describeRepo?repo=", "sync.getLatestCommit?did="
	html := func(h heard) bool {
		return strings.HasPrefix(h.header.Get("Content-Type"), "text/html") && bytes.HasPrefix(h.body, []byte("<html>"))
	}
	same := func(a *asked) bool { return a.lie.err == nil && bytes.Equal(a.lie.body, a.truth.body) }
	return map[FaultName]story{
		HostVanishes: {head, func(a *asked) bool {
			again := a.try(a.t, a.PDS(0)+"/xrpc/_health")
			_, _, socket := a.open(a.PDS(0), "")
			time.Sleep(10 * time.Minute)
			return a.lie.err != nil && again.err != nil && socket != nil && a.try(a.t, a.PDS(0)+"/xrpc/_health").err == nil
		}},
		Latency: {head, func(a *asked) bool {
			return same(a) && a.lie.took >= time.Second && a.lie.took <= 30*time.Second && a.truth.took == 0
		}},
		RateLimited: {head, func(a *asked) bool {
			h := a.lie.header
			return a.lie.words() == "429 RateLimitExceeded Rate Limit Exceeded" && h.Get("Retry-After") != "" && h.Get("RateLimit-Reset") != "" &&
				h.Get("RateLimit-Remaining") == "0" && h.Get("RateLimit-Policy") == "3000;w=300" && h.Get("RateLimit-Limit") == "3000"
		}},
		BareRateLimit: {head, func(a *asked) bool {
			return a.lie.status == 429 && html(a.lie) && a.lie.header.Get("Retry-After") == "" && a.lie.header.Get("RateLimit-Limit") == ""
		}},
		ServerError:  {head, func(a *asked) bool { return a.lie.status >= 500 && a.lie.status <= 504 && a.lie.status != 501 }},
		UnknownError: {head, func(a *asked) bool { return strings.HasPrefix(a.lie.words(), "400 MoonPhaseMismatch ") }},
		NoAnswer:     {head, func(a *asked) bool { return a.lie.err != nil && a.lie.took == patience }},
		HTMLPage:     {head, func(a *asked) bool { return a.lie.status == 200 && html(a.lie) }},
		PrivateRedirect: {head, func(a *asked) bool {
			to := a.lie.header.Get("Location")
			return a.lie.status == 302 && strings.HasPrefix(to, "http://") && !strings.Contains(to, "sim.test")
		}},
		RedirectLoop: {head, func(a *asked) bool {
			again := a.try(a.t, a.PDS(0)+a.lie.header.Get("Location"))
			return a.lie.status == 302 && again.status == 302 && again.header.Get("Location") == a.lie.header.Get("Location")
		}},
		FalseFuture: {}, // see TestACursorIsMisjudged
		FalseGap:    {},
		EmptyBody:   {head, func(a *asked) bool { return a.lie.status == 200 && len(a.lie.body) == 0 }},
		Drip:        {repo, func(a *asked) bool { return a.lie.err != nil && a.lie.took == patience && len(a.lie.body)/10 == 12 }},
		CutBody: {repo, func(a *asked) bool {
			return a.lie.err != nil && a.lie.took == 0 && bytes.Equal(a.lie.body, a.truth.body[:len(a.truth.body)/2])
		}},
		HalfBody: {repo, func(a *asked) bool {
			return a.lie.err == nil && bytes.Equal(a.lie.body, a.truth.body[:len(a.truth.body)/2])
		}},
		WrongLength: {repo, func(a *asked) bool {
			return errors.Is(a.lie.err, io.ErrUnexpectedEOF) && bytes.Equal(a.lie.body, a.truth.body)
		}},
		EndlessBody: {repo, func(a *asked) bool { return len(a.lie.body) == appetite && bytes.HasPrefix(a.lie.body, a.truth.body) }},
		LateAnswer: {head, func(a *asked) bool {
			return same(a) && a.lie.took >= time.Second && a.lie.took <= 20*time.Second && a.truth.took == 0
		}},
		DeniesRepo: {repo, func(a *asked) bool {
			return strings.HasPrefix(a.lie.words(), "400 RepoNotFound ") && a.truth.status == 200
		}},
		StaleReplica: {repo, func(a *asked) bool {
			return a.lie.car(a.t).commit(a.t)["rev"].(string) < a.truth.car(a.t).commit(a.t)["rev"].(string)
		}},
		DescribesLess: {describe, func(a *asked) bool {
			less, all := a.collections(a.lie), a.collections(a.truth)
			return len(less) < len(all) && len(all) == 3 && !slices.ContainsFunc(less, func(c string) bool { return !slices.Contains(all, c) })
		}},
		DescribesMore: {describe, func(a *asked) bool { return len(a.collections(a.lie)) > len(a.collections(a.truth)) }},
		DescribesNone: {describe, func(a *asked) bool { return len(a.collections(a.lie)) == 0 && len(a.collections(a.truth)) == 3 }},
		NoArchive: {repo, func(a *asked) bool {
			blocks, _ := wellFormed(a.lie.body)
			return a.lie.status == 200 && (blocks < 0 || a.lie.body[a.lie.body[0]] == 3)
		}},
		ShortArchive: {repo, func(a *asked) bool {
			all, _ := wellFormed(a.truth.body)
			blocks, bad := wellFormed(a.lie.body)
			return a.lie.err == nil && blocks >= 0 && blocks < all && bad == 0 && bytes.HasPrefix(a.truth.body, a.lie.body)
		}},
		CorruptArchive: {repo, func(a *asked) bool {
			blocks, bad := wellFormed(a.lie.body)
			all, none := wellFormed(a.truth.body)
			return bad == 1 && none == 0 && blocks == all
		}},
		ForeignArchive: {repo, func(a *asked) bool { return a.lie.car(a.t).commit(a.t)["did"] != a.did }},
		ListsLess:      {"sync.listRepos?limit=", func(a *asked) bool { return len(a.page(a.lie).Repos) < len(a.page(a.truth).Repos) }},
		ListsUnknown: {"sync.listRepos?limit=", func(a *asked) bool {
			repos := a.page(a.lie).Repos
			return len(repos) > len(a.page(a.truth).Repos) && a.byDID[repos[len(repos)-1].DID] == nil
		}},
		ListsOthers: {"sync.listRepos?limit=", func(a *asked) bool {
			repos := a.page(a.lie).Repos
			last := a.byDID[repos[len(repos)-1].DID]
			return len(repos) > len(a.page(a.truth).Repos) && last.pds == a.pdses[1] && repos[len(repos)-1].Rev > last.repo.rev.String()
		}},
		ListsStatuses: {"sync.listRepos?limit=", func(a *asked) bool {
			wrong := 0
			for i, e := range a.page(a.lie).Repos {
				if e.Active != a.page(a.truth).Repos[i].Active && e.Active == (e.Status == "") {
					wrong++
				}
			}
			return wrong > 0
		}},
		EndlessListing: {"sync.listRepos?cursor=9000000000000::did:plc:a&limit=", func(a *asked) bool {
			lie := a.page(a.lie)
			return len(lie.Repos) == 0 && lie.Cursor != "" && a.page(a.truth).Cursor == ""
		}},
		EndlessHosts: {"sync.listHosts?cursor=9000000000000&limit=", func(a *asked) bool {
			return strings.Contains(string(a.lie.body), `"cursor":"90000`) && !strings.Contains(string(a.truth.body), "cursor")
		}},
		ListsInvalidHosts: {"sync.listHosts?limit=", func(a *asked) bool {
			return strings.Contains(string(a.lie.body), `"nowhere.sim.test"`) && strings.Contains(string(a.lie.body), `"pds2.sim.test"`) &&
				!strings.Contains(string(a.truth.body), "nowhere")
		}},
		CursorLoop: {"sync.listRepos?cursor=1::did:plc:a&limit=", func(a *asked) bool {
			return a.page(a.lie).Cursor == "1::did:plc:a" && a.page(a.truth).Cursor != "1::did:plc:a"
		}},
	}
}

func TestEveryFaultOfHTTPDoesWhatItsLineSays(t *testing.T) {
	stories := httpStories()
	for _, f := range Faults() {
		if f.Where != OnHTTP {
			continue
		}
		story, known := stories[f.Name]
		if !known {
			t.Errorf("%s: nothing shows that it does: %s", f.Name, f.Doc)
		}
		if story.check == nil {
			continue
		}
		t.Run(string(f.Name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t)
				s.mustCreate(t, 0)
				subject := s.did
				if strings.Contains(story.query, "limit=") {
					subject = "500"
				}
				base, host := s.PDS(0), "pds1"
				if strings.HasPrefix(story.query, "sync.listHosts") {
					base, host = s.Relay(), "relay"
				}
				address := base + "/xrpc/com.atproto." + story.query + subject
				digest := s.Digest()
				do(t, s.Switch(Rule{Fault: f.Name, Host: host, Times: 1}))
				a := &asked{scenario: s, lie: s.try(t, address)}
				if f.Name != HostVanishes {
					a.truth = s.try(t, address)
				}
				if a.truth.err != nil || !story.check(a) {
					t.Errorf("%s\nstatus %d, %v, %d bytes in %v: %.300q", f.Doc, a.lie.status, a.lie.err, len(a.lie.body), a.lie.took, a.lie.body)
				}
				if s.Fired(f.Name) != 1 || len(s.FiredAll()) != 1 || s.Digest() != digest {
					t.Errorf("fired %v", s.FiredAll())
				}
			})
		})
	}
}

// What is answered late is the truth of the moment of the request.
func TestALateAnswerIsOldWhenItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.mustCreate(t, 0)
		address := s.PDS(0) + "/xrpc/com.atproto.sync.getLatestCommit?did=" + s.did
		before := s.try(t, address)
		do(t, s.Switch(Rule{Fault: LateAnswer, Host: "pds1", Times: 1}))
		late := make(chan heard)
		go func() { late <- s.try(t, address) }()
		time.Sleep(time.Second / 2)
		do(t, s.Create(s.did, "net.rails.yard/meanwhile"))
		if got := <-late; !bytes.Equal(got.body, before.body) || bytes.Equal(got.body, s.try(t, address).body) {
			t.Errorf("%s after %v", got.body, got.took)
		}
	})
}

func TestRulesOfHTTPKeepToTheirHostAccountAndQuery(t *testing.T) {
	p := plug(t, Config{Seed: 1, PDS: 2})
	mine, other, far := p.mustCreate(t, 0), p.mustCreate(t, 0), p.mustCreate(t, 1)
	do(t, p.Switch(Rule{Fault: BareRateLimit, Host: "pds1", DID: mine, On: "getRepo"}, Rule{Fault: UnknownError, Host: "pds2"}))
	rows := []struct {
		pds   int
		query string
		want  int
	}{
		{0, "com.atproto.sync.getRepo?did=" + mine, 429},
		{0, "com.atproto.sync.getRepo?did=" + other, 200},
		{0, "com.atproto.sync.getLatestCommit?did=" + mine, 200},
		{1, "com.atproto.sync.getRepo?did=" + far, 400},
		{1, "_health", 200},
	}
	for _, row := range rows {
		if got := p.get(t, p.PDS(row.pds), "/xrpc/"+row.query).status; got != row.want {
			t.Errorf("PDS %d, %s: %d, want %d", row.pds, row.query, got, row.want)
		}
	}
	do(t, p.Switch(Rule{Fault: CursorLoop}))
	var page repoPage
	p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.listRepos?limit=1").json(t, &page)
	if page.Cursor == "" || p.Fired(CursorLoop) != 0 {
		t.Error("the first page, which was asked for without a cursor, loops")
	}
	p.SwitchOff()
	if got := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+mine).status; got != http.StatusOK {
		t.Errorf("%d after all rules are gone", got)
	}
}

// The draws of a request do not depend on what else is asked meanwhile.
func TestDrawsOfARequestAreItsOwn(t *testing.T) {
	run := func(noise bool) (text string) {
		p := plug(t, Config{Seed: 3, Accounts: 4, Records: 8})
		do(t, p.Switch(Rule{Fault: UnknownError, Chance: 0.5}))
		for i := range 40 {
			if noise {
				p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.listRepos")
			}
			text += fmt.Sprint(p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getLatestCommit?did="+p.DIDs()[i%4]).status, " ")
		}
		return text
	}
	quiet := run(false)
	if quiet != run(true) || !strings.Contains(quiet, "200 400") || !strings.Contains(quiet, "400 200") {
		t.Errorf("answers %s", quiet)
	}
}

func TestACursorIsMisjudged(t *testing.T) {
	for fault, check := range map[FaultName]func(s *scenario, got []seen, end error) bool{
		FalseFuture: func(_ *scenario, got []seen, end error) bool {
			return end != nil && len(got) == 1 && got[0].op == -1 && got[0].body["error"] == "FutureCursor"
		},
		FalseGap: func(s *scenario, got []seen, end error) bool {
			return end == nil && len(got) == 3 && got[0].body["name"] == "OutdatedCursor" && got[1].seq == s.from-1
		},
	} {
		for _, host := range []string{"pds1", "relay"} {
			t.Run(fmt.Sprint(fault, " at ", host), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScenario(t)
					base := s.PDS(0)
					if host == "relay" {
						base, s.from = s.Relay(), s.LastSeq("relay")
					}
					do(t, s.Switch(Rule{Fault: fault, Host: host, Times: 1}))
					live, _ := s.watchLive(t, base)()
					if len(live) != 0 || s.Fired(fault) != 0 {
						t.Error("it befell one who asked without a cursor")
					}
					got, end := s.watch(t, base, s.from-2)()
					if !check(s, got, end) || s.Fired(fault) != 1 {
						t.Errorf("%d frames, end %v: %v", len(got), end, got)
					}
					again, end := s.watch(t, base, s.from-2)()
					if len(again) != 2 || end != nil {
						t.Errorf("then %d frames, end %v", len(again), end)
					}
				})
			})
		}
	}
}
