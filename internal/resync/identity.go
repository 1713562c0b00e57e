package resync

import (
	"context"
	"errors"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// endResolve stores what the DID document says. A changed key or host takes the
// repo out of service until it was fetched from there; the row goes on with the
// next step, in its place.
func (rs *Resyncer) endResolve(tx *store.Tx, t *store.Task, r *store.Repo, res *result, current bool) (Outcome, error) {
	if err := rs.judgeDirectory(tx, t, res.err); err != nil {
		return "", err
	}
	if res.err != nil {
		return rs.unresolved(tx, t, r, res.err, current)
	}
	changed, err := tx.PutIdentity(r, string(res.identity.Key), res.identity.Host, res.identity.Insecure)
	if err != nil {
		return "", err
	}
	looks := max(0, t.Looks-1)
	if changed {
		looks = 0
	}
	if err := tx.SetLooks(r, looks); err != nil {
		return "", err
	}
	if err := tx.Unresolved(r, time.Time{}); err != nil {
		return "", err
	}
	if changed {
		return resolved, rs.moved(tx, r)
	}
	if t.Doubted { // an #identity came during the look: another one, but no faster
		return resolved, tx.Release(r, tx.Now().Add(doubtPause))
	}
	return resolved, tx.Release(r, t.Due)
}

// judgeDirectory notes whether the PLC directory has answered. One that fails is left
// alone for as long as it says, or longer and longer.
func (rs *Resyncer) judgeDirectory(tx *store.Tx, t *store.Task, err error) error {
	u, unavailable := errors.AsType[*identity.Unavailable](err)
	switch {
	case t.HostID != store.DirectoryQueue || errors.Is(err, context.Canceled):
		return nil
	case !unavailable:
		return tx.HostAnswered(store.DirectoryQueue)
	}
	failures, err := tx.HostFailed(store.DirectoryQueue, tx.Now(), u.Error())
	if err != nil {
		return err
	}
	pause := u.RetryAfter
	if pause <= 0 && failures >= hostPatience {
		pause = backoff.Delay(directoryFirst, directoryMost, failures-hostPatience)
	}
	if pause <= 0 {
		return nil
	}
	return tx.CoolHost(store.DirectoryQueue, tx.Now().Add(min(pause, cooldownMost)))
}

// moved: signing key or host are others now.
func (rs *Resyncer) moved(tx *store.Tx, r *store.Repo) error {
	did := r.DID
	tx.AfterCommit(func() { rs.cfg.KeyChanged(did) })
	if err := tx.Moved(r); err != nil {
		return err
	}
	return tx.Release(r, tx.Now())
}

// unresolved keeps what is known: a document of yesterday beats none.
func (rs *Resyncer) unresolved(tx *store.Tx, t *store.Task, r *store.Repo, cause error, current bool) (Outcome, error) {
	if err := tx.MarkStale(r); err != nil {
		return "", err
	}
	if errors.Is(cause, context.Canceled) {
		return cancelled, tx.Release(r, tx.Now())
	}
	if !current {
		return superseded, rs.supersede(tx, t, r)
	}
	e, refused := errors.AsType[*refusal.Error](cause)
	if refused {
		if err := rs.refused(tx, r, e); err != nil {
			return "", err
		}
	}
	u, unavailable := errors.AsType[*identity.Unavailable](cause)
	switch {
	case unavailable: // perhaps because it was too slow, which is a refusal too
		after := max(backoff.Delay(retryFirst, retryMost, t.Attempts), min(u.RetryAfter, time.Hour))
		return identityFailed, rs.again(tx, t, r, cause, after)
	case errors.Is(cause, identity.ErrNoDocument):
		return identityFailed, rs.vanished(tx, t, r)
	case !refused:
		return identityFailed, rs.again(tx, t, r, cause, backoff.Delay(retryFirst, retryMost, t.Attempts))
	}
	return identityFailed, rs.again(tx, t, r, cause, backoff.Delay(brokenFirst, brokenMost, t.Attempts))
}

// vanished: the directory has no document of a DID. A replica may lag, so it is
// asked once more. Then a DID that it once had is tombstoned, and its account
// deleted (spec: did:plc; account); one that it never had was invented, and leaves
// no row behind.
func (rs *Resyncer) vanished(tx *store.Tx, t *store.Task, r *store.Repo) error {
	if err := tx.SetError(r, "the directory has no document of this DID"); err != nil {
		return err
	}
	believed, err := saidTwice(tx, r, t.Unresolved, tx.Unresolved)
	if err != nil || !believed {
		return err
	}
	if r.Identity == nil {
		_, err := tx.Vanish(r)
		return err
	}
	if err := tx.StatusChecked(r); err != nil { // its late commits ask for no more
		return err
	}
	return tx.Leave(r, "deleted")
}
