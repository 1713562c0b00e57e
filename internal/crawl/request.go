package crawl

import (
	"context"
	"time"

	"railyard/internal/store"
)

const (
	// requestsPerDay bounds the unknown hosts that strangers may name; relays take 50.
	requestsPerDay = 200
	requestsAtOnce = 50
	// requestRest is the least time between two walks of a host that strangers ask for:
	// PDSes ask at each start, and every 20 minutes while they are busy.
	requestRest = time.Hour
)

// Request asks for a walk of a host that a stranger has named (requestCrawl). name
// is canonical. accepted is false when too many unknown hosts were named today.
func (c *Crawler) Request(ctx context.Context, name string) (accepted bool, err error) {
	var known bool
	var ended time.Time
	err = c.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		known, _, ended, err = rx.HostWalked(name)
		return err
	})
	if err != nil {
		return false, err
	}
	if since := c.cfg.Now().Sub(ended); since >= 0 && since < requestRest {
		return true, nil
	}
	if !known && !c.requests.Allow() {
		return false, nil
	}
	err = c.cfg.Store.Update(ctx, "a host asks to be crawled", func(tx *store.Tx) error {
		return tx.WantHostWalk(name, c.insecure(name))
	})
	if err == nil {
		poke(c.nudge)
	}
	return err == nil, err
}
