package store

import (
	"database/sql"
	"errors"

	"railyard/db"
)

// Page is one page of a listing of repos.
type Page struct {
	DIDs []string
	Last int64 // birth number to go on after; 0 if DIDs is empty
}

// List gives up to limit visible repos, in the order of their birth numbers,
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

// union merges collections. Rows of repos that were listed before, under an
// older birth, are read and passed over until the page is full: a page is empty
// only at the end.
func (rx *Rx) union(nsids []string, after int64, limit int) (Page, error) {
	ids, err := rx.q.CollectionIDs(rx.ctx, jsonTexts(nsids))
	if err != nil {
		return Page{}, err
	}
	var p Page
	for len(p.DIDs) < limit {
		rows, err := rx.q.PageOfCollections(rx.ctx, db.PageOfCollectionsParams{
			Ids: jsonIDs(ids), After: after, MaxRows: int64(limit),
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

// Stats are the figures of the file.
type Stats struct {
	Repos        map[State]int64
	Active       int64 // repos whose account is active
	Memberships  int64 // visible rows
	Collections  int64 // with at least one visible member
	Waiting      int64 // rows of the queue whose repo is wrong or unproven today
	WaitingLater int64 // second looks, sweeps, proofs
	Upstreams    []Upstream
}

// Stats reads the figures.
func (rx *Rx) Stats() (Stats, error) {
	st := Stats{Repos: make(map[State]int64)}
	tally, err := rx.q.RepoTally(rx.ctx)
	if err != nil {
		return st, err
	}
	for _, t := range tally {
		st.Repos[State(t.State)] = t.Repos
		st.Active += t.Active
	}
	m, err := rx.q.MembershipTally(rx.ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, err
	}
	st.Memberships, st.Collections = m.Memberships, m.Collections
	queue, err := rx.q.QueueTally(rx.ctx)
	if err != nil {
		return st, err
	}
	for _, q := range queue {
		if q.Background == 1 {
			st.WaitingLater = q.Waiting
		} else {
			st.Waiting = q.Waiting
		}
	}
	st.Upstreams, err = rx.Upstreams()
	return st, err
}
