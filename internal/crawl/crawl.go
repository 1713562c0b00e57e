// Package crawl walks the listRepos of every upstream, to find the repos that
// are not in the file yet and those whose last event was lost.
//
// A page's repos, their queue rows and the walk's cursor are one transaction: a
// crash goes on at the next page. A walk begins once the upstream's socket is
// open, so that a repo that is made meanwhile comes by one way or the other.
// Nothing that a listing says is believed: it is a reason to look.
package crawl

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	pageSize   = 1000
	retryFirst = 5 * time.Second
	retryMost  = 10 * time.Minute
	// emptyPages in a row end a walk: an empty page with a cursor is legal, an
	// endless run of them is not.
	emptyPages = 100
)

// Lister asks a server for one page of its repos.
type Lister interface {
	ListRepos(ctx context.Context, base, cursor string, limit int) (pds.ReposPage, error)
}

// Config of the crawler.
type Config struct {
	Store  *store.Store
	Lister Lister
	// QPS bounds the pages per second of one upstream.
	QPS     float64
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Crawler walks listings.
type Crawler struct {
	cfg  Config
	wake map[int64]chan struct{} // by upstream
	mu   sync.Mutex
	busy map[int64]bool
}

// New makes a crawler for upstreams.
func New(cfg Config, upstreams []int64) *Crawler {
	cfg.Log = cfg.Log.With("component", "crawl")
	c := &Crawler{cfg: cfg, wake: make(map[int64]chan struct{}), busy: make(map[int64]bool)}
	for _, id := range upstreams {
		c.wake[id] = make(chan struct{}, 1)
	}
	return c
}

// Wake says that an upstream's socket is open, or that a walk is wanted.
func (c *Crawler) Wake(upstream int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[upstream] = true
	select {
	case c.wake[upstream] <- struct{}{}:
	default:
	}
}

// Busy tells whether a walk of the upstream is wanted or under way in this
// process.
func (c *Crawler) Busy(upstream int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy[upstream]
}

// rest ends a walk: the upstream stays busy if it was woken meanwhile.
func (c *Crawler) rest(upstream int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[upstream] = len(c.wake[upstream]) > 0
}

// Run walks until ctx ends. It fails only when the file does.
func (c *Crawler) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(c.wake))
	for id, wake := range c.wake {
		go func() { ended <- c.follow(ctx, id, wake) }()
	}
	var failure error
	for range c.wake {
		if err := <-ended; err != nil {
			failure = errors.Join(failure, err)
			stop()
		}
	}
	return failure
}

// follow walks one upstream whenever a walk is wanted and the socket was opened.
func (c *Crawler) follow(ctx context.Context, id int64, wake <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
		if err := c.walkToEnd(ctx, id); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.rest(id)
	}
}

// walkToEnd goes on with a walk, through failures of the upstream, until it has
// ended or ctx has.
func (c *Crawler) walkToEnd(ctx context.Context, id int64) error {
	for failures := 0; ; failures++ {
		done, err := c.walk(ctx, id)
		if err != nil || done {
			return err
		}
		if !sleep(ctx, backoff(failures)) {
			return ctx.Err()
		}
	}
}

// walk goes on with the walk that is wanted. done is false when the upstream
// failed and the walk is to be gone on with later.
func (c *Crawler) walk(ctx context.Context, id int64) (done bool, err error) {
	var up store.Upstream
	err = c.cfg.Store.Update(ctx, "begin a crawl", func(tx *store.Tx) error {
		if up, err = tx.Upstream(id); err != nil || up.CrawlWanted.IsZero() {
			return err
		}
		if up.CrawlCursor == "" || up.CrawlAgain {
			up.CrawlCursor = ""
			return tx.StartCrawl(id)
		}
		return nil
	})
	if err != nil || up.CrawlWanted.IsZero() {
		return true, err
	}
	return c.pages(ctx, up)
}

func (c *Crawler) pages(ctx context.Context, up store.Upstream) (bool, error) {
	pace := rate.NewLimiter(rate.Limit(c.cfg.QPS), 1)
	cursor, found, empty := up.CrawlCursor, 0, 0
	met := ring{mark: cursor}
	for {
		if c.cfg.QPS > 0 && pace.Wait(ctx) != nil {
			return false, nil
		}
		page, err := c.list(ctx, up, cursor)
		if err != nil {
			return false, c.failed(ctx, up, err)
		}
		if len(page.Repos) == 0 {
			empty++
		} else {
			empty = 0
		}
		looped := page.Cursor != "" && (page.Cursor == cursor || met.closes(page.Cursor) || empty >= emptyPages)
		n, err := c.store(ctx, up, page, looped)
		found += n
		if err != nil {
			return false, err
		}
		if looped || page.Cursor == "" {
			c.cfg.Log.Info("crawl ended", "upstream", up.URL, "found", found, "looped", looped)
			return true, nil
		}
		cursor = page.Cursor
	}
}

// list asks for a page. A fault of ours becomes a refusal.
func (c *Crawler) list(ctx context.Context, up store.Upstream, cursor string) (page pds.ReposPage, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("panic in a crawl", "panic", p, "stack", string(debug.Stack()))
			err = refusal.New(refusal.Internal, "panic: %v", p)
		}
	}()
	return c.cfg.Lister.ListRepos(ctx, up.URL, cursor, pageSize)
}

// failed counts what was wrong with an answer. The walk goes on later, at the
// same page, or from the beginning where the upstream refuses the cursor.
func (c *Crawler) failed(ctx context.Context, up store.Upstream, cause error) error {
	if ctx.Err() != nil {
		return nil
	}
	c.cfg.Log.Warn("crawl", "upstream", up.URL, "err", cause)
	e, refused := errors.AsType[*refusal.Error](cause)
	answer, answered := errors.AsType[*pds.Error](cause)
	again := answered && answer.Status == http.StatusBadRequest
	if !refused && !again {
		return nil
	}
	return c.cfg.Store.Update(ctx, "a failed page of a crawl", func(tx *store.Tx) error {
		if refused {
			tx.AfterCommit(func() { c.cfg.Metrics.Refused(e.Reason) })
			if err := tx.AddRefusals([]store.Refused{{Reason: e.Reason, Source: source(up), Detail: e.Detail, At: tx.Now().UTC()}}); err != nil {
				return err
			}
		}
		if again {
			return tx.SetCrawlCursor(up.ID, "")
		}
		return nil
	})
}

// source names an upstream in refusals.
func source(up store.Upstream) string {
	if u, err := url.Parse(up.URL); err == nil {
		return u.Host
	}
	return up.URL
}

// store takes one page. The walk ends with a page that has no cursor, or one
// that leads nowhere.
func (c *Crawler) store(ctx context.Context, up store.Upstream, page pds.ReposPage, looped bool) (found int, err error) {
	listed := make([]store.Listed, len(page.Repos))
	for i, e := range page.Repos {
		rev, err := atproto.ParseTID(e.Rev)
		if err != nil {
			rev = 0 // some servers leave it empty
		}
		listed[i] = store.Listed{DID: e.DID, Rev: rev, Active: e.Active}
	}
	err = c.cfg.Store.Update(ctx, "a page of a crawl", func(tx *store.Tx) error {
		if found, err = tx.AddListed(listed); err != nil {
			return err
		}
		if err := c.refuse(tx, up, page, looped); err != nil {
			return err
		}
		if looped || page.Cursor == "" {
			return tx.FinishCrawl(up.ID)
		}
		return tx.SetCrawlCursor(up.ID, page.Cursor)
	})
	return found, err
}

func (c *Crawler) refuse(tx *store.Tx, up store.Upstream, page pds.ReposPage, looped bool) error {
	var refused []store.Refused
	add := func(reason refusal.Reason, detail string) {
		refused = append(refused, store.Refused{Reason: reason, Source: source(up), Detail: detail, At: tx.Now().UTC()})
		tx.AfterCommit(func() { c.cfg.Metrics.Refused(reason) })
	}
	if looped {
		add(refusal.AnswerLoop, "listRepos: a cursor leads nowhere")
	}
	for range min(page.Invalid, pageSize) {
		add(refusal.BadDID, "an entry of listRepos without a valid DID")
	}
	return tx.AddRefusals(refused)
}

func backoff(failures int) time.Duration {
	d := min(retryFirst<<min(failures, 10), retryMost)
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
