package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"

	"railyard/internal/api"
	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/metrics"
	"railyard/internal/store"
)

const (
	// readyPath is answered with ready bytes.
	readyPath = "/ready"
	// connections is how many the server keeps open: more than there are clients.
	connections = 256
)

// server answers from an index as the service does, and beside that with ready bytes:
// no index can be faster than those.
type server struct {
	addr  string
	ready atomic.Pointer[answer]
	stop  context.CancelFunc
	ended chan error
}

// answer is what the server has said once.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func serve(ctx context.Context, st *store.Store) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String(), ended: make(chan error, 1)}
	log := slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.HandleFunc(readyPath, s.answerReady)
	mux.Handle("/", api.Handler(api.Config{
		Store: st, Version: "bench", Hosts: atproto.Hosts{}, Log: log, Metrics: metrics.New(),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, // which do not say whose a request is: no limits per client
	}))
	ctx, s.stop = context.WithCancel(ctx)
	go func() { s.ended <- api.Serve(ctx, l, mux, connections, log) }()
	return s, nil
}

func (s *server) answerReady(w http.ResponseWriter, _ *http.Request) {
	a := s.ready.Load()
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (s *server) close() error {
	s.stop()
	return <-s.ended
}

// ask gets one answer.
func (s *server) ask(ctx context.Context, path string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Header.Del("Date") // every server adds its own
	return &answer{resp.StatusCode, resp.Header, body}, err
}

// refused says why the answer is no page.
func (a *answer) refused() error {
	if a.status == http.StatusOK {
		return nil
	}
	var e struct {
		Message string `json:"message"`
	}
	_ = exactjson.Unmarshal(a.body, &e)
	return fmt.Errorf("the server answers %d: %s", a.status, atproto.Clip(e.Message))
}

// cursor returns the cursor of a page, empty if it carries none.
func (a *answer) cursor() (string, error) {
	var page struct {
		Cursor string `json:"cursor"`
	}
	if err := errors.Join(a.refused(), exactjson.Unmarshal(a.body, &page)); err != nil {
		return "", err
	}
	return page.Cursor, nil
}
