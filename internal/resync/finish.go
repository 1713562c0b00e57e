package resync

import (
	"context"
	"errors"

	"railyard/internal/backoff"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// env is what decisions about attempts depend on.
func (rs *Resyncer) env(tx *store.Tx) repostate.Env {
	env := tx.Env()
	env.NoProofs, env.Backoff = rs.cfg.NoProofs, backoff.Delay
	return env
}

// finish stores what came of an attempt: what it means for the repo is decided by
// package repostate, what it means for whoever was asked here.
func (rs *Resyncer) finish(tx *store.Tx, res *result) (repostate.Outcome, error) {
	r, err := tx.RepoByID(res.Repo.ID)
	if err != nil {
		return "", err
	}
	if res.Step != repostate.Resolve {
		if err := rs.storeAbilities(tx, res.Repo, res.observed); err != nil {
			return "", err
		}
	}
	end, err := rs.resultOf(tx, r, res)
	if err != nil {
		return "", err
	}
	d := repostate.Decide(r, end, rs.env(tx))
	for _, e := range d.Refusals {
		if err := rs.refused(tx, r, e); err != nil {
			return "", err
		}
	}
	c, err := tx.Apply(r, d)
	if err != nil {
		return "", err
	}
	if n := c.ResyncBirths + c.ResyncDeaths; d.TestsClaim && n > 0 {
		e := refusal.New(refusal.AnswerInvalid, "describeRepo left out %d collections that the tree has, and named %d that it lacks", c.ResyncBirths, c.ResyncDeaths)
		if err := errors.Join(rs.refused(tx, r, e), rs.distrust(tx, r)); err != nil {
			return "", err
		}
	}
	tx.AfterCommit(func() {
		if end.Found != nil { // else the account was deleted
			rs.cfg.Metrics.Changed(store.SourceResync.String(), c.ResyncBirths, c.ResyncDeaths)
		}
		rs.cfg.Metrics.Changed(store.SourceCommit.String(), c.CommitBirths, c.CommitDeaths)
		if d.KeyChanged {
			rs.cfg.KeyChanged(r.DID)
		}
	})
	return d.Outcome, rs.judgeHost(tx, r, res, end)
}

// resultOf returns what came of an attempt, as a fact.
func (rs *Resyncer) resultOf(tx *store.Tx, r *repostate.Repo, res *result) (end repostate.Result, err error) {
	end.Attempt = res.Attempt
	switch {
	case res.err != nil:
		end.Failure = failureOf(res)
	case res.identity != nil:
		end.Identity, err = tx.IdentityAtHost(string(res.identity.Key), res.identity.Host, res.identity.Insecure)
	case res.status != nil:
		end.Status = &repostate.Account{Active: res.status.Active, Status: res.status.Status}
	case res.found != nil:
		end.Found = res.found
		if r.State == repostate.Resyncing {
			end.Buffered, err = tx.Buffered(r)
		}
	}
	return end, err
}

// failureOf sorts what went wrong.
func failureOf(res *result) *repostate.Failure {
	f := &repostate.Failure{Cause: res.err}
	f.Refusal, _ = errors.AsType[*refusal.Error](res.err)
	off, putOff := errors.AsType[*putOff](res.err)
	e, said := errors.AsType[*pds.Error](res.err)
	_, gone := errors.AsType[*absent](res.err)
	switch {
	case errors.Is(res.err, context.Canceled):
		f.Kind = repostate.FailedCancelled
	case outbound.Short(res.err):
		f.Kind, f.Pause = repostate.FailedDeferred, shortPause
	case putOff:
		f.Kind, f.Pause = repostate.FailedDeferred, off.pause
	case res.Step == repostate.Resolve:
		f.Kind = lookupFailure(f)
	case said && e.Outcome.Gone():
		f.Kind, f.Status = repostate.FailedGone, string(e.Outcome)
	case res.nobody:
		f.Kind = repostate.FailedHost
	case gone, deniesRepo(res.err):
		f.Kind = repostate.FailedNoRepo
	case said && e.Outcome == pds.RateLimited:
		f.Kind = repostate.FailedRate
	case res.Step == repostate.Fetch && young(res.err):
		f.Kind = repostate.FailedYoung
	case said, f.Refusal == nil, f.Refusal.Reason == refusal.AnswerTooSlow:
		f.Kind = repostate.FailedHost
		if said {
			f.Pause = e.RetryAfter
		}
	case f.Refusal.Reason == refusal.Internal:
		f.Kind = repostate.FailedInternal
	case f.Refusal.Reason == refusal.BadSignature:
		f.Kind = repostate.FailedKey
	default:
		f.Kind = repostate.FailedAnswer
	}
	return f
}

// young reports whether a host does not serve a repo yet: some do not in its first hours.
func young(err error) bool {
	e, said := errors.AsType[*pds.Error](err)
	return said && e.Name == "NotImplemented"
}

// lookupFailure sorts why a document was not found.
func lookupFailure(f *repostate.Failure) repostate.FailureKind {
	u, unavailable := errors.AsType[*identity.Unavailable](f.Cause)
	switch {
	case unavailable: // perhaps because it was too slow, which is a refusal too
		f.Pause = u.RetryAfter
		return repostate.FailedDirectory
	case errors.Is(f.Cause, identity.ErrNoDocument):
		return repostate.FailedNoDID
	case f.Refusal == nil:
		return repostate.FailedLookup
	case f.Refusal.Reason == refusal.Internal:
		return repostate.FailedInternal
	}
	return repostate.FailedDocument
}

// refused counts a refusal under the host that caused it.
func (rs *Resyncer) refused(tx *store.Tx, r *repostate.Repo, e *refusal.Error) error {
	source := "identity"
	if r.Identity != nil {
		source = r.Identity.Host
	}
	reason := e.Reason
	tx.AfterCommit(func() { rs.cfg.Metrics.Refused(reason) })
	return tx.AddRefusals([]store.Refused{{Reason: reason, Source: source, DID: r.DID, Detail: e.Detail, At: tx.Now().UTC()}})
}
