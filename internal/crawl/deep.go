package crawl

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/backoff"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const (
	// hostWalks is how many hosts are walked at once.
	hostWalks = 16
	// turnTime bounds one turn of a host's walk, so that slow ones do not hold the
	// places of others. The walk goes on at its cursor in a later turn.
	turnTime = 30 * time.Minute
	// turnTries is how often a failing host is asked within one turn.
	turnTries = 3
	// A host that fails is left alone for longer and longer.
	hostRetryFirst = time.Minute
	hostRetryMost  = 24 * time.Hour
	// giveUpAfter failures a host is left alone for good that has never answered and
	// that nobody but a stranger has named.
	giveUpAfter = 10
	// duePoll bounds the wait for the next walk: candidates that are resolved make
	// walks due, and nobody tells.
	duePoll = 5 * time.Second
	// fullRest is how long a walk without room waits if nothing makes room for it.
	fullRest = 24 * time.Hour
	// tameEvery is how often walks are looked for that the clock has put off.
	tameEvery = 10 * time.Minute
)

// walkHosts walks the hosts whose walk is due, a few at once, until ctx ends.
func (c *Crawler) walkHosts(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var walks sync.WaitGroup
	defer walks.Wait()
	failure := make(chan error, 1)
	var tamed time.Time
	for {
		if now := time.Now(); now.Sub(tamed) >= tameEvery {
			tamed = now
			if err := c.tame(ctx); err != nil {
				return err
			}
		}
		due, err := c.due(ctx)
		if err != nil {
			return err
		}
		for _, h := range due {
			walks.Go(func() {
				if err := c.turn(ctx, h); err != nil && !stopped(ctx, err) {
					select {
					case failure <- err:
					default:
					}
				}
				c.left(h.ID)
			})
		}
		timer := time.NewTimer(duePoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case err := <-failure:
			timer.Stop()
			return err
		case <-timer.C:
		case <-c.nudge:
			timer.Stop()
		}
	}
}

// tame brings forward what a clock that was ahead has put off.
func (c *Crawler) tame(ctx context.Context) error {
	return c.cfg.Store.Update(ctx, "tame walks", func(tx *store.Tx) error {
		return tx.TameHostWalks(tx.Now().Add(max(2*c.cfg.SweepEvery, 2*hostRetryMost)))
	})
}

// due takes the hosts whose walk may begin or go on now, as many as there are
// places. Those that cool down or have no room are put off.
func (c *Crawler) due(ctx context.Context) (begun []store.HostWalk, err error) {
	c.mu.Lock()
	free, running := hostWalks-len(c.walking), len(c.walking)
	c.mu.Unlock()
	if free <= 0 {
		return nil, nil
	}
	waits := false
	err = c.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		rows, err := rx.DueHosts(c.cfg.Now(), free+running)
		waits = slices.ContainsFunc(rows, func(h store.HostWalk) bool { return !c.isWalking(h.ID) })
		return err
	})
	if err != nil || !waits {
		return nil, err
	}
	err = c.cfg.Store.Update(ctx, "begin walks of hosts", func(tx *store.Tx) error {
		// Read again: one of them may just have ended.
		rows, err := tx.DueHosts(tx.Now(), free+running)
		if err != nil {
			return err
		}
		begun = nil
		for _, h := range rows {
			if c.isWalking(h.ID) {
				continue
			}
			if len(begun) == free {
				break
			}
			ready, err := readyNow(tx, h)
			if err != nil {
				return err
			}
			if ready {
				begun = append(begun, h)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range begun {
		c.walking[h.ID] = true
	}
	return begun, nil
}

func readyNow(tx *store.Tx, h store.HostWalk) (bool, error) {
	switch {
	case h.Cooldown.After(tx.Now()):
		return false, tx.DeferHostWalk(h.ID, h.Cooldown, false)
	case h.Room <= 0:
		return false, tx.PauseHostWalk(h.ID, tx.Now().Add(fullRest))
	case h.Cursor == "":
		return true, tx.StartHostWalk(h.ID)
	}
	return true, nil
}

func (c *Crawler) isWalking(host int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.walking[host]
}

// left frees a place.
func (c *Crawler) left(host int64) {
	c.mu.Lock()
	delete(c.walking, host)
	c.mu.Unlock()
	poke(c.nudge)
}

// turn walks a host until the listing is over, the host fails or has no room, or
// its time is over.
func (c *Crawler) turn(ctx context.Context, h store.HostWalk) error {
	w, err := c.walkOfHost(ctx, h)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	for try := 0; ; try++ {
		how, err := c.pages(limited, w)
		switch {
		case ctx.Err() != nil, err == nil && how == ended:
			return nil
		case limited.Err() != nil:
			return c.putOff(ctx, h, 0, false)
		case err != nil:
			return err
		case how == full:
			return c.cfg.Store.Update(ctx, "a host is full", func(tx *store.Tx) error {
				return tx.PauseHostWalk(h.ID, tx.Now().Add(fullRest))
			})
		}
		if pause, limit := rateLimited(w.cause, h.Failures); limit {
			return c.cool(ctx, h, pause)
		}
		if try+1 >= turnTries || backoff.Sleep(limited, backoff.Delay(retryFirst, retryMost, try)) != nil {
			return c.putOff(ctx, h, backoff.Delay(hostRetryFirst, hostRetryMost, h.Failures), true)
		}
	}
}

// walkOfHost begins a host's walk, or goes on with that of an earlier turn.
func (c *Crawler) walkOfHost(ctx context.Context, h store.HostWalk) (*walk, error) {
	w := &walk{
		name: h.Hostname, base: h.URL(), from: store.Lister{Host: h.ID, Capped: true}, began: c.cfg.Now(),
		pace: c.paceOf(h.ID),
		at:   func(tx *store.Tx, cursor string) error { return tx.SetHostCursor(h.ID, cursor) },
		end: func(tx *store.Tx) error {
			if c.cfg.SweepEvery == 0 {
				return tx.FinishHostWalk(h.ID, time.Time{})
			}
			return tx.FinishHostWalk(h.ID, tx.Now().Add(c.cfg.SweepEvery+jitter(c.cfg.SweepEvery)))
		},
	}
	if h.Cursor != "" {
		w.goOn(h.Cursor)
		return w, nil
	}
	return w, c.cfg.Store.OwnView(ctx, func(rx *store.Rx) (err error) {
		w.last, err = rx.LastRepo()
		return err
	})
}

// paceOf gives the pace of a host's pages.
func (c *Crawler) paceOf(host int64) func(ctx context.Context) error {
	if c.cfg.Pace != nil {
		return func(ctx context.Context) error { return c.cfg.Pace(ctx, host) }
	}
	limit := rate.Inf
	if c.cfg.QPS > 0 {
		limit = rate.Limit(c.cfg.QPS)
	}
	pace := rate.NewLimiter(limit, 1)
	return func(ctx context.Context) error { return pace.Wait(ctx) }
}

// rateLimited tells whether a host has refused by rate, and for how long it is to
// be left alone.
func rateLimited(cause error, failures int) (pause time.Duration, limit bool) {
	e, ok := errors.AsType[*pds.Error](cause)
	if !ok || e.Outcome != pds.RateLimited {
		return 0, false
	}
	if e.RetryAfter > 0 {
		return e.RetryAfter, true
	}
	return backoff.Delay(hostRetryFirst, time.Hour, failures), true
}

// cool leaves a host alone, for whatever it would be asked.
func (c *Crawler) cool(ctx context.Context, h store.HostWalk, pause time.Duration) error {
	return c.cfg.Store.Update(ctx, "a host refuses by rate", func(tx *store.Tx) error {
		if err := tx.CoolHost(h.ID, tx.Now().Add(pause)); err != nil {
			return err
		}
		return tx.DeferHostWalk(h.ID, tx.Now().Add(pause), true)
	})
}

// putOff lets a walk go on later.
func (c *Crawler) putOff(ctx context.Context, h store.HostWalk, pause time.Duration, failed bool) error {
	return c.cfg.Store.Update(ctx, "put a walk off", func(tx *store.Tx) error {
		if err := tx.DeferHostWalk(h.ID, tx.Now().Add(pause), failed); err != nil {
			return err
		}
		return tx.GiveUpHostWalk(h.ID, giveUpAfter)
	})
}
