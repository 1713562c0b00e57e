package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
)

const (
	// What one client may ask for: a PDS asks at its start and at most every 20
	// minutes.
	crawlRequestsPerHour = 12
	crawlRequestsAtOnce  = 6
	crawlBody            = 4 << 10
)

// requestCrawl answers com.atproto.sync.requestCrawl: somebody asks for a crawl of a
// host's listRepos. The wish is queued; nothing is asked of the host meanwhile.
func (s *server) requestCrawl(r *http.Request) (any, error) {
	name, err := hostnameOf(r)
	if err != nil {
		return nil, err
	}
	host, err := s.Hosts.Name(name)
	if err != nil {
		return nil, badRequest("hostname %q: %v", atproto.Clip(name), err)
	}
	if c := s.clients.of(r); c != nil && !c.crawls.Allow() {
		e := fail(http.StatusTooManyRequests, "RateLimitExceeded", "more than %d requests an hour", crawlRequestsPerHour)
		e.retryAfter = time.Hour / crawlRequestsPerHour
		return nil, e
	}
	accepted, err := s.RequestCrawl(r.Context(), host)
	if err != nil {
		return nil, err
	}
	if !accepted {
		e := fail(http.StatusTooManyRequests, "RateLimitExceeded", "too many new hosts today")
		e.retryAfter = time.Hour
		return nil, e
	}
	return struct{}{}, nil
}

type crawlInput struct {
	Hostname string `json:"hostname" doc:"Of the host, without a scheme."`
}

// hostnameOf reads the input of the procedure. Only JSON is taken, so that no page
// in somebody's browser can send it unasked.
func hostnameOf(r *http.Request) (string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", badRequest("Content-Type: expected application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, crawlBody+1))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || len(body) > crawlBody {
		return "", badRequest("body: longer than %d bytes", crawlBody)
	}
	if err != nil {
		return "", badRequest("body: %v", err)
	}
	var input crawlInput
	if err := exactjson.Unmarshal(body, &input); err != nil {
		return "", badRequest("body: %v", err)
	}
	if input.Hostname == "" {
		return "", badRequest("hostname: missing")
	}
	return input.Hostname, nil
}
