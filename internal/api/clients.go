package api

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// maxClients bounds the clients that are remembered. One takes about a kilobyte.
const maxClients = 1 << 14

// clientState is what is remembered of one client: what it holds and what it has spent.
// nil is a client that cannot be told from others, and has no bounds of its own.
type clientState struct {
	slots   [weights]*semaphore.Weighted
	budgets [weights]*rate.Limiter
	unread  *semaphore.Weighted
	crawls  *rate.Limiter // of requestCrawl
}

func newClientState(a *admission) *clientState {
	c := &clientState{
		unread: semaphore.NewWeighted(a.unread.each),
		crawls: rate.NewLimiter(rate.Every(time.Hour/crawlRequestsPerHour), crawlRequestsAtOnce),
	}
	for kind := range c.slots {
		c.slots[kind], c.budgets[kind] = semaphore.NewWeighted(a.slots[kind].each), newBudget()
	}
	return c
}

func (c *clientState) share(kind weight) *semaphore.Weighted {
	if c == nil {
		return nil
	}
	return c.slots[kind]
}

func (c *clientState) unreadShare() *semaphore.Weighted {
	if c == nil {
		return nil
	}
	return c.unread
}

// clients knows whose a request is.
type clients struct {
	admission *admission
	proxies   []netip.Prefix
	log       *slog.Logger
	hint      sync.Once

	mu    sync.Mutex
	known *lru.Cache[netip.Prefix, *clientState]
}

func newClients(a *admission, proxies []netip.Prefix, log *slog.Logger) *clients {
	known, err := lru.New[netip.Prefix, *clientState](maxClients)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return &clients{admission: a, proxies: proxies, log: log, known: known}
}

// of returns the client of a request, nil if a trusted proxy does not say whose it is:
// then no limit per client applies.
func (cs *clients) of(r *http.Request) *clientState {
	network, named := cs.network(r)
	if !named {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, ok := cs.known.Get(network)
	if !ok {
		c = newClientState(cs.admission)
		cs.known.Add(network, c)
	}
	return c
}

// network returns the network of the client: an address, or of IPv6 a /64, in which one
// machine has any number of them. Connections that have no address are one client.
//
// X-Forwarded-For is believed of a trusted proxy alone, and from right to left: each
// proxy adds the address that it was asked from at the right end, and what stands left
// of the first address that is not itself a trusted proxy, anybody may have written.
func (cs *clients) network(r *http.Request) (_ netip.Prefix, named bool) {
	addr, ok := addressOf(r.RemoteAddr)
	if !ok {
		return netip.Prefix{}, true
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if !cs.trusts(addr) {
		if len(forwarded) > 0 && (addr.IsLoopback() || addr.IsPrivate()) {
			cs.hint.Do(func() {
				cs.log.Warn("a proxy names its clients and is not trusted: they count as one client (--trusted-proxy)", "proxy", addr)
			})
		}
		return networkOf(addr), true
	}
	for hops := strings.Join(forwarded, ","); hops != ""; {
		cut := strings.LastIndexByte(hops, ',')
		hop, ok := addressOf(strings.TrimSpace(hops[cut+1:]))
		if !ok {
			return networkOf(addr), true // its share is that of whoever let this pass
		}
		if addr = hop; !cs.trusts(addr) {
			return networkOf(addr), true
		}
		hops = hops[:max(cut, 0)]
	}
	return netip.Prefix{}, false
}

func (cs *clients) trusts(addr netip.Addr) bool {
	for _, p := range cs.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addressOf reads an address, with a port or without.
func addressOf(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}

func networkOf(addr netip.Addr) netip.Prefix {
	size := 32
	if addr.Is6() {
		size = 64
	}
	p, _ := addr.Prefix(size) // the size fits
	return p
}
