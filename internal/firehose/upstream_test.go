package firehose_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/dagcbor"
	"railyard/internal/firehose"
	"railyard/internal/refusal"

	"github.com/gorilla/websocket"
)

// pipeListener hands each dial one end of a pipe and the server the other.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, errors.New("refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// script is what the upstream does with one connection.
type script func(w http.ResponseWriter, r *http.Request)

// upstream is a server that plays one script for each connection. After the
// last one it is silent, but answers pings.
type upstream struct {
	t        *testing.T
	listener *pipeListener

	mu       sync.Mutex
	scripts  []script
	requests []string // the query of each request
	times    []time.Time
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests = append(u.requests, r.URL.RequestURI())
	u.times = append(u.times, time.Now())
	play := quiet
	if len(u.scripts) > 0 {
		play, u.scripts = u.scripts[0], u.scripts[1:]
	}
	u.mu.Unlock()
	play(w, r)
}

func (u *upstream) seen() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.requests)
}

func upgrade(w http.ResponseWriter, r *http.Request) *websocket.Conn {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return ws
}

// drain reads, and so answers pings, until the other side has gone.
func drain(ws *websocket.Conn) {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

func quiet(w http.ResponseWriter, r *http.Request) {
	ws := upgrade(w, r)
	defer ws.Close()
	drain(ws)
}

// send plays binary messages and then closes the connection.
func send(frames ...[]byte) script {
	return func(w http.ResponseWriter, r *http.Request) {
		ws := upgrade(w, r)
		defer ws.Close()
		var reader sync.WaitGroup
		reader.Go(func() { drain(ws) })
		for _, f := range frames {
			if ws.WriteMessage(websocket.BinaryMessage, f) != nil {
				break
			}
		}
		_ = ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
		reader.Wait()
	}
}

// answer plays an HTTP answer that is no websocket.
func answer(status int, header ...string) script {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// run is a consumer at work on an upstream, and what it delivered.
type run struct {
	*upstream
	t        *testing.T
	consumer *firehose.Consumer
	cancel   context.CancelFunc
	result   chan error

	mu     sync.Mutex
	items  []firehose.Item
	counts map[refusal.Reason]int
}

// start runs a consumer in the bubble of the test. Fields of cfg that the test
// does not set are those of the upstream.
func start(t *testing.T, cfg firehose.Config, scripts ...script) *run {
	t.Helper()
	r := &run{
		upstream: &upstream{t: t, listener: newPipeListener(), scripts: scripts},
		t:        t, result: make(chan error, 1), counts: map[refusal.Reason]int{},
	}
	if cfg.URL == "" {
		cfg.URL = "http://relay.test"
	}
	if cfg.Dial == nil {
		cfg.Dial = r.listener.dial
	}
	cfg.Count = func(reason refusal.Reason) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.counts[reason]++
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	consumer, err := firehose.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.consumer = consumer
	server := &http.Server{Handler: r.upstream, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(r.listener) })
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.result <- consumer.Run(ctx, r.take) }()
	t.Cleanup(func() {
		cancel()
		synctest.Wait()
		server.Close()
		served.Wait()
		time.Sleep(time.Hour) // for scripts that are asleep
	})
	return r
}

func (r *run) take(_ context.Context, it firehose.Item) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, it)
	return nil
}

// after lets an amount of time pass and returns what was delivered by then.
func (r *run) after(d time.Duration) []firehose.Item {
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.items)
}

func (r *run) count(reason refusal.Reason) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[reason]
}

// wantRequests compares the cursors of the connections made, "" for none.
func (r *run) wantRequests(cursors ...string) {
	r.t.Helper()
	const path = "/xrpc/com.atproto.sync.subscribeRepos"
	var want []string
	for _, c := range cursors {
		if c != "" {
			c = "?cursor=" + c
		}
		want = append(want, path+c)
	}
	if got := r.seen(); !slices.Equal(got, want) {
		r.t.Errorf("requests %v, want %v", got, want)
	}
}

// wantItems compares what was delivered, leaving the frames aside but for their
// sequence numbers.
func wantItems(t *testing.T, got []firehose.Item, want ...item) {
	t.Helper()
	var short []item
	for _, it := range got {
		short = append(short, item{it.Frame.Seq, it.Notice, it.Cursor, it.ResetCursor, it.Missed})
	}
	if !slices.Equal(short, want) {
		t.Errorf("delivered %+v, want %+v", short, want)
	}
}

type item struct {
	seq    int64
	notice firehose.Notice
	cursor int64
	reset  bool
	missed int64
}

// at is the plain item of an event.
func at(seq int64) item { return item{seq: seq, cursor: seq} }

func header(t string) []byte {
	b := dagcbor.AppendMap(nil, 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "t"), t)
	return dagcbor.AppendInt(dagcbor.AppendText(b, "op"), 1)
}

// identity is a good event with this number.
func identity(seq int64) []byte {
	b := dagcbor.AppendMap(header("#identity"), 3)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), "did:plc:railyardtestktwofivesixa")
	b = dagcbor.AppendInt(dagcbor.AppendText(b, "seq"), seq)
	return dagcbor.AppendText(dagcbor.AppendText(b, "time"), "2026-07-04T14:38:07.000Z")
}

// blocks is a #sync with this number and blocks that are all one byte.
func blocks(seq int64, fill byte) []byte {
	b := dagcbor.AppendMap(header("#sync"), 4)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), "did:plc:railyardtestktwofivesixa")
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), "3mptbyplud2ad")
	b = dagcbor.AppendInt(dagcbor.AppendText(b, "seq"), seq)
	return dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), bytes.Repeat([]byte{fill}, 100))
}

func info(name string) []byte {
	b := dagcbor.AppendMap(header("#info"), 1)
	return dagcbor.AppendText(dagcbor.AppendText(b, "name"), name)
}

func failure(name string) []byte {
	b := dagcbor.AppendInt(dagcbor.AppendText(dagcbor.AppendMap(nil, 1), "op"), -1)
	return dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(b, 1), "error"), name)
}

// malformed is no frame: its payload is missing.
func malformed() []byte { return header("#identity") }
