package pds

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/outbound"
	"railyard/internal/refusal"
)

const (
	defaultTimeout = 30 * time.Second // whole exchange, of all endpoints unless it is set otherwise
	minRate        = 1 << 10          // bytes per second
	smallAnswer    = 64 << 10
	listAnswer     = 4 << 20

	defaultRepoTimeout  = 5 * time.Minute
	defaultRepoMaxBytes = 4 << 30
	repoHeaderTimeout   = time.Minute
)

// Client asks servers of the network. It is safe for concurrent use; its fields
// are set before the first request.
type Client struct {
	// RepoTimeout bounds a whole getRepo; 0 means five minutes.
	RepoTimeout time.Duration

	// DescribeTimeout bounds a whole describeRepo; 0 means 30 seconds.
	DescribeTimeout time.Duration

	// RepoMaxBytes bounds the bytes of one getRepo; 0 means 4 GiB.
	RepoMaxBytes int64

	// Route returns the base URL at which a server is asked that has another one by its
	// name; nil means the same.
	Route func(base string) string

	out *outbound.Client
}

// New makes a client over the guarded one.
func New(out *outbound.Client) *Client { return &Client{out: out} }

// call is one query of one endpoint.
type call struct {
	method string // NSID
	base   string // "https://host"
	params url.Values
	accept string
	bounds outbound.Request // bytes and times
}

func (q call) host() string {
	_, host, _ := strings.Cut(q.base, "://")
	return strings.TrimRight(host, "/")
}

func (q call) request() outbound.Request {
	r := q.bounds
	r.URL = strings.TrimRight(q.base, "/") + "/xrpc/" + q.method
	if len(q.params) > 0 {
		r.URL += "?" + q.params.Encode()
	}
	r.Accept = q.accept
	r.MinRate = minRate
	return r
}

// open sends the query and returns the answer if its status is 200.
func (c *Client) open(ctx context.Context, q call) (*outbound.Response, error) {
	if c.Route != nil {
		q.base = c.Route(q.base)
	}
	resp, err := c.out.Get(ctx, q.request())
	if err != nil {
		return nil, q.failed(ctx, err)
	}
	reportRateLimit(ctx, resp, time.Now())
	if resp.Status == http.StatusOK {
		return resp, nil
	}
	// A page that is cut off or too long has no name to read; its status counts.
	body, err := resp.ReadAll()
	if err != nil && ctx.Err() != nil {
		return nil, q.failed(ctx, err)
	}
	return nil, refusedBy(q.method, q.host(), resp, body[:min(len(body), smallAnswer)])
}

// query sends the query and decodes its JSON, an object. A member of a wrong type is as
// absent, and the caller asks for those that it needs: wrong says what is the matter with
// one.
func (c *Client) query(ctx context.Context, q call, into any) (wrong *exactjson.TypeError, err error) {
	q.accept = "application/json"
	if q.bounds.Timeout <= 0 {
		q.bounds.Timeout = defaultTimeout
	}
	if q.bounds.MaxBytes == 0 {
		q.bounds.MaxBytes = smallAnswer
	}
	resp, err := c.open(ctx, q)
	if err != nil {
		return nil, err
	}
	body, err := resp.ReadAll()
	if err != nil {
		return nil, q.failed(ctx, err)
	}
	err = exactjson.Unmarshal(body, into)
	if wrong, _ = errors.AsType[*exactjson.TypeError](err); err != nil && (wrong == nil || wrong.Of("") != "") {
		return nil, q.invalid("%w", err)
	}
	return wrong, nil
}

// failed sorts the errors of an exchange: the caller's own cancellation and
// refusals that another try would meet again stay what they are, all else is
// transient.
func (q call) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", q.method, err)
	}
	if reason, ok := refusal.ReasonOf(err); ok && reason != refusal.AnswerTooSlow {
		return fmt.Errorf("%s: %w", q.method, err)
	}
	return &Error{Method: q.method, Host: q.host(), Outcome: Transient, Err: err}
}

func (q call) invalid(format string, args ...any) error {
	return refusal.New(refusal.AnswerInvalid, "%s at %s: %w", q.method, q.host(), fmt.Errorf(format, args...))
}

func (q call) wrongDID(asked, got string) error {
	return refusal.New(refusal.AnswerWrongDID, "%s at %s: asked for %s, got %q", q.method, q.host(), asked, atproto.ClipTo(got, maxName))
}
