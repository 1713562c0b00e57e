package store

import (
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// Held is a repo that the file takes to be in service.
type Held struct {
	ID   int64
	Sure time.Time // when its host was last asked for it
}

// LastRepo returns the highest id of a repo: those that are found from now on have
// higher ones.
func (rx *Rx) LastRepo() (int64, error) { return rx.q.LastRepo(rx.ctx) }

// heldSpan is how many repos are read in one piece.
const heldSpan = 10_000

// Held returns the repos in service of a host, or of all hosts if it is 0, in one
// piece: those after an id and not above most. next is where the following piece
// begins, 0 at the end.
func (rx *Rx) Held(host, after, most int64) (held []Held, next int64, err error) {
	if host == 0 {
		return rx.heldOfAll(after, most)
	}
	rows, err := rx.q.HeldReposOfHost(rx.ctx, db.HeldReposOfHostParams{HostID: host, After: after, MaxRows: heldSpan})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if row.ID > most {
			return held, 0, nil
		}
		held, next = appendHeld(held, db.HeldReposRow(row)), row.ID
	}
	if len(rows) < heldSpan {
		next = 0
	}
	return held, next, nil
}

func (rx *Rx) heldOfAll(after, most int64) (held []Held, next int64, err error) {
	until := min(after+heldSpan, most)
	rows, err := rx.q.HeldRepos(rx.ctx, db.HeldReposParams{After: after, Until: until})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		held = appendHeld(held, row)
	}
	if until < most {
		next = until
	}
	return held, next, nil
}

// appendHeld leaves out who waits for a fetch or is inactive: it is looked at
// anyhow, or is not expected in a listing.
func appendHeld(held []Held, row db.HeldReposRow) []Held {
	if repostate.State(row.State) != repostate.Synchronized || row.Active != 1 {
		return held
	}
	return append(held, Held{ID: row.ID, Sure: time.UnixMicro(row.SureAt)})
}
