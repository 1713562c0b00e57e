package store

import (
	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

// The tests speak much of repos.
type (
	Repo     = repostate.Repo
	Head     = repostate.Head
	Reason   = repostate.Reason
	State    = repostate.State
	Proof    = repostate.Proof
	Commit   = repostate.Commit
	Identity = repostate.Identity
	Ability  = repostate.Ability
	Waiting  = repostate.Waiting
	Attempt  = repostate.Attempt
)

const (
	Candidate      = repostate.Candidate
	Desynchronized = repostate.Desynchronized
	Resyncing      = repostate.Resyncing
	Synchronized   = repostate.Synchronized
	NotFound       = repostate.NotFound

	ProofTree   = repostate.ProofTree
	ProofProbe  = repostate.ProofProbe
	ProofOldKey = repostate.ProofOldKey
	ProofClaim  = repostate.ProofClaim

	Discontinuity = repostate.Discontinuity
	Unprovable    = repostate.Unprovable
	Rotated       = repostate.Rotated
	SyncEvent     = repostate.SyncEvent
	Reactivated   = repostate.Reactivated
	IdentityCheck = repostate.IdentityCheck
	StatusCheck   = repostate.StatusCheck
	FirstSight    = repostate.FirstSight
	Backfill      = repostate.Backfill
	NotFoundAgain = repostate.NotFoundAgain
	MissedRev     = repostate.MissedRev
	Prove         = repostate.Prove
	Audit         = repostate.Audit
	Refresh       = repostate.Refresh

	Resolve = repostate.Resolve
	Fetch   = repostate.Fetch

	Unknown = repostate.Unknown
	Able    = repostate.Able
	Unable  = repostate.Unable
)

// decide lets a fact reach a repo. Nothing limits what it causes.
func decide(tx *Tx, r *Repo, f repostate.Fact) error {
	env := tx.Env()
	env.Budget = testrepo.Unlimited{}
	d := repostate.Decide(r, f, env)
	_, err := tx.Apply(r, d)
	if err == nil {
		*r = *d.Repo
	}
	return err
}
