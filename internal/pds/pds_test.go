package pds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"railyard/internal/outbound"
	"railyard/internal/refusal"
)

const (
	did1 = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	did2 = "did:plc:z72i7hdynmk6r22z27h6tvur"
)

// host serves a handler and returns a client that may ask it.
func host(t testing.TB, handler http.HandlerFunc) (*Client, string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	out := outbound.New(outbound.Config{AllowPrivate: true})
	t.Cleanup(out.Close)
	return New(out), server.URL
}

// answer returns always the same answer.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func wantReason(t *testing.T, err error, want refusal.Reason) {
	t.Helper()
	if got, _ := refusal.ReasonOf(err); got != want || err == nil {
		t.Errorf("got reason %q of %v, want %q", got, err, want)
	}
}

func wantOutcome(t *testing.T, err error, want Outcome) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Outcome != want {
		t.Fatalf("got %v, want outcome %s", err, want)
	}
	return e
}

func wantFaults(t *testing.T, got []*refusal.Error, want ...string) {
	t.Helper()
	var texts []string
	for _, e := range got {
		texts = append(texts, e.Error())
	}
	if !slices.Equal(texts, want) {
		t.Errorf("refused are\n%s, want\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
}

const html = "<html><body><h1>It works</h1></body></html>"

func named(name, message string) string {
	return fmt.Sprintf(`{"error":%q,"message":%q}`, name, message)
}

func TestRefusalsOfRealServersHaveAnOutcome(t *testing.T) {
	cases := []struct {
		name   string
		status int
		body   string
		want   Outcome
	}{
		// Reference PDS.
		{"unknown repo", 400, named("RepoNotFound", "Could not find repo for DID: "+did1), NotFound},
		{"deactivated", 400, named("RepoDeactivated", "Repo has been deactivated: "+did1), Deactivated},
		{"taken down", 400, named("RepoTakendown", "Repo has been takendown: "+did1), Takendown},
		{"suspended", 400, named("RepoSuspended", "Repo has been suspended: "+did1), Suspended},
		{"bad parameter", 400, named("InvalidRequest", "Invalid com.atproto.sync.getRepo params"), Transient},
		{"unresolved by the PDS", 400, named("InvalidRequest", "Could not resolve DID: "+did1), Transient},
		{"rate limited", 429, named("RateLimitExceeded", "Rate Limit Exceeded"), RateLimited},
		{"method missing", 501, named("MethodNotImplemented", "Method Not Implemented"), Unsupported},
		{"method missing behind an appview", 401, named("AuthMissing", "Authentication Required"), Transient},
		{"failing", 500, named("InternalServerError", "Internal Server Error"), Transient},
		{"upstream of the PDS failing", 502, named("UpstreamFailure", "Upstream Failure"), Transient},

		// *.host.bsky.network.
		{"unknown repo at the edge", 400, named("NotFound", "Repo not found"), NotFound},
		{"rate limited at the edge", 429, html, RateLimited},
		{"maintenance at the edge", 503, html, Transient},

		// Relays.
		{"relay: unknown repo", 404, named("RepoNotFound", ""), NotFound},
		{"relay: taken down", 403, named("RepoTakendown", ""), Takendown},
		{"relay: deactivated", 403, named("RepoDeactivated", ""), Deactivated},
		{"relay: deleted", 403, named("RepoDeleted", ""), Deleted},
		{"relay: inactive for another reason", 403, named("RepoInactive", ""), Transient},
		{"relay: not synchronized", 404, named("RepoNotSynchronized", ""), NotSynchronized},
		{"relay: bad parameter", 400, named("BadRequest", ""), Transient},

		// Others.
		{"Bridgy Fed: a young repo", 501, named("NotImplemented", "getRepo is not available yet"), Unsupported},
		{"not implemented with another status", 400, named("MethodNotImplemented", ""), Unsupported},
		{"a name with a failing status", 500, named("RepoDeactivated", ""), Deactivated},
		{"a limit with another status", 503, named("RateLimitExceeded", ""), RateLimited},

		// No name: the status decides, and a proxy's 404 is no word about a repo.
		{"a page not found", 404, html, Unsupported},
		{"a route not found", 404, named("NotFound", "Not Found"), Unsupported},
		{"a message with another name", 404, named("Oops", "Repo not found"), Unsupported},
		{"gone", 410, html, Unsupported},
		{"forbidden", 403, html, Transient},
		{"method not allowed", 405, "", Unsupported},
		{"not implemented", 501, "", Unsupported},
		{"bad gateway", 502, html, Transient},
		{"teapot", 418, "", Transient},
		{"no content", 204, "", Transient},
		{"accepted", 202, "{}", Transient},
		{"not modified", 304, "", Transient},
		{"a redirect to nowhere", 300, "", Transient},
		{"names in another case", 400, `{"error":"InvalidRequest","Error":"RepoNotFound","ERROR":"RepoDeleted","message":"x"}`, Transient},
		{"a message that is no text", 400, `{"error":"RepoNotFound","message":{"a":1}}`, NotFound},
		{"a list for an error", 400, `["RepoNotFound"]`, Transient},
		{"a number for a name", 400, `{"error":404,"message":"Repo not found"}`, Transient},
		{"a name in another case", 400, named("reponotfound", ""), Transient},
		{"a name in a long page", 400, `{"x":"` + strings.Repeat("x", 100<<10) + `","error":"RepoNotFound"}`, Transient},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, base := host(t, answer(tc.status, tc.body))
			_, err := c.GetRepo(t.Context(), base, did1)
			e := wantOutcome(t, err, tc.want)
			if e.Status != tc.status || e.Method != "com.atproto.sync.getRepo" || "http://"+e.Host != base || e.Err != nil {
				t.Errorf("got %+v", e)
			}
			_, err = c.GetRepoStatus(t.Context(), base, did1)
			wantOutcome(t, err, tc.want)
		})
	}
}

// Whatever the status, who says when to come back has said nothing of the account.
func TestAPauseThatIsAskedForIsNoAnswer(t *testing.T) {
	for _, status := range []int{400, 403, 404, 420, 500, 503} {
		c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "42")
			w.WriteHeader(status)
			io.WriteString(w, html)
		})
		_, err := c.GetRepo(t.Context(), base, did1)
		var e *Error
		if !errors.As(err, &e) || e.RetryAfter != 42*time.Second || e.Unclear() {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestAnAnswerWithoutAMeaningIsUnclear(t *testing.T) {
	for status, want := range map[int]bool{
		200: true, 302: true, 400: true, 401: true, 403: true, 404: true, 405: true, 410: true, 422: true, 500: true, 501: true, 505: true,
		0: false, 408: false, 429: false, 502: false, 503: false, 504: false, 520: false, 522: false, 530: false,
	} {
		if e := (&Error{Status: status, Outcome: outcome(status, "", "")}); e.Unclear() != want {
			t.Errorf("status %d: %t", status, !want)
		}
	}
	for _, name := range []string{"RepoNotFound", "RepoTakendown", "RepoDeactivated", "RepoDeleted", "RateLimitExceeded"} {
		if e := (&Error{Status: 400, Outcome: outcome(400, name, "")}); e.Unclear() {
			t.Errorf("%s is unclear", name)
		}
	}
}

func TestOnlyWordsAboutTheAccountAreGone(t *testing.T) {
	for outcome, want := range map[Outcome]bool{
		Takendown: true, Suspended: true, Deactivated: true, Deleted: true,
		RateLimited: false, NotFound: false, NotSynchronized: false, Unsupported: false, NoRecord: false, Transient: false,
	} {
		if outcome.Gone() != want {
			t.Errorf("%s", outcome)
		}
	}
}

func TestWhatAServerSaysOfItsRefusalIsKeptInBounds(t *testing.T) {
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "42")
		w.WriteHeader(429)
		io.WriteString(w, named(strings.Repeat("N", 1000), strings.Repeat("ü", 5000)))
	})
	_, err := c.GetRepoStatus(t.Context(), base, did1)
	e := wantOutcome(t, err, RateLimited)
	if len(e.Name) != maxName || len(e.Message) != maxMessage || e.RetryAfter != 42*time.Second {
		t.Errorf("got %d, %d, %s", len(e.Name), len(e.Message), e.RetryAfter)
	}
	if len(e.Error()) > 1000 {
		t.Errorf("error text of %d bytes", len(e.Error()))
	}
}

func TestTheRateLimitOfAnAnswerThatIsNoneAsksForNothing(t *testing.T) {
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit-Limit", "3000")
		w.Header().Set("RateLimit-Remaining", "2990")
		w.Header().Set("RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Minute).Unix()))
		w.WriteHeader(400)
		io.WriteString(w, named("RepoNotFound", ""))
	})
	_, err := c.GetRepoStatus(t.Context(), base, did1)
	if e := wantOutcome(t, err, NotFound); e.RetryAfter != 0 {
		t.Errorf("got %s", e.RetryAfter)
	}
}

func TestAHostThatIsNotThereIsTransient(t *testing.T) {
	out := outbound.New(outbound.Config{AllowPrivate: true})
	server := httptest.NewServer(nil)
	server.Close()
	_, err := New(out).GetRepo(t.Context(), server.URL, did1)
	if e := wantOutcome(t, err, Transient); e.Status != 0 || e.Err == nil {
		t.Errorf("got %+v", e)
	}
}

func TestFailuresOfAnExchangeAreSorted(t *testing.T) {
	q := call{method: "m", base: "https://pds.example.com"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	cases := []struct {
		name   string
		ctx    context.Context
		err    error
		typed  bool // an *Error with the outcome transient
		reason refusal.Reason
	}{
		{"network", t.Context(), io.ErrUnexpectedEOF, true, ""},
		{"slow", t.Context(), refusal.New(refusal.AnswerTooSlow, "x"), true, refusal.AnswerTooSlow},
		{"the caller's deadline", late, context.DeadlineExceeded, true, ""},
		{"the caller's end", ended, context.Canceled, false, ""},
		{"too big", t.Context(), refusal.New(refusal.AnswerTooBig, "x"), false, refusal.AnswerTooBig},
		{"forbidden", t.Context(), refusal.New(refusal.ForbiddenAddress, "x"), false, refusal.ForbiddenAddress},
	}
	for _, tc := range cases {
		err := q.failed(tc.ctx, tc.err)
		e, typed := errors.AsType[*Error](err)
		if typed != tc.typed || (typed && e.Outcome != Transient) || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if reason, _ := refusal.ReasonOf(err); reason != tc.reason {
			t.Errorf("%s: reason %q", tc.name, reason)
		}
	}
}

func TestAPrivateHostIsForbidden(t *testing.T) {
	out := outbound.New(outbound.Config{})
	for _, base := range []string{"http://127.0.0.1:1", "https://127.0.0.1", "https://[::1]", "http://pds.example.com"} {
		_, err := New(out).GetRepo(t.Context(), base, did1)
		wantReason(t, err, refusal.ForbiddenAddress)
		if _, typed := errors.AsType[*Error](err); typed {
			t.Errorf("%s: %v is an answer of the host", base, err)
		}
	}
}

func TestAServerIsARelayOrAPDS(t *testing.T) {
	const hosts, server = "/xrpc/com.atproto.sync.listHosts", "/xrpc/com.atproto.server.describeServer"
	type page struct {
		status int
		body   string
	}
	describes := page{200, `{"did":"did:web:pds.example.com","availableUserDomains":[]}`}
	noService := page{400, named("InvalidRequest", "No service configured for com.atproto.sync.listHosts")}
	cases := []struct {
		name  string
		pages map[string]page
		want  Kind // empty: an error
	}{
		{"a relay", map[string]page{hosts: {200, `{"cursor":"1","hosts":[{"hostname":"a.example.com"}]}`}}, Relay},
		{"a relay without hosts", map[string]page{hosts: {200, `{"hosts":[]}`}, server: describes}, Relay},
		{"a relay whose list is null", map[string]page{hosts: {200, `{"hosts":null}`}, server: describes}, Relay},
		{"a PDS", map[string]page{hosts: noService, server: describes}, PDS},
		{"a PDS with an appview", map[string]page{hosts: {401, named("AuthMissing", "")}, server: describes}, PDS},
		{"a PDS without the method", map[string]page{hosts: {501, named("MethodNotImplemented", "")}, server: describes}, PDS},
		{"a PDS that answers all with a page", map[string]page{hosts: {200, html}, server: describes}, PDS},
		{"a PDS that answers all with an object", map[string]page{hosts: {200, "{}"}, server: describes}, PDS},
		{"neither", map[string]page{hosts: {404, html}, server: {404, html}}, Relay},
		{"a relay of old", map[string]page{hosts: {404, "{}"}, server: {501, ""}}, Relay},
		{"an answer to everything", map[string]page{hosts: {200, "{}"}, server: {200, "{}"}}, Relay},
		{"a website", map[string]page{hosts: {200, html}, server: {200, html}}, Relay},
		{"a failing server", map[string]page{hosts: {500, ""}, server: describes}, ""},
		{"a failing proxy", map[string]page{hosts: {502, html}, server: describes}, ""},
		{"a busy server", map[string]page{hosts: {429, html}, server: describes}, ""},
		{"a server that fails later", map[string]page{hosts: noService, server: {503, html}}, ""},
		{"a server that is busy later", map[string]page{hosts: noService, server: {429, ""}}, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
				p := tc.pages[r.URL.Path]
				answer(p.status, p.body)(w, r)
			})
			kind, did, err := c.UpstreamKind(t.Context(), base)
			if kind != tc.want || (err == nil) != (tc.want != "") || (did == "did:web:pds.example.com") != (kind == PDS) {
				t.Errorf("got %q, %q, %v", kind, did, err)
			}
		})
	}
}

func TestAServerThatIsNotThereHasNoKind(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	kind, _, err := New(outbound.New(outbound.Config{AllowPrivate: true})).UpstreamKind(t.Context(), server.URL)
	if kind != "" || err == nil {
		t.Errorf("got %q, %v", kind, err)
	}
}

func TestAPageOfReposIsReadAsItStands(t *testing.T) {
	var asked url.Values
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/xrpc/com.atproto.sync.listRepos" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		asked = r.URL.Query()
		io.WriteString(w, `{"cursor":"1753::x+y/z=","extra":[1],"repos":[
			{"did":"`+did1+`","head":"bafy","rev":"3migo7fijwi2k","active":true},
			{"did":"`+did2+`","head":"bafy","rev":"","active":false,"status":"takendown"},
			{"did":"did:web:example.com","rev":"no tid","active":null,"status":null},
			{"did":"did:plc:tooshort","rev":"3migo7fijwi2k"},
			{"did":"did:key:zQ3s","rev":"3migo7fijwi2k"},
			{"rev":"3migo7fijwi2k"}, {"did":7}, null, "`+did1+`", [],
			{"did":"`+did1+`","rev":5,"active":"yes","status":["x"],"Rev":"3migo7fijwi2k"},
			{"DID":"`+did1+`","rev":"3migo7fijwi2k"}
		]}`)
	})
	page, err := c.ListRepos(t.Context(), base+"/", "a b&c=d", 700)
	if err != nil {
		t.Fatal(err)
	}
	wantFaults(t, page.Refused, `bad-did: listRepos: did "did:plc:tooshort": not valid: a did:plc has 24 characters of a-z and 2-7`,
		`bad-did: listRepos: did "did:key:zQ3s": not valid: only did:plc and did:web own repos`, "answer-invalid: listRepos: an entry: no did",
		"answer-invalid: listRepos: an entry: did is a number", "answer-invalid: listRepos: an entry: no did", "answer-invalid: listRepos: an entry: it is a string",
		"answer-invalid: listRepos: an entry: it is a list", "answer-invalid: listRepos: "+did1+": rev is a number, active is a string, status is a list",
		"answer-invalid: listRepos: an entry: no did")
	page.Refused = nil
	want := ReposPage{
		Cursor: "1753::x+y/z=",
		Repos: []RepoEntry{
			{DID: did1, Rev: "3migo7fijwi2k", Active: true},
			{DID: did2, Active: false, Status: "takendown"},
			{DID: "did:web:example.com", Rev: "no tid", Active: true},
			{DID: did1, Active: true},
		},
	}
	if !reflect.DeepEqual(page, want) {
		t.Errorf("got %+v", page)
	}
	if asked.Get("cursor") != "a b&c=d" || asked.Get("limit") != "700" {
		t.Errorf("asked %v", asked)
	}
}

func TestTheLimitOfAPageIsThatOfTheLexicon(t *testing.T) {
	var asked url.Values
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		io.WriteString(w, `{"repos":[]}`)
	})
	for limit, want := range map[int]string{-5: "1", 0: "1", 1: "1", 1000: "1000", 1001: "1000"} {
		if _, err := c.ListRepos(t.Context(), base, "", limit); err != nil {
			t.Fatal(err)
		}
		if asked.Get("limit") != want || asked.Has("cursor") {
			t.Errorf("limit %d: asked %v", limit, asked)
		}
	}
}

func TestPagesThatBreakTheLexiconAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want refusal.Reason // empty: an empty page
	}{
		"no repos":             {`{"repos":[]}`, ""},
		"a null list":          {`{"repos":null}`, ""},
		"no list":              {`{}`, refusal.AnswerInvalid},
		"only a cursor":        {`{"cursor":"x"}`, refusal.AnswerInvalid},
		"an object for a list": {`{"repos":{}}`, refusal.AnswerInvalid},
		"a page":               {html, refusal.AnswerInvalid},
		"nothing":              {``, refusal.AnswerInvalid},
		"cut off":              {`{"repos":[{"did":"` + did1, refusal.AnswerInvalid},
		"deep nesting":         {`{"repos":` + strings.Repeat("[", 1<<20), refusal.AnswerInvalid},
		"over 4 MiB":           {`{"repos":[]` + strings.Repeat(" ", listAnswer) + "}", refusal.AnswerTooBig},
	} {
		c, base := host(t, answer(200, tc.body))
		page, err := c.ListRepos(t.Context(), base, "", 500)
		if tc.want == "" {
			if err != nil || len(page.Repos) != 0 || page.Cursor != "" || len(page.Refused) != 0 {
				t.Errorf("%s: got %+v, %v", name, page, err)
			}
			continue
		}
		if reason, _ := refusal.ReasonOf(err); reason != tc.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What is wrong with the way to the next page takes nothing from this one.
func TestCursorsThatAreNoText(t *testing.T) {
	for cursor, want := range map[string]ReposPage{
		`"7"`: {Cursor: "7"}, `7`: {Cursor: "7"}, `-1.5e3`: {Cursor: "-1.5e3"}, `12345678901234567890123`: {Cursor: "12345678901234567890123"},
		`""`: {}, `null`: {}, `true`: {Stuck: true}, `{"a":1}`: {Stuck: true}, `["x"]`: {Stuck: true},
		`"` + strings.Repeat("x", maxCursor+1) + `"`: {Stuck: true}, strings.Repeat("1", maxCursor+1): {Stuck: true},
	} {
		c, base := host(t, answer(200, `{"repos":[{"did":"`+did1+`"}],"cursor":`+cursor+`}`))
		page, err := c.ListRepos(t.Context(), base, "", 500)
		if err != nil || len(page.Repos) != 1 || page.Cursor != want.Cursor || page.Stuck != want.Stuck || page.Stuck != (len(page.Refused) == 1) {
			t.Errorf("%.20s: %+v, %v", cursor, page, err)
		}
	}
}

func TestTheStatusOfAnAccount(t *testing.T) {
	cases := []struct {
		name, body string
		want       AccountStatus
		reason     refusal.Reason
	}{
		{"active", `{"did":"` + did1 + `","active":true,"rev":"3migo7fijwi2k"}`, AccountStatus{Active: true, Rev: "3migo7fijwi2k"}, ""},
		{"deactivated", `{"did":"` + did1 + `","active":false,"status":"deactivated"}`, AccountStatus{Status: "deactivated"}, ""},
		{"a new word", `{"did":"` + did1 + `","active":false,"status":"hibernating"}`, AccountStatus{Status: "hibernating"}, ""},
		{"a long word", `{"did":"` + did1 + `","active":false,"status":"` + strings.Repeat("x", 1000) + `"}`, AccountStatus{Status: strings.Repeat("x", maxName)}, ""},
		{"throttled and active", `{"did":"` + did1 + `","active":true,"status":"throttled"}`, AccountStatus{Active: true, Status: "throttled"}, ""},
		{"silent on active", `{"did":"` + did1 + `","status":"deactivated"}`, AccountStatus{}, refusal.AnswerInvalid},
		{"numbers where nothing is at stake", `{"did":"` + did1 + `","active":false,"status":5,"rev":7,"Active":true}`, AccountStatus{}, ""},
		{"null for active", `{"did":"` + did1 + `","active":null}`, AccountStatus{}, refusal.AnswerInvalid},
		{"a word for active", `{"did":"` + did1 + `","active":"true"}`, AccountStatus{}, refusal.AnswerInvalid},
		{"another account", `{"did":"` + did2 + `","active":true}`, AccountStatus{}, refusal.AnswerWrongDID},
		{"no account", `{"active":true}`, AccountStatus{}, refusal.AnswerWrongDID},
		{"a page", html, AccountStatus{}, refusal.AnswerInvalid},
		{"over 64 KiB", `{` + strings.Repeat(" ", smallAnswer) + `}`, AccountStatus{}, refusal.AnswerTooBig},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/xrpc/com.atproto.sync.getRepoStatus" || r.URL.Query().Get("did") != did1 {
					t.Errorf("asked for %s", r.URL)
				}
				io.WriteString(w, tc.body)
			})
			got, err := c.GetRepoStatus(t.Context(), base, did1)
			if got != tc.want {
				t.Errorf("got %+v", got)
			}
			if reason, _ := refusal.ReasonOf(err); reason != tc.reason || (tc.reason == "" && err != nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARepoIsAStreamWithinItsBounds(t *testing.T) {
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/xrpc/com.atproto.sync.getRepo" || r.URL.Query().Get("did") != did1 ||
			r.Header.Get("Accept") != "application/vnd.ipld.car" {
			t.Errorf("asked for %s as %s", r.URL, r.Header.Get("Accept"))
		}
		io.WriteString(w, strings.Repeat("x", 100))
	})
	for limit, fits := range map[int64]bool{0: true, 100: true, 99: false} {
		c.RepoMaxBytes = limit
		body, err := c.GetRepo(t.Context(), base, did1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if fits && (err != nil || len(got) != 100) {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
		if !fits {
			wantReason(t, err, refusal.AnswerTooBig)
		}
	}
}

func TestARepoThatBreaksOffOrTakesTooLongIsTransient(t *testing.T) {
	broken := make(chan bool, 1)
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		if <-broken {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	})
	c.RepoTimeout = 200 * time.Millisecond
	for cut, reason := range map[bool]refusal.Reason{true: "", false: refusal.AnswerTooSlow} {
		broken <- cut
		body, err := c.GetRepo(t.Context(), base, did1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		wantOutcome(t, err, Transient)
		if was, _ := refusal.ReasonOf(err); was != reason || string(got) != "part" {
			t.Errorf("cut %v: %q, %v", cut, got, err)
		}
		if !cut && !strings.Contains(err.Error(), "200ms") {
			t.Errorf("another bound ended it: %v", err)
		}
	}
}

func TestACallerThatStopsIsNoFailureOfTheHost(t *testing.T) {
	arrived := make(chan struct{}, 1)
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var canceller sync.WaitGroup
	canceller.Go(func() {
		<-arrived
		cancel()
	})
	defer canceller.Wait()
	_, err := c.GetRepo(ctx, base, did1)
	if _, typed := errors.AsType[*Error](err); typed || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(400, named("RepoNotFound", "Could not find repo"))
	f.Add(429, html)
	f.Add(404, named("NotFound", "Repo not found"))
	outcomes := map[Outcome]bool{RateLimited: true, NotFound: true, Takendown: true, Suspended: true,
		Deactivated: true, Deleted: true, NotSynchronized: true, Unsupported: true, NoRecord: true, Transient: true}
	f.Fuzz(func(t *testing.T, status int, body string) {
		e := refusedBy("m", "h", &outbound.Response{Status: status, Header: http.Header{}}, []byte(body))
		if !outcomes[e.Outcome] || len(e.Name) > maxName || len(e.Message) > maxMessage {
			t.Errorf("got %+v", e)
		}
		if e.Outcome.Gone() && e.Name == "" {
			t.Errorf("gone without a name: %+v", e)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"did":"` + did1 + `","rev":"3migo7fijwi2k","active":false,"status":"deactivated"}`))
	f.Add([]byte(`{"did":7}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entry, ok, fault := parseRepo(raw)
		if ok == (entry.DID == "") || !ok && fault == nil || fault != nil && len(fault.Detail) > 310 || len(entry.Rev) > maxRev || len(entry.Status) > maxName {
			t.Errorf("got %+v, %v", entry, ok)
		}
	})
}
