package store

import (
	"railyard/db"
)

// Page is one page of a listing of repos.
type Page struct {
	DIDs []string
	Last int64 // birth number to go on after; 0 if DIDs is empty
}

// List returns up to limit visible repos, in the order of their birth numbers,
// after a birth number: those with a record in any of the collections, or all of
// them if no collection is given. A repo comes once, at the first of its births
// among the collections.
func (rx *Rx) List(nsids []string, after int64, limit int) (Page, error) {
	after = max(after, 0) // invisible rows have negative numbers
	switch len(nsids) {
	case 0:
		rows, err := rx.q.PageOfRepos(rx.ctx, db.PageOfReposParams{After: after, MaxRows: int64(limit)})
		return pageOf(rows, func(r db.PageOfReposRow) (int64, string) { return r.Seq, r.DID }), err
	case 1:
		rows, err := rx.q.PageOfCollection(rx.ctx, db.PageOfCollectionParams{NSID: nsids[0], After: after, MaxRows: int64(limit)})
		return pageOf(rows, func(r db.PageOfCollectionRow) (int64, string) { return r.Seq, r.DID }), err
	}
	return rx.union(nsids, after, limit)
}

func pageOf[R any](rows []R, of func(R) (int64, string)) Page {
	p := Page{DIDs: make([]string, len(rows))}
	for i, row := range rows {
		p.Last, p.DIDs[i] = of(row)
	}
	return p
}

const (
	unionChunk  = 1000    // rows that are read at once, or more if more are asked for
	unionSorted = 200_000 // but not more than so many over all collections
)

// union merges collections. Rows of repos that were listed before, under an
// older birth, are read and passed over until the page is full: a page is empty
// only at the end.
func (rx *Rx) union(nsids []string, after int64, limit int) (Page, error) {
	ids, err := rx.q.CollectionIDs(rx.ctx, jsonTexts(nsids))
	if err != nil {
		return Page{}, err
	}
	if len(ids) == 0 {
		return Page{}, nil
	}
	var p Page
	// Each read sorts this many rows of each collection.
	chunk := max(1, min(max(limit, unionChunk), unionSorted/len(ids)))
	for len(p.DIDs) < limit {
		rows, err := rx.q.PageOfCollections(rx.ctx, db.PageOfCollectionsParams{
			Ids: jsonIDs(ids), After: after, MaxRows: int64(chunk),
		})
		if err != nil || len(rows) == 0 {
			return p, err
		}
		for _, row := range rows {
			after = row.Seq
			if row.ListedBefore == 1 {
				continue
			}
			p.DIDs, p.Last = append(p.DIDs, row.DID), row.Seq
			if len(p.DIDs) == limit {
				return p, nil
			}
		}
	}
	return p, nil
}

// piece is how many rows VisibleRows reads at once.
const piece = 5000

// VisibleRows returns every visible membership, and every listed repo under the
// empty collection.
func (rx *Rx) VisibleRows(row func(nsid, did string)) error {
	collection, seq := int64(0), int64(0)
	for {
		rows, err := rx.q.VisibleRows(rx.ctx, db.VisibleRowsParams{CollectionID: collection, After: seq, MaxRows: piece})
		if err != nil {
			return err
		}
		for _, r := range rows {
			collection, seq = r.CollectionID, r.Seq
			row(r.NSID, r.DID)
		}
		if len(rows) < piece {
			break
		}
	}
	for after := int64(0); ; {
		page, err := rx.List(nil, after, piece)
		if err != nil || len(page.DIDs) == 0 {
			return err
		}
		for _, did := range page.DIDs {
			row("", did)
		}
		after = page.Last
	}
}
