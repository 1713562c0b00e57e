package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// Pipes is a network of in-memory connections: for tests, and for bubbles of
// testing/synctest, whose clock a real socket would stop. The host asked for as
// NAME listens at NAME.sim.test, port 80.
type Pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener // by name of the host, "pds1.sim.test"
	addresses map[netip.Addr]string
}

// NewPipes makes a network without hosts.
func NewPipes() *Pipes {
	return &Pipes{listeners: map[string]*pipeListener{}, addresses: map[netip.Addr]string{}}
}

// Listen is a Config.Listen.
func (p *Pipes) Listen(name string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := strings.ToLower(name) + ".sim.test"
	if p.listeners[host] != nil {
		return nil, fmt.Errorf("pipes: %s listens already", host)
	}
	number := len(p.addresses) + 1
	l := &pipeListener{
		pipes: p, host: host, conns: make(chan net.Conn), closed: make(chan struct{}),
		ip: netip.AddrFrom4([4]byte{127, 80, byte(number >> 8), byte(number)}),
	}
	p.listeners[host] = l
	p.addresses[l.ip] = host
	return l, nil
}

// Dial connects to a host by its name or by an address that Lookup gave, as
// net.Dialer.DialContext does.
func (p *Pipes) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l, err := p.find(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return &pipeConn{client, pipeAddr("client.sim.test:0"), l.Addr()}, nil
	case <-l.closed:
		err = fmt.Errorf("%s: connection refused", address)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: err}
}

func (p *Pipes) find(address string) (*pipeListener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ip, err := netip.ParseAddr(host); err == nil {
		host = p.addresses[ip]
	}
	l := p.listeners[strings.ToLower(host)]
	if l == nil || port != "80" {
		return nil, fmt.Errorf("%s: connection refused", address)
	}
	return l, nil
}

// Rename lets a host be reached under another name alone, as a server inside a private
// network is. What documents and it itself call it stays NAME.sim.test.
func (p *Pipes) Rename(name, alias string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[strings.ToLower(name)+".sim.test"]
	delete(p.listeners, l.host)
	l.host = strings.ToLower(alias)
	p.listeners[l.host], p.addresses[l.ip] = l, l.host
}

// Lookup returns the address of a host: a loopback address of its own.
func (p *Pipes) Lookup(_ context.Context, host string) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.listeners[strings.ToLower(host)]; l != nil {
		return []netip.Addr{l.ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// URL returns the base URL of the host asked for as name.
func (p *Pipes) URL(name string) string { return "http://" + strings.ToLower(name) + ".sim.test" }

type pipeListener struct {
	pipes  *Pipes
	host   string
	ip     netip.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return &pipeConn{conn, l.Addr(), pipeAddr("client.sim.test:0")}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close frees the name; the address stays taken.
func (l *pipeListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.pipes.mu.Lock()
		defer l.pipes.mu.Unlock()
		delete(l.pipes.listeners, l.host)
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.host + ":" + strconv.Itoa(80)) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// pipeConn is one end of a net.Pipe with addresses.
type pipeConn struct {
	net.Conn
	local, remote net.Addr
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }
