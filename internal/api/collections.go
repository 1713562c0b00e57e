package api

import (
	"net/http"

	"railyard/internal/atproto"
	"railyard/internal/store"
)

// maxNSID is the longest name of a collection (spec: nsid).
const maxNSID = 317

type collectionsAnswer struct {
	Collections map[string]int64 `json:"collections" doc:"How many repos have records in each."`
	Cursor      string           `json:"cursor" doc:"The last name; empty at the end."`
}

// listCollections answers /v1/listCollections as Bluesky's collectiondir does: a
// map of collections to the number of repos that have records in them. Given c,
// once or several times, it is about those collections alone, whatever limit and
// cursor say, and unknown ones are left out. Otherwise pages come in the order of
// the names, and the cursor is the last name, so that one of collectiondir goes on
// here.
//
// It differs from collectiondir in this:
//   - counts are those of the last commit and of visible repos only, and stalesec
//     means nothing; collectiondir's are up to five minutes old and never fall;
//   - a page ends at its limit, where collectiondir's holds all the rest, and may be
//     short or empty before the end: the end is where the cursor is "";
//   - collections with fewer than five members are listed, and no words are barred;
//   - limit is 1 to 10,000 and anything else is refused; collectiondir takes what
//     lies outside 50 to 1,000 for the bound and what is no number for the default;
//   - c is refused if it is no NSID or comes more than a hundred times, and so is a
//     cursor that is no NSID;
//   - the error is InvalidRequest, as XRPC has it, not BadRequest.
func (s *server) listCollections(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	if params.Has("c") {
		return s.countsOf(r, params["c"])
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	after, err := single(params, "cursor")
	if err != nil {
		return nil, err
	}
	if len(after) > maxNSID {
		return nil, badRequest("cursor of %d bytes: not one of this service", len(after))
	}
	if after != "" {
		if _, err := atproto.ParseNSID(after); err != nil {
			return nil, badRequest("cursor %q: not one of this service", atproto.Clip(after))
		}
	}
	var out collectionsAnswer
	err = s.Store.View(r.Context(), func(rx *store.Rx) error {
		page, next, err := rx.Collections(after, limit)
		out = collectionsAnswer{Collections: countsByName(page), Cursor: next}
		return err
	})
	return out, err
}

func (s *server) countsOf(r *http.Request, values []string) (any, error) {
	nsids, err := nsidsOf("c", values)
	if err != nil {
		return nil, err
	}
	var counts []store.Collection
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		counts, err = rx.CollectionsNamed(nsids)
		return err
	})
	return collectionsAnswer{Collections: countsByName(counts)}, err
}

func countsByName(list []store.Collection) map[string]int64 {
	counts := make(map[string]int64, len(list))
	for _, c := range list {
		counts[c.NSID] = c.Members
	}
	return counts
}

// getDidsForCollection answers /v1/getDidsForCollection, collectiondir's other
// name for listReposByCollection. There it wants a collection; here several are a
// union too.
func (s *server) getDidsForCollection(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err == nil && len(params["collection"]) == 0 {
		return nil, badRequest("collection: missing")
	}
	return s.listReposByCollection(r) // which refuses a query that cannot be read
}
