package store

import (
	"fmt"
	"strings"
	"time"

	"railyard/db"
)

// maxCounted bounds the entries that Distinct reads.
const maxCounted = 2_000_000

// ErrTooLarge is what Distinct returns for collections with too many members.
var ErrTooLarge = fmt.Errorf("more than %d members", maxCounted)

// Count is what a collection has, or those of a pattern together.
type Count struct {
	Collections int64 // that have members
	Members     int64 // visible; a repo counts once in each collection
}

// Counts returns what each of some collections or patterns has, in their order. It fails
// with ErrTooMany where a pattern stands for names without end.
func (rx *Rx) Counts(collections []string) ([]Count, error) {
	counts := make([]Count, len(collections))
	for i, c := range collections {
		prefix, pattern := strings.CutSuffix(c, ".*")
		if !pattern {
			rows, err := rx.q.MembersOf(rx.ctx, c)
			if err != nil {
				return nil, err
			}
			for _, members := range rows {
				counts[i] = Count{1, members}
			}
			continue
		}
		row, err := rx.q.MembersBelow(rx.ctx, db.MembersBelowParams{Prefix: prefix + ".", Behind: prefix + "/", Examined: maxNames})
		if err != nil {
			return nil, err
		}
		if row.Examined == maxNames {
			return nil, ErrTooMany
		}
		counts[i] = Count{row.Collections, row.Members}
	}
	return counts, nil
}

// Distinct returns how many repos are visible members of any of some collections or
// patterns. It reads their listings, and fails with ErrTooLarge where these are long,
// before it reads any, and with ErrTooMany where there are many.
func (rx *Rx) Distinct(collections []string) (int64, error) {
	ids, err := rx.matching(collections)
	if err != nil {
		return 0, err
	}
	counts, err := rx.Counts(collections)
	if err != nil {
		return 0, err
	}
	var entries, most int64
	for _, c := range counts {
		entries, most = entries+c.Members, max(most, c.Members)
	}
	if len(ids) == 1 {
		return most, nil
	}
	if entries > maxCounted {
		return 0, ErrTooLarge
	}
	repos := make(map[int64]struct{}, entries/2)
	for _, id := range ids {
		s := &source{rx: rx, id: id, piece: maxPiece}
		for {
			more, err := s.next()
			if err != nil {
				return 0, err
			}
			if !more {
				break
			}
			repos[s.RepoID] = struct{}{}
		}
	}
	return int64(len(repos)), nil
}

// Step is what a collection had at the end of an hour or a day, and what came and went in
// it.
type Step struct {
	Start          time.Time
	Members        int64
	Births, Deaths int64
}

// History is what became of a collection.
type History struct {
	Since time.Time // the first step of which there are figures; zero = there are none
	Steps []Step
}

// History returns the steps of a collection, or of the listing of all repos if it is "",
// from the one that from lies in up to the one that upto lies in. A step is an hour or a
// day, by UTC. Those before the first figures are left out.
func (rx *Rx) History(collection string, from, upto time.Time, step time.Duration) (History, error) {
	rows, err := rx.q.CollectionSince(rx.ctx, collection)
	if err != nil || len(rows) == 0 || rows[0].Hour == 0 {
		return History{}, err
	}
	c, hours := rows[0], int64(step/time.Hour)
	since := c.Hour / hours
	first, last := max(from.Unix()/3600/hours, since), upto.Unix()/3600/hours
	h := History{Since: startOf(since, hours)}
	if last < first {
		return h, nil
	}
	changes, err := rx.q.ChangesFrom(rx.ctx, db.ChangesFromParams{CollectionID: c.ID, FromHour: first * hours, Hours: hours})
	if err != nil {
		return History{}, err
	}
	h.Steps = make([]Step, last-first+1)
	members := c.Members
	for n, i := last, len(changes)-1; n >= first; n-- {
		for ; i >= 0 && changes[i].Step > n; i-- {
			members += changes[i].Deaths - changes[i].Births
		}
		s := Step{Start: startOf(n, hours), Members: members}
		if i >= 0 && changes[i].Step == n {
			s.Births, s.Deaths = changes[i].Births, changes[i].Deaths
		}
		h.Steps[n-first] = s
	}
	return h, nil
}

func startOf(step, hours int64) time.Time { return time.Unix(step*hours*3600, 0).UTC() }
