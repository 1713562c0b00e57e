package crawl

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/backoff"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	// attemptTime bounds one attempt, so that slow hosts do not hold the places of others.
	attemptTime = 30 * time.Minute
	// shortPause is how long a crawl waits for which we had no descriptor left.
	shortPause = 5 * time.Second
	// An upstream that fails is asked again soon, a host after longer and longer.
	retryFirst     = 5 * time.Second
	retryMost      = 10 * time.Minute
	hostRetryFirst = time.Minute
	hostRetryMost  = 24 * time.Hour
	limitedMost    = time.Hour // after a refusal by rate that does not say for how long
	// giveUpAfter failures a host is crawled no more that has never answered and that
	// only unauthenticated clients have named.
	giveUpAfter = 10
	// A crawl waits for the documents of its host's candidates. That counts as a failure,
	// which is forgotten when as many documents name the host: an honest one
	// soon lists all it has, and one that invents DIDs a few of them a day.
	fullFirst = 10 * time.Minute
)

// attempt goes on with a crawl until the listing is over, the server fails, the host
// may have no more candidates, or the attempt has taken too long.
func (c *Crawler) attempt(ctx context.Context, id store.CrawlID) error {
	defer c.done(id)
	w, err := c.begin(ctx, id)
	if err != nil || w == nil {
		return err
	}
	how, err := c.pages(ctx, w)
	switch {
	case err != nil:
		return err
	case how == failed && outbound.Short(w.cause):
		return c.putOff(ctx, w, shortPause, false)
	case how == failed:
		return c.fail(ctx, w)
	case how == full:
		return c.putOff(ctx, w, backoff.Delay(fullFirst, hostRetryMost, w.failures), true)
	case how == outOfTime:
		return c.putOff(ctx, w, 0, false)
	}
	return nil
}

// begin begins a crawl that is due, or goes on with it. nil means that it has to wait.
// One that was asked for again while it was under way finishes first, as that of a large
// host never would if it began anew each time. An upstream's begins anew: events are
// lost.
func (c *Crawler) begin(ctx context.Context, id store.CrawlID) (w *crawl, err error) {
	err = c.cfg.Store.Update(ctx, "begin a crawl", func(tx *store.Tx) error {
		row, err := tx.Crawl(id)
		if err != nil || !c.isDue(row, tx.Now()) {
			return err
		}
		kept := c.unkeep(id)
		if w, err = c.crawlOf(tx, id); err != nil || w == nil {
			return err
		}
		if row.Cursor != "" && !(row.Again && w.chosen) {
			if kept != nil && kept.cursor == row.Cursor {
				w = kept
			}
			w.failures = row.Failures
			w.resume(row.Cursor)
			return nil
		}
		w.failures = row.Failures
		if w.last, err = tx.LastRepo(); err != nil {
			return err
		}
		return tx.StartCrawl(id)
	})
	return w, err
}

func (c *Crawler) crawlOf(tx *store.Tx, id store.CrawlID) (*crawl, error) {
	if id.Kind == store.OfHost {
		return c.ofHost(tx, id)
	}
	return c.ofUpstream(tx, id)
}

func (c *Crawler) ofUpstream(tx *store.Tx, id store.CrawlID) (*crawl, error) {
	up, err := tx.Upstream(id.Server)
	if err != nil {
		return nil, err
	}
	hosts, err := c.hostsOf(tx, up)
	return &crawl{
		id: id, name: sourceOf(up.URL), base: up.URL, from: lister{hosts: hosts}, chosen: true,
		began: c.cfg.Now(), pace: c.ownPace(),
	}, err
}

// ofHost returns nil if the host is to be left alone for now, or has as many candidates
// as it may have.
func (c *Crawler) ofHost(tx *store.Tx, id store.CrawlID) (*crawl, error) {
	name, base, cooldown, err := tx.HostToCrawl(id.Server)
	if err != nil {
		return nil, err
	}
	candidates, err := tx.Candidates(id.Server)
	switch {
	case err != nil:
		return nil, err
	case cooldown.After(tx.Now()):
		return nil, tx.DeferCrawl(id, cooldown, false)
	case candidates.Left <= 0:
		return nil, tx.DeferCrawl(id, tx.Now().Add(fullFirst), false)
	}
	pace := c.ownPace()
	if c.cfg.Pace != nil {
		pace = func(ctx context.Context) error { return c.cfg.Pace(ctx, id.Server) }
	}
	return &crawl{
		id: id, name: name, base: base, from: lister{hosts: []int64{id.Server}, capped: true}, began: c.cfg.Now(), pace: pace,
	}, nil
}

func (c *Crawler) ownPace() func(ctx context.Context) error {
	if c.cfg.QPS <= 0 {
		return context.Context.Err
	}
	return rate.NewLimiter(rate.Limit(c.cfg.QPS), 1).Wait
}

// hostsOf returns the hosts for which an upstream speaks: itself under each of its names
// if it is a PDS, none if it is a relay.
func (c *Crawler) hostsOf(tx *store.Tx, up store.Upstream) ([]int64, error) {
	if up.Kind != store.KindPDS || c.cfg.HostName == nil {
		return nil, nil
	}
	name, err := c.cfg.HostName(up.URL)
	if err != nil {
		return nil, err
	}
	own, err := tx.HostRow(name, strings.HasPrefix(up.URL, "http://"))
	if err != nil || up.Name == "" {
		return []int64{own}, err
	}
	other, err := tx.HostRow(up.Name, c.insecure(up.Name))
	return []int64{own, other}, err
}

// sourceOf names a server in refusals.
func sourceOf(base string) string {
	if u, err := url.Parse(base); err == nil {
		return u.Host
	}
	return base
}

// keep remembers what the crawl of an upstream has seen. That of a host that is put off
// asks about nobody.
func (c *Crawler) keep(w *crawl) {
	if !w.chosen {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[w.id] = w
}

func (c *Crawler) unkeep(id store.CrawlID) *crawl {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.kept[id]
	delete(c.kept, id)
	return w
}

// putOff lets a crawl go on later; failed counts as a failure.
func (c *Crawler) putOff(ctx context.Context, w *crawl, pause time.Duration, failed bool) error {
	c.keep(w)
	return c.cfg.Store.Update(ctx, "put a crawl off", func(tx *store.Tx) error {
		return tx.DeferCrawl(w.id, tx.Now().Add(pause), failed)
	})
}

// fail counts what was wrong with an answer. The crawl goes on later, at the same page,
// or from the beginning where the server refuses the cursor.
func (c *Crawler) fail(ctx context.Context, w *crawl) error {
	c.keep(w)
	c.log(w, slog.LevelWarn, "crawl", "err", w.cause)
	e, _ := errors.AsType[*refusal.Error](w.cause)
	answer, _ := errors.AsType[*pds.Error](w.cause)
	pause, limited := w.pause(answer)
	return c.cfg.Store.Update(ctx, "a failed page of a crawl", func(tx *store.Tx) error {
		if e != nil {
			if err := c.refuse(tx, w.name, e); err != nil {
				return err
			}
		}
		if answer != nil && answer.Status == http.StatusBadRequest && w.cursor != "" {
			if err := tx.RewindCrawl(w.id); err != nil {
				return err
			}
		}
		until := tx.Now().Add(pause)
		if err := tx.DeferCrawl(w.id, until, true); err != nil || w.chosen {
			return err
		}
		if limited {
			return tx.CoolHost(w.id.Server, until) // for whatever it would be asked
		}
		return tx.GiveUpCrawl(w.id.Server, giveUpAfter)
	})
}

// pause returns how long a server is left alone that has failed, and whether it refused
// by rate.
func (w *crawl) pause(answer *pds.Error) (pause time.Duration, limited bool) {
	pause = backoff.Delay(hostRetryFirst, hostRetryMost, w.failures)
	if w.chosen {
		pause = backoff.Delay(retryFirst, retryMost, w.failures)
	}
	limited = answer != nil && answer.Outcome == pds.RateLimited
	switch {
	case limited && answer.RetryAfter > 0:
		pause = answer.RetryAfter
	case limited: // the pause counts for all that the host is asked
		pause = min(pause, limitedMost)
	}
	return pause, limited
}
