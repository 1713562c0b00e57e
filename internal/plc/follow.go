package plc

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/backoff"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/store"
)

const (
	// readyMost is how long the first reading waits for the listings of the
	// upstreams. One that never ends must not keep backfill parked for ever: what is
	// found later is looked up by itself.
	readyMost  = 6 * time.Hour
	readyPoll  = 5 * time.Second
	pollLeast  = 4 * time.Second
	pollMost   = 30 * time.Second
	retryFirst = 5 * time.Second
	retryMost  = 10 * time.Minute
	// recent: a page whose last line is not older reaches to the end of the log. An
	// older one may be of a server that returns fewer lines than were asked for.
	recent = 2 * time.Minute
	// strangeMost is how long a server may answer as if the log were another one, as a
	// replica does that lags, before it is taken for that.
	strangeMost = 30 * time.Minute
	// reportEvery is how many operations there are to a line of our log.
	reportEvery = 1_000_000
)

// Config of a Follower.
type Config struct {
	Store  *store.Store
	Client *outbound.Client
	URL    string // of the server whose /export is read, without a trailing slash
	// Pace waits until the directory may be asked once more.
	Pace  func(ctx context.Context) error
	Hosts atproto.Hosts
	// Ready reports whether the first listings have ended. It is asked until it is so.
	Ready func(ctx context.Context) (bool, error)
	// KeyChanged is called after the commit of a changed identity.
	KeyChanged func(did string)
	Now        func() time.Time
	Log        *slog.Logger
	Metrics    *metrics.Metrics
}

// Follower reads the log. Only Run changes it.
type Follower struct {
	cfg     Config
	host    string // of the server, in refusals
	pos     position
	done    bool      // the first reading has ended
	strange time.Time // since when the server has answered as if the log were another one; zero = it does not
	read    int       // operations, by this process
	current atomic.Pointer[time.Time]
}

// New makes a follower; Run starts it.
func New(cfg Config) *Follower {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cfg.Log.With("component", "plc")
	f := &Follower{cfg: cfg, host: cfg.URL}
	if u, err := url.Parse(cfg.URL); err == nil {
		f.host = u.Host
	}
	return f
}

// Current returns up to when every change of a did:plc is in the file, as far as its
// repo is there; zero while the log is not read to its end.
func (f *Follower) Current() time.Time {
	if p := f.current.Load(); p != nil {
		return *p
	}
	return time.Time{}
}

// Run follows the log until ctx ends. It fails only when the file does.
func (f *Follower) Run(ctx context.Context) error {
	err := f.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *Follower) run(ctx context.Context) error {
	if err := f.begin(ctx, false); err != nil {
		return err
	}
	pause, failures := pollLeast, 0
	for {
		fresh, end, err := f.step(ctx)
		var failed *failure
		switch {
		case errors.As(err, &failed):
			if fresh {
				failures = 0
			}
			pause = max(backoff.Delay(retryFirst, retryMost, failures), failed.retryAfter)
			f.cfg.Log.Warn("the PLC log", "err", failed.err, "again in", pause.Round(time.Second))
			failures++
		case err != nil:
			return err
		case !end:
			failures, pause = 0, pollLeast
			continue
		case fresh:
			failures, pause = 0, pollLeast
		default:
			failures, pause = 0, min(max(pause, pollLeast)*3/2, pollMost)
		}
		if backoff.Sleep(ctx, pause) != nil {
			return ctx.Err()
		}
	}
}

// begin finds the position of before, or with anew forgets it. The first reading of a
// log waits for the listings, and backfill for it.
func (f *Follower) begin(ctx context.Context, anew bool) error {
	var l store.PLCLog
	err := f.cfg.Store.Update(ctx, "begin the PLC log", func(tx *store.Tx) (err error) {
		if l, err = tx.PLCLog(); err != nil || l.URL == f.cfg.URL && !anew {
			return err
		}
		l = store.PLCLog{URL: f.cfg.URL} // a place in one log means nothing in another
		return tx.PutPLCLog(l)
	})
	if err != nil {
		return err
	}
	f.pos, f.done, f.strange = positionOf(l), l.Done, time.Time{}
	f.current.Store(nil)
	if f.done {
		return nil
	}
	if err := f.cfg.Store.ParkBackfill(ctx); err != nil {
		return err
	}
	for since := f.cfg.Now(); f.cfg.Now().Sub(since) < readyMost; {
		ready, err := f.cfg.Ready(ctx)
		if err != nil || ready {
			return err
		}
		if backoff.Sleep(ctx, readyPoll) != nil {
			return ctx.Err()
		}
	}
	f.cfg.Log.Warn("the listings of the upstreams have not ended; the PLC log is read without them")
	return nil
}

// failure is the server's.
type failure struct {
	err        error
	retryAfter time.Duration
}

func (e *failure) Error() string { return e.err.Error() }

var errNowhere = errors.New("a full page of lines that lead nowhere")

// errStrange is an answer of a log that is not the one that was read.
var errStrange = errors.New("the page has nothing of what was read before")

// step reads and applies one page. fresh reports whether it had something new, end
// whether it reached to the end of the log.
func (f *Follower) step(ctx context.Context) (fresh, end bool, err error) {
	asked := f.cfg.Now()
	p, broken := f.get(ctx)
	if !f.pos.leadsTo(p.lines) {
		p.lines = nil
		if broken == nil {
			broken = errStrange
		}
	}
	nullify(p.lines)
	lines := unapplied(f.pos, p.lines)
	var asOf time.Time
	if broken == nil && !p.full() && (len(lines) == 0 || asked.Sub(lines[len(lines)-1].at) < recent) {
		end, asOf = true, asked
	}
	if err := f.apply(ctx, p.form, lines, asOf); err != nil {
		return false, false, err
	}
	if len(lines) > 0 {
		if err := f.refusePlaceless(ctx, p); err != nil {
			return false, false, err
		}
	}
	switch {
	case broken != nil:
		if f.otherLog(ctx, asked, broken) {
			return false, false, f.begin(ctx, true)
		}
		e := &failure{err: broken}
		if s, ok := errors.AsType[*statusError](broken); ok {
			e.retryAfter = s.retryAfter
		}
		return len(lines) > 0, false, e
	case len(lines) == 0 && p.full():
		return false, false, &failure{err: errNowhere}
	case end:
		err = f.reached(ctx, asked)
	}
	f.strange = time.Time{}
	return len(lines) > 0, end, err
}

// otherLog reports whether the server has another log than the one that was read: it has
// answered so for a while and not otherwise in between, and has a log.
func (f *Follower) otherLog(ctx context.Context, asked time.Time, broken error) bool {
	if !errors.Is(broken, errStrange) && !errors.Is(broken, errForm) || f.pos.form == nil {
		f.strange = time.Time{} // no answer, or another one: it shows no log at all
		return false
	}
	if f.strange.IsZero() {
		f.strange = asked
	}
	if asked.Sub(f.strange) < strangeMost {
		return false
	}
	p, err := f.first(ctx)
	if err != nil || len(p.lines) == 0 {
		return false
	}
	f.cfg.Log.Warn("the server has another PLC log than before: it is read from its beginning",
		"form", p.form.LogForm, "err", broken)
	return true
}

// reached: the log was read to its end.
func (f *Follower) reached(ctx context.Context, asked time.Time) error {
	if !f.done {
		if err := f.cfg.Store.FinishPLCLog(ctx); err != nil {
			return err
		}
		f.done = true
		f.cfg.Log.Info("the PLC log was read to its end", "operations", f.read)
	}
	f.current.Store(&asked)
	return nil
}
