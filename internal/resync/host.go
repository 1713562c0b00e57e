package resync

import (
	"context"
	"errors"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// oversizedPause is how long an oversized repo waits when another one is being
	// fetched, memoryPause a repo for which there is no memory now.
	oversizedPause = time.Minute
	memoryPause    = 5 * time.Second
	// shortPause is how long a repo waits for which we had no descriptor left.
	shortPause = 5 * time.Second
	// A host that failed so often in a row is left alone for a while.
	hostPatience  = 3
	cooldownFirst = 30 * time.Second
	cooldownMost  = time.Hour
	// A host that does not answer at all: two requests, then one at a time.
	unreachablePatience = 2
	unreachableFirst    = 2 * time.Minute
	unreachableMost     = 4 * time.Hour
	// The directory, where one request after the other fails.
	directoryFirst = time.Second
	directoryMost  = time.Minute
)

// judgeHost stores whether the host of an attempt has answered, unless something
// happened meanwhile that makes the answer worthless. A host that refuses by rate, or
// goes on failing, is left alone for as long as it says, or longer and longer.
func (rs *Resyncer) judgeHost(tx *store.Tx, r *repostate.Repo, res *result, end repostate.Result) error {
	current := r.Waiting != nil && r.Waiting.Generation == res.Repo.Waiting.Generation
	switch f := end.Failure; {
	case res.Step == repostate.Resolve:
		return judgeDirectory(tx, res)
	case !current:
		return nil
	case f == nil && (end.Status != nil || end.Found != nil):
		return tx.HostAnswered(r.Identity.HostID)
	case f == nil:
		return nil
	case res.answered: // about others; what it says of one account is not its own failure
		return tx.HostAnswered(r.Identity.HostID)
	case f.Kind == repostate.FailedRate:
		return coolHost(tx, r.Identity.HostID, res)
	case f.Kind == repostate.FailedHost, f.Refusal != nil && f.Refusal.Reason == refusal.ForbiddenAddress: // of all its accounts
		return failHost(tx, r.Identity.HostID, res)
	}
	return nil
}

// coolHost leaves a host alone that refused by rate.
func coolHost(tx *store.Tx, host int64, res *result) error {
	failures, err := tx.HostFailed(host, 0, res.At, res.err.Error())
	if err != nil {
		return err
	}
	pause := time.Duration(0)
	if e, ok := errors.AsType[*pds.Error](res.err); ok {
		pause = e.RetryAfter
	}
	if pause <= 0 && failures > 0 {
		pause = backoff.Delay(cooldownFirst, cooldownMost, failures)
	}
	return tx.CoolHost(host, tx.Now().Add(min(pause, cooldownMost)))
}

// failHost counts a failure of a host, and leaves it alone if it goes on failing.
func failHost(tx *store.Tx, host int64, res *result) error {
	failures, err := tx.HostFailed(host, res.Repo.ID, res.At, res.err.Error())
	if err != nil {
		return err
	}
	if pause := hostPause(failures, res.err); pause > 0 && failures > 0 {
		return tx.CoolHost(host, tx.Now().Add(pause))
	}
	return nil
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

// judgeDirectory stores whether the PLC directory has answered.
func judgeDirectory(tx *store.Tx, res *result) error {
	u, unavailable := errors.AsType[*identity.Unavailable](res.err)
	switch {
	case res.host != store.DirectoryQueue || errors.Is(res.err, context.Canceled) || outbound.Short(res.err):
		return nil
	case !unavailable:
		return tx.HostAnswered(store.DirectoryQueue)
	}
	began := tx.Now()
	if u.RetryAfter > 0 {
		began = began.Add(cooldownMost) // each of them counts: fewer are to ask when the pause is over
	}
	failures, err := tx.HostFailed(store.DirectoryQueue, 0, began, u.Error())
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
