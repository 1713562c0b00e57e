package crawl

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// emptyPages in a row end a crawl: an empty page with a cursor is legal, an
	// endless run of them is not.
	emptyPages = 100
	// Entries that bring nothing (repeated, foreign, or waiting for their document)
	// end a crawl when they are more than idleFree and idleShare times those that do:
	// a listing can go on for ever without repeating a cursor.
	idleFree  = 10_000
	idleShare = 4
)

// crawl is one pass over a server's listRepos.
type crawl struct {
	id     store.CrawlID
	name   string // of the server, in refusals
	base   string // of its URLs
	from   lister
	chosen bool // by the operator: an upstream
	began  time.Time
	pace   func(ctx context.Context) error

	cursor   string // of the next page
	failures int    // attempts in a row
	cause    error  // why it failed last
	met      ring
	empty    int // pages in a row
	idle     int // entries that brought nothing
	useful   int // entries that did
	found    int
	last     int64 // the last repo that was known when it began
	seen     bits  // repos that were listed
	part     bool  // it began in a former process: seen is not all that was listed
}

// resume goes on at a cursor. A crawl that has not come so far itself has not seen what
// is listed before it.
func (w *crawl) resume(cursor string) {
	if w.cursor != cursor {
		w.cursor, w.part, w.met = cursor, true, ring{mark: cursor}
	}
}

// how an attempt ended.
type how byte

const (
	ended     how = iota // the listing is over
	failed               // the server did not answer, or not as it should
	full                 // the host may have no more candidates: the page comes again
	outOfTime            // others want the place
)

// pages takes pages until the listing is over or the attempt has to stop otherwise;
// w.cause says why it failed.
func (c *Crawler) pages(ctx context.Context, w *crawl) (how, error) {
	limited, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	for {
		if err := w.pace(limited); err != nil {
			return outOfTime, ctx.Err()
		}
		page, err := c.list(ctx, w)
		if err != nil {
			w.cause = err
			return failed, ctx.Err()
		}
		loop := w.isLoop(page)
		t, err := c.storePage(ctx, w, page, loop)
		switch {
		case err != nil:
			return failed, err
		case t.full && !loop:
			return full, nil
		case loop, page.Cursor == "":
			c.log(w, slog.LevelInfo, "crawl ended", "found", w.found, "looped", loop)
			if loop || w.part || c.cfg.Once {
				return ended, nil
			}
			return ended, c.askUnlisted(ctx, w)
		}
		w.cursor = page.Cursor
	}
}

// list asks for a page. A fault of ours becomes a refusal.
func (c *Crawler) list(ctx context.Context, w *crawl) (page pds.ReposPage, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("panic in a crawl", "panic", p, "stack", string(debug.Stack()))
			err = refusal.New(refusal.Internal, "panic: %v", p)
		}
	}()
	return c.cfg.Lister.ListRepos(ctx, w.base, w.cursor, pageSize)
}

// log speaks of servers that the operator chose; what others do would be too much.
func (c *Crawler) log(w *crawl, level slog.Level, message string, args ...any) {
	if !w.chosen {
		level = slog.LevelDebug
	}
	c.cfg.Log.Log(context.Background(), level, message, append([]any{"server", w.name}, args...)...)
}

// isLoop reports whether a listing is to be ended before its end.
func (w *crawl) isLoop(page pds.ReposPage) bool {
	if w.empty++; len(page.Repos) > 0 {
		w.empty = 0
	}
	return page.Stuck || page.Cursor != "" && (page.Cursor == w.cursor || w.met.closes(page.Cursor) || w.empty >= emptyPages ||
		w.idle > idleFree+idleShare*w.useful)
}

// storePage stores one page. The crawl ends with a page that has no cursor, or one that
// leads nowhere; a page that has more candidates than the host may have comes again.
func (c *Crawler) storePage(ctx context.Context, w *crawl, page pds.ReposPage, loop bool) (t taken, err error) {
	entries := make([]listed, len(page.Repos))
	for i, e := range page.Repos {
		rev, err := atproto.ParseTID(e.Rev)
		if err != nil {
			rev = 0 // some servers leave it empty
		}
		entries[i] = listed{e.DID, repostate.Entry{Rev: rev, Active: e.Active}}
	}
	err = c.cfg.Store.Update(ctx, "a page of a crawl", func(tx *store.Tx) error {
		if t, err = takePage(tx, w.from, entries); err != nil {
			return err
		}
		if t.proven {
			w.failures = 0
		}
		if err := c.refuse(tx, w.name, page.Refused...); err != nil {
			return err
		}
		switch {
		case loop:
			if err := c.refuse(tx, w.name, refusal.New(refusal.AnswerLoop, "listRepos: a cursor leads nowhere")); err != nil {
				return err
			}
			return c.finish(tx, w)
		case t.full:
			return nil
		case page.Cursor == "":
			return c.finish(tx, w)
		}
		return tx.AdvanceCrawl(w.id, page.Cursor, w.failures)
	})
	if err == nil {
		c.count(w, len(entries), t)
	}
	return t, err
}

// finish finishes a crawl, and plans the next one.
func (c *Crawler) finish(tx *store.Tx, w *crawl) error {
	var next time.Time
	if c.cfg.SweepEvery > 0 {
		next = tx.Now().Add(c.cfg.SweepEvery + jitter(c.cfg.SweepEvery))
	}
	return tx.FinishCrawl(w.id, next)
}

// count keeps what the crawl has seen.
func (c *Crawler) count(w *crawl, entries int, t taken) {
	fresh := 0
	for _, id := range t.known {
		if w.seen.set(id) {
			fresh++
		}
	}
	if w.from.capped {
		fresh += t.found
	}
	w.found += t.found
	w.useful += fresh
	w.idle += entries - fresh
	m := c.cfg.Metrics
	m.Listed("found", t.found)
	m.Listed("foreign", t.foreign)
	known := len(t.known)
	if !w.from.capped {
		known -= t.found
	}
	m.Listed("known", known)
}

// refuse counts what was wrong with an answer, up to a page of it.
func (c *Crawler) refuse(tx *store.Tx, source string, faults ...*refusal.Error) error {
	refused := make([]store.Refused, min(len(faults), pageSize))
	for i := range refused {
		reason := faults[i].Reason
		refused[i] = store.Refused{Reason: reason, Source: source, Detail: faults[i].Detail, At: tx.Now().UTC()}
		tx.AfterCommit(func() { c.cfg.Metrics.Refused(reason) })
	}
	return tx.AddRefusals(refused)
}
