package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// overLong is longer than any value may be, and short enough to reach a handler.
const overLong = 20_000

// badValues are values that a kind of parameter refuses, and what the message says of each.
var badValues = map[string]map[string]string{
	"limit": {
		"0": "0", "-1": "-1", "10001": "10001", "x": `"x"`, "1.5": `"1.5"`, "1e3": `"1e3"`, " 1": `" 1"`, "0x10": `"0x10"`,
		"1\x00": `"1\x00"`, "\xff": `"\xff"`, strings.Repeat("9", overLong): `"999`,
	},
	"listing cursor": {
		"x": `"x"`, "abc.1": `"abc.1"`, "\x00": `"\x00"`, "\xff\xfe": `"\xff\xfe"`, "../../etc/passwd": "etc/passwd",
		strings.Repeat("A", overLong): `"AAA`,
	},
	"feed cursor":   {"x": `"x"`, "\x00": `"\x00"`, "\xff\xfe": `"\xff\xfe"`, "x.ahead": `"x"`, strings.Repeat("A", overLong): `"AAA`},
	"NSID cursor":   {"x": `"x"`, "app.bsky.\x00": `\x00`, "app.bsky.\xff": `\xff`, strings.Repeat("a", overLong): `"aaa`},
	"name cursor":   {"x": `"x"`, "app.bsky.\x00": `\x00`, "app.bsky.\xff": `\xff`, strings.Repeat("a", overLong): "20000 bytes"},
	"number cursor": {"x": `"x"`, "-1": `"-1"`, "9223372036854775808": "9223372036854775808", "1\x00": `\x00`, strings.Repeat("9", overLong): `"999`},
	"NSID": {
		"": `""`, "post": `"post"`, "app.bsky": `"app.bsky"`, "app.bsky.feed.po st": "po st", "app.bsky.feed.p\x00st": `\x00`,
		"app.bsky.feed.\xff": `\xff`, "<script>": "<script>", strings.Repeat("a.", overLong/2): `"a.a.`,
	},
	"pattern": {
		"": `""`, "post": `"post"`, "app.bsky": `"app.bsky"`, "*": `"*"`, "app.*": `"app.*"`, "app.bsky*": `"app.bsky*"`, "app.bsky.*.post": "*.post",
		"app.bsky.feed.po st": "po st", "app.bsky.feed.p\x00st": `\x00`, "app.bsky.feed.\xff": `\xff`, "<script>": "<script>",
		strings.Repeat("a.", overLong/2): `"a.a.`, strings.Repeat("a.", overLong/2) + "*": `"a.a.`,
	},
	"bits":  {"0": `"0"`, "15": `"15"`, "-1": `"-1"`, "x": `"x"`, "1.5": `"1.5"`, "1\x00": `\x00`, strings.Repeat("9", overLong): `"999`},
	"truth": {"yes": `"yes"`, "\x00": `\x00`, "\xff": `\xff`, strings.Repeat("1", overLong): `"111`},
	"time": {
		"x": `"x"`, "2026-01-01": `"2026-01-01"`, "2026-01-01T00:00:00": "2026-01-01T00:00:00", "1767225600": `"1767225600"`, "\x00": `\x00`, "\xff": `\xff`,
		strings.Repeat("2", overLong): `"222`,
	},
	"step": {"week": `"week"`, "\x00": `\x00`, "\xff": `\xff`, strings.Repeat("h", overLong): `"hhh`},
	"hostname": {
		"": `hostname`, "x/y": `"x/y"`, "http://pds.example.com": "http", "pds.example.com\x00": `\x00`, "\xff.example.com": `\xff`,
		strings.Repeat("a", overLong): `"aaa`,
	},
	"did": {
		"": `""`, "did:plc:short": "short", "did:key:zabc": "did:key", "alice.example.com": "alice", didOf(1) + "\x00": `\x00`,
		"did:web:\xff": `\xff`, "did:web:" + strings.Repeat("a", overLong): `"did:web:aaa`,
	},
}

// endpoint is a route with parameters: a question that is right, and of each parameter
// what is wrong with it, and whether it may be given twice.
type endpoint struct {
	path   string
	right  url.Values
	kinds  map[string]string
	repeat string
}

var endpoints = []endpoint{
	{listingPath, url.Values{}, map[string]string{"limit": "limit", "cursor": "listing cursor", "collection": "pattern"}, "collection"},
	{"/v1/getDidsForCollection", url.Values{"collection": {posts}}, map[string]string{"limit": "limit", "cursor": "listing cursor", "collection": "pattern"}, "collection"},
	{"/v1/listCollections", url.Values{}, map[string]string{"limit": "limit", "cursor": "name cursor", "c": "NSID"}, "c"},
	{"/v1/repo", url.Values{"did": {didOf(1)}}, map[string]string{"limit": "limit", "cursor": "number cursor", "did": "did"}, ""},
	{"/v1/stats", url.Values{}, nil, ""},
	{"/v1/count", url.Values{"collection": {posts}}, map[string]string{"collection": "pattern", "distinct": "truth"}, "collection"},
	{"/v1/timeseries", url.Values{}, map[string]string{"collection": "NSID", "from": "time", "to": "time", "step": "step"}, ""},
	{"/v1/digest", url.Values{}, map[string]string{"collection": "NSID", "bits": "bits"}, ""},
	{"/v1/digest/collections", url.Values{}, map[string]string{"limit": "limit", "cursor": "NSID cursor"}, ""},
	{"/v1/digest/repos", url.Values{"bits": {"3"}, "bucket": {"0"}}, map[string]string{
		"collection": "NSID", "bits": "bits", "limit": "limit", "cursor": "listing cursor"}, ""},
	{"/v1/changes", url.Values{}, map[string]string{"limit": "limit", "cursor": "feed cursor", "collection": "pattern"}, "collection"},
	{"/v1/changes/stream", url.Values{}, map[string]string{"cursor": "feed cursor", "collection": "pattern"}, "collection"},
	{"/xrpc/com.atproto.sync.listRepos", url.Values{}, map[string]string{"limit": "limit", "cursor": "listing cursor"}, ""},
	{"/xrpc/com.atproto.sync.listHosts", url.Values{}, map[string]string{"limit": "limit", "cursor": "listing cursor"}, ""},
	{"/xrpc/com.atproto.sync.getRepoStatus", url.Values{"did": {didOf(1)}}, map[string]string{"did": "did"}, ""},
	{"/xrpc/com.atproto.sync.getLatestCommit", url.Values{"did": {didOf(1)}}, map[string]string{"did": "did"}, ""},
	{"/xrpc/com.atproto.sync.getHostStatus", url.Values{"hostname": {"pds.example.com"}}, map[string]string{"hostname": "hostname"}, ""},
}

// closedIndex is a service whose file cannot be read: what answers 400 has not tried.
func closedIndex(t *testing.T) *index {
	x := newIndex(t)
	x.handler = Handler(Config{
		Store: x.store, Log: slog.New(slog.DiscardHandler),
		RequestCrawl: func(context.Context, string) (bool, error) { return false, errors.New("asked") },
	})
	if err := x.store.Close(); err != nil {
		t.Fatal(err)
	}
	return x
}

// says checks that a refusal names the field and its value, and stays short and plain.
func (x *index) says(w *httptest.ResponseRecorder, what string, words ...string) {
	x.Helper()
	message := x.refused(w, http.StatusBadRequest, "InvalidRequest")
	for _, word := range words {
		if !strings.Contains(message, word) {
			x.Errorf("%.80q: message %q, want %q in it", what, message, word)
		}
	}
	if len(message) > 300 || !utf8.ValidString(message) || strings.ContainsAny(message, "\x00\n\r\x1b") {
		x.Errorf("%.80q: message %q", what, message)
	}
}

// Whatever is wrong with a parameter, the answer names it, and nothing was read for it. A
// file that cannot be read is an error, and never the end of a listing.
func TestBadInputIsNamedBeforeAnythingIsRead(t *testing.T) {
	x := closedIndex(t)
	for _, e := range x.table() {
		if e.method == http.MethodGet && len(e.params) > 0 && !slices.ContainsFunc(endpoints, func(known endpoint) bool { return known.path == e.path }) {
			t.Errorf("%s is not in the table", e.path)
		}
	}
	for _, e := range endpoints {
		x.refused(x.ask("GET", e.path+"?"+e.right.Encode()), http.StatusInternalServerError, "InternalServerError")
		for name, kind := range e.kinds {
			ask := func(values ...string) *httptest.ResponseRecorder {
				params := url.Values{}
				for k, v := range e.right {
					params[k] = v
				}
				params[name] = values
				return x.ask("GET", e.path+"?"+params.Encode())
			}
			for value, says := range badValues[kind] {
				x.says(ask(value), e.path+" "+name+" "+value, name, says)
			}
			switch {
			case name == e.repeat:
				x.says(ask(strings.Split(strings.Repeat(posts+" ", maxCollections)+posts, " ")...), e.path, name+": given 101 times")
				x.says(ask(posts, "no"), e.path, name, `"no"`)
			default:
				x.says(ask("1", "1"), e.path, name+": given 2 times")
			}
			for _, escape := range []string{"%", "%z", "%zz", "%f", "x;" + name + "=1"} {
				more := "&"
				if len(e.right) == 0 {
					more = ""
				}
				x.says(x.ask("GET", e.path+"?"+e.right.Encode()+more+name+"="+escape), e.path+" "+escape, "query")
			}
		}
		for name := range e.right { // what has no default
			others := maps.Clone(e.right)
			delete(others, name)
			x.says(x.ask("GET", e.path+"?"+others.Encode()), e.path, name)
		}
	}
	for body, says := range map[string]string{
		"": "body", "{": "body", "[]": "body", "null": "hostname: missing", "{}": "hostname: missing", `{"hostname":""}`: "hostname: missing",
		`{"hostname":null}`: "hostname", `{"hostname":7}`: "body", `{"hostname":["a.example.com"]}`: "body",
		`{"hostname":"a\u0000.example.com"}`: `hostname "a\x00`, "{\"hostname\":\"\xff.example.com\"}": "hostname",
		`{"hostname":"` + strings.Repeat("a", 4000) + `"}`:                         `hostname "aaa`,
		`{"hostname":"a.example.com","x":"` + strings.Repeat("x", overLong) + `"}`: "body: longer",
		`{"hostname":"http://169.254.169.254/latest"}`:                             "hostname",
		`{"x":` + strings.Repeat("[", 2000) + "1" + `,"hostname":1}`:               "body",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, crawlPath, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		x.handler.ServeHTTP(w, r)
		x.says(w, body, says)
	}
}
