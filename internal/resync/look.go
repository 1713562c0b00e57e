package resync

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// Outcome is how a look at a repo ended.
type Outcome string

// The closed list of outcomes.
const (
	synchronized   Outcome = "synchronized"    // the rows equal the fetched tree
	resolved       Outcome = "resolved"        // identity known; the row goes on
	confirmed      Outcome = "confirmed"       // nothing had changed
	reactivated    Outcome = "reactivated"     // the account is active; a fetch follows
	gone           Outcome = "gone"            // takendown, suspended, deactivated, deleted: hidden
	notFound       Outcome = "not-found"       // the host has no such repo
	tooYoung       Outcome = "too-young"       // the host does not serve the new repo yet
	rateLimited    Outcome = "rate-limited"    // the host cools down
	transient      Outcome = "transient"       // network, timeout, 5xx
	invalid        Outcome = "invalid"         // an answer that no retry will mend soon
	staleAnswer    Outcome = "stale"           // older than a commit that was seen
	identityFailed Outcome = "identity-failed" // unresolvable, no PDS, no key
	superseded     Outcome = "superseded"      // something happened meanwhile; again at once
	cancelled      Outcome = "cancelled"       // the process stops
	internal       Outcome = "internal"        // a fault of ours
)

// try makes an attempt. A request that was charged and not sent costs the host
// nothing.
func (rs *Resyncer) try(ctx context.Context, a *attempt) *result {
	res := rs.ask(pds.OnRateLimit(ctx, func(l pds.RateLimit) { a.limit = &l }), a)
	res.attempt = a
	if a.charged {
		a.charged = false
		a.account.giveBack()
	}
	return &res
}

// ask asks the network. Faults of ours become refusals.
func (rs *Resyncer) ask(ctx context.Context, a *attempt) (res result) {
	t := a.Task
	defer func() {
		if p := recover(); p != nil {
			rs.cfg.Log.Error("panic in a resync", "did", t.Repo.DID, "panic", p, "stack", string(debug.Stack()))
			res = result{err: refusal.New(refusal.Internal, "panic: %v", p)}
		}
	}()
	switch t.Step {
	case store.Resolve:
		id, err := rs.cfg.Resolver.Resolve(ctx, t.Repo.DID)
		return result{identity: &id, err: err}
	case store.AskStatus:
		if err := a.pace(ctx); err != nil {
			return result{err: err}
		}
		st, err := rs.cfg.Hosts.GetRepoStatus(ctx, t.Repo.Identity.URL(), t.Repo.DID)
		return result{status: &st, err: err}
	case store.Fetch:
		f, l, err := rs.find(ctx, a)
		return result{fetched: f, learned: l, err: err}
	}
	return result{}
}

// finish stores what came of an attempt.
func (rs *Resyncer) finish(tx *store.Tx, t *store.Task, res *result) (Outcome, error) {
	r, err := tx.RepoByID(t.Repo.ID)
	if err != nil {
		return "", err
	}
	known := t.WantRev
	current, err := tx.Current(t)
	if err != nil {
		return "", err
	}
	t.Doubted = r.Identity != nil && r.Identity.Stale
	if t.Step == store.Resolve {
		return rs.endResolve(tx, t, r, res, current)
	}
	if err := rs.learn(tx, t, r, res.learned); err != nil {
		return "", err
	}
	if errors.Is(res.err, context.Canceled) {
		return cancelled, tx.Release(r, tx.Now())
	}
	if !current {
		return superseded, rs.supersede(tx, t, r)
	}
	if off, ok := errors.AsType[*putOff](res.err); ok {
		return superseded, tx.Release(r, tx.Now().Add(off.pause))
	}
	if res.err != nil {
		return rs.failed(tx, t, r, res.err)
	}
	switch t.Step {
	case store.AskStatus:
		return rs.endStatus(tx, t, r, res.status)
	case store.Fetch:
		return rs.endFetch(tx, t, r, res.fetched, known)
	}
	return confirmed, rs.done(tx, t, r)
}

// supersede gives back a row for which something happened meanwhile. It is due at
// once, unless that happens again and again.
func (rs *Resyncer) supersede(tx *store.Tx, t *store.Task, r *store.Repo) error {
	if err := tx.CountAttempt(r); err != nil {
		return err
	}
	at := tx.Now()
	if t.Attempts >= supersededFree {
		at = at.Add(backoff.Delay(supersededFirst, supersededMost, t.Attempts-supersededFree))
	}
	return tx.Release(r, at)
}

// fresh tells whether the host was surely the one that the DID document named when
// it was asked. If not, the document is looked at before the host is asked again.
// The log of the directory is no substitute: a look-up can have brought an older
// document than what the log has told before, and then the log is silent.
func (rs *Resyncer) fresh(tx *store.Tx, t *store.Task, r *store.Repo) (bool, error) {
	if t.ClaimedAt.Sub(r.Identity.FetchedAt) <= identityFresh {
		return true, nil
	}
	if err := tx.MarkStale(r); err != nil {
		return false, err
	}
	return false, tx.Release(r, t.Due)
}

// refused counts a refusal under the host that caused it.
func (rs *Resyncer) refused(tx *store.Tx, r *store.Repo, e *refusal.Error) error {
	source := "identity"
	if r.Identity != nil {
		source = r.Identity.Host
	}
	reason := e.Reason
	tx.AfterCommit(func() { rs.cfg.Metrics.Refused(reason) })
	return tx.AddRefusals([]store.Refused{{Reason: reason, Source: source, DID: r.DID, Detail: e.Detail, At: tx.Now().UTC()}})
}

// failed sorts what went wrong at a host.
func (rs *Resyncer) failed(tx *store.Tx, t *store.Task, r *store.Repo, err error) (Outcome, error) {
	e, ok := errors.AsType[*refusal.Error](err)
	if ok {
		if err := rs.refused(tx, r, e); err != nil {
			return "", err
		}
	}
	if e, ok := errors.AsType[*pds.Error](err); ok {
		return rs.hostRefused(tx, t, r, e)
	}
	if !ok || e.Reason == refusal.AnswerTooSlow {
		return transient, rs.hostFailed(tx, t, r, err)
	}
	outcome := invalid
	switch e.Reason {
	case refusal.Internal:
		outcome = internal
	case refusal.ForbiddenAddress: // of the host, and so of all its accounts
		if err := rs.failHost(tx, t, r, err); err != nil {
			return "", err
		}
	}
	if e.Reason == refusal.BadSignature {
		return outcome, rs.wrongKey(tx, t, r, err)
	}
	return outcome, rs.again(tx, t, r, err, backoff.Delay(brokenFirst, brokenMost, t.Attempts))
}

// wrongKey: perhaps the key is another one by now. The document is looked at
// before the next fetch: at once if the one that we have is not of this moment,
// soon if it is, since a rotation and its replicas take a moment.
func (rs *Resyncer) wrongKey(tx *store.Tx, t *store.Task, r *store.Repo, cause error) error {
	if err := tx.MarkStale(r); err != nil {
		return err
	}
	switch age := t.ClaimedAt.Sub(r.Identity.FetchedAt); {
	case age > identitySecond && t.Attempts == 0:
		if err := tx.CountAttempt(r); err != nil {
			return err
		}
		return tx.Release(r, tx.Now())
	case t.Attempts < rotationRetries:
		return rs.again(tx, t, r, cause, rotationPause<<(2*t.Attempts))
	default:
		return rs.again(tx, t, r, cause, backoff.Delay(brokenFirst, brokenMost, t.Attempts-rotationRetries))
	}
}

// again notes a failure and puts the row back. If an #identity came meanwhile, the
// failure may be the old host's or key's, and is not waited for.
func (rs *Resyncer) again(tx *store.Tx, t *store.Task, r *store.Repo, cause error, after time.Duration) error {
	if err := tx.SetError(r, cause.Error()); err != nil {
		return err
	}
	if t.Doubted {
		after = min(after, identitySecond)
	}
	why := t.Reason
	if !t.InService && (why == store.NotFoundAgain || why == store.Sweep) && r.Active {
		why = store.Discontinuity // it is no mere second look: the rows may be wrong
	}
	return tx.Retry(r, why, tx.Now().Add(after), true, t.InService && t.Attempts > 0)
}

// hostRefused handles an answer that is an error of the protocol. A refusal by
// rate or a terminal one never leads to a heavier request.
func (rs *Resyncer) hostRefused(tx *store.Tx, t *store.Task, r *store.Repo, e *pds.Error) (Outcome, error) {
	switch {
	case e.Outcome.Gone():
		return gone, rs.leave(tx, t, r, string(e.Outcome))
	case e.Outcome == pds.NotFound:
		return notFound, rs.endNotFound(tx, t, r)
	case e.Outcome == pds.RateLimited:
		return rateLimited, rs.cool(tx, t, r, e)
	case e.Name == "NotImplemented" && t.Step == store.Fetch:
		// Some hosts do not serve repos in their first hours. That is no failure.
		return tooYoung, rs.again(tx, t, r, e, backoff.Delay(youngFirst, youngMost, t.Attempts))
	}
	return transient, rs.hostFailed(tx, t, r, e)
}

// cool leaves a host alone that refused by rate, for as long as it says, or
// longer and longer.
func (rs *Resyncer) cool(tx *store.Tx, t *store.Task, r *store.Repo, e *pds.Error) error {
	failures, err := tx.HostFailed(r.Identity.HostID, t.ClaimedAt, e.Error())
	if err != nil {
		return err
	}
	pause := e.RetryAfter
	if pause <= 0 && failures > 0 {
		pause = backoff.Delay(cooldownFirst, cooldownMost, failures)
	}
	if err := tx.CoolHost(r.Identity.HostID, tx.Now().Add(min(pause, cooldownMost))); err != nil {
		return err
	}
	return tx.Release(r, tx.Now()) // when the host is asked again
}

// hostFailed backs off from a repo, and from a host that goes on failing. The
// account may live elsewhere by now, or never have lived there: its document is
// looked at before the host is asked again, unless it is of this moment.
func (rs *Resyncer) hostFailed(tx *store.Tx, t *store.Task, r *store.Repo, cause error) error {
	if err := rs.failHost(tx, t, r, cause); err != nil {
		return err
	}
	if t.ClaimedAt.Sub(r.Identity.FetchedAt) > identityFresh {
		if err := tx.MarkStale(r); err != nil {
			return err
		}
	}
	return rs.again(tx, t, r, cause, backoff.Delay(retryFirst, retryMost, t.Attempts))
}

// failHost counts a failure of a host, and leaves it alone if it goes on failing.
func (rs *Resyncer) failHost(tx *store.Tx, t *store.Task, r *store.Repo, cause error) error {
	failures, err := tx.HostFailed(r.Identity.HostID, t.ClaimedAt, cause.Error())
	if err != nil {
		return err
	}
	pause := hostPause(failures, cause)
	if pause <= 0 {
		return nil
	}
	return tx.CoolHost(r.Identity.HostID, tx.Now().Add(pause))
}

// hostPause is how long a host is left alone that failed so often in a row: as it
// asks for, and longer if it does not answer at all. After no failure that counts it
// is as long as the host asks for.
func hostPause(failures int, cause error) time.Duration {
	e, answered := errors.AsType[*pds.Error](cause)
	answered = answered && e.Status != 0
	switch {
	case answered && e.RetryAfter > 0:
		return min(e.RetryAfter, cooldownMost)
	case !answered && failures >= unreachablePatience:
		return backoff.Delay(unreachableFirst, unreachableMost, failures-unreachablePatience)
	case failures >= hostPatience:
		return backoff.Delay(cooldownFirst, cooldownMost, failures-hostPatience)
	}
	return 0
}

// leave hides an account that its host calls inactive, and ends the row.
func (rs *Resyncer) leave(tx *store.Tx, t *store.Task, r *store.Repo, status string) error {
	if fresh, err := rs.fresh(tx, t, r); err != nil || !fresh {
		return err
	}
	if err := tx.Leave(r, status); err != nil {
		return err
	}
	return rs.done(tx, t, r)
}

// done ends the row, unless there is more to do for which it stands: the identity
// became stale meanwhile or is to be looked at once more, or a rev newer than
// ours was heard of.
func (rs *Resyncer) done(tx *store.Tx, t *store.Task, r *store.Repo) error {
	if err := tx.ClearError(r); err != nil {
		return err
	}
	switch {
	case r.Identity.Stale:
		return tx.Retry(r, store.IdentityCheck, tx.Now(), false, false)
	case t.Looks > 0:
		if err := tx.MarkStale(r); err != nil {
			return err
		}
		return tx.Retry(r, store.IdentityCheck, tx.Now().Add(identitySecond), false, true)
	case r.State == store.Synchronized && !r.Reached(t.WantRev):
		return tx.Retry(r, store.Sweep, tx.Now().Add(backoff.Delay(2*store.SweepGrace, brokenMost, t.Attempts)), false, true)
	}
	if r.State == store.Synchronized && r.Proof == store.ProofClaim {
		return tx.Retry(r, store.Prove, tx.Now().Add(rest(t)), false, true)
	}
	return tx.Done(r)
}

// rest is how long a claim waits for its proof: those of a backfill longer, and not
// all at once.
func rest(t *store.Task) time.Duration {
	if bulk(t.Reason) {
		return backoff.Delay(bulkRest, bulkRest, 0)
	}
	return claimRest
}

// endNotFound: the host knows no such repo. A replica may lag, so it is asked
// once more; then the rows are hidden, and it is asked now and then. An account
// that a relay called deleted is.
func (rs *Resyncer) endNotFound(tx *store.Tx, t *store.Task, r *store.Repo) error {
	if fresh, err := rs.fresh(tx, t, r); err != nil || !fresh {
		return err
	}
	// Late commits of an inactive account ask for no more.
	if err := errors.Join(tx.StatusChecked(r), tx.SetError(r, "its host has no such repo")); err != nil {
		return err
	}
	believed, err := saidTwice(tx, r, t.Missing, tx.Missing)
	switch {
	case err != nil || !believed:
		return err
	case !r.Active && r.Status == "deleted":
		if err := tx.Leave(r, r.Status); err != nil {
			return err
		}
		return rs.done(tx, t, r)
	}
	return tx.SetState(r, store.NotFound)
}

// saidTwice puts the row of a repo or DID back that is said not to exist. It tells
// whether that is to be believed by now: first is when it was said first, zero if
// that is now, which is then noted.
func saidTwice(tx *store.Tx, r *store.Repo, first time.Time, note func(*store.Repo, time.Time) error) (bool, error) {
	if first.IsZero() {
		if err := note(r, tx.Now()); err != nil {
			return false, err
		}
		return false, tx.Retry(r, store.NotFoundAgain, tx.Now().Add(notFoundSecond), true, true)
	}
	if second := first.Add(notFoundSecond); tx.Now().Before(second) {
		return false, tx.Retry(r, store.NotFoundAgain, second, false, true)
	}
	return true, tx.Retry(r, store.NotFoundAgain, tx.Now().Add(notFoundLater), true, true)
}
