package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

const (
	// dialTimeout bounds the look-up and all attempts of one connection. The
	// transport may go on dialling after the request that wanted it has ended.
	dialTimeout = 10 * time.Second

	// attemptTimeout bounds one address, so that the next one gets its turn when
	// the first is a black hole (typically IPv6 without a route).
	attemptTimeout = 4 * time.Second

	// maxAddresses of one DNS answer are tried.
	maxAddresses = 6
)

type (
	dialFunc   func(ctx context.Context, network, addr string) (net.Conn, error)
	lookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)
)

// guard decides which URLs may be asked and which addresses may be dialled.
type guard struct {
	allowPrivate bool
	exempt       map[string]bool // canonical host:port
	dial         dialFunc
	lookup       lookupFunc // nil: the system's resolver
}

// checkURL decides on the text of a URL, the first one or that of a redirect.
// Port and address are checked where they are dialled.
func (g *guard) checkURL(u *url.URL) error {
	if u.User != nil {
		return refusal.New(refusal.ForbiddenAddress, "a URL with credentials at %s", atproto.Clip(u.Host))
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return refusal.New(refusal.ForbiddenAddress, "scheme %s", atproto.Clip(u.Scheme))
	}
	if u.Hostname() == "" {
		return refusal.New(refusal.ForbiddenAddress, "a URL without a host")
	}
	if u.Scheme == "http" && !g.lifted(hostPort(u)) {
		return refusal.New(refusal.ForbiddenAddress, "http to %s", atproto.Clip(u.Host))
	}
	return nil
}

// checkRedirect decides on a hop. Only an exempt host may lead to an exempt
// host: the operator vouched for asking it, not for being sent there by others.
func (g *guard) checkRedirect(from, to *url.URL) error {
	if from.Scheme == "https" && to.Scheme == "http" {
		return refusal.New(refusal.ForbiddenAddress, "redirect from https to http at %s", atproto.Clip(to.Host))
	}
	if !g.allowPrivate && g.exempt[hostPort(to)] && !g.exempt[hostPort(from)] {
		return refusal.New(refusal.ForbiddenAddress, "redirect from %s to %s", atproto.Clip(from.Host), atproto.Clip(to.Host))
	}
	return g.checkURL(to)
}

// lifted reports whether any address, port and scheme is allowed at a host:port.
func (g *guard) lifted(hostport string) bool { return g.allowPrivate || g.exempt[hostport] }

// connect is the transport's way to the network.
func (g *guard) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	lifted := g.lifted(canonical(host, port))
	if lifted && g.lookup == nil {
		return g.dial(ctx, network, addr)
	}
	if !lifted && port != "443" {
		return nil, refusal.New(refusal.ForbiddenAddress, "port of %s is not 443", atproto.Clip(addr))
	}
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	if !lifted {
		if addrs, err = onlyPublic(host, addrs); err != nil {
			return nil, err
		}
	}
	return g.dialFirst(ctx, network, addrs, port)
}

func (g *guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	var addrs []netip.Addr
	var err error
	if g.lookup != nil {
		addrs, err = g.lookup(ctx, host)
	} else {
		addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", atproto.Clip(host), err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("look up %s: no address", atproto.Clip(host))
	}
	return addrs, nil
}

// onlyPublic keeps the addresses that may be dialled. A name with a public and
// a private address is reached by the public one.
func onlyPublic(host string, addrs []netip.Addr) ([]netip.Addr, error) {
	var kept []netip.Addr
	for _, addr := range addrs {
		if Public(addr) {
			kept = append(kept, addr)
		}
	}
	if len(kept) == 0 {
		return nil, refusal.New(refusal.ForbiddenAddress, "%s is at %s, not a public address", atproto.Clip(host), addrs[0])
	}
	return kept, nil
}

// dialFirst tries the addresses in turn until one answers.
func (g *guard) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	var errs []error
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		conn, err := g.dial(attempt, network, net.JoinHostPort(addr.Unmap().String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// hostPort is the canonical host:port of a URL, the scheme's port filled in.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "http", "ws":
			port = "80"
		default:
			port = "443"
		}
	}
	return canonical(u.Hostname(), port)
}

func canonical(host, port string) string {
	return net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}
