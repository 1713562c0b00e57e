package firehose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"railyard/internal/backoff"
)

// Consumer follows one upstream. Make it with New.
type Consumer struct {
	cfg       Config
	url       *url.URL
	log       *slog.Logger
	connected atomic.Bool

	// The rest belongs to Run.
	deliver func(ctx context.Context, it Item) error
	seq     sequence
	strikes int       // messages that broke a connection since the cursor last moved
	skipped time.Time // when a message was last stepped over with a Notice
	owed    bool      // one was stepped over since, and no Notice followed
}

// New checks the Config. It opens nothing.
func New(cfg Config) (*Consumer, error) {
	u, err := streamURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	log := cfg.Log.With("component", "firehose", "upstream", u.Host)
	return &Consumer{cfg: cfg, url: u, log: log, seq: sequence{cursor: cfg.Cursor}}, nil
}

// Connected reports whether the websocket is open at the moment.
func (c *Consumer) Connected() bool { return c.connected.Load() }

// deliveryError is an error of the receiver, the only one that ends Run.
type deliveryError struct{ err error }

func (e *deliveryError) Error() string { return e.err.Error() }

// Run follows the upstream and passes each item to deliver, one after the other,
// on the goroutine of the caller. It connects again for ever. It returns nil
// when ctx has ended and the error of deliver when that failed; by then the
// socket is closed and nothing is running any more. Run is called once.
func (c *Consumer) Run(ctx context.Context, deliver func(ctx context.Context, it Item) error) error {
	c.deliver = deliver
	var pause reconnects
	for ctx.Err() == nil {
		open, err := c.connection(ctx)
		if failed, ok := errors.AsType[*deliveryError](err); ok {
			if ctx.Err() != nil && (errors.Is(failed.err, ctx.Err()) || errors.Is(failed.err, context.Cause(ctx))) {
				return nil
			}
			return failed.err
		}
		if ctx.Err() != nil {
			return nil
		}
		var asked time.Duration
		if answer, ok := errors.AsType[*answerError](err); ok {
			asked = answer.retryAfter
		}
		wait := pause.ended(open, asked)
		c.log.Warn("connection ended", "error", err, "open", open, "cursor", c.seq.cursor, "wait", wait)
		_ = backoff.Sleep(ctx, wait) // the loop asks ctx
	}
	return nil
}

// connection opens one connection and follows it to its end. It returns how long
// the connection was open and why it is not any more.
func (c *Consumer) connection(ctx context.Context) (open time.Duration, err error) {
	ws, err := c.dial(ctx, c.seq.cursor)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	s := newSocket(ctx, ws)
	c.connected.Store(true)
	c.log.Info("connected", "cursor", c.seq.cursor)
	if err = c.cfg.OnConnect(ctx); err != nil {
		err = fmt.Errorf("after connecting: %w", err)
	} else {
		err = c.follow(ctx, s)
	}
	c.connected.Store(false)
	s.close(closeCode(err))
	return time.Since(began), err
}

// closeCode returns the code that tells the upstream why the connection ends.
func closeCode(err error) int {
	if _, ok := errors.AsType[*brokenError](err); ok {
		return websocket.CloseProtocolError
	}
	return websocket.CloseNormalClosure
}
