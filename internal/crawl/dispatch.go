package crawl

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"railyard/internal/store"
)

const (
	// hostsAtOnce is how many hosts are crawled at once. The operator's upstreams come
	// first, and do not wait for a place.
	hostsAtOnce = 16
	// clampEvery is how often crawls are looked for that the clock has put off, and the
	// longest time for which the file is not asked what is due.
	clampEvery = time.Hour
)

// dispatch attempts the crawls that are due, until ctx ends.
func (c *Crawler) dispatch(ctx context.Context, work *errgroup.Group) error {
	if err := c.clamp(ctx, true); err != nil {
		return err
	}
	clamped := time.Now()
	for {
		if time.Since(clamped) >= clampEvery {
			clamped = time.Now()
			if err := c.clamp(ctx, false); err != nil {
				return err
			}
		}
		due, next, err := c.take(ctx)
		if err != nil {
			return err
		}
		for _, id := range due {
			work.Go(func() error { return c.attempt(ctx, id) })
		}
		pause := clampEvery
		if !next.IsZero() {
			pause = min(pause, next.Sub(c.cfg.Now()))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-c.wake:
			timer.Stop()
		}
	}
}

// clamp brings forward what a clock that was ahead has put off. At the start it also
// plans the idle crawls, as SweepEvery may be another one than in the last process.
func (c *Crawler) clamp(ctx context.Context, start bool) error {
	return c.cfg.Store.Update(ctx, "clamp crawls", func(tx *store.Tx) error {
		if start {
			if err := tx.PlanCrawls(c.cfg.SweepEvery); err != nil {
				return err
			}
		}
		return tx.ClampCrawls(tx.Now().Add(2 * max(c.cfg.SweepEvery, hostRetryMost)))
	})
}

// take returns the crawls that are due and have a place, which are running from now on,
// and when the next one will be due.
func (c *Crawler) take(ctx context.Context) (taken []store.CrawlID, next time.Time, err error) {
	open, running := c.toRead()
	var upstreams, hosts []store.Crawl
	now := c.cfg.Now()
	err = c.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		for up := range open {
			row, err := rx.Crawl(store.CrawlID{Kind: store.OfUpstream, Server: up})
			if err != nil {
				return err
			}
			upstreams = append(upstreams, row)
		}
		if !c.cfg.Deep {
			return nil
		}
		if hosts, err = rx.DueCrawls(store.OfHost, now, hostsAtOnce+running); err != nil {
			return err
		}
		next, err = rx.NextCrawl(store.OfHost, now)
		return err
	})
	if err != nil {
		return nil, next, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, row := range upstreams {
		due := c.isDue(row, now)
		c.busy[row.Server] = due || row.Wanted() && !c.isOver(row)
		if due && !c.running[row.CrawlID] {
			taken = append(taken, row.CrawlID)
		}
		if row.Due.After(now) && (next.IsZero() || row.Due.Before(next)) {
			next = row.Due
		}
	}
	for _, row := range hosts {
		if c.isDue(row, now) && !c.running[row.CrawlID] && running < hostsAtOnce {
			taken = append(taken, row.CrawlID)
			running++
		}
	}
	for _, id := range taken {
		c.running[id] = true
	}
	return taken, next, nil
}

// toRead returns the upstreams whose rows are to be read, which are busy until they were,
// and how many hosts are being crawled.
func (c *Crawler) toRead() (open map[int64]bool, hosts int) {
	hosts = c.Hosts()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.busy, c.woken)
	clear(c.woken)
	return maps.Clone(c.open), hosts
}

// done frees the place of a crawl.
func (c *Crawler) done(id store.CrawlID) {
	c.mu.Lock()
	delete(c.running, id)
	if id.Kind == store.OfUpstream {
		c.woken[id.Server] = true
	}
	c.mu.Unlock()
	signal(c.wake)
}

func (c *Crawler) isDue(row store.Crawl, now time.Time) bool { return row.IsDue(now) && !c.isOver(row) }

// isOver reports whether a server is crawled no more.
func (c *Crawler) isOver(row store.Crawl) bool { return c.cfg.Once && !row.Finished.IsZero() }
