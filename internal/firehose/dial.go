package firehose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"railyard/internal/atproto"
	"railyard/internal/outbound"
)

const (
	handshakeTimeout = 30 * time.Second
	// handshakeBytes bounds what an upstream can send before the stream is open:
	// certificates and the headers of an HTTP answer.
	handshakeBytes = 1 << 20
	// maxLocation bounds what is logged of the target of a redirect, in bytes.
	maxLocation = 200
)

// answerError is an HTTP answer other than the change to a websocket.
type answerError struct {
	status     int
	location   string // of a redirect, bounded
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("the upstream answered %d %s", e.status, http.StatusText(e.status))
	if e.location != "" {
		text += fmt.Sprintf(" to %q, which is not followed", e.location)
	}
	return text
}

// dial opens the stream after a cursor, or live for cursor 0. Redirects are not
// followed.
func (c *Consumer) dial(ctx context.Context, cursor int64) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	g := guard{dial: c.cfg.Dial}
	defer g.release()
	dialer := websocket.Dialer{NetDialContext: g.open, ReadBufferSize: 32 << 10, WriteBufferSize: 1 << 10}
	u := *c.url
	if cursor > 0 {
		u.RawQuery = url.Values{"cursor": {strconv.FormatInt(cursor, 10)}}.Encode()
	}
	ws, answer, err := dialer.DialContext(ctx, u.String(), http.Header{"User-Agent": {c.cfg.UserAgent}})
	if errors.Is(err, websocket.ErrBadHandshake) && answer != nil {
		location := ""
		if answer.StatusCode/100 == 3 {
			location = atproto.ClipTo(answer.Header.Get("Location"), maxLocation)
		}
		return nil, &answerError{status: answer.StatusCode, location: location, retryAfter: outbound.RetryAfter(answer.Header, time.Now())}
	}
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	// None was offered, and the limit on a message does not count what a
	// compressed one expands to (RFC 6455, section 4.1).
	if ext := answer.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
		return nil, errors.Join(fmt.Errorf("the upstream forces an extension, %.40q", ext), ws.Close())
	}
	return ws, nil
}

// guard watches over a connection until the websocket is open.
type guard struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	conn *limitedConn
	stop func() bool
	done chan struct{}
}

// open dials. From then until release, the end of ctx interrupts the handshake.
func (g *guard) open(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := g.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	g.conn = &limitedConn{Conn: conn, left: handshakeBytes}
	g.done = make(chan struct{})
	g.stop = context.AfterFunc(ctx, func() {
		defer close(g.done)
		conn.Close()
	})
	return g.conn, nil
}

// release takes the limits off. The caller finds out by reading whether ctx
// ended first.
func (g *guard) release() {
	if g.conn == nil {
		return
	}
	g.conn.left = -1
	if !g.stop() {
		<-g.done
	}
}

// limitedConn reads no more than left bytes; all that come if left is negative.
type limitedConn struct {
	net.Conn
	left int
}

var errHandshakeTooBig = errors.New("the upstream's answer to the handshake is too long")

func (c *limitedConn) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, errHandshakeTooBig
	}
	if c.left > 0 {
		b = b[:min(len(b), c.left)]
	}
	n, err := c.Conn.Read(b)
	if c.left > 0 {
		c.left -= n
	}
	return n, err
}
