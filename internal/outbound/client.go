package outbound

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

const (
	maxRedirects   = 3
	maxHeaderBytes = 64 << 10

	// A few hosts hold most repos, so one host may have several connections, but
	// never so many that it looks like an attack.
	maxConnsPerHost = 32
	maxIdlePerHost  = 8
	// A backfill asks its hosts in turns: where they are more than this, each
	// request begins with a handshake, which costs more than all the rest of it. An
	// idle connection holds some tens of kilobytes.
	maxIdle = 1024

	idleTimeout = 30 * time.Second
	tlsTimeout  = 10 * time.Second
)

// Config says what the guard lets through and how requests introduce themselves.
type Config struct {
	// AllowPrivate lifts the guard: any address, port, http (development only).
	AllowPrivate bool

	// Exempt are the host:port that the operator named (upstreams, the PLC
	// directory): any address, any scheme, exactly there. HostPort makes one from
	// a URL. A host of the network cannot redirect to them.
	Exempt []string

	// MaxConns bounds the connections that are open at once; 0 means no bound.
	MaxConns int

	// UserAgent is sent with each request; "railyard" if empty.
	UserAgent string

	// Dial opens connections; nil means net.Dialer. The guard stands before it
	// and gives it checked addresses. Where the guard is lifted and Lookup is nil
	// it gets the name.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Lookup resolves names; nil means net.DefaultResolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Log gets refused requests at debug level; nil means silence.
	Log *slog.Logger
}

// Client sends guarded requests. It is safe for concurrent use.
type Client struct {
	guard     *guard
	transport *http.Transport
	http      *http.Client
	userAgent string
	log       *slog.Logger
	slots     *slots // nil: no bound
	short     atomic.Pointer[shortage]
}

// New makes a client. Close closes its connections.
func New(cfg Config) *Client {
	c := &Client{
		guard:     newGuard(cfg),
		userAgent: cfg.UserAgent,
		log:       slog.New(slog.DiscardHandler),
	}
	if cfg.Log != nil {
		c.log = cfg.Log.With("component", "outbound")
	}
	if c.userAgent == "" {
		c.userAgent = "railyard"
	}
	// HTTP/1.1 alone: the pool limits below count connections, and ending an
	// exchange ends its connection. Gzip is the transport's, so what bodies count
	// is decompressed.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	c.transport = &http.Transport{
		Protocols:              &protocols,
		DialContext:            c.guard.connect,
		TLSHandshakeTimeout:    tlsTimeout,
		MaxConnsPerHost:        maxConnsPerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	if cfg.MaxConns > 0 {
		c.slots = &slots{free: make(chan struct{}, cfg.MaxConns), spare: c.transport.CloseIdleConnections}
		c.transport.DialContext = c.limited
		c.transport.MaxIdleConns = min(maxIdle, max(1, cfg.MaxConns/2))
	}
	c.http = &http.Client{Transport: c.transport, CheckRedirect: c.checkRedirect}
	return c
}

func newGuard(cfg Config) *guard {
	g := &guard{
		allowPrivate: cfg.AllowPrivate,
		exempt:       make(map[string]bool, len(cfg.Exempt)),
		dial:         cfg.Dial,
		lookup:       cfg.Lookup,
	}
	for _, hostport := range cfg.Exempt {
		if host, port, err := net.SplitHostPort(hostport); err == nil {
			hostport = canonical(host, port)
		}
		g.exempt[strings.ToLower(hostport)] = true
	}
	if g.dial == nil {
		g.dial = (&net.Dialer{}).DialContext
	}
	return g
}

// Close closes the idle connections. Exchanges that still run are not touched.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refusal.New(refusal.AnswerInvalid, "more than %d redirects from %s", maxRedirects, atproto.Clip(via[0].URL.Host))
	}
	return c.guard.checkRedirect(via[len(via)-1].URL, req.URL)
}

// HostPort returns the host:port of a URL in the form of Config.Exempt. The port of
// https and wss is 443, that of http and ws 80, where the URL names none.
func HostPort(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	if u.Hostname() == "" {
		return "", fmt.Errorf("url %q: no host", atproto.Clip(rawURL))
	}
	return hostPort(u), nil
}
