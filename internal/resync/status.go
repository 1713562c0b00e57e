package resync

import (
	"time"

	"railyard/internal/pds"
	"railyard/internal/store"
)

// endStatus: the named host has said what the account is.
func (rs *Resyncer) endStatus(tx *store.Tx, t *store.Task, r *store.Repo, st *pds.AccountStatus) (Outcome, error) {
	if err := tx.StatusChecked(r); err != nil {
		return "", err
	}
	if err := tx.HostAnswered(r.Identity.HostID); err != nil {
		return "", err
	}
	if !st.Active {
		if fresh, err := rs.fresh(tx, t, r); err != nil || !fresh {
			return gone, err // the question stands
		}
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
