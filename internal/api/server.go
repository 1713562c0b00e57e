package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
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
	Hosts   atproto.Hosts
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
}

// Handler serves the public routes.
func Handler(cfg Config) http.Handler {
	s := &server{cfg}
	mux := http.NewServeMux()
	query(s, mux, "/xrpc/com.atproto.sync.listReposByCollection", s.listReposByCollection)
	query(s, mux, "/v1/listCollections", s.listCollections)
	query(s, mux, "/v1/getDidsForCollection", s.getDidsForCollection)
	query(s, mux, "/v1/repo", s.repo)
	query(s, mux, "/v1/stats", s.stats)
	query(s, mux, "/xrpc/_health", s.health)
	query(s, mux, "/_health", s.health)
	if s.RequestCrawl != nil {
		procedure(s, mux, "/xrpc/com.atproto.sync.requestCrawl", newCrawlRequests(s).answer)
	}
	mux.Handle("/{$}", newFrontPage(s))
	route(s, mux, "/xrpc/", "other", func(*http.Request) (any, error) {
		return nil, fail(http.StatusNotImplemented, "MethodNotImplemented", "this service does not have that method")
	})
	route(s, mux, "/", "other", func(r *http.Request) (any, error) {
		return nil, fail(http.StatusNotFound, "NotFound", "no such page")
	})
	return mux
}

// Error is an answer that is an error, as XRPC has it.
type Error struct {
	Status  int
	Name    string
	Message string
	allow   string // the methods of the route; empty means those of a query
}

func (e *Error) Error() string { return e.Name + ": " + e.Message }

func fail(status int, name, format string, args ...any) *Error {
	return &Error{Status: status, Name: name, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "InvalidRequest", format, args...)
}

// query registers a route for GET and HEAD alone.
func query(s *server, mux *http.ServeMux, path string, handle func(*http.Request) (any, error)) {
	route(s, mux, path, path, func(r *http.Request) (any, error) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return nil, fail(http.StatusMethodNotAllowed, "InvalidRequest", "method %s: expected GET", atproto.Clip(r.Method))
		}
		return handle(r)
	})
}

// procedure registers a route for POST alone.
func procedure(s *server, mux *http.ServeMux, path string, handle func(*http.Request) (any, error)) {
	route(s, mux, path, path, func(r *http.Request) (any, error) {
		if r.Method != http.MethodPost {
			err := fail(http.StatusMethodNotAllowed, "InvalidRequest", "method %s: expected POST", atproto.Clip(r.Method))
			err.allow = http.MethodPost
			return nil, err
		}
		return handle(r)
	})
}

// route is the one place where values and errors become answers.
func route(s *server, mux *http.ServeMux, path, label string, handle func(*http.Request) (any, error)) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			preflight(w, r)
			s.Metrics.Request(label, strconv.Itoa(http.StatusNoContent))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		value, err := handle(r.WithContext(ctx))
		status, allow := http.StatusOK, "GET, HEAD"
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok {
				e = s.internal(r, err)
			}
			status = e.Status
			if e.allow != "" {
				allow = e.allow
			}
			value = map[string]string{"error": e.Name, "message": e.Message}
		}
		s.Metrics.Request(label, strconv.Itoa(status))
		body, err := json.Marshal(value)
		if err != nil {
			s.Log.Error("encode an answer", "route", label, "err", err)
			status, body = http.StatusInternalServerError, []byte(`{"error":"InternalServerError"}`)
		}
		h := w.Header()
		if status == http.StatusMethodNotAllowed {
			h.Set("Allow", allow)
		}
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = w.Write(body) // a client that went away is its own affair
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
// under way finish. Up to most connections are open at once: one more closes the one
// that has been idle for longest, or is closed itself.
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
		closed <- srv.Shutdown(c)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-closed
}
