package resync

import (
	"context"
	"runtime/debug"

	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
)

// try makes an attempt. A request that was charged and not sent costs the host
// nothing.
func (rs *Resyncer) try(ctx context.Context, a *attempt) *result {
	res := rs.ask(pds.OnRateLimit(ctx, func(l pds.RateLimit) { a.limit = &l }), a)
	res.attempt = a
	if a.charged {
		a.charged = false
		a.hostPace.giveBack()
	}
	return &res
}

// ask asks the network. Faults of ours become refusals.
func (rs *Resyncer) ask(ctx context.Context, a *attempt) (res result) {
	r := a.Repo
	defer func() {
		if p := recover(); p != nil {
			rs.cfg.Log.Error("panic in a resync", "did", r.DID, "panic", p, "stack", string(debug.Stack()))
			res = result{err: refusal.New(refusal.Internal, "panic: %v", p)}
		}
	}()
	switch a.Step {
	case repostate.Resolve:
		id, err := rs.cfg.Resolver.Resolve(ctx, r.DID)
		return result{identity: &id, err: err}
	case repostate.AskStatus:
		if err := a.pace(ctx); err != nil {
			return result{err: err}
		}
		st, err := rs.cfg.Hosts.GetRepoStatus(ctx, r.Identity.URL(), r.DID)
		return rs.enquire(ctx, a, result{status: &st, err: err})
	case repostate.Fetch:
		f, l, err := rs.establish(ctx, a)
		return rs.enquire(ctx, a, result{found: f, observed: l, err: err})
	}
	return result{}
}
