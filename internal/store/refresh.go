package store

import (
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// agedPiece is how many identities are looked through at once.
const agedPiece = 20_000

// Aged returns up to n repos in service behind the id after, in the order of their
// ids, whose identity is of before a time and that wait for no attempt: onlyWeb leaves
// out those of the PLC directory. next is where to go on; 0 = from the beginning.
//
// A caller that goes on from there each time meets the oldest identities first,
// because they were refreshed in this order the last time.
func (rx *Rx) Aged(after int64, before time.Time, onlyWeb bool, n int) (repos []int64, next int64, err error) {
	upto, err := rx.q.IdentityPiece(rx.ctx, db.IdentityPieceParams{After: after, MaxRows: agedPiece})
	if err != nil || upto == 0 {
		return nil, 0, err
	}
	repos, err = rx.q.AgedIdentities(rx.ctx, db.AgedIdentitiesParams{
		After: after, Upto: upto, Before: before.UnixMicro(), OnlyWeb: flag(onlyWeb), MaxRows: int64(n),
	})
	if len(repos) == n {
		upto = repos[n-1]
	}
	return repos, upto, err
}

// Backlog reports whether rows that are no mere background work were due at the
// directory, or at a host of did:web, before a time, and nobody has taken them.
func (rx *Rx) Backlog(before time.Time) (bool, error) {
	for _, host := range []int64{WebQueue, DirectoryQueue} {
		for p := repostate.PriorityLive; p < repostate.PriorityBackground; p++ {
			at, err := rx.q.FirstDue(rx.ctx, db.FirstDueParams{Host: host, Priority: p})
			if err != nil || at < before.UnixMicro() {
				return err == nil, err
			}
		}
	}
	return false, nil
}
