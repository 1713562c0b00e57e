package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"railyard/internal/atproto"
	"railyard/internal/store"
)

const (
	defaultLimit   = 500
	maxLimit       = 10_000
	maxCollections = 100 // of one query
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
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		// Without the part that cannot be read, this would be another question.
		return nil, badRequest("query: %v", err)
	}
	limit, err := limitOf(params["limit"])
	if err != nil {
		return nil, err
	}
	nsids, err := collectionsOf(params["collection"])
	if err != nil {
		return nil, err
	}
	if len(params["cursor"]) > 1 {
		return nil, badRequest("cursor: given %d times", len(params["cursor"]))
	}
	after, foreign, err := parseCursor(s.Store.IndexID(), params.Get("cursor"))
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

func limitOf(values []string) (int, error) {
	switch {
	case len(values) == 0 || (len(values) == 1 && values[0] == ""):
		return defaultLimit, nil
	case len(values) > 1:
		return 0, badRequest("limit: given %d times", len(values))
	}
	n, err := strconv.Atoi(values[0])
	if err != nil {
		return 0, badRequest("limit %q: not a whole number", clip(values[0]))
	}
	if n < 1 || n > maxLimit {
		return 0, badRequest("limit %d: not between 1 and %d", n, maxLimit)
	}
	return n, nil
}

func collectionsOf(values []string) ([]string, error) {
	if len(values) > maxCollections {
		return nil, badRequest("collection: given %d times, at most %d", len(values), maxCollections)
	}
	for _, v := range values {
		if _, err := atproto.ParseNSID(v); err != nil {
			return nil, badRequest("collection %q: not an NSID", clip(v))
		}
	}
	nsids := slices.Clone(values)
	slices.Sort(nsids)
	return slices.Compact(nsids), nil
}
