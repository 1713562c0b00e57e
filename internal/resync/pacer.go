package resync

import (
	"cmp"
	"context"
	"sync"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// pacer keeps the pace of the hosts that are being asked: an attempt may send
// many requests, and the file hears of them when it ends (host_queue.next_at).
type pacer struct {
	qps float64 // requests per second to one host; 0 = no bound

	mu       sync.Mutex
	accounts map[int64]*hostPace
}

// hostPace says when a host may be asked again. All its methods are safe for
// concurrent use.
type hostPace struct {
	pacer    *pacer // its mutex guards what follows
	host     int64
	users    int
	interval time.Duration // between requests; 0 = as often as we like
	burst    time.Duration // how far ahead of its time a request may be
	nextAt   time.Time
}

// slowestRate is the least that a host can ask for: one request in a minute.
const slowestRate = 1.0 / 60

// mostBehind is how many requests a host is behind at most: more of them means that
// the clock went back.
const mostBehind = 16

func newPacer(qps float64) *pacer { return &pacer{qps: qps, accounts: make(map[int64]*hostPace)} }

// interval returns the time between two requests to a host, and how far ahead of its
// time one may be. It follows the operator's bound and the host's own, whichever is
// less. What was missed within a quarter of a second may be made up for.
func (p *pacer) interval(host int64, rate float64) (interval, burst time.Duration) {
	perSecond := p.qps
	if rate > 0 && (perSecond <= 0 || rate < perSecond) {
		perSecond = max(rate, slowestRate)
	}
	if host <= 0 || perSecond <= 0 {
		return 0, 0
	}
	interval = time.Duration(float64(time.Second) / perSecond).Truncate(time.Microsecond)
	return interval, interval * time.Duration(max(0, int64(perSecond/4)-1))
}

// open returns the account of a host, for one more user. The file knows when the host
// may be asked again, if nobody asks it now.
func (p *pacer) open(host int64, rate float64, nextAt time.Time) *hostPace {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.accounts[host]
	if a == nil {
		a = &hostPace{pacer: p, host: host, nextAt: nextAt}
		p.accounts[host] = a
	}
	a.users++
	a.interval, a.burst = p.interval(host, rate)
	return a
}

// close ends what open began.
func (a *hostPace) close() {
	a.pacer.mu.Lock()
	defer a.pacer.mu.Unlock()
	if a.users--; a.users == 0 {
		delete(a.pacer.accounts, a.host)
	}
}

// next returns when the host may be asked again.
func (a *hostPace) next() time.Time {
	a.pacer.mu.Lock()
	defer a.pacer.mu.Unlock()
	return a.nextAt
}

// take charges a request and returns how long it must wait.
func (a *hostPace) take(now time.Time) time.Duration {
	a.pacer.mu.Lock()
	defer a.pacer.mu.Unlock()
	return a.charge(now.Truncate(time.Microsecond))
}

// try charges a request if it may be sent now. It counts in the file's microseconds: a
// host that must wait for less than one would be ready by the file, for ever.
func (a *hostPace) try(now time.Time) bool {
	a.pacer.mu.Lock()
	defer a.pacer.mu.Unlock()
	now = now.Truncate(time.Microsecond)
	if a.interval > 0 && a.clamped(now).After(now) {
		return false
	}
	a.charge(now)
	return true
}

func (a *hostPace) charge(now time.Time) (wait time.Duration) {
	if a.interval == 0 {
		return 0
	}
	at := a.clamped(now)
	a.nextAt = later(at, now.Add(-a.burst)).Add(a.interval)
	return max(0, at.Sub(now))
}

// clamped is when the host may be asked again, whatever the clock did.
func (a *hostPace) clamped(now time.Time) time.Time {
	if most := now.Add(mostBehind * a.interval); a.nextAt.After(most) {
		a.nextAt = most
	}
	return a.nextAt
}

// giveBack takes back a request that was not sent.
func (a *hostPace) giveBack() {
	a.pacer.mu.Lock()
	defer a.pacer.mu.Unlock()
	a.nextAt = a.nextAt.Add(-a.interval)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Pace waits until a host may be asked again. It is for those who ask the hosts for
// other things than repos: one account is charged for all of it.
func (rs *Resyncer) Pace(ctx context.Context, host int64) error {
	limits, err := rs.hostLimits(ctx, host)
	if err != nil {
		return err
	}
	if interval, _ := rs.pacer.interval(host, limits.Rate); interval == 0 {
		return nil
	}
	var wait time.Duration
	if err := rs.cfg.Store.Update(ctx, "pace a host", func(tx *store.Tx) error {
		limits, err := tx.HostLimits(host)
		if err != nil {
			return err
		}
		a := rs.pacer.open(host, limits.Rate, limits.NextAt)
		tx.AfterCommit(a.close)
		wait = a.take(tx.Now())
		return tx.SetNextAt(host, a.next())
	}); err != nil {
		return err
	}
	return backoff.Sleep(ctx, wait)
}

// hostLimits reads what the file knows of a host.
func (rs *Resyncer) hostLimits(ctx context.Context, host int64) (limits store.HostLimits, err error) {
	err = rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		limits, err = rx.HostLimits(host)
		return err
	})
	if err != nil && ctx.Err() == nil { // no fault of the host
		err = refusal.New(refusal.Internal, "reading the limits of a host: %v", err)
	}
	return limits, cmp.Or(ctx.Err(), err)
}
