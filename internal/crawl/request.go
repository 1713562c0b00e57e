package crawl

import (
	"context"
	"time"

	"railyard/internal/store"
)

const (
	// requestsPerDay bounds the unknown hosts that clients may name; relays take 50.
	requestsPerDay = 200
	requestsAtOnce = 50
	// requestAge is the least time between two crawls of a host that clients ask for:
	// PDSes ask at each start, and every 20 minutes while they are busy.
	requestAge = time.Hour
)

// Request asks for a crawl of a host that an unauthenticated client has named
// (requestCrawl). name is canonical. accepted is false when too many unknown hosts were
// named today.
func (c *Crawler) Request(ctx context.Context, name string) (accepted bool, err error) {
	var known bool
	var finished time.Time
	err = c.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		known, finished, err = rx.HostCrawled(name)
		return err
	})
	if err != nil {
		return false, err
	}
	if since := c.cfg.Now().Sub(finished); since >= 0 && since < requestAge {
		return true, nil
	}
	if !known && !c.requests.Allow() {
		return false, nil
	}
	err = c.cfg.Store.Update(ctx, "a host asks to be crawled", func(tx *store.Tx) error {
		return tx.WantHostCrawl(name, c.insecure(name))
	})
	if err == nil {
		signal(c.wake)
	}
	return err == nil, err
}
