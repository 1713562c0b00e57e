package resync

import (
	"context"
	"errors"

	"railyard/internal/atproto"
	"railyard/internal/probe"
	"railyard/internal/refusal"
	"railyard/internal/store"
	"railyard/internal/verify"
)

// probeRestarts is how often a repo may move while it is probed, before it is
// fetched: its commits are buffered meanwhile.
const probeRestarts = 2

// learned is what a look has found out beside the repo.
type learned struct {
	absentProofs     store.Ability  // whether the host's getRecord proves absence
	wrongDescription bool           // its describeRepo contradicts the signed tree
	odd              *refusal.Error // an answer that was not taken, for which another was
}

// find establishes what a repo is, in the way that suits it.
func (rs *Resyncer) find(ctx context.Context, a *attempt) (*fetched, learned, error) {
	s, err := rs.signer(a.Task)
	if err != nil {
		return nil, learned{}, err
	}
	w := rs.cfg.Method.way(a.Task)
	if w == byRepo {
		f, err := rs.fetch(ctx, a, s)
		return f, learned{}, err
	}
	f, err := rs.lighter(ctx, a, s, w)
	if err == nil {
		return f, learned{absentProofs: store.Able}, nil
	}
	if !wantsRepo(err) {
		return nil, learned{}, err
	}
	l := learned{wrongDescription: errors.Is(err, probe.ErrClaim)}
	l.odd, _ = errors.AsType[*refusal.Error](err)
	f, fetchErr := rs.fetch(ctx, a, s)
	if fetchErr == nil && l.odd == nil && errors.Is(err, probe.ErrNoAbsenceProof) {
		l.absentProofs = store.Unable // the repo is there, and only the key was refused
	}
	return f, l, fetchErr
}

// lighter asks for less than the whole repo.
func (rs *Resyncer) lighter(ctx context.Context, try *attempt, s *signer, w way) (*fetched, error) {
	a := &asker{rs: rs, attempt: try, left: maxProbes}
	cfg := probe.Config{
		DID: try.Repo.DID, Source: a, Verify: s.verifier(ctx),
		MaxRequests: maxProbes, MaxCollections: maxCollections, MaxRestarts: probeRestarts,
	}
	if rs.cfg.Method == Auto {
		cfg.Policy = a.policy
	}
	p := probe.New(cfg)
	var found *probe.Result
	var err error
	if w == byDescription {
		found, err = p.Describe(ctx, a)
	} else {
		found, err = p.Collections(ctx)
	}
	if err != nil {
		return nil, err
	}
	proof := store.ProofProbe
	switch {
	case found.Claimed:
		proof = store.ProofClaim
	case found.WholeTree:
		proof = store.ProofTree
	}
	return s.fetched(found.Commit, found.Collections, proof)
}

// asker asks the host of one repo, at the pace that the host allows.
type asker struct {
	rs      *Resyncer
	attempt *attempt
	left    int // getRecord requests until fetching the repo costs less
}

// policy gives up on small trees and sets the bound for others.
func (a *asker) policy(s probe.Size) probe.Advice {
	if a.left = worth(s); a.left == 0 {
		return probe.TooSmall
	}
	return probe.GoOn
}

// GetRecord is probe.Source.
func (a *asker) GetRecord(ctx context.Context, collection, rkey string) ([]byte, error) {
	if a.left--; a.left < 0 {
		return nil, errDear
	}
	if err := a.attempt.pace(ctx); err != nil {
		return nil, err
	}
	return a.rs.cfg.Hosts.GetRecord(ctx, a.attempt.Repo.Identity.URL(), a.attempt.Repo.DID, collection, rkey)
}

// DescribeRepo is probe.Describer.
func (a *asker) DescribeRepo(ctx context.Context) ([]string, error) {
	if err := a.attempt.pace(ctx); err != nil {
		return nil, err
	}
	d, err := a.rs.cfg.Hosts.DescribeRepo(ctx, a.attempt.Repo.Identity.URL(), a.attempt.Repo.DID)
	return d.Collections, err
}

// checkRev refuses a rev of the future.
func (rs *Resyncer) checkRev(rev atproto.TID) error {
	if rev > atproto.TIDAt(rs.cfg.Now().Add(verify.Tolerance)) {
		return refusal.New(refusal.FutureRev, "rev %s", rev)
	}
	return nil
}

// learn stores what a look has found out about the host that it asked.
func (rs *Resyncer) learn(tx *store.Tx, t *store.Task, r *store.Repo, l learned) error {
	host := t.Repo.Identity
	if l.odd != nil {
		if err := rs.refused(tx, r, l.odd); err != nil {
			return err
		}
	}
	if l.wrongDescription {
		if err := rs.distrust(tx, t.Repo); err != nil {
			return err
		}
	}
	if l.absentProofs == store.Unknown || l.absentProofs == host.AbsentProofs {
		return nil
	}
	return tx.SetAbsentProofs(host.HostID, l.absentProofs)
}

// distrust: the host's describeRepo was wrong. It is not asked again.
func (rs *Resyncer) distrust(tx *store.Tx, r *store.Repo) error {
	if !r.Identity.DescribeTrusted {
		return nil
	}
	did, host := r.DID, r.Identity.Host
	tx.AfterCommit(func() {
		rs.cfg.Log.Warn("a host's describeRepo was wrong; it is not believed any more", "host", host, "did", did)
	})
	return tx.DistrustDescribe(r.Identity.HostID)
}
