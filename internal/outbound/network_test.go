package outbound

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"railyard/internal/refusal"
)

// network is one server that stands at every address, with TLS on port 443 and
// without on others, and a resolver whose answers the test writes. It remembers
// what was dialled.
type network struct {
	server *httptest.Server
	plain  *httptest.Server

	mu     sync.Mutex
	names  map[string][][]string // answers in turn, the last one stays
	down   map[string]bool       // addresses that refuse
	dialed []string
}

func newNetwork(t *testing.T, handler http.HandlerFunc) *network {
	t.Helper()
	n := &network{names: map[string][][]string{}, down: map[string]bool{}}
	n.server = httptest.NewUnstartedServer(handler)
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.server.StartTLS()
	t.Cleanup(n.server.Close)
	n.plain = httptest.NewServer(handler)
	t.Cleanup(n.plain.Close)
	return n
}

// client trusts the certificate of the server: of example.com and its subdomains.
func (n *network) client(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Dial, cfg.Lookup = n.dial, n.lookup
	c := New(cfg)
	c.transport.TLSClientConfig = n.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	t.Cleanup(c.Close)
	return c
}

func (n *network) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	answers := n.names[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.names[host] = answers[1:]
	}
	var addrs []netip.Addr
	for _, text := range answers[0] {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, addr)
	down := n.down[addr]
	n.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	server := n.server
	if _, port, _ := net.SplitHostPort(addr); port != "443" {
		server = n.plain
	}
	return d.DialContext(ctx, network, server.Listener.Addr().String())
}

func (n *network) at(name string, answers ...[]string) { n.names[name] = answers }

func (n *network) dials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dialed...)
}

func wantReason(t *testing.T, err error, want refusal.Reason) {
	t.Helper()
	if got, _ := refusal.ReasonOf(err); got != want {
		t.Errorf("got reason %q of %v, want %q", got, err, want)
	}
}

// get sends a request and reads its body.
func get(t *testing.T, c *Client, r Request) (int, string, error) {
	t.Helper()
	resp, err := c.Get(t.Context(), r)
	if err != nil {
		return 0, "", err
	}
	body, err := resp.ReadAll()
	return resp.Status, string(body), err
}
