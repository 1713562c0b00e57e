package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

const (
	defaultMaxBytes = 64 << 10
	defaultTimeout  = 30 * time.Second
)

// Request is one GET and its bounds.
type Request struct {
	URL    string
	Accept string // media types; empty: not sent

	MaxBytes      int64         // of the decompressed body; 0 means 64 KiB
	Timeout       time.Duration // of the whole exchange, body included; 0 means 30 s
	HeaderTimeout time.Duration // until the headers are there; 0 means Timeout
	MinRate       int64         // bytes per second of waiting for the body, after a grace of 10 s; 0 means none
}

// Response is an answer whose body is still to be read. It must be closed.
type Response struct {
	Status int
	Header http.Header

	// Body ends with refusal.AnswerTooBig past MaxBytes, with AnswerTooSlow past
	// Timeout or below MinRate, with AnswerInvalid if it is encoded in a way that
	// was not asked for.
	Body io.ReadCloser
}

// ReadAll reads the rest of the body and closes it. What came before an error is
// returned with it.
func (r *Response) ReadAll() ([]byte, error) {
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// Get sends a request and waits for the headers of its answer, whatever its
// status. The context reaches to the end of the body.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	req, err := c.prepare(r)
	if err != nil {
		return nil, c.note(ctx, err)
	}
	ex := newExchange(ctx, req.URL.Host, r)
	resp, err := c.http.Do(req.WithContext(ex.ctx))
	ex.headersDone()
	if err != nil {
		err = ex.failure(err)
		ex.end()
		return nil, c.note(ctx, err)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: newBody(ex, resp, r)}, nil
}

func (c *Client) prepare(r Request) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, refusal.New(refusal.ForbiddenAddress, "%w", err)
	}
	if err := c.guard.checkURL(req.URL); err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.userAgent)
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	return req, nil
}

// note remembers what we lack, and writes the refusals of the guard to the log, at
// debug level because hosts of the network can cause any number of them.
func (c *Client) note(ctx context.Context, err error) error {
	lacks(&c.short, err)
	if reason, ok := refusal.ReasonOf(err); ok {
		c.log.DebugContext(ctx, "request refused", "reason", string(reason), "err", err)
	}
	return err
}

// exchange is the life of one request, from the dial to the close of the body.
type exchange struct {
	ctx    context.Context
	host   string
	cancel context.CancelCauseFunc
	whole  *time.Timer
	header *time.Timer // nil: no bound of its own
	waits  atomic.Bool // for a connection to be allowed: so far nobody was asked
}

// exchangeKey is the key of the exchange in the context of its dial.
type exchangeKey struct{}

func newExchange(parent context.Context, host string, r Request) *exchange {
	ex := &exchange{host: atproto.Clip(host)}
	ex.ctx, ex.cancel = context.WithCancelCause(context.WithValue(parent, exchangeKey{}, ex))
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ex.whole = time.AfterFunc(timeout, func() {
		ex.tooSlow("not done", timeout)
	})
	if r.HeaderTimeout > 0 {
		ex.header = time.AfterFunc(r.HeaderTimeout, func() {
			ex.tooSlow("no headers", r.HeaderTimeout)
		})
	}
	return ex
}

// tooSlow ends the exchange, for which the host is to blame unless it was not asked.
func (ex *exchange) tooSlow(what string, after time.Duration) {
	if ex.waits.Load() {
		ex.cancel(errNoSlot)
		return
	}
	ex.cancel(refusal.New(refusal.AnswerTooSlow, "%s: %s after %s", ex.host, what, after))
}

func (ex *exchange) headersDone() {
	if ex.header != nil {
		ex.header.Stop()
	}
}

// end stops the timers and lets go of the connection.
func (ex *exchange) end() {
	ex.headersDone()
	ex.whole.Stop()
	ex.cancel(nil)
}

// failure says why an exchange failed. When it was cancelled, by us or by the
// caller, that is the reason, and not the broken connection that followed.
func (ex *exchange) failure(err error) error {
	if ended := ex.ctx.Err(); ended != nil {
		err = context.Cause(ex.ctx)
		if _, ours := refusal.ReasonOf(err); !ours && !Short(err) {
			err = ended
		}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &Error{Host: ex.host, Err: err}
}

// Error is a failed exchange: a refusal, the end of the context, or a failure of
// the network. Its text is bounded, whatever the host has sent.
type Error struct {
	Host string
	Err  error
}

const maxErrorText = 300

func (e *Error) Error() string {
	return atproto.ClipTo(e.Host+": "+e.Err.Error(), maxErrorText)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
