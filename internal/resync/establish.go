package resync

import (
	"context"
	"errors"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/store"
)

// fetched is a repo as its host has served it, signed by the account.
type fetched struct {
	head        store.Head
	collections []string
	proof       store.Proof
	oldKey      bool // an earlier key of the DID has signed the head
}

func (rs *Resyncer) newEstablisher() *establish.Establisher {
	return establish.New(establish.Config{Hosts: rs.cfg.Hosts, Method: rs.cfg.Method, Now: rs.cfg.Now})
}

// find establishes what a repo is.
func (rs *Resyncer) find(ctx context.Context, a *attempt) (*fetched, establish.Learned, error) {
	q := rs.request(a.Task)
	q.Pace = a.pace
	found, learned, err := rs.establisher.Repo(ctx, q)
	switch {
	case errors.Is(err, establish.ErrNoMemory):
		return nil, learned, errNoMemory
	case errors.Is(err, establish.ErrOversized):
		return nil, learned, errOversized
	case err != nil:
		return nil, learned, err
	}
	return &fetched{store.Head(found.Head), found.Collections, proofOf(found), found.OldKey}, learned, nil
}

// request says what is known of a repo. The host's word does not do for what was in
// service, and not for an audit.
func (rs *Resyncer) request(t *store.Task) establish.Request {
	r, id := t.Repo, t.Repo.Identity
	q := establish.Request{
		DID: r.DID, Host: id.URL(), Key: identity.Key(id.Key),
		Attempts:         t.Attempts,
		MustProve:        t.InService || t.Reason == store.Audit || t.Reason == store.Prove,
		New:              bulk(t.Reason) && (r.Proof == 0 || r.Proof == store.ProofClaim),
		NoAbsenceProofs:  id.AbsentProofs == store.Unable,
		WrongDescription: !id.DescribeTrusted,
	}
	if !r.OldKeysCount() {
		return q
	}
	if r.Head != nil {
		q.Held = r.Head.CID
	}
	q.EarlierKeys = rs.earlierKeys(t)
	return q
}

// bulk reports whether the repo is new to the index.
func bulk(why store.Reason) bool { return why == store.FirstSight || why == store.Backfill }

// earlierKeys returns a function that asks the directory for the keys of before,
// once for an attempt. It returns nil in the retries that wait for a rotation to
// arrive, and under an old document: a head that an earlier key signed counts only
// at the host that the document names.
func (rs *Resyncer) earlierKeys(t *store.Task) func(context.Context, establish.Head) ([]identity.EarlierKey, error) {
	if t.Attempts > 1 && t.Attempts < rotationRetries || t.ClaimedAt.Sub(t.Repo.Identity.FetchedAt) > identityFresh {
		return nil
	}
	var asked bool
	var keys []identity.EarlierKey
	return func(ctx context.Context, _ establish.Head) ([]identity.EarlierKey, error) {
		if asked {
			return keys, nil
		}
		asked = true
		var err error
		if keys, err = rs.cfg.Resolver.EarlierKeys(ctx, t.Repo.DID); err != nil {
			rs.cfg.Log.Debug("earlier keys", "did", t.Repo.DID, "err", err)
		}
		return keys, nil
	}
}

func proofOf(f *establish.Found) store.Proof {
	switch {
	case f.Proof == establish.ByClaim:
		return store.ProofClaim
	case f.OldKey:
		return store.ProofOldKey
	case f.Proof == establish.ByProbes:
		return store.ProofProbe
	}
	return store.ProofTree
}

// overtaken: an earlier key has signed the head, and something was seen that the
// present one signed and that does not lead on from there. checked is the newest
// rev that does.
func (f *fetched) overtaken(r *store.Repo, checked atproto.TID) bool {
	return f.oldKey && !r.OldKeysCount() && (checked == f.head.Rev || checked < r.Floor())
}

// earlierRev is the rev up to which earlier keys count from now on.
func (f *fetched) earlierRev() atproto.TID {
	if f.oldKey {
		return f.head.Rev
	}
	return 0
}

// learn stores what an attempt has found out about the host that it asked.
func (rs *Resyncer) learn(tx *store.Tx, t *store.Task, r *store.Repo, l establish.Learned) error {
	if l.Odd != nil {
		if err := rs.refused(tx, r, l.Odd); err != nil {
			return err
		}
	}
	if l.WrongDescription {
		if err := rs.distrust(tx, t.Repo); err != nil {
			return err
		}
	}
	host, able := t.Repo.Identity, store.Unknown
	switch {
	case l.AbsenceProofs:
		able = store.Able
	case l.NoAbsenceProofs:
		able = store.Unable
	}
	if able == store.Unknown || able == host.AbsentProofs {
		return nil
	}
	return tx.SetAbsentProofs(host.HostID, able)
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
