package recheck

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/pds"
	"railyard/internal/store"
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

// pace is that of one host: one request at a time, at its rate, none while it cools down.
type pace struct {
	busy     chan struct{}
	limit    *rate.Limiter
	patience int

	mu       sync.Mutex
	failures int // in a row
	cooling  time.Time
}

// paces holds those of all hosts.
type paces struct {
	qps float64
	mu  sync.Mutex
	by  map[string]*pace
}

func newPaces(qps float64) *paces { return &paces{qps: qps, by: make(map[string]*pace)} }

// of returns the pace of a host, which begins with the limits that the service keeps.
func (ps *paces) of(host string, known store.HostLimits) *pace {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.by[host]
	if p == nil {
		p = &pace{busy: make(chan struct{}, 1), limit: rate.NewLimiter(rate.Limit(ps.qps), 1), patience: patience}
		ps.by[host] = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow(known.Rate)
	p.coolUntil(known.Cooldown)
	return p
}

// reset allows every host that is left alone one try.
func (ps *paces) reset() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.by {
		p.reset()
	}
}

func (p *pace) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = min(p.failures, p.patience-1)
}

// enter waits for its turn. Then leave must follow.
func (p *pace) enter(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns when the host may be asked. The error is that of the context, or a
// notAsked.
func (p *pace) wait(ctx context.Context) error {
	if reason := p.closed(); reason != "" {
		return &notAsked{"its host was " + reason}
	}
	return p.limit.Wait(ctx)
}

func (p *pace) leave() { <-p.busy }

func (p *pace) closed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.failures >= p.patience:
		return "not asked, because it failed too often in a row"
	case time.Now().Before(p.cooling):
		return "not asked, because it wants to be left alone for a while"
	}
	return ""
}

// answered notes how a request ended.
func (p *pace) answered(e *pds.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e == nil:
		p.failures = 0
	case e.Outcome == pds.RateLimited:
		p.pause(e.RetryAfter)
	case e.Outcome == pds.Transient || e.Outcome == pds.Unsupported:
		p.failures++
		if e.RetryAfter > 0 {
			p.pause(e.RetryAfter)
		}
	default:
		p.failures = 0
	}
}

func (p *pace) pause(pause time.Duration) {
	if pause <= 0 {
		pause = shortPause
	}
	p.coolUntil(time.Now().Add(pause))
}

func (p *pace) coolUntil(until time.Time) {
	if most := time.Now().Add(maxPause); until.After(most) {
		until = most
	}
	if until.After(p.cooling) {
		p.cooling = until
	}
}

// apply obeys what an answer says of limits.
func (p *pace) apply(said pds.RateLimit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if said.Remaining == 0 && said.Reset > 0 {
		p.pause(said.Reset)
	}
	p.slow(said.Rate)
}

// slow takes the rate that a host allows, if it is less than what it is asked at. 0 is none.
func (p *pace) slow(allowed float64) {
	if allowed <= 0 {
		return
	}
	if r := max(rate.Limit(allowed), slowestRate); r < p.limit.Limit() {
		p.limit.SetLimit(r)
	}
}
