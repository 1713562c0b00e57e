package crawl

import (
	"context"
	"errors"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/backoff"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	// hostsMost bounds the hosts that are crawled, but for a page: the directory names about 16,000,
	// relays follow less than 3,000.
	hostsMost = 50_000
	// hostPagesMost bounds the pages of one listHosts.
	hostPagesMost = 1000
	// hostsAge is the least time between two askings of a relay for its hosts.
	hostsAge = time.Hour
)

// followHosts asks a relay for its hosts once its socket is open, and now and
// then.
func (c *Crawler) followHosts(ctx context.Context, id int64) error {
	var again <-chan time.Time
	var last time.Time
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-c.wakeList[id]:
			if !last.IsZero() && time.Since(last) < hostsAge {
				continue
			}
		}
		var up store.Upstream
		err := c.cfg.Store.OwnView(ctx, func(rx *store.Rx) (err error) {
			up, err = rx.Upstream(id)
			return err
		})
		if err != nil {
			return err
		}
		if up.Kind != store.KindRelay {
			continue
		}
		cause, err := c.listHosts(ctx, up)
		switch {
		case err != nil:
			return err
		case cause != nil:
			c.cfg.Log.Warn("list hosts", "upstream", up.URL, "err", cause)
			again = time.After(backoff.Delay(retryFirst, retryMost, failures))
			failures++
		default:
			last, failures, again = time.Now(), 0, nil
			if c.cfg.SweepEvery > 0 {
				again = time.After(c.cfg.SweepEvery + jitter(c.cfg.SweepEvery))
			}
		}
	}
}

// listHosts takes all pages of a relay's listHosts. cause is the relay's failure,
// err the file's.
func (c *Crawler) listHosts(ctx context.Context, up store.Upstream) (cause, err error) {
	var met ring
	cursor := ""
	for range hostPagesMost {
		page, err := c.cfg.Lister.ListHosts(ctx, up.URL, cursor, pageSize)
		if err != nil {
			return err, c.badHosts(ctx, up, err)
		}
		more, err := c.takeHosts(ctx, up, page)
		if err != nil {
			return nil, err
		}
		signal(c.wake)
		switch {
		case !more, page.Cursor == "" && !page.Stuck:
			return nil, nil
		case page.Stuck || page.Cursor == cursor || met.closes(page.Cursor) || len(page.Hosts) == 0:
			return nil, c.refuseNow(ctx, up, refusal.New(refusal.AnswerLoop, "listHosts: a cursor leads nowhere"))
		}
		cursor = page.Cursor
	}
	return nil, c.refuseNow(ctx, up, refusal.New(refusal.AnswerLoop, "listHosts: no end"))
}

// badHosts counts an answer that is not what its lexicon promises.
func (c *Crawler) badHosts(ctx context.Context, up store.Upstream, cause error) error {
	e, ok := errors.AsType[*refusal.Error](cause)
	if !ok || ctx.Err() != nil {
		return nil
	}
	return c.refuseNow(ctx, up, e)
}

func (c *Crawler) refuseNow(ctx context.Context, up store.Upstream, fault *refusal.Error) error {
	return c.cfg.Store.Update(ctx, "refuse an answer", func(tx *store.Tx) error {
		return c.refuse(tx, sourceOf(up.URL), fault)
	})
}

// takeHosts stores one page of hosts. more is false when there are enough.
func (c *Crawler) takeHosts(ctx context.Context, up store.Upstream, page pds.HostsPage) (more bool, err error) {
	err = c.cfg.Store.Update(ctx, "a page of hosts", func(tx *store.Tx) error {
		crawled, err := tx.CountCrawls(store.OfHost)
		if more = crawled < hostsMost; err != nil || !more {
			return err
		}
		bad := page.Refused
		for _, h := range page.Hosts {
			name, err := c.cfg.Hosts.Name(h.Hostname)
			if err != nil {
				bad = append(bad, refusal.New(refusal.ForbiddenAddress, "listHosts: %w", err))
				continue
			}
			if _, err := tx.ListHost(name, c.insecure(name), h.Status); err != nil {
				return err
			}
		}
		return c.refuse(tx, sourceOf(up.URL), bad...)
	})
	return more, err
}

// insecure reports whether a host that nobody has told the scheme of is asked over
// http: one whose name is no public one, which only development allows.
func (c *Crawler) insecure(name string) bool {
	_, err := atproto.Hosts{}.Name(name)
	return err != nil
}
