package firehose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"railyard/internal/event"
	"railyard/internal/refusal"

	"github.com/gorilla/websocket"
)

const (
	// pingEvery and silence distinguish a quiet upstream from a dead one: a small PDS
	// has no event for hours, but it answers pings. Two may go astray.
	pingEvery = 30 * time.Second
	silence   = 75 * time.Second
	// writeWait bounds the writing of a ping, a pong or a farewell.
	writeWait = 10 * time.Second
	farewell  = time.Second
	// discardLimit is how much of a message too big is read past; beyond it the
	// socket is of no more use.
	discardLimit = 64 << 20
	// keepBuffer is the largest read buffer that is used again.
	keepBuffer = 1 << 20
)

// socket is one open websocket. Its reader owns all fields; the keeper only
// writes control frames to ws and closes it.
type socket struct {
	ws     *websocket.Conn
	buf    bytes.Buffer
	broken error // set when the websocket can be read no further

	done   chan struct{}
	keeper sync.WaitGroup
}

// newSocket starts the keeper of ws. The caller must close the socket.
func newSocket(ctx context.Context, ws *websocket.Conn) *socket {
	s := &socket{ws: ws, done: make(chan struct{})}
	ws.SetReadLimit(discardLimit)
	ws.SetPongHandler(func(string) error { return s.alive() })
	ws.SetPingHandler(func(data string) error {
		// A pong that cannot be written shows in the next read.
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWait))
		return s.alive()
	})
	s.keeper.Go(func() { s.keep(ctx) })
	return s
}

// keep sends pings until the socket is closed. When ctx ends it says goodbye and
// closes, which ends a read in progress.
func (s *socket) keep(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ctx.Done():
			s.bye(websocket.CloseNormalClosure)
			return
		case now := <-tick.C:
			if s.ws.WriteControl(websocket.PingMessage, nil, now.Add(writeWait)) != nil {
				s.ws.Close()
				return
			}
		}
	}
}

// bye ends the connection politely, without waiting for an answer.
func (s *socket) bye(code int) {
	message := websocket.FormatCloseMessage(code, "")
	_ = s.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(farewell))
	s.ws.Close()
}

// close ends the connection and waits for the keeper.
func (s *socket) close(code int) {
	close(s.done)
	s.keeper.Wait()
	s.bye(code)
}

// alive puts off the time at which the upstream counts as dead.
func (s *socket) alive() error { return s.ws.SetReadDeadline(time.Now().Add(silence)) }

// read returns the next message, in memory of its own. A *refusal.Error means that
// the message is of no use; whether there is anything behind it shows in the
// next read. Any other error is the end of the connection.
func (s *socket) read() ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	// The deadline may have passed while a delivery took its time.
	if err := s.alive(); err != nil {
		return nil, s.ended(err)
	}
	kind, r, err := s.ws.NextReader()
	if err != nil {
		return nil, s.ended(err)
	}
	if kind != websocket.BinaryMessage {
		return nil, refusal.New(refusal.FrameNotBinary, "a text message")
	}
	if err := s.alive(); err != nil {
		return nil, s.ended(err)
	}
	return s.body(r)
}

// body reads one message, or one byte more than a frame may have: enough for
// event.Decode to refuse it.
func (s *socket) body(r io.Reader) ([]byte, error) {
	if s.buf.Cap() > keepBuffer {
		s.buf = bytes.Buffer{}
	}
	s.buf.Reset()
	if _, err := s.buf.ReadFrom(io.LimitReader(r, event.MaxFrame+1)); err != nil {
		return nil, s.ended(err)
	}
	return bytes.Clone(s.buf.Bytes()), nil
}

// ended returns why the websocket has nothing more.
func (s *socket) ended(err error) error {
	s.broken = fmt.Errorf("reading: %w", err)
	if errors.Is(err, websocket.ErrReadLimit) {
		return refusal.New(refusal.FrameTooBig, "over %d bytes", discardLimit)
	}
	return s.broken
}
