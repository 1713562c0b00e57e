package firehose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/refusal"
)

// endpoint is the path of the stream at every upstream.
const endpoint = "/xrpc/com.atproto.sync.subscribeRepos"

// Config says which stream to follow and from where.
type Config struct {
	// URL is the base of the upstream: ws, wss, http or https, and a host.
	URL string
	// UserAgent names us to the upstream; empty: "railyard".
	UserAgent string
	// Dial opens connections; nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Cursor is the last sequence number whose consequences are stored; 0: there
	// is none, and the stream begins with what happens next.
	Cursor int64
	// OnConnect is called for each connection, after the socket is open and
	// before its first frame is read. An error closes the connection, which is
	// then tried again. May be nil.
	OnConnect func(ctx context.Context) error
	// Count is told the reason of each refusal that does not reach the receiver
	// as the Refusal of a delivered frame. It is called by Run's goroutine. May
	// be nil.
	Count func(refusal.Reason)
	// Log gets a line for each connection that opens or ends; nil: none.
	Log *slog.Logger
}

// withDefaults checks the Config and fills what may be empty.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Cursor < 0 || cfg.Cursor > event.MaxSeq {
		return cfg, fmt.Errorf("firehose %s: cursor %d is no sequence number", cfg.URL, cfg.Cursor)
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "railyard"
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.OnConnect == nil {
		cfg.OnConnect = func(context.Context) error { return nil }
	}
	if cfg.Count == nil {
		cfg.Count = func(refusal.Reason) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// streamURL makes the address of the stream from the base of an upstream.
func streamURL(base string) (*url.URL, error) {
	if !strings.Contains(base, "://") {
		return nil, fmt.Errorf("firehose %q: no scheme: wants ws, wss, http or https, as in wss://HOST", atproto.Clip(base))
	}
	u, err := url.Parse(base)
	if err != nil {
		// The outer error repeats the text, which may hold a password.
		return nil, fmt.Errorf("firehose: not a URL: %w", errors.Unwrap(err))
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return nil, fmt.Errorf("firehose %q: the scheme must be ws, wss, http or https", u.Redacted())
	}
	if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("firehose %q: wants a scheme, a host, perhaps a port, and nothing else", u.Redacted())
	}
	u.Path = endpoint
	return u, nil
}
