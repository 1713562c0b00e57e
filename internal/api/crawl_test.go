package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const crawlPath = "/xrpc/com.atproto.sync.requestCrawl"

// desk is a service that takes wishes for crawls.
type desk struct {
	*index
	handler http.Handler
	asked   []string
	full    bool
	err     error
}

func newDesk(t *testing.T) *desk {
	d := &desk{index: newIndex(t)}
	d.handler = Handler(Config{Store: d.store, Log: slog.New(slog.DiscardHandler), RequestCrawl: d.crawls})
	return d
}

func (d *desk) crawls(_ context.Context, host string) (bool, error) {
	d.asked = append(d.asked, host)
	return !d.full, d.err
}

func (d *desk) post(from, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(d.Context(), http.MethodPost, crawlPath, strings.NewReader(body))
	r.RemoteAddr = from
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

// kind is the media type of an input.
const kind = "application/json"

func TestAHostMayAskToBeCrawled(t *testing.T) {
	d := newDesk(t)
	w := d.post("192.0.2.1:5", "application/json; charset=utf-8", `{"hostname":"PDS.Example.com","more":1}`)
	if w.Code != 200 || w.Body.String() != "{}" || !slices.Equal(d.asked, []string{"pds.example.com"}) {
		t.Errorf("status %d, body %s, asked %q", w.Code, w.Body, d.asked)
	}
}

func TestWishesThatNameNoHostAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ contentType, body string }{
		"no type":        {"", `{"hostname":"a.example.com"}`},
		"a form":         {"text/plain", `{"hostname":"a.example.com"}`},
		"no body":        {kind, ``},
		"no object":      {kind, `["a.example.com"]`},
		"no name":        {kind, `{}`},
		"a number":       {kind, `{"hostname":7}`},
		"an address":     {kind, `{"hostname":"192.0.2.1"}`},
		"an IPv6":        {kind, `{"hostname":"[2001:db8::1]"}`},
		"a port":         {kind, `{"hostname":"a.example.com:8443"}`},
		"a URL":          {kind, `{"hostname":"https://a.example.com"}`},
		"a path":         {kind, `{"hostname":"a.example.com/x"}`},
		"a private name": {kind, `{"hostname":"localhost"}`},
		"a reserved one": {kind, `{"hostname":"pds.internal"}`},
		"a long body":    {kind, `{"hostname":"a.example.com","x":"` + strings.Repeat("x", crawlBody) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.refused(d.post("192.0.2.1:5", c.contentType, c.body), 400, "InvalidRequest")
			if len(d.asked) != 0 {
				t.Errorf("asked %q", d.asked)
			}
		})
	}
}

// One client asks and asks; others are not refused for it. A network of IPv6 is one
// client, however many addresses it has.
func TestAClientHasItsShareOfWishes(t *testing.T) {
	d := newDesk(t)
	const body = `{"hostname":"a.example.com"}`
	for i := range crawlRequestsAtOnce + 3 {
		w4, w6 := d.post("192.0.2.1:"+string(rune('1'+i)), kind, body), d.post("[2001:db8::"+string(rune('1'+i))+"]:9", kind, body)
		if i < crawlRequestsAtOnce {
			if w4.Code != 200 || w6.Code != 200 {
				t.Errorf("wish %d: %d and %d", i, w4.Code, w6.Code)
			}
			continue
		}
		d.refused(w4, 429, "RateLimitExceeded")
		d.refused(w6, 429, "RateLimitExceeded")
	}
	for _, other := range []string{"192.0.2.2:1", "[2001:db8:0:1::1]:9", "[::ffff:192.0.2.3]:1"} {
		if w := d.post(other, kind, body); w.Code != 200 {
			t.Errorf("%s: %d", other, w.Code)
		}
	}
	if n := len(d.asked); n != 2*crawlRequestsAtOnce+3 {
		t.Errorf("%d wishes went through", n)
	}
}

// Behind a proxy that is trusted each of its clients has a share of its own, and what it
// does not name has none. Whoever is no such proxy cannot get another share by a header.
func TestClientsOfATrustedProxyHaveSharesOfTheirOwn(t *testing.T) {
	d := newDesk(t)
	d.handler = Handler(Config{
		Store: d.store, Log: slog.New(slog.DiscardHandler), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		RequestCrawl: func(context.Context, string) (bool, error) { return true, nil },
	})
	accepted := func(from, forwarded string) (n int) {
		for i := range 2 * crawlRequestsAtOnce {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, crawlPath, strings.NewReader(`{"hostname":"a.example.com"}`))
			r.RemoteAddr = from
			r.Header.Set("Content-Type", kind)
			if forwarded != "" {
				r.Header.Set("X-Forwarded-For", strings.ReplaceAll(forwarded, "N", strconv.Itoa(i)))
			}
			w := httptest.NewRecorder()
			if d.handler.ServeHTTP(w, r); w.Code == http.StatusOK {
				n++
			} else if d.refused(w, 429, "RateLimitExceeded"); w.Header().Get("Retry-After") != "300" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		}
		return n
	}
	for _, c := range []struct {
		from, forwarded string
		want            int
	}{
		{"10.0.0.1:5", "198.51.100.N", 2 * crawlRequestsAtOnce},
		{"10.0.0.1:5", "", 2 * crawlRequestsAtOnce},
		{"10.0.0.1:5", "203.0.113.9", crawlRequestsAtOnce},
		{"10.0.0.1:5", "203.0.113.N, 203.0.113.50", crawlRequestsAtOnce},
		{"10.0.0.2:5", "203.0.113.1N", crawlRequestsAtOnce},
	} {
		if got := accepted(c.from, c.forwarded); got != c.want {
			t.Errorf("%s, forwarded %q: %d are accepted, want %d", c.from, c.forwarded, got, c.want)
		}
	}
}

func TestTheDaysShareAndTheFilesFailureShow(t *testing.T) {
	d := newDesk(t)
	d.full = true
	d.refused(d.post("192.0.2.1:5", kind, `{"hostname":"a.example.com"}`), 429, "RateLimitExceeded")
	d.err = errors.New("disk full")
	d.refused(d.post("192.0.2.1:5", kind, `{"hostname":"a.example.com"}`), 500, "InternalServerError")
}

func TestRequestCrawlIsAProcedureAndExistsOnlyWhereHostsAreCrawled(t *testing.T) {
	d := newDesk(t)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, crawlPath, nil))
	d.refused(w, 405, "InvalidRequest")
	if allow := w.Header().Get("Allow"); allow != "POST" {
		t.Errorf("Allow %q", allow)
	}
	d.refused(newIndex(t).ask(http.MethodPost, crawlPath), 501, "MethodNotImplemented")
}
