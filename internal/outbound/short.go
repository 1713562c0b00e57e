package outbound

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// slotWait is how long a connection waits for others to be closed where the process
	// has as many as it may.
	slotWait = 5 * time.Second
	// shortFor is how long a shortage counts after the last request that failed by it.
	shortFor = 15 * time.Second
)

var errNoSlot = errors.New("as many connections are open as this process may have")

// Short reports whether an error says that this process or its machine has run out of
// descriptors or memory. That is nobody's fault but ours: whoever was to be asked was
// not.
func Short(err error) bool {
	for _, lack := range []error{errNoSlot, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, lack) {
			return true
		}
		// The resolver keeps nothing but the text of what it failed by.
		if dns, ok := errors.AsType[*net.DNSError](err); ok && strings.Contains(dns.Err, lack.Error()) {
			return true
		}
	}
	return false
}

// Short returns why requests fail for lack of descriptors or memory, empty if they
// do not.
func (c *Client) Short() string {
	s := c.short.Load()
	if s == nil || time.Since(s.at) > shortFor {
		return ""
	}
	return s.why
}

type shortage struct {
	at  time.Time
	why string
}

// slots bound the connections. One is taken before the name is looked up, which needs
// descriptors too, and given back when the connection is closed.
type slots struct {
	free  chan struct{}
	spare func() // closes connections that nobody uses
}

func (s *slots) take(ctx context.Context) error {
	select {
	case s.free <- struct{}{}:
		return nil
	default:
	}
	if ex, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		ex.waits.Store(true)
		defer ex.waits.Store(false)
	}
	s.spare()
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case s.free <- struct{}{}:
		return nil
	case <-timer.C:
		return errNoSlot
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errNoSlot)
	}
}

func (s *slots) give() { <-s.free }

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	give func()
}

func (c *slotConn) Close() error {
	err := c.Conn.Close()
	c.give()
	return err
}

// limited is connect within the bound of connections.
func (c *Client) limited(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := c.slots.take(ctx); err != nil {
		return nil, err
	}
	conn, err := c.guard.connect(ctx, network, addr)
	if err != nil {
		c.slots.give()
		return nil, err
	}
	return &slotConn{conn, sync.OnceFunc(c.slots.give)}, nil
}

// lacks notes an error if it is a shortage.
func lacks(last *atomic.Pointer[shortage], err error) {
	if Short(err) {
		last.Store(&shortage{time.Now(), err.Error()})
	}
}
