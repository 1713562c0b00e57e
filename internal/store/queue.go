package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
)

// Reason is why somebody must look at a repo. (The table resync_reason.)
type Reason int64

// The reasons.
const (
	Discontinuity Reason = iota + 1
	Unprovable
	Rotated
	SyncEvent
	Reactivated
	IdentityCheck
	StatusCheck
	FirstSight
	Backfill
	NotFoundAgain
	Sweep
	Prove
	_ // operator
	Audit
	Refresh
)

func (r Reason) String() string {
	names := [...]string{"none", "discontinuity", "unprovable", "rotated", "sync", "reactivated", "identity",
		"status", "first-sight", "backfill", "not-found", "sweep", "prove", "operator", "audit",
		"refresh"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", int64(r))
}

// The priorities of the queue, lower first, as the table resync_priority has them.
const (
	prioLive = iota + 1
	prioCheck
	prioFirstSight
	prioBackfill
	prioRetry
	prioBackground
)

func (r Reason) priority() int64 {
	switch r {
	case Discontinuity, Unprovable, Rotated, Audit:
		return prioLive
	case SyncEvent, Reactivated, IdentityCheck, StatusCheck:
		return prioCheck
	case FirstSight:
		return prioFirstSight
	case Backfill:
		return prioBackfill
	default:
		return prioBackground
	}
}

// identityLooks is how often a document is looked at that has not changed when an
// #identity says so.
const identityLooks = 2

// Desynchronize takes the repo out of service until a fetch has proven it: its
// commits are dropped meanwhile, its rows stay as they are. What a fetch under
// way brings is void.
func (tx *Tx) Desynchronize(r *Repo, why Reason) error {
	if r.State == Synchronized || r.State == Resyncing {
		if err := tx.moveTo(r, Desynchronized); err != nil {
			return err
		}
	}
	return tx.Enqueue(r, why, tx.now)
}

// Enqueue asks for a look at a repo, not before a time. A row that waits already
// becomes due by then. Whatever is no mere look at the identity or at a listed
// rev makes a fetch under way void.
func (tx *Tx) Enqueue(r *Repo, why Reason, notBefore time.Time) error {
	return tx.enqueue(r, why, notBefore, nil)
}

// EnqueueSweep asks for a fetch unless the head has reached rev by then: a
// listing shows that rev, or a commit of it came that could not be followed.
func (tx *Tx) EnqueueSweep(r *Repo, notBefore time.Time, rev atproto.TID) error {
	v := int64(rev)
	return tx.enqueue(r, Sweep, notBefore, &v)
}

func (tx *Tx) enqueue(r *Repo, why Reason, notBefore time.Time, wantRev *int64) error {
	tx.wakes = true
	looks := int64(0)
	switch {
	case why == IdentityCheck:
		looks = identityLooks
	case why == Backfill && tx.holds(r):
		notBefore = heldUntil
	}
	return tx.q.Enqueue(tx.ctx, db.EnqueueParams{
		RepoID: r.ID, Reason: int64(why), Priority: why.priority(), Background: flag(why.priority() == prioBackground),
		NotBefore: notBefore.UnixMicro(), WantRev: wantRev, AskStatus: flag(why == StatusCheck), Looks: looks, Now: tx.micros(),
		Voids: flag(why != IdentityCheck && why != Sweep && why != Prove && why != Refresh),
	})
}

// Queued tells whether the repo waits in the queue, and whether it does so only
// for a second look, for a sweep or for the log of the PLC directory.
func (tx *Tx) Queued(r *Repo) (queued, later bool, err error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	return err == nil, row.Background == 1 || row.NotBefore == heldUntil.UnixMicro(), err
}

// LookedAt tells whether somebody looks at the repo at this moment: what that brings
// may have been answered a while ago.
func (tx *Tx) LookedAt(r *Repo) (bool, error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return row.Claim != nil, err
}

// Unresolvable tells whether the directory said a moment ago that there is no such
// DID, and is to be asked once more. Until then nobody else's question helps.
func (tx *Tx) Unresolvable(r *Repo) (bool, error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return row.UnresolvedSince != nil && row.NotBefore > tx.micros(), err
}
