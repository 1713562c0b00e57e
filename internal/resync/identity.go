package resync

import (
	"context"
	"errors"
	"time"

	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// endResolve stores what the DID document says. A changed key or host takes the
// repo out of service until it was fetched from there; the row goes on with the
// next step.
func (rs *Resyncer) endResolve(tx *store.Tx, t *store.Task, r *store.Repo, end ending, current bool) (Outcome, error) {
	if end.err != nil {
		return rs.unresolved(tx, t, r, end.err, current)
	}
	known := r.Identity != nil
	changed, err := tx.PutIdentity(r, string(end.identity.Key), end.identity.Host, end.identity.Insecure)
	if err != nil {
		return "", err
	}
	if changed {
		return resolved, rs.moved(tx, r)
	}
	idle := r.Active && r.State == store.Synchronized && t.Reason == store.IdentityCheck
	switch {
	case !idle || !current:
		return resolved, tx.Release(r, tx.Now())
	case known && t.Attempts == 0:
		if err := tx.MarkStale(r); err != nil {
			return "", err
		}
		return confirmed, tx.Retry(r, store.IdentityCheck, tx.Now().Add(identitySecond), true, true)
	default:
		return confirmed, rs.done(tx, t, r)
	}
}

// moved: signing key or host are others now.
func (rs *Resyncer) moved(tx *store.Tx, r *store.Repo) error {
	did := r.DID
	tx.AfterCommit(func() { rs.cfg.KeyChanged(did) })
	var err error
	if r.Active {
		err = tx.Desynchronize(r, store.Rotated)
	} else {
		err = tx.Enqueue(r, store.StatusCheck, tx.Now())
	}
	if err != nil {
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
		return superseded, tx.Release(r, tx.Now())
	}
	if e, ok := errors.AsType[*refusal.Error](cause); ok {
		if err := rs.refused(tx, r, e); err != nil {
			return "", err
		}
		return identityFailed, rs.again(tx, t, r, cause, backoff(brokenFirst, brokenMost, t.Attempts))
	}
	after := backoff(retryFirst, retryMost, t.Attempts)
	if u, ok := errors.AsType[*identity.Unavailable](cause); ok {
		after = max(after, min(u.RetryAfter, time.Hour))
	}
	return identityFailed, rs.again(tx, t, r, cause, after)
}
