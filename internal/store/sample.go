package store

import "railyard/db"

// restingPiece is how many repos are looked through at once.
const restingPiece = 20_000

// LastRepoID returns the highest id of a repo, 0 if there is none.
func (rx *Rx) LastRepoID() (int64, error) { return rx.q.LastRepoID(rx.ctx) }

// RestingAmong returns those of the ids that are of repos that rest, in no order.
// An id need not be that of a repo.
func (rx *Rx) RestingAmong(ids []int64) ([]int64, error) {
	return rx.q.RestingAmong(rx.ctx, jsonIDs(ids))
}

// RestingAfter gives, in the order of their ids, the repos that rest of the next
// piece of repos behind the id after. next is where to go on; 0 = there are no more.
func (rx *Rx) RestingAfter(after int64) (resting []int64, next int64, err error) {
	return rx.restingAfter(after, restingPiece)
}

func (rx *Rx) restingAfter(after, piece int64) (resting []int64, next int64, err error) {
	upto, err := rx.q.RepoPiece(rx.ctx, db.RepoPieceParams{After: after, MaxRows: piece})
	if err != nil || upto == 0 {
		return nil, 0, err
	}
	resting, err = rx.q.RestingBetween(rx.ctx, db.RestingBetweenParams{After: after, Upto: upto})
	return resting, upto, err
}
