package store

import "railyard/db"

// idlePiece is how many repos are looked through at once.
const idlePiece = 20_000

// LastRepoID returns the highest id of a repo, 0 if there is none.
func (rx *Rx) LastRepoID() (int64, error) { return rx.q.LastRepoID(rx.ctx) }

// IdleAmong returns those of the ids that are of idle repos, in no order.
// An id need not be that of a repo.
func (rx *Rx) IdleAmong(ids []int64) ([]int64, error) {
	return rx.q.IdleAmong(rx.ctx, jsonIDs(ids))
}

// IdleAfter returns, in the order of their ids, the idle repos of the next piece of
// repos behind the id after. next is where to go on; 0 = there are no more.
func (rx *Rx) IdleAfter(after int64) (idle []int64, next int64, err error) {
	return rx.idleAfter(after, idlePiece)
}

func (rx *Rx) idleAfter(after, piece int64) (idle []int64, next int64, err error) {
	upto, err := rx.q.RepoPiece(rx.ctx, db.RepoPieceParams{After: after, MaxRows: piece})
	if err != nil || upto == 0 {
		return nil, 0, err
	}
	idle, err = rx.q.IdleBetween(rx.ctx, db.IdleBetweenParams{After: after, Upto: upto})
	return idle, upto, err
}
