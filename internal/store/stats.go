package store

import (
	"database/sql"
	"errors"
	"railyard/internal/repostate"
)

// Stats are the figures of the file.
type Stats struct {
	Repos        map[repostate.State]int64
	Active       int64 // repos whose account is active
	Memberships  int64 // visible rows
	Collections  int64 // with at least one visible member
	Waiting      int64 // rows of the queue whose repo is wrong or unproven today
	WaitingLater int64 // later checks, missed revs, proofs
	Upstreams    []Upstream
}

// Stats reads the figures.
func (rx *Rx) Stats() (Stats, error) {
	st := Stats{Repos: make(map[repostate.State]int64)}
	tally, err := rx.q.RepoTally(rx.ctx)
	if err != nil {
		return st, err
	}
	for _, t := range tally {
		st.Repos[repostate.State(t.State)] = t.Repos
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
		if q.Priority == repostate.PriorityBackground {
			st.WaitingLater = q.Waiting
		} else {
			st.Waiting += q.Waiting
		}
	}
	st.Upstreams, err = rx.Upstreams()
	return st, err
}
