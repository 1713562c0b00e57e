package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/metrics"
	"railyard/internal/store"
)

// desks is a service with one route, whose answers wait until they are let go.
type desks struct {
	*server
	mux      *http.ServeMux
	underWay atomic.Int64
	letGo    chan struct{}
}

// newDesks makes it with two slots for unions and three for pages.
func newDesks() *desks {
	d := &desks{
		server: newServer(Config{Log: slog.New(slog.DiscardHandler), Metrics: metrics.New()}),
		mux:    http.NewServeMux(), letGo: make(chan struct{}),
	}
	d.admission.slots = [weights]pool{light: newPool(3, 2), heavy: newPool(2, 1)}
	d.answers(d.mux, "/", "other", listingRows, func(r *http.Request) (any, error) {
		d.underWay.Add(1)
		defer d.underWay.Add(-1)
		select {
		case <-d.letGo:
			return "answered", nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
	return d
}

const (
	aPage  = "/?limit=10000&collection=a"
	aUnion = "/?limit=5001&collection=a&collection=b"
)

// asked is a request that was sent at begun.
type asked struct {
	*httptest.ResponseRecorder
	done chan struct{}
	took time.Duration
}

// ask sends a request from the n-th client.
func (d *desks) ask(ctx context.Context, n int, target string) *asked {
	a := &asked{ResponseRecorder: httptest.NewRecorder(), done: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", n)
	go func() {
		defer close(a.done)
		begun := time.Now()
		d.mux.ServeHTTP(a, r)
		a.took = time.Since(begun)
	}()
	return a
}

func (a *asked) status() int {
	<-a.done
	return a.Code
}

// Unions of all the world wait for each other, and a page for none of them.
func TestNoPageWaitsBehindAUnion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesks()
		var unions []*asked
		for n := range 20 {
			unions = append(unions, d.ask(t.Context(), n, aUnion))
		}
		synctest.Wait()
		if n := d.underWay.Load(); n != 2 {
			t.Fatalf("%d unions are under way, want 2", n)
		}
		page := d.ask(t.Context(), 100, aPage)
		synctest.Wait()
		if n := d.underWay.Load(); n != 3 {
			t.Fatalf("the page waits: %d requests are under way", n)
		}
		d.letGo <- struct{}{}
		time.Sleep(admissionWait)
		synctest.Wait()
		refused := 0
		for _, u := range unions {
			select {
			case <-u.done:
			default:
				continue
			}
			if u.Code == http.StatusOK {
				continue
			}
			refused++
			if u.Code != http.StatusServiceUnavailable || u.took != admissionWait || u.Header().Get("Retry-After") != "2" ||
				u.Body.String() != `{"error":"NotEnoughResources","message":"too many heavy requests at once"}` {
				t.Errorf("status %d after %s, Retry-After %q: %s", u.Code, u.took, u.Header().Get("Retry-After"), u.Body)
			}
		}
		if refused < 17 || int(d.Metrics.Sum("http_turned_away_total", "why", metrics.NoSlot)) != refused {
			t.Errorf("%d of 20 unions are refused, %v counted", refused, d.Metrics.Sum("http_turned_away_total", "why", metrics.NoSlot))
		}
		close(d.letGo)
		if page.status() != http.StatusOK {
			t.Errorf("the page: %d", page.Code)
		}
	})
}

// One client with many connections waits for itself: half of the slots for pages, and one
// for a union.
func TestNoClientTakesAllSlots(t *testing.T) {
	for target, share := range map[string]int64{aPage: 2, aUnion: 1} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesks()
			for range 20 {
				d.ask(t.Context(), 1, target)
			}
			synctest.Wait()
			if n := d.underWay.Load(); n != share {
				t.Errorf("%s: %d of one client are under way, want %d", target, n, share)
			}
			d.ask(t.Context(), 2, target)
			synctest.Wait()
			if n := d.underWay.Load(); n != share+1 {
				t.Errorf("%s: another client waits for it: %d are under way", target, n)
			}
			close(d.letGo)
		})
	}
}

// Who leaves while it waits is not counted as turned away, and leaves no slot taken.
func TestAClientThatLeavesGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesks()
		ctx, leave := context.WithCancel(t.Context())
		for n := range 10 {
			d.ask(ctx, n%2, aUnion)
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if n := d.Metrics.Sum("http_turned_away_total", "", ""); n != 0 {
			t.Errorf("%v are counted as turned away", n)
		}
		close(d.letGo)
		for n := range 2 {
			if a := d.ask(t.Context(), n, aUnion); a.status() != http.StatusOK || a.took != 0 {
				t.Errorf("status %d after %s", a.Code, a.took)
			}
		}
	})
}

func TestARequestIsLightUpToTheLargestPageOfOneCollection(t *testing.T) {
	collections := func(n int) string { return strings.Repeat("&collection=a", n) }
	for query, want := range map[string]struct {
		units int
		kind  weight
	}{
		"":                                                    {1, light},
		"limit=1":                                             {1, light},
		"limit=501":                                           {2, light},
		"limit=10000":                                         {20, light},
		"limit=10000" + collections(1):                        {20, light},
		"limit=500" + collections(20):                         {20, light},
		"limit=501" + collections(20):                         {21, heavy},
		"limit=5001" + collections(2):                         {21, heavy},
		"limit=10000" + collections(100):                      {2000, heavy},
		"limit=10000" + collections(101):                      {1, light}, // these are refused before they read
		"limit=10001" + collections(100):                      {1, light},
		"limit=x" + collections(100):                          {1, light},
		"limit=1&limit=10000&collection=":                     {1, light},
		"limit=1&collection=app.bsky.*":                       {100, heavy}, // they may match any number
		"limit=0&collection=app.bsky.*":                       {1, light},
		"limit=10000&collection=app.bsky.*":                   {400, heavy},
		"limit=10000&collection=app.bsky.*" + collections(99): {2380, heavy},
	} {
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if units, kind := cost(listingRows(params)); units != want.units || kind != want.kind {
			t.Errorf("%.40s: %d units, %s; want %d, %s", query, units, kind, want.units, want.kind)
		}
	}
}

// A client that has spent its budget is told when to come again. Others, and its own
// requests of the other kind, do not pay for it.
func TestABudgetEndsAndGrowsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesks()
		close(d.letGo)
		const union = "/?limit=10000&collection=a&collection=b" // 40 units
		first := d.ask(t.Context(), 1, union)
		if first.status() != http.StatusOK {
			t.Fatal(first.Code)
		}
		for name, want := range map[string]string{
			"RateLimit-Limit": "3000000", "RateLimit-Remaining": "2999960", "RateLimit-Policy": "3000000;w=300",
			"RateLimit-Reset": strconv.FormatInt(time.Now().Unix(), 10), "Retry-After": "",
		} {
			if got := first.Header().Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		c := d.clients.of(&http.Request{RemoteAddr: "192.0.2.1:7"})
		for c.budgets[heavy].AllowN(time.Now(), 40) { // spends what is left
		}
		over := d.ask(t.Context(), 1, union)
		if over.status() != http.StatusTooManyRequests || over.Header().Get("Retry-After") != "1" || over.Header().Get("RateLimit-Remaining") != "0" ||
			over.Header().Get("RateLimit-Reset") != strconv.FormatInt(time.Now().Add(budgetWindow).Unix(), 10) ||
			!strings.HasPrefix(over.Body.String(), `{"error":"RateLimitExceeded","message":"a heavy request of 40 units: 0 are left`) {
			t.Errorf("status %d, %v: %s", over.Code, over.Header(), over.Body)
		}
		if n := d.Metrics.Sum("http_turned_away_total", "why", metrics.OverBudget); n != 1 {
			t.Errorf("%v are counted", n)
		}
		for what, a := range map[string]*asked{"a page": d.ask(t.Context(), 1, aPage), "another client": d.ask(t.Context(), 2, union)} {
			if a.status() != http.StatusOK {
				t.Errorf("%s: %d %s", what, a.Code, a.Body)
			}
		}
		time.Sleep(time.Second)
		if again := d.ask(t.Context(), 1, union); again.status() != http.StatusOK {
			t.Errorf("after Retry-After: %d %s", again.Code, again.Body)
		}
	})
}

// Whatever one client asks for, monitoring is answered.
func TestHealthCostsNothing(t *testing.T) {
	x := newIndex(t)
	w := x.ask("GET", "/_health")
	if w.Code != 200 || w.Header().Get("RateLimit-Limit") != "" {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
}

func TestClientsAreBounded(t *testing.T) {
	s := newServer(Config{})
	for n := range maxClients + 10 {
		s.clients.of(&http.Request{RemoteAddr: netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}).String() + ":1"})
	}
	if n := s.clients.known.Len(); n != maxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

// X-Forwarded-For is believed of proxies that the operator trusts, as far as these have
// written it themselves.
func TestOnlyTrustedProxiesSayWhoseARequestIs(t *testing.T) {
	s := newServer(Config{
		Log:            slog.New(slog.DiscardHandler),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:f::1/128")},
	})
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string // empty: nobody knows
	}{
		{"192.0.2.1:5", nil, "192.0.2.1/32"},
		{"[::ffff:192.0.2.1]:5", nil, "192.0.2.1/32"},
		{"[2001:db8:1:2:3::4]:5", nil, "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:5", nil, "fe80::/64"},
		{"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1/32"}, // a stranger names another
		{"10.1.1.1:5", nil, ""},
		{"10.1.1.1:5", []string{""}, ""},
		{"10.1.1.1:5", []string{"198.51.100.7"}, "198.51.100.7/32"},
		{"10.1.1.1:5", []string{"198.51.100.7:4711"}, "198.51.100.7/32"},
		{"10.1.1.1:5", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"10.1.1.1:5", []string{"[2001:db8:1:2:3::4]:99"}, "2001:db8:1:2::/64"},
		{"[2001:db8:f::1]:5", []string{"198.51.100.7"}, "198.51.100.7/32"},
		{"10.1.1.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7/32"}, // what its client wrote
		{"10.1.1.1:5", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7/32"},
		{"10.1.1.1:5", []string{"203.0.113.9,198.51.100.7 , 10.2.2.2"}, "198.51.100.7/32"}, // through two of them
		{"10.1.1.1:5", []string{"10.3.3.3, 10.2.2.2"}, ""},
		{"10.1.1.1:5", []string{"unknown"}, "10.1.1.1/32"},
		{"10.1.1.1:5", []string{"198.51.100.7, "}, "10.1.1.1/32"},
		{"10.1.1.1:5", []string{"198.51.100.7, x, 10.2.2.2"}, "10.2.2.2/32"},
		{"10.1.1.1:5", []string{strings.Repeat("198.51.100.7,", 2000) + "203.0.113.9"}, "203.0.113.9/32"},
		{"pipe", []string{"198.51.100.7"}, netip.Prefix{}.String()},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		network, named := s.clients.network(r)
		if named != (c.want != "") || named && network.String() != c.want {
			t.Errorf("%s, forwarded %.60q: %s (%t), want %s", c.remote, c.forwarded, network, named, c.want)
		}
		if (s.clients.of(r) == nil) == named {
			t.Errorf("%s, forwarded %.60q: the wrong one is exempt", c.remote, c.forwarded)
		}
	}
}

// A proxy that names clients to a service that does not trust it makes all of them one,
// which its operator should know; strangers cannot fill the log with it.
func TestAProxyThatIsNotTrustedIsNamedOnce(t *testing.T) {
	var log bytes.Buffer
	s := newServer(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, remote := range []string{"198.51.100.7:1", "127.0.0.1:1", "[::1]:1", "127.0.0.1:2"} {
		s.clients.of(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}})
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "proxy=127.0.0.1") {
		t.Errorf("the log: %s", text)
	}
}

// probing looks at the file in the moment in which an answer is sent.
type probing struct {
	*httptest.ResponseRecorder
	probe func()
}

func (p probing) Write(b []byte) (int, error) {
	p.probe()
	return p.ResponseRecorder.Write(b)
}

// A page is complete before its first byte is sent: then all readers of the file are
// free, whatever its client takes in.
func TestNoReaderIsHeldWhileAnAnswerIsSent(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	for _, target := range []string{listingPath, "/v1/stats", "/v1/listCollections", "/v1/repo?did=" + didOf(1), "/"} {
		probed := false
		var all func(n int) error
		all = func(n int) error {
			if n == 0 {
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return x.store.View(ctx, func(*store.Rx) error { return all(n - 1) })
		}
		w := probing{httptest.NewRecorder(), func() {
			if err := all(store.Readers); err != nil {
				t.Errorf("%s: %v", target, err)
			}
			probed = true
		}}
		x.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", target, nil))
		if w.Code != 200 || !probed {
			t.Errorf("%s: status %d, probed %t", target, w.Code, probed)
		}
	}
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// dial sends a request on a connection of its own and reads nothing.
func (p pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	mine, its := net.Pipe()
	p.conns <- its
	if _, err := io.WriteString(mine, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return mine
}

// Clients that do not take their answers hold memory up to a bound, and nothing else.
// They are cut off after answerTimeout, and at the end of the service before that.
func TestSlowReadersHoldBoundedMemoryAndNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{Log: slog.New(slog.DiscardHandler), Metrics: metrics.New()})
		mux := http.NewServeMux()
		s.answers(mux, "/", "other", listingRows, func(*http.Request) (any, error) {
			return ready{kind: jsonKind, body: make([]byte, 8<<10, 1<<20)}, nil // the memory of a larger one, used again
		})
		l := pipes{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, l, mux, 100, slog.New(slog.DiscardHandler)) }()
		for range unreadShare >> 20 {
			defer func(c net.Conn) { _ = c.Close() }(l.dial(t))
		}
		synctest.Wait()
		all := &s.admission.slots[light]
		if n := int64(store.Readers); all.all.TryAcquire(n) || !all.all.TryAcquire(all.each) {
			t.Error("slots are held by readers that are slow")
		}
		all.all.Release(all.each)

		asks := func() (status string) {
			c := l.dial(t)
			defer func() { _ = c.Close() }()
			var line [12]byte
			if _, err := io.ReadFull(c, line[:]); err != nil {
				t.Fatal(err)
			}
			return string(line[9:])
		}
		if status := asks(); status != "503" || s.Metrics.Sum("http_turned_away_total", "why", metrics.Unread) != 1 {
			t.Errorf("one answer more than the bound: status %s", status)
		}
		time.Sleep(answerTimeout)
		if status := asks(); status != "200" {
			t.Errorf("after they were cut off: status %s", status)
		}

		defer func(c net.Conn) { _ = c.Close() }(l.dial(t))
		synctest.Wait()
		begun := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(begun) > closeTimeout+time.Second {
			t.Errorf("Serve ended after %s: %v", time.Since(begun), err)
		}
	})
}
