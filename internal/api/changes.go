package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"railyard/internal/store"
)

type changesAnswer struct {
	Changes []changeAnswer `json:"changes" doc:"In their order."`
	Cursor  string         `json:"cursor" doc:"To go on with, also if there are no changes."`
	More    bool           `json:"more" doc:"Whether there may be more already; if not, ask again later."`
}

type changeAnswer struct {
	Seq         int64     `json:"seq" doc:"Its number, which rises."`
	Time        string    `json:"time" format:"date-time" doc:"When the index was changed."`
	DID         string    `json:"did" format:"did" doc:"Whose repo it is."`
	Collection  string    `json:"collection,omitempty" format:"nsid" doc:"What the repo has gained or lost; none: the change is of the whole repo."`
	Visible     bool      `json:"visible" doc:"Whether the repo is now listed: under the collection, or at all."`
	Cause       string    `json:"cause" doc:"birth, death, inactive, active, new or not-found."`
	Collections *[]string `json:"collections,omitempty" doc:"Of a whole repo that is visible: all that it has, in the place of all that it had. May be empty."`
}

// beginAnew is what a client of the feed does whose cursor does not lead on.
const beginAnew = "begin anew: ask without a cursor, keep the one that comes, read the listings, go on with it"

var (
	errTooOld  = fail(http.StatusBadRequest, "CursorTooOld", "Changes behind the cursor are not kept any more.")
	errLost    = fail(http.StatusBadRequest, "CursorLost", "What the client has may have been lost in a power cut or a restore.")
	errForeign = fail(http.StatusBadRequest, "CursorForeign", "The cursor is of another index.")
)

// changeRoutes are the change feed, by pages and as a stream.
func (s *server) changeRoutes() []route {
	wanted := param{name: "collection", about: "An NSID, or app.example.* for all that begin with app.example.; several are a union. None: all.", schema: ofPattern, most: maxCollections}
	cursor := param{name: "cursor", about: "Of an earlier answer; none: from now on.", schema: ofText}
	stale := []*Error{errTooOld, errLost, errForeign}
	full := fail(http.StatusServiceUnavailable, "TooManyStreams", "Retry-After says when to try again.")
	const detail = "A change without a collection is of the whole repo: forget all that it had, and if it is visible take its collections. " +
		"Changes are kept for a week. A cursor from which they do not lead on is an error, whose message says how to begin anew. " +
		"With collection, whole repos come with these alone, and not if they have none; those that leave come always. "
	return []route{
		{
			method: http.MethodGet, path: "/v1/changes",
			summary: "What became listed, and what is listed no more, since a cursor.",
			detail: detail + "Without a cursor no changes come, and the cursor of now. Every answer has a cursor, an empty one too: keep the last. " +
				"To mirror the index take the cursor of now, read the listings, then follow the changes behind that cursor.",
			params: []param{wanted, limitParam(defaultLimit, maxLimit), cursor},
			output: changesAnswer{}, errors: stale, rows: pageRows, handle: s.changes,
		},
		{
			method: http.MethodGet, path: "/v1/changes/stream", kind: eventStream,
			summary: "The same changes as they happen, as server-sent events.",
			detail: detail + "Each event has a change as its data and a cursor as its id. Last-Event-ID resumes behind it, and counts before cursor. " +
				"While nothing comes there is an id alone every 15 seconds: a cursor to keep.",
			params: []param{wanted, cursor},
			errors: append(stale, full), rows: fewRows, serve: &changeStreams{server: s, slots: make(chan struct{}, maxStreams)},
		},
	}
}

// feedQuery is what a client wants of the feed.
type feedQuery struct {
	after  int64
	ahead  bool // the client may have seen more than what was up to after
	now    bool // begin at the end
	wanted func(nsid string) bool
}

// feedQueryOf reads what both forms of the feed are asked. resume is Last-Event-ID.
func (s *server) feedQueryOf(params url.Values, resume string) (q feedQuery, err error) {
	names, err := patternsOf("collection", params["collection"])
	if err != nil {
		return q, err
	}
	q.wanted = wantedBy(names)
	cursor, err := single(params, "cursor")
	if err != nil {
		return q, err
	}
	if resume != "" {
		cursor = resume
	}
	q.now = cursor == ""
	cursor, q.ahead = strings.CutSuffix(cursor, aheadMark)
	foreign := false
	if q.after, foreign, err = parseCursor(s.Store.IndexID(), cursor); foreign {
		return q, stale(errForeign)
	}
	return q, err
}

// aheadMark ends a cursor whose client may have seen later states than that behind which
// it goes on. Such a cursor is good until the next start, which may take these back.
const aheadMark = ".ahead"

func (s *server) feedCursor(seq int64, ahead bool) string {
	cursor := makeCursor(s.Store.IndexID(), seq)
	if ahead {
		cursor += aheadMark
	}
	return cursor
}

// wantedBy returns which collections are meant by names and patterns in order; nil if
// there are none of these.
func wantedBy(names []string) func(nsid string) bool {
	if len(names) == 0 {
		return nil
	}
	var prefixes []string
	for _, n := range names {
		if prefix, ok := strings.CutSuffix(n, "*"); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return func(nsid string) bool {
		_, named := slices.BinarySearch(names, nsid)
		return named || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(nsid, p) })
	}
}

// stale returns an error of a cursor with the way on in its message.
func stale(e *Error) *Error { return fail(e.Status, e.Name, "cursor: %s %s", e.Message, beginAnew) }

// changesPage reads a page of the feed, in one state of the file. It is complete before
// any of it is sent, so that a slow client holds no state of the file.
func (s *server) changesPage(ctx context.Context, q feedQuery, limit int) (page store.Changes, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err = s.Store.View(ctx, func(rx *store.Rx) (err error) {
		if q.now {
			page.More = true // listings are read next
			page.Last, err = rx.LastSeq()
			return err
		}
		page, err = rx.Changes(q.after, q.ahead, limit, q.wanted)
		return err
	})
	switch {
	case errors.Is(err, store.ErrPruned):
		err = stale(errTooOld)
	case errors.Is(err, store.ErrLost):
		err = stale(errLost)
	}
	return page, err
}

// changes answers /v1/changes.
func (s *server) changes(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	q, err := s.feedQueryOf(params, "")
	if err != nil {
		return nil, err
	}
	page, err := s.changesPage(r.Context(), q, limit)
	if err != nil {
		return nil, err
	}
	out := changesAnswer{Changes: make([]changeAnswer, len(page.List)), Cursor: s.feedCursor(page.Last, page.More), More: page.More && !q.now}
	for i := range page.List {
		out.Changes[i] = changeOf(&page.List[i])
	}
	return out, nil
}

func changeOf(c *store.Change) changeAnswer {
	a := changeAnswer{
		Seq: c.Seq, Time: c.Time.UTC().Format(time.RFC3339Nano), DID: c.DID, Collection: c.Collection, Visible: c.Visible, Cause: c.Cause,
	}
	if c.Collections != nil {
		a.Collections = &c.Collections
	}
	return a
}

const eventStream = "text/event-stream"

const (
	// maxStreams is how many streams there are at once.
	maxStreams = 100
	// streamPage is how many changes are written to a stream in one piece.
	streamPage = 500
	// heartbeat is how often a stream on which nothing happens says so.
	heartbeat = 15 * time.Second
	// streamTimeout is how long a client may take to receive a piece.
	streamTimeout = 30 * time.Second
	retryStreams  = 30 * time.Second
)

// changeStreams answers /v1/changes/stream.
type changeStreams struct {
	*server
	slots chan struct{} // one for each stream
	watch watch
}

// ServeHTTP writes events until the client goes, is too slow, or the service ends.
func (f *changeStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const label = "/v1/changes/stream"
	client := f.clients.of(r)
	q, err := f.begin(w.Header(), r, client)
	if err != nil {
		f.reply(w, r, label, ready{}, err)
		return
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		full := fail(http.StatusServiceUnavailable, "TooManyStreams", "%d streams are open, which is all that may be", maxStreams)
		full.retryAfter = retryStreams
		f.reply(w, r, label, ready{}, full)
		return
	}
	f.Metrics.Request(label, "200")
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	publicHeaders(h)
	h.Set("X-Accel-Buffering", "no") // or nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		f.follow(w, r, client, q)
	}
}

// begin reads the request, and refuses a cursor that does not lead on: once a stream has
// begun it has no status to say that with.
func (f *changeStreams) begin(h http.Header, r *http.Request, client *clientState) (q feedQuery, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return q, wrongMethod(r, http.MethodGet)
	}
	params, err := paramsOf(r)
	if err != nil {
		return q, err
	}
	if q, err = f.feedQueryOf(params, r.Header.Get("Last-Event-ID")); err != nil {
		return q, err
	}
	page, err := f.page(r.Context(), h, client, q, 1)
	if q.now {
		q.after, q.now = page.Last, false // and not ahead: a stream has seen nothing else
	}
	return q, err
}

// page is changesPage, which a stream pays for as other requests do.
func (f *changeStreams) page(ctx context.Context, h http.Header, client *clientState, q feedQuery, limit int) (store.Changes, error) {
	leave, err := f.admission.enter(ctx, h, client, limit)
	if err != nil {
		return store.Changes{}, err
	}
	defer leave()
	return f.changesPage(ctx, q, limit)
}

// follow writes the changes as they come. It begins with an id alone. Where it may not
// read on it ends, and the client resumes.
func (f *changeStreams) follow(w http.ResponseWriter, r *http.Request, client *clientState, q feedQuery) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // that of the request would end the connection
	f.watch.join(f.lastSeq)
	defer f.watch.leave()
	beat := time.NewTimer(0)
	defer beat.Stop()
	for due := true; ; {
		moved := f.watch.next() // before the page is read: what comes later is told
		page, err := f.page(r.Context(), make(http.Header), client, q, streamPage)
		if err != nil {
			return
		}
		q.after, q.ahead = page.Last, page.More
		if due || len(page.List) > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(streamTimeout))
			if _, err := w.Write(f.events(&page)); err != nil || c.Flush() != nil {
				return
			}
			due = false
			beat.Reset(heartbeat)
		}
		if page.More {
			moved = always
		}
		select {
		case <-moved:
		case <-beat.C:
			due = true
		case <-r.Context().Done():
			return
		case <-f.Closing:
			return
		}
	}
}

var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// events returns a page as events, the last of which is an id alone: the page's cursor.
func (f *changeStreams) events(page *store.Changes) []byte {
	var b []byte
	for i := range page.List {
		data, err := json.Marshal(changeOf(&page.List[i]))
		if err != nil {
			panic(err) // it is made of texts and numbers
		}
		b = fmt.Appendf(b, "id: %s\ndata: %s\n\n", f.feedCursor(page.List[i].Seq, true), data)
	}
	return fmt.Appendf(b, "id: %s\n\n", f.feedCursor(page.Last, page.More))
}

func (f *changeStreams) lastSeq(ctx context.Context) (last int64, err error) {
	err = f.Store.View(ctx, func(rx *store.Rx) (err error) {
		last, err = rx.LastSeq()
		return err
	})
	return last, err
}
