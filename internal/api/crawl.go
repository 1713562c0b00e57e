package api

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	// What one client may ask for: a PDS asks at its start and at most every 20
	// minutes.
	crawlRequestsPerHour = 12
	crawlRequestsAtOnce  = 6
	// crawlClients bounds the clients that are remembered.
	crawlClients = 1 << 14
	crawlBody    = 4 << 10
)

// crawlRequests answers com.atproto.sync.requestCrawl: somebody asks for a crawl of
// a host's listRepos. The wish is queued; nothing is asked of the host meanwhile.
type crawlRequests struct {
	*server
	mu      sync.Mutex
	clients *lru.Cache[netip.Prefix, *rate.Limiter]
}

func newCrawlRequests(s *server) *crawlRequests {
	clients, err := lru.New[netip.Prefix, *rate.Limiter](crawlClients)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return &crawlRequests{server: s, clients: clients}
}

func (c *crawlRequests) answer(r *http.Request) (any, error) {
	name, err := hostnameOf(r)
	if err != nil {
		return nil, err
	}
	host, err := c.Hosts.Name(name)
	if err != nil {
		return nil, badRequest("hostname %q: %v", atproto.Clip(name), err)
	}
	if !c.allow(r.RemoteAddr) {
		return nil, fail(http.StatusTooManyRequests, "RateLimitExceeded", "more than %d requests an hour", crawlRequestsPerHour)
	}
	accepted, err := c.RequestCrawl(r.Context(), host)
	if err != nil {
		return nil, err
	}
	if !accepted {
		return nil, fail(http.StatusTooManyRequests, "RateLimitExceeded", "too many new hosts today")
	}
	return struct{}{}, nil
}

type crawlInput struct {
	Hostname string `json:"hostname" doc:"Of the host, without a scheme."`
}

// hostnameOf reads the input of the procedure. Only JSON is taken, so that no page
// in somebody's browser can send it unasked.
func hostnameOf(r *http.Request) (string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", badRequest("Content-Type: expected application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, crawlBody+1))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || len(body) > crawlBody {
		return "", badRequest("body: longer than %d bytes", crawlBody)
	}
	if err != nil {
		return "", badRequest("body: %v", err)
	}
	var input crawlInput
	if err := exactjson.Unmarshal(body, &input); err != nil {
		return "", badRequest("body: %v", err)
	}
	if input.Hostname == "" {
		return "", badRequest("hostname: missing")
	}
	return input.Hostname, nil
}

// allow takes one request from the share of a client: an address, or a network of
// IPv6, in which one machine has any number of them.
func (c *crawlRequests) allow(remote string) bool {
	client := clientOf(remote)
	c.mu.Lock()
	defer c.mu.Unlock()
	share, ok := c.clients.Get(client)
	if !ok {
		share = rate.NewLimiter(rate.Every(time.Hour/crawlRequestsPerHour), crawlRequestsAtOnce)
		c.clients.Add(client, share)
	}
	return share.Allow()
}

// clientOf returns the network of a remote address; what is none of TCP shares one.
func clientOf(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	size := 32
	if addr.Is6() {
		size = 64
	}
	p, _ := addr.Prefix(size) // the size fits
	return p
}
