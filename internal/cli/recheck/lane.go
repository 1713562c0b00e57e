package recheck

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/pds"
)

const (
	// patience is how often in a row a host may fail before it is left alone until the
	// next round, where one more failure is enough.
	patience = 3
	// directoryPatience is that with the directory, which several ask at once.
	directoryPatience = 12
	// shortPause is how long a host is left alone that refuses by rate and does not
	// say for how long.
	shortPause = 10 * time.Second
	maxPause   = time.Hour
	// slowestRate is the least that a host can ask for: one request in a minute.
	slowestRate rate.Limit = 1.0 / 60
)

// lane is the way to one host: one request at a time.
type lane struct {
	busy     chan struct{}
	limit    *rate.Limiter
	patience int

	mu       sync.Mutex
	failures int // in a row
	cooling  time.Time
}

// lanes holds those of all hosts.
type lanes struct {
	qps float64
	mu  sync.Mutex
	by  map[string]*lane
}

func newLanes(qps float64) *lanes { return &lanes{qps: qps, by: make(map[string]*lane)} }

func (ls *lanes) to(host string) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.by[host]
	if l == nil {
		l = &lane{busy: make(chan struct{}, 1), limit: rate.NewLimiter(rate.Limit(ls.qps), 1), patience: patience}
		ls.by[host] = l
	}
	return l
}

// forgive gives every host that is left alone one try.
func (ls *lanes) forgive() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.by {
		l.forgive()
	}
}

func (l *lane) forgive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = min(l.failures, l.patience-1)
}

// enter waits for its turn. Then leave must follow.
func (l *lane) enter(ctx context.Context) error {
	select {
	case l.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pace waits until the host may be asked. The error is that of the context, or a
// notAsked.
func (l *lane) pace(ctx context.Context) error {
	if reason := l.closed(); reason != "" {
		return &notAsked{"its host was " + reason}
	}
	return l.limit.Wait(ctx)
}

func (l *lane) leave() { <-l.busy }

func (l *lane) closed() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failures >= l.patience:
		return "not asked, because it failed too often in a row"
	case time.Now().Before(l.cooling):
		return "not asked, because it wants to be left alone for a while"
	}
	return ""
}

// answered notes how a request ended.
func (l *lane) answered(e *pds.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case e == nil:
		l.failures = 0
	case e.Outcome == pds.RateLimited:
		l.cool(e.RetryAfter)
	case e.Outcome == pds.Transient || e.Outcome == pds.Unsupported:
		l.failures++
		if e.RetryAfter > 0 {
			l.cool(e.RetryAfter)
		}
	default:
		l.failures = 0
	}
}

func (l *lane) cool(pause time.Duration) {
	if pause <= 0 {
		pause = shortPause
	}
	if until := time.Now().Add(min(pause, maxPause)); until.After(l.cooling) {
		l.cooling = until
	}
}

// heed obeys what an answer says of limits.
func (l *lane) heed(said pds.RateLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if said.Remaining == 0 && said.Reset > 0 {
		l.cool(said.Reset)
	}
	if said.Rate <= 0 {
		return
	}
	if r := max(rate.Limit(said.Rate), slowestRate); r < l.limit.Limit() {
		l.limit.SetLimit(r)
	}
}
