package api

import (
	"errors"
	"net/http"
	"slices"

	"railyard/internal/store"
)

// listReposByCollection answers com.atproto.sync.listReposByCollection: the repos
// with a record in any of the collections, or all of them. They come in the order
// in which they became visible, so that a client who keeps its last cursor gets
// only newcomers later. A page that is not empty carries a cursor; an empty one
// means the end for now and carries none.
//
// "app.example.*" stands for every collection whose name begins with "app.example.",
// those too that come later.
func (s *server) listReposByCollection(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	collections, err := patternsOf("collection", params["collection"])
	if err != nil {
		return nil, err
	}
	cursor, err := single(params, "cursor")
	if err != nil {
		return nil, err
	}
	after, foreign, err := parseCursor(s.Store.IndexID(), cursor)
	if err != nil {
		return nil, err
	}
	if foreign {
		s.Metrics.ForeignCursor()
	}
	out, err := s.page(r, func(rx *store.Rx, page *store.Page) error { return rx.List(page, collections, after, limit) })
	if errors.Is(err, store.ErrTooMany) {
		return nil, badRequest("collection: the patterns match %v with repos, or names without end", err)
	}
	return out, err
}

// page answers with a page of repos that fill reads.
func (s *server) page(r *http.Request, fill func(*store.Rx, *store.Page) error) (ready, error) {
	page, _ := s.pages.Get().(*store.Page)
	if page == nil {
		page = new(store.Page)
	}
	defer s.pages.Put(page)
	if err := s.Store.View(r.Context(), func(rx *store.Rx) error { return fill(rx, page) }); err != nil {
		return ready{}, err
	}
	body, _ := s.bodies.Get().(*[]byte)
	if body == nil {
		body = new([]byte)
	}
	*body = s.encode((*body)[:0], page)
	return ready{kind: jsonKind, body: *body, done: func() { s.bodies.Put(body) }}, nil
}

// encode appends a page as a listingAnswer in JSON. DIDs and cursors have no character
// that JSON escapes.
func (s *server) encode(b []byte, page *store.Page) []byte {
	const head, before, between, end = `{"repos":[`, `{"did":"`, `"},`, `],"cursor":""}`
	n := page.Len()
	b = slices.Grow(b, len(head)+page.Bytes()+n*len(before+between)+len(end)+maxCursor)
	b = append(b, head...)
	for i := range n {
		b = append(b, before...)
		b = append(b, page.DID(i)...)
		b = append(b, between...)
	}
	if n == 0 {
		return append(b, `]}`...)
	}
	b = append(b[:len(b)-1], `],"cursor":"`...)
	b = append(b, makeCursor(s.Store.IndexID(), page.Last)...)
	return append(b, `"}`...)
}
