package resync

import (
	"context"
	"errors"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

func (rs *Resyncer) newEstablisher() *establish.Establisher {
	return establish.New(establish.Config{Hosts: rs.cfg.Hosts, Method: rs.cfg.Method, Now: rs.cfg.Now})
}

// establish establishes what a repo is.
func (rs *Resyncer) establish(ctx context.Context, a *attempt) (*repostate.Found, establish.Observed, error) {
	q := rs.request(a.Attempt)
	q.Pace = a.pace
	found, observed, err := rs.establisher.Repo(ctx, q)
	switch {
	case errors.Is(err, establish.ErrNoMemory):
		return nil, observed, errNoMemory
	case errors.Is(err, establish.ErrOversized):
		return nil, observed, errOversized
	case err != nil:
		return nil, observed, err
	}
	return &repostate.Found{Head: repostate.Head(found.Head), Collections: found.Collections, Proof: proofOf(found), OldKey: found.OldKey}, observed, nil
}

// request says what is known of a repo. The host's word does not do for what was in
// service, and not for an audit.
func (rs *Resyncer) request(a *repostate.Attempt) establish.Request {
	r, id, why := a.Repo, a.Repo.Identity, a.Repo.Waiting.Reason
	q := establish.Request{
		DID: r.DID, Host: id.URL(), Key: identity.Key(id.Key),
		Attempts:         r.Waiting.Attempts,
		MustProve:        a.WasSynchronized() || why == repostate.Audit || why == repostate.Prove,
		New:              why.New() && (r.Proof == 0 || r.Proof == repostate.ProofClaim),
		NoAbsenceProofs:  id.AbsentProofs == repostate.Unable,
		WrongDescription: !id.DescribeTrusted,
	}
	if !r.OldKeysCount() {
		return q
	}
	if r.Head != nil {
		q.KnownHead = r.Head.CID
	}
	if a.MayAskForEarlierKeys() {
		q.EarlierKeys = rs.earlierKeys(r.DID)
	}
	return q
}

// earlierKeys returns a function that asks the directory for the keys of before, once
// for an attempt.
func (rs *Resyncer) earlierKeys(did string) func(context.Context, establish.Head) ([]identity.EarlierKey, error) {
	var asked bool
	var keys []identity.EarlierKey
	return func(ctx context.Context, _ establish.Head) ([]identity.EarlierKey, error) {
		if asked {
			return keys, nil
		}
		asked = true
		var err error
		if keys, err = rs.cfg.Resolver.EarlierKeys(ctx, did); err != nil {
			rs.cfg.Log.Debug("earlier keys", "did", did, "err", err)
		}
		return keys, nil
	}
}

func proofOf(f *establish.Found) repostate.Proof {
	switch {
	case f.Proof == establish.ByDescription:
		return repostate.ProofClaim
	case f.OldKey:
		return repostate.ProofOldKey
	case f.Proof == establish.ByProbes:
		return repostate.ProofProbe
	}
	return repostate.ProofTree
}

// storeAbilities stores what an attempt has found out about the host that it asked.
func (rs *Resyncer) storeAbilities(tx *store.Tx, asked *repostate.Repo, l establish.Observed) error {
	if l.Invalid != nil {
		if err := rs.refused(tx, asked, l.Invalid); err != nil {
			return err
		}
	}
	if l.WrongDescription {
		if err := rs.distrust(tx, asked); err != nil {
			return err
		}
	}
	host, able := asked.Identity, repostate.Unknown
	switch {
	case l.AbsenceProofs:
		able = repostate.Able
	case l.NoAbsenceProofs:
		able = repostate.Unable
	}
	if able == repostate.Unknown || able == host.AbsentProofs {
		return nil
	}
	return tx.SetAbsentProofs(host.HostID, able)
}

// distrust: the host's describeRepo was wrong. It is not asked again for a month.
func (rs *Resyncer) distrust(tx *store.Tx, r *repostate.Repo) error {
	if !r.Identity.DescribeTrusted {
		return nil
	}
	did, host := r.DID, r.Identity.Host
	tx.AfterCommit(func() {
		rs.cfg.Log.Warn("a host's describeRepo was wrong; it is not believed for a month", "host", host, "did", did)
	})
	return tx.DistrustDescribe(r.Identity.HostID)
}
