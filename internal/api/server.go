package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/health"
	"railyard/internal/metrics"
	"railyard/internal/store"
)

// Config of the server.
type Config struct {
	Store   *store.Store
	Version string
	// Live returns the figures that only the running process knows; nil means
	// none.
	Live func() Live
	// RequestCrawl takes a stranger's wish for a crawl of a host, by its canonical
	// name, and reports whether it was accepted. nil means that no hosts are crawled:
	// requestCrawl is then a method that this service does not have.
	RequestCrawl func(ctx context.Context, host string) (accepted bool, err error)
	// Hosts says which names of hosts may be used.
	Hosts atproto.Hosts
	// TrustedProxies are the networks of reverse proxies that are believed whose
	// request they forward (X-Forwarded-For). One that does not say so is exempt from
	// limits per client.
	TrustedProxies []netip.Prefix
	// Closing is closed when streams are to end, because the service does; nil means
	// never.
	Closing <-chan struct{}
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Live are figures of the running process.
type Live struct {
	// InFlight counts frames received and not committed, fetches that run and
	// crawls of listings that are wanted.
	InFlight int64
	// Connected reports of each upstream, by its id in the file, whether its
	// socket is open. Upstreams that are not in it are not followed.
	Connected map[int64]bool
	// Troubles are what stands still or falls behind.
	Troubles []health.Trouble
}

type server struct {
	Config
	compressors compressors
	// What listings have done with is used again, or it would be most of the collector's
	// work: pages at once (*store.Page), bodies when they are sent (*[]byte).
	pages, bodies sync.Pool
	admission     *admission
	clients       *clients
}

func newServer(cfg Config) *server {
	a := newAdmission(cfg.Metrics)
	return &server{
		Config: cfg, compressors: newCompressors(runtime.GOMAXPROCS(0)), admission: a,
		clients: newClients(a, cfg.TrustedProxies, cfg.Log),
	}
}

// Handler serves the public routes.
func Handler(cfg Config) http.Handler {
	s := newServer(cfg)
	mux := http.NewServeMux()
	for _, e := range s.routes() {
		s.register(mux, e)
	}
	s.answers(mux, "/xrpc/", "other", nil, func(*http.Request) (any, error) {
		return nil, fail(http.StatusNotImplemented, "MethodNotImplemented", "this service does not have that method")
	})
	s.answers(mux, "/", "other", nil, func(*http.Request) (any, error) {
		return nil, fail(http.StatusNotFound, "NotFound", "no such page")
	})
	return mux
}

// Error is an answer that is an error, as XRPC has it.
type Error struct {
	Status  int
	Name    string
	Message string

	allow      string        // of a method that the route does not have: the one that it has
	retryAfter time.Duration // when to ask again; 0: no answer to that
}

func (e *Error) Error() string { return e.Name + ": " + e.Message }

func fail(status int, name, format string, args ...any) *Error {
	return &Error{Status: status, Name: name, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "InvalidRequest", format, args...)
}

// wrongMethod is the refusal of a method where a route has another one.
func wrongMethod(r *http.Request, want string) *Error {
	e := fail(http.StatusMethodNotAllowed, "InvalidRequest", "method %s: expected %s", atproto.Clip(r.Method), want)
	e.allow = want
	return e
}

// answers registers a pattern under a label for the metrics. It is where requests are
// admitted. rows returns how many rows a request reads at most; nil is for what reads none
// and is answered always.
func (s *server) answers(mux *http.ServeMux, pattern, label string, rows func(url.Values) int, handle func(*http.Request) (any, error)) {
	mux.Handle(pattern, s.preflights(label, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		out, written, err := s.answer(w.Header(), r, rows, handle)
		defer written()
		s.reply(w, r, label, out, err)
	})))
}

// reply writes an answer, or an error in its place. It is the one place where errors
// become answers.
func (s *server) reply(w http.ResponseWriter, r *http.Request, label string, out ready, err error) {
	status, h := http.StatusOK, w.Header()
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = s.internal(r, err)
		}
		status, out = e.Status, e.answer()
		e.headers(h)
	}
	s.Metrics.Request(label, strconv.Itoa(status))
	h.Set("Content-Type", out.kind)
	publicHeaders(h)
	s.send(w, r, status, out.body)
}

// publicHeaders are those of all that pages of any origin may read.
func publicHeaders(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "*")
	h.Set("X-Content-Type-Options", "nosniff")
}

// answer admits a request, lets handle answer it, and keeps room for the whole answer.
// The caller calls written once it is sent, in any case.
func (s *server) answer(h http.Header, r *http.Request, rows func(url.Values) int, handle func(*http.Request) (any, error)) (out ready, written func(), err error) {
	written = func() {}
	if rows == nil {
		out, err = encoded(handle(r))
		return out, written, err
	}
	c := s.clients.of(r)
	leave, err := s.admission.enter(r.Context(), h, c, rows(r.URL.Query()))
	if err != nil {
		return ready{}, written, err
	}
	out, err = func() (ready, error) {
		defer leave()
		return encoded(handle(r))
	}()
	if err != nil {
		return ready{}, written, err
	}
	release, err := s.admission.room(r.Context(), c, cap(out.body))
	if err != nil {
		return ready{}, written, err
	}
	return out, func() {
		release()
		if out.done != nil {
			out.done()
		}
	}, nil
}

// encoded returns a value as JSON, if it is not written already.
func encoded(value any, err error) (ready, error) {
	if err != nil {
		return ready{}, err
	}
	if out, ok := value.(ready); ok {
		return out, nil
	}
	body, err := json.Marshal(value)
	return ready{kind: jsonKind, body: body}, err
}

// answer is the error as XRPC writes it.
func (e *Error) answer() ready {
	b, _ := json.Marshal(errorAnswer{e.Name, e.Message}) // texts can be written
	return ready{kind: jsonKind, body: b}
}

// headers adds those that go with the error.
func (e *Error) headers(h http.Header) {
	if e.allow != "" {
		h.Set("Allow", methodsOf(e.allow))
	}
	if e.retryAfter > 0 {
		h.Set("Retry-After", retrySeconds(e.retryAfter))
	}
}

// methodsOf returns the methods that a route has with one.
func methodsOf(method string) string {
	if method == http.MethodGet {
		return "GET, HEAD"
	}
	return method
}

// preflights answers OPTIONS and passes on what is not.
func (s *server) preflights(label string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		preflight(w, r)
		s.Metrics.Request(label, strconv.Itoa(http.StatusNoContent))
	})
}

// preflight lets a page of any origin ask with any header: everything here is public,
// and nothing depends on who asks. (Fetch standard, CORS-preflight)
func preflight(w http.ResponseWriter, r *http.Request) {
	headers := "*"
	if asked := r.Header.Get("Access-Control-Request-Headers"); headerNames.MatchString(asked) {
		headers = asked // * does not stand for all of them
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", headers)
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusNoContent)
}

var headerNames = regexp.MustCompile(`^[A-Za-z0-9, -]{1,1000}$`)

// internal hides the cause from the client and shows it to the operator.
func (s *server) internal(r *http.Request, err error) *Error {
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		return fail(http.StatusServiceUnavailable, "RequestCancelled", "the request was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(http.StatusServiceUnavailable, "Unavailable", "the request took longer than %s", queryTimeout)
	}
	s.Log.Error("answer a request", "path", r.URL.Path, "err", err)
	return fail(http.StatusInternalServerError, "InternalServerError", "the index could not be read")
}

const (
	// queryTimeout bounds the work for one request. A reader that stays longer
	// keeps the write-ahead log from shrinking.
	queryTimeout   = 10 * time.Second
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	answerTimeout  = 60 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 32 << 10
	closeTimeout   = 10 * time.Second
)

// Serve answers on a listener until ctx ends, then lets the requests that are
// under way finish: after closeTimeout, what a client has not taken is lost. Up to most
// connections are open at once: one more closes the one that has been idle for longest,
// or is closed itself.
func Serve(ctx context.Context, l net.Listener, h http.Handler, most int, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(h, 64<<10),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         newConns(most).changed,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	closed := make(chan error, 1)
	go func() {
		<-ctx.Done()
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err := srv.Shutdown(c)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close() // a slow reader is no failure of ours
		}
		closed <- err
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-closed
}
