package crawl

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	// emptyPages in a row end a walk: an empty page with a cursor is legal, an
	// endless run of them is not.
	emptyPages = 100
	// Entries that bring nothing (repeated, foreign, or waiting for their document)
	// end a walk when they are more than idleFree and idleShare times those that do:
	// a listing can go on for ever without repeating a cursor.
	idleFree  = 10_000
	idleShare = 4
)

// walk is one pass over a server's listRepos.
type walk struct {
	name   string // of the server, in refusals
	base   string // of its URLs
	from   store.Lister
	began  time.Time
	chosen bool // by the operator
	pace   func(ctx context.Context) error
	at     func(tx *store.Tx, cursor string) error // it has come so far
	end    func(tx *store.Tx) error                // it is over

	cursor string // of the next page
	met    ring
	empty  int // pages in a row
	idle   int // entries that brought nothing
	useful int // entries that did
	found  int
	cause  error // why it failed last
	last   int64 // the last repo that was known when it began
	seen   bits  // repos that were listed
	part   bool  // it began in a former process: seen is not all that was listed
}

// goOn makes w the rest of a walk that a former process began.
func (w *walk) goOn(cursor string) {
	w.cursor, w.part, w.met = cursor, true, ring{mark: cursor}
}

// how a turn of a walk ended.
type how byte

const (
	ended  how = iota // the listing is over
	failed            // the server did not answer, or not as it should
	full              // the host has no room for what it lists: the page comes again
)

// pages walks on until the listing is over or the server fails; w.cause says why.
func (c *Crawler) pages(ctx context.Context, w *walk) (how, error) {
	for {
		if err := w.pace(ctx); err != nil {
			w.cause = err
			return failed, ctx.Err()
		}
		page, err := c.list(ctx, w)
		if err != nil {
			w.cause = err
			return failed, c.refused(ctx, w)
		}
		looped := w.leadsNowhere(page)
		t, err := c.take(ctx, w, page, looped)
		switch {
		case err != nil:
			return failed, err
		case t.Full && !looped:
			return full, nil
		case looped, page.Cursor == "":
			c.log(w, slog.LevelInfo, "crawl ended", "found", w.found, "looped", looped)
			if looped || w.part || c.cfg.Once {
				return ended, nil
			}
			return ended, c.sweep(ctx, w)
		}
		w.cursor = page.Cursor
	}
}

// list asks for a page. A fault of ours becomes a refusal.
func (c *Crawler) list(ctx context.Context, w *walk) (page pds.ReposPage, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("panic in a crawl", "panic", p, "stack", string(debug.Stack()))
			err = refusal.New(refusal.Internal, "panic: %v", p)
		}
	}()
	return c.cfg.Lister.ListRepos(ctx, w.base, w.cursor, pageSize)
}

// refused counts what was wrong with an answer. The walk goes on later, at the
// same page, or from the beginning where the server refuses the cursor.
func (c *Crawler) refused(ctx context.Context, w *walk) error {
	if ctx.Err() != nil {
		return nil
	}
	c.log(w, slog.LevelWarn, "crawl", "err", w.cause)
	e, refused := errors.AsType[*refusal.Error](w.cause)
	answer, answered := errors.AsType[*pds.Error](w.cause)
	again := answered && answer.Status == http.StatusBadRequest && w.cursor != ""
	if !refused && !again {
		return nil
	}
	return c.cfg.Store.Update(ctx, "a failed page of a crawl", func(tx *store.Tx) error {
		if refused {
			if err := c.refuse(tx, w.name, e.Reason, e.Detail, 1); err != nil {
				return err
			}
		}
		if again {
			return w.at(tx, "")
		}
		return nil
	})
}

// log speaks of servers that the operator chose; what others do would be too much.
func (c *Crawler) log(w *walk, level slog.Level, message string, args ...any) {
	if !w.chosen {
		level = slog.LevelDebug
	}
	c.cfg.Log.Log(context.Background(), level, message, append([]any{"server", w.name}, args...)...)
}

// leadsNowhere tells whether a listing is to be ended before its end.
func (w *walk) leadsNowhere(page pds.ReposPage) bool {
	if w.empty++; len(page.Repos) > 0 {
		w.empty = 0
	}
	return page.Cursor != "" && (page.Cursor == w.cursor || w.met.closes(page.Cursor) || w.empty >= emptyPages ||
		w.idle > idleFree+idleShare*w.useful)
}

// take stores one page. The walk ends with a page that has no cursor, or one that
// leads nowhere; a page for which there is no room comes again.
func (c *Crawler) take(ctx context.Context, w *walk, page pds.ReposPage, looped bool) (t store.Taken, err error) {
	listed := make([]store.Listed, len(page.Repos))
	for i, e := range page.Repos {
		rev, err := atproto.ParseTID(e.Rev)
		if err != nil {
			rev = 0 // some servers leave it empty
		}
		listed[i] = store.Listed{DID: e.DID, Rev: rev, Active: e.Active}
	}
	err = c.cfg.Store.Update(ctx, "a page of a crawl", func(tx *store.Tx) error {
		if t, err = tx.TakeListed(w.from, listed); err != nil {
			return err
		}
		if err := c.refuse(tx, w.name, refusal.BadDID, "an entry of listRepos without a valid DID", page.Invalid); err != nil {
			return err
		}
		switch {
		case looped:
			if err := c.refuse(tx, w.name, refusal.AnswerLoop, "listRepos: a cursor leads nowhere", 1); err != nil {
				return err
			}
			return w.end(tx)
		case t.Full:
			return nil
		case page.Cursor == "":
			return w.end(tx)
		}
		return w.at(tx, page.Cursor)
	})
	if err == nil {
		c.count(w, len(listed), t)
	}
	return t, err
}

// count keeps what the walk has seen.
func (c *Crawler) count(w *walk, entries int, t store.Taken) {
	fresh := 0
	for _, id := range t.Known {
		if w.seen.set(id) {
			fresh++
		}
	}
	if w.from.Capped {
		fresh += t.Found
	}
	w.found += t.Found
	w.useful += fresh
	w.idle += entries - fresh
	m := c.cfg.Metrics
	m.Listed("found", t.Found)
	m.Listed("foreign", t.Foreign)
	known := len(t.Known)
	if !w.from.Capped {
		known -= t.Found
	}
	m.Listed("known", known)
}

// refuse counts what was wrong with an answer, up to a page of it.
func (c *Crawler) refuse(tx *store.Tx, source string, reason refusal.Reason, detail string, times int) error {
	refused := make([]store.Refused, min(times, pageSize))
	for i := range refused {
		refused[i] = store.Refused{Reason: reason, Source: source, Detail: detail, At: tx.Now().UTC()}
		tx.AfterCommit(func() { c.cfg.Metrics.Refused(reason) })
	}
	return tx.AddRefusals(refused)
}
