package api

import (
	"net/http"

	"railyard/internal/store"
)

type repoRef struct {
	DID string `json:"did"`
}

type repoPage struct {
	Repos  []repoRef `json:"repos"`
	Cursor string    `json:"cursor,omitempty"`
}

// listReposByCollection answers com.atproto.sync.listReposByCollection: the repos
// with a record in any of the collections, or all of them. They come in the order
// in which they became visible, so that a client who keeps its last cursor gets
// only newcomers later. A page that is not empty carries a cursor; an empty one
// means the end for now and carries none.
func (s *server) listReposByCollection(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	nsids, err := nsidsOf("collection", params["collection"])
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
	var page store.Page
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		page, err = rx.List(nsids, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := repoPage{Repos: make([]repoRef, len(page.DIDs))}
	for i, did := range page.DIDs {
		out.Repos[i].DID = did
	}
	if len(page.DIDs) > 0 {
		out.Cursor = makeCursor(s.Store.IndexID(), page.Last)
	}
	return out, nil
}
