package store

import (
	"errors"
	"time"

	"railyard/db"
)

// maxFeedWork bounds what a page of the change feed is made of: changes that are looked
// at, and collections of repos.
const maxFeedWork = 20_000

// changesAtOnce is how many changes are read in a piece.
const changesAtOnce = 500

// Errors of Changes about the number to go on after. What a client has by it is no earlier
// state of this file of which all later changes are known.
var (
	ErrPruned = errors.New("later changes are not kept any more")
	ErrLost   = errors.New("a power cut or a restore took it back")
)

// Change is one change of what is listed. A client that has every row of an earlier state
// has those of the newer one when it has applied all changes behind it in their order.
type Change struct {
	Seq     int64
	Time    time.Time
	DID     string
	Visible bool // what it became
	Cause   string
	// Collection that the repo gained or lost; empty means the whole repo: Collections
	// take the place of all that it had.
	Collection string
	// Collections are those of a whole repo that is visible, in the state of the file that
	// was read. That state may be later than the change: whatever came between has changes
	// of its own further on, after which the set is the same.
	Collections []string
}

// Changes is a page of the change feed.
type Changes struct {
	List []Change
	Last int64 // number to go on after
	More bool  // there may be more of them already
}

// LastSeq returns the last number that was given, behind which are all changes to come.
func (rx *Rx) LastSeq() (int64, error) { return rx.q.LastSeq(rx.ctx) }

// Changes returns up to limit changes after a number, in their order. wanted says of which
// collections they are wanted; nil means all. A whole repo that is visible then comes with
// the wanted ones, and not at all if it has none; one that has become invisible comes in
// any case, since nobody knows what it had.
//
// At the end Last is LastSeq, so that who goes on is not too late only because nothing
// happened. The page may be short, or empty, before the end.
//
// ahead says that the client may have seen later states than that of the number: More was
// true, or it has read listings since. Then a start since then is an ErrLost, too, since it
// may have taken those states back.
func (rx *Rx) Changes(after int64, ahead bool, limit int, wanted func(nsid string) bool) (Changes, error) {
	bounds, err := rx.q.FeedBounds(rx.ctx, after)
	switch {
	case err != nil:
		return Changes{}, err
	case after < bounds.ChangesAfter:
		return Changes{}, ErrPruned
	case after > bounds.LastSeq, after < bounds.LeapEnd, ahead && bounds.LeapsBehind:
		return Changes{}, ErrLost
	}
	page := Changes{Last: after, More: true}
	for work := 0; len(page.List) < limit && work < maxFeedWork; {
		rows, err := rx.q.ChangesAfter(rx.ctx, db.ChangesAfterParams{After: page.Last, MaxRows: changesAtOnce})
		if err != nil {
			return Changes{}, err
		}
		for i := range rows {
			if len(page.List) == limit || work >= maxFeedWork {
				return page, nil
			}
			c, cost, err := rx.change(&rows[i], wanted)
			if err != nil {
				return Changes{}, err
			}
			work += cost
			page.Last = rows[i].Seq
			if c != nil {
				page.List = append(page.List, *c)
			}
		}
		if len(rows) < changesAtOnce {
			page.Last, page.More = bounds.LastSeq, false
			break
		}
	}
	return page, nil
}

// change returns the change of a row, nil if it is not wanted, and what it cost.
func (rx *Rx) change(row *db.ChangesAfterRow, wanted func(string) bool) (c *Change, cost int, err error) {
	c = &Change{
		Seq: row.Seq, Time: time.UnixMicro(row.ChangedAt), DID: row.DID, Visible: row.Visible != 0,
		Cause: causeWords[row.Cause], Collection: row.NSID,
	}
	switch {
	case c.Collection != "":
		if wanted != nil && !wanted(c.Collection) {
			return nil, 1, nil
		}
		return c, 1, nil
	case !c.Visible:
		return c, 1, nil
	}
	set, err := rx.q.VisibleSet(rx.ctx, row.RepoID)
	c.Collections = make([]string, 0, len(set))
	for _, nsid := range set {
		if wanted == nil || wanted(nsid) {
			c.Collections = append(c.Collections, nsid)
		}
	}
	if wanted != nil && len(c.Collections) == 0 {
		return nil, 1 + len(set), err
	}
	return c, 1 + len(set), err
}
