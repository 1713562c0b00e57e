package crawl

import (
	"context"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/backoff"
	"railyard/internal/store"
)

// follow walks one upstream whenever a walk is wanted and the socket was opened,
// and now and then.
func (c *Crawler) follow(ctx context.Context, id int64) error {
	var sweep <-chan time.Time // of the next sweep; nil = none is due
	for first := true; ; first = false {
		var swept bool
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake[id]:
		case <-sweep:
			swept = true
			if err := c.wantSweep(ctx, id); err != nil {
				return err
			}
		}
		walked, err := c.walkToEnd(ctx, id)
		if err != nil {
			return err
		}
		if c.cfg.SweepEvery > 0 && !c.cfg.Once && (first || walked || swept) {
			up, err := c.upstream(ctx, id)
			if err != nil {
				return err
			}
			sweep = time.After(c.until(up.CrawlFinished))
		}
		c.rest(id)
	}
}

// wantSweep makes the wish for a sweep a row, so that a restart does not lose it.
func (c *Crawler) wantSweep(ctx context.Context, id int64) error {
	c.mu.Lock()
	c.busy[id] = true
	c.mu.Unlock()
	return c.cfg.Store.Update(ctx, "want a sweep", func(tx *store.Tx) error { return tx.WantCrawl(id) })
}

func (c *Crawler) upstream(ctx context.Context, id int64) (up store.Upstream, err error) {
	err = c.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		up, err = rx.Upstream(id)
		return err
	})
	return up, err
}

// walkToEnd goes on with the walk that is wanted, through failures of the upstream
// and through newer wishes, until it has ended or ctx has.
func (c *Crawler) walkToEnd(ctx context.Context, id int64) (walked bool, err error) {
	var w *walk
	for failures := 0; ; failures++ {
		if w, err = c.begin(ctx, id, w); err != nil || w == nil {
			return false, err
		}
		how, err := c.pages(ctx, w)
		if err != nil || how == ended {
			return true, err
		}
		if backoff.Sleep(ctx, backoff.Delay(retryFirst, retryMost, failures)) != nil {
			return false, ctx.Err()
		}
	}
}

// begin finds the walk that is wanted: the one that w is, one of a former process
// that goes on at its cursor, or a new one. nil means that none is wanted.
func (c *Crawler) begin(ctx context.Context, id int64, w *walk) (*walk, error) {
	var next *walk
	err := c.cfg.Store.Update(ctx, "begin a crawl", func(tx *store.Tx) error {
		up, err := tx.Upstream(id)
		if err != nil || up.CrawlWanted.IsZero() || c.cfg.Once && !up.CrawlFinished.IsZero() {
			return err
		}
		if up.CrawlCursor != "" && !up.CrawlAgain && w != nil && w.cursor == up.CrawlCursor {
			next = w
			return nil
		}
		next = c.walkOf(up)
		if next.from.Host, err = c.hostOf(tx, up); err != nil {
			return err
		}
		if up.CrawlCursor != "" && !up.CrawlAgain {
			next.goOn(up.CrawlCursor)
			return nil
		}
		if next.last, err = tx.LastRepo(); err != nil {
			return err
		}
		return tx.StartCrawl(id)
	})
	return next, err
}

func (c *Crawler) walkOf(up store.Upstream) *walk {
	limit := rate.Inf
	if c.cfg.QPS > 0 {
		limit = rate.Limit(c.cfg.QPS)
	}
	pace := rate.NewLimiter(limit, 1)
	return &walk{
		name: sourceOf(up.URL), base: up.URL, began: c.cfg.Now(), chosen: true,
		pace: func(ctx context.Context) error { return pace.Wait(ctx) },
		at:   func(tx *store.Tx, cursor string) error { return tx.SetCrawlCursor(up.ID, cursor) },
		end:  func(tx *store.Tx) error { return tx.FinishCrawl(up.ID) },
	}
}

// hostOf gives the host for which an upstream speaks: itself if it is a PDS, 0 if
// it is a relay.
func (c *Crawler) hostOf(tx *store.Tx, up store.Upstream) (int64, error) {
	if up.Kind != store.KindPDS || c.cfg.HostName == nil {
		return 0, nil
	}
	name, err := c.cfg.HostName(up.URL)
	if err != nil {
		return 0, err
	}
	return tx.HostRow(name, strings.HasPrefix(up.URL, "http://"))
}

// sourceOf names a server in refusals.
func sourceOf(base string) string {
	if u, err := url.Parse(base); err == nil {
		return u.Host
	}
	return base
}
