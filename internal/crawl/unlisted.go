package crawl

import (
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// unlistedMost bounds the repos that one crawl asks about. Those that were not
	// asked about for longest come first, so that the next crawls take the rest.
	unlistedMost = 10_000
	// unlistedPause is the time between two of these questions.
	unlistedPause = 200 * time.Millisecond
	unlistedAtOne = 500 // in one transaction
)

// askUnlisted asks about the repos in service that a whole crawl has left out: those of
// the server that were known before it began, and of which nothing was heard since.
func (c *Crawler) askUnlisted(ctx context.Context, w *crawl) error {
	var oldest oldestFirst
	hosts := w.from.hosts
	if len(hosts) == 0 {
		hosts = []int64{0} // all
	}
	for _, host := range hosts {
		if err := c.findUnlisted(ctx, w, host, &oldest); err != nil {
			return err
		}
	}
	if len(oldest) == 0 {
		return nil
	}
	c.cfg.Metrics.Listed("unlisted", len(oldest))
	c.log(w, slog.LevelInfo, "repos are not listed any more", "repos", len(oldest))
	return c.ask(ctx, oldest)
}

// findUnlisted adds the repos of a host, or of all if it is 0.
func (c *Crawler) findUnlisted(ctx context.Context, w *crawl, host int64, oldest *oldestFirst) error {
	for after, more := int64(0), w.last > 0; more; more = after != 0 {
		var served []store.InService
		err := c.cfg.Store.OwnView(ctx, func(rx *store.Rx) (err error) {
			served, after, err = rx.InService(host, after, w.last)
			return err
		})
		if err != nil {
			return err
		}
		for _, h := range served {
			if !w.seen.has(h.ID) && h.Sure.Before(w.began) {
				oldest.add(h, unlistedMost)
			}
		}
	}
	return nil
}

// ask queues the questions, one by one.
func (c *Crawler) ask(ctx context.Context, about oldestFirst) error {
	slices.SortFunc(about, func(a, b store.InService) int { return a.Sure.Compare(b.Sure) })
	asked := time.Duration(0)
	for some := range slices.Chunk(about, unlistedAtOne) {
		err := c.cfg.Store.Update(ctx, "ask about unlisted repos", func(tx *store.Tx) error {
			for i, h := range some {
				r, err := tx.RepoByID(h.ID)
				if err != nil {
					return err
				}
				at := tx.Now().Add((asked + time.Duration(i)) * unlistedPause)
				if _, err := tx.Apply(r, repostate.Decide(r, repostate.Unlisted{At: at}, tx.Env())); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		asked += time.Duration(len(some))
	}
	return nil
}

// oldestFirst is a heap with the latest on top, so that it can be dropped for an
// older one.
type oldestFirst []store.InService

func (o oldestFirst) Len() int           { return len(o) }
func (o oldestFirst) Less(i, j int) bool { return o[i].Sure.After(o[j].Sure) }
func (o oldestFirst) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }

// Push and Pop are for package heap.
func (o *oldestFirst) Push(x any) { *o = append(*o, x.(store.InService)) }

// Pop removes the last one.
func (o *oldestFirst) Pop() any {
	last := len(*o) - 1
	x := (*o)[last]
	*o = (*o)[:last]
	return x
}

// add keeps the oldest few.
func (o *oldestFirst) add(h store.InService, most int) {
	switch {
	case len(*o) < most:
		heap.Push(o, h)
	case h.Sure.Before((*o)[0].Sure):
		(*o)[0] = h
		heap.Fix(o, 0)
	}
}
