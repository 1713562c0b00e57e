package resync

import (
	"time"

	"railyard/internal/pds"
	"railyard/internal/store"
)

// endStatus: the named host has said what the account is. Whoever doubted the
// status may know of another host: an account that moved unheard lives on at the old
// one. So the word counts only under a document of this moment, whatever it is.
func (rs *Resyncer) endStatus(tx *store.Tx, t *store.Task, r *store.Repo, st *pds.AccountStatus) (Outcome, error) {
	if err := tx.StatusChecked(r); err != nil {
		return "", err
	}
	if err := tx.HostAnswered(r.Identity.HostID); err != nil {
		return "", err
	}
	if fresh, err := rs.fresh(tx, t, r); err != nil || !fresh {
		return superseded, err // the question stands
	}
	if err := tx.Asked(r); err != nil {
		return "", err
	}
	if err := tx.Missing(r, time.Time{}); err != nil {
		return "", err
	}
	switch {
	case !st.Active:
		return gone, rs.leave(tx, t, r, st.Status)
	case r.Active && r.State == store.Synchronized:
		return confirmed, rs.done(tx, t, r)
	case !r.Active:
		if err := tx.SetActive(r); err != nil {
			return "", err
		}
	}
	return reactivated, tx.Retry(r, store.Reactivated, tx.Now(), false, false)
}
