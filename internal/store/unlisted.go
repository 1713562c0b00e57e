package store

import (
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// InService is a repo that the file takes to be in service.
type InService struct {
	ID   int64
	Sure time.Time // when its host was last asked for it
}

// LastRepo returns the highest id of a repo: those that are found from now on have
// higher ones.
func (rx *Rx) LastRepo() (int64, error) { return rx.q.LastRepo(rx.ctx) }

// listSpan is how many repos are read in one piece.
const listSpan = 10_000

// InService returns the repos in service of a host, or of all hosts if it is 0, in one
// piece: those after an id and not above most. next is where the following piece
// begins, 0 at the end.
func (rx *Rx) InService(host, after, most int64) (served []InService, next int64, err error) {
	if host == 0 {
		return rx.inServiceOfAll(after, most)
	}
	rows, err := rx.q.ReposInServiceOfHost(rx.ctx, db.ReposInServiceOfHostParams{HostID: host, After: after, MaxRows: listSpan})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if row.ID > most {
			return served, 0, nil
		}
		served, next = appendRepo(served, db.ReposInServiceRow(row)), row.ID
	}
	if len(rows) < listSpan {
		next = 0
	}
	return served, next, nil
}

func (rx *Rx) inServiceOfAll(after, most int64) (served []InService, next int64, err error) {
	until := min(after+listSpan, most)
	rows, err := rx.q.ReposInService(rx.ctx, db.ReposInServiceParams{After: after, Until: until})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		served = appendRepo(served, row)
	}
	if until < most {
		next = until
	}
	return served, next, nil
}

// appendRepo leaves out who waits for a fetch or is inactive: it is asked about
// anyhow, or is not expected in a listing.
func appendRepo(served []InService, row db.ReposInServiceRow) []InService {
	if repostate.State(row.State) != repostate.Synchronized || row.Active != 1 {
		return served
	}
	return append(served, InService{ID: row.ID, Sure: time.UnixMicro(row.SureAt)})
}
