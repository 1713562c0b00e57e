package simnet

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// stream is the firehose of one host: the last events, numbered. Network.mu
// guards it.
type stream struct {
	window    int
	announces bool // whether it says that a cursor is in the future or too old; indigo's relay does not
	events    []numbered
	last      int64
	forgotten int64 // highest number that left the window
	wake      chan struct{}
}

type numbered struct {
	seq int64
	*message
	mark *mark // what befalls the connection there
}

func (s *stream) append(e numbered) {
	s.last++
	e.seq = s.last
	s.events = append(s.events, e)
	if len(s.events) > s.window {
		s.forgotten = s.events[0].seq
		s.events = s.events[1:]
	}
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// after returns up to max events with a number above seq.
func (s *stream) after(seq int64, max int) []numbered {
	at, _ := slices.BinarySearchFunc(s.events, seq+1, func(e numbered, seq int64) int { return int(e.seq - seq) })
	return slices.Clone(s.events[at:min(at+max, len(s.events))])
}

// more is closed by the next event.
func (s *stream) more() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// erase forgets the events of one account, which leaves gaps in the numbers.
func (s *stream) erase(did string) {
	s.events = slices.DeleteFunc(slices.Clone(s.events), func(e numbered) bool { return e.did == did })
}

// Limits of a firehose connection.
const (
	batchSize    = 64               // frames taken from the stream at a time
	pingInterval = 30 * time.Second // of silence, as indigo's relay does
)

// subscription is one connection to a firehose.
type subscription struct {
	host     *host
	conn     *websocket.Conn
	position int64 // the last number sent
	gone     chan struct{}
	mute     atomic.Bool // pings are not answered
}

// subscribe serves subscribeRepos until the client leaves, the connection is cut
// or the stream ends with an error frame.
func (h *host) subscribe(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s := &subscription{host: h, conn: conn, gone: make(chan struct{})}
	if !h.join(conn) {
		_ = conn.Close()
		return
	}
	h.net.wg.Go(s.listen)
	s.run(r.URL.Query().Get("cursor"), matchesOf(r))
	_ = conn.Close()
	<-s.gone
	h.leave(conn)
}

func (h *host) join(conn *websocket.Conn) bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.closed || h.away() {
		return false
	}
	h.conns[conn] = true
	return true
}

func (h *host) leave(conn *websocket.Conn) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	delete(h.conns, conn)
}

// listen answers pings and notices the end of the connection; what the client
// says is ignored (spec: event stream).
func (s *subscription) listen() {
	defer close(s.gone)
	s.conn.SetReadLimit(1 << 16)
	s.conn.SetPingHandler(s.pong)
	for {
		if _, _, err := s.conn.NextReader(); err != nil {
			return
		}
	}
}

// pong answers a ping beside the reading: on a pipe, which holds nothing, two sides
// that ping at one moment and read no further until their pongs are taken would wait
// for each other.
func (s *subscription) pong(data string) error {
	if s.mute.Load() {
		return nil
	}
	s.host.net.wg.Go(func() {
		_ = s.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(pingInterval))
	})
	return nil
}

func (s *subscription) run(cursor string, all matches) {
	if !s.begin(cursor, all) {
		return
	}
	idle := time.NewTimer(pingInterval)
	defer idle.Stop()
	for {
		batch, hook, more, slow := s.next()
		if slow {
			s.end("ConsumerTooSlow", "Stream consumer too slow")
			return
		}
		for _, frame := range batch {
			if !s.send(frame, hook) {
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		idle.Reset(pingInterval)
		select {
		case <-more:
		case <-s.gone:
			return
		case <-idle.C:
			if s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(pingInterval)) != nil {
				return
			}
		}
	}
}

// begin finds the place in the stream. It returns false where it ended the
// stream instead.
func (s *subscription) begin(cursor string, all matches) bool {
	s.host.net.mu.Lock()
	from := s.host.stream
	last, forgotten := from.last, from.forgotten
	future, gap := all.misjudge(cursor)
	s.host.net.mu.Unlock()
	s.position = last
	if cursor == "" {
		return true
	}
	asked, err := strconv.ParseInt(cursor, 10, 64)
	switch {
	case err != nil:
		s.end("InvalidRequest", "Invalid com.atproto.sync.subscribeRepos params: Expected integer value type (got "+strconv.Quote(cursor)+")")
		return false
	case asked > last && from.announces, future:
		s.end("FutureCursor", "Cursor in the future.")
		return false
	case asked > last:
		return true
	}
	asked = max(asked, 0)
	s.position = max(asked, forgotten)
	if asked < forgotten && from.announces || gap {
		return s.write(infoFrame("OutdatedCursor", "Requested cursor exceeded limit. Possibly missing events"))
	}
	return true
}

// sending is one frame on its way to a client.
type sending struct {
	frame []byte
	mark  *mark
}

// next takes frames from the stream; more is closed when there are new ones.
func (s *subscription) next() (frames []sending, hook func([]byte) [][]byte, more <-chan struct{}, slow bool) {
	s.host.net.mu.Lock()
	defer s.host.net.mu.Unlock()
	from := s.host.stream
	if s.position < from.forgotten {
		return nil, nil, nil, true
	}
	for _, e := range from.after(s.position, batchSize) {
		frames = append(frames, sending{e.frame(e.seq), e.mark})
		s.position = e.seq
	}
	return frames, s.host.hook.Frame, from.more(), false
}

// send writes a frame, or what a fault or a hook makes of it. It returns whether
// the connection goes on.
func (s *subscription) send(next sending, hook func([]byte) [][]byte) bool {
	if s.host.net.take(next.mark) && !next.mark.befall(s, next.frame) {
		return false
	}
	if hook == nil {
		return s.write(next.frame)
	}
	for _, f := range hook(next.frame) {
		if !s.write(f) {
			return false
		}
	}
	return true
}

func (s *subscription) write(frame []byte) bool {
	return s.conn.WriteMessage(websocket.BinaryMessage, frame) == nil
}

// end sends an error frame and closes with the code of the reference PDS.
func (s *subscription) end(name, text string) {
	if !s.write(errorFrame(name, text)) {
		return
	}
	bye := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, name)
	if s.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) != nil {
		return
	}
	select {
	case <-s.gone:
	case <-time.After(time.Second):
	}
}
