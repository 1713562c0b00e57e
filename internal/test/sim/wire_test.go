package sim

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/store"
)

// Steps on the wire. They change no file: the process can die between a request and
// its answer, and while it holds what it has not stored yet.
const (
	stepFrame    = "a frame"           // lost: half of the process has it; done: it waits in an open batch
	stepDocument = "a DID document"    // asked; answered
	stepKeys     = "earlier keys"      // asked; answered
	stepLogPage  = "a page of the log" // asked; answered, not applied
)

// holding is how long what was received is in memory only: batches of events are
// closed after 50 ms, groups of results after 3 ms.
const holding = time.Millisecond

// wire shows the points on the connections of a process to those who may kill it. A
// dead process sends and hears nothing.
type wire struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	at   func(store.Point) error
}

// wired lets the points on the wire be passed, too.
func wired(c *daemon.Config) { c.Dial = (&wire{c.Dial, c.Die}).connect }

func (w *wire) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := w.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: conn, wire: w}, nil
}

// tapped is a connection of the process.
type tapped struct {
	net.Conn
	wire *wire

	mu     sync.Mutex
	asked  string // what is not answered yet
	stream bool   // of a firehose
}

func (c *tapped) Write(b []byte) (int, error) {
	step := stepOf(b)
	if step != "" {
		c.mu.Lock()
		c.asked = step
		c.mu.Unlock()
	}
	n, err := c.Conn.Write(b)
	if err == nil && step != "" {
		err = c.wire.at(store.Point{Step: step})
	}
	return n, err
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	c.mu.Lock()
	step, stream := c.asked, c.stream
	c.asked, c.stream = "", stream || bytes.HasPrefix(b[:n], []byte("HTTP/1.1 101"))
	c.mu.Unlock()
	switch {
	case stream:
		c.later(stepFrame)
		return n, c.wire.at(store.Point{Step: stepFrame})
	case step == "":
		return n, nil
	case isPage(step):
		return n, c.wire.at(store.Point{Step: step, Done: true})
	}
	c.later(step)
	return n, nil
}

// later passes a point when all that can be done with what was read is done but for
// storing it.
func (c *tapped) later(step string) {
	time.AfterFunc(holding, func() { _ = c.wire.at(store.Point{Step: step, Done: true}) })
}

// isPage: pages are stored at once.
func isPage(step string) bool { return strings.HasPrefix(step, "list") || step == stepLogPage }

// stepOf returns what a request asks for, empty if b begins none.
func stepOf(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte(" HTTP/1.1\r\n"))
	path, isGet := strings.CutPrefix(string(line), "GET /")
	if !isGet || len(line) == len(b) {
		return ""
	}
	path, _, _ = strings.Cut(path, "?")
	switch {
	case strings.HasPrefix(path, "did:") && strings.Contains(path, "/"):
		return stepKeys
	case strings.HasPrefix(path, "did:"):
		return stepDocument
	case path == "export":
		return stepLogPage
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}
