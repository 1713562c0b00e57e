package recheck

import (
	"context"
	"errors"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/store"
	"railyard/internal/verify"
)

const (
	// maxCollections bounds those of one repo; the largest seen have about a thousand.
	maxCollections = 10_000
	// treeBytes bounds the tree of one repo in memory.
	treeBytes = 256 << 20
)

// notAsked is why a host or the directory was not asked.
type notAsked struct{ reason string }

func (e *notAsked) Error() string { return e.reason }

// resolve fetches the DID document as it is now. A directory that goes on failing is
// left alone.
func (c *comparer) resolve(ctx context.Context, did string) (identity.Identity, error) {
	if !strings.HasPrefix(did, "did:plc:") {
		return c.Resolver.Resolve(ctx, did)
	}
	if reason := c.directory.closed(); reason != "" {
		return identity.Identity{}, &notAsked{"the PLC directory was " + reason}
	}
	id, err := c.Resolver.Resolve(ctx, did)
	if ctx.Err() == nil {
		c.directory.answered(unavailable(err))
	}
	return id, err
}

// unavailable words a failure of the directory as one of a host, nil if it answered.
func unavailable(err error) *pds.Error {
	u, failed := errors.AsType[*identity.Unavailable](err)
	if !failed {
		return nil
	}
	return &pds.Error{Outcome: pds.Transient, RetryAfter: u.RetryAfter}
}

// fetch asks the host that the document names for the whole repo. r is the row of
// before.
func (c *comparer) fetch(ctx context.Context, r *row, id identity.Identity) (*fetched, error) {
	snap, err := c.snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	commit := snap.Commit
	if n := len(snap.Collections); n > maxCollections {
		return nil, refusal.New(refusal.AnswerTooBig, "a repo with %d collections", n)
	}
	if commit.DID != r.DID {
		return nil, refusal.New(refusal.AnswerWrongDID, "a repo of %s", commit.DID)
	}
	if commit.Rev.Time().After(time.Now().Add(verify.Tolerance)) {
		return nil, refusal.New(refusal.FutureRev, "rev %s is of %s", commit.Rev, commit.Rev.Time().UTC().Format(time.RFC3339))
	}
	f := &fetched{store.Head{Rev: commit.Rev, Data: commit.Data, CID: commit.CID}, snap.Collections}
	return f, c.signed(ctx, r, id, commit)
}

// snapshot reads the repo in the lane of its host.
func (c *comparer) snapshot(ctx context.Context, id identity.Identity) (*repo.Snapshot, error) {
	l := c.lanes.to(id.Host)
	reason, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, &notAsked{"its host was " + reason}
	}
	defer l.leave()
	snap, err := c.get(pds.OnRateLimit(ctx, l.heed), id)
	if ctx.Err() == nil {
		failure, _ := errors.AsType[*pds.Error](err)
		l.answered(failure)
	}
	return snap, err
}

func (c *comparer) get(ctx context.Context, id identity.Identity) (*repo.Snapshot, error) {
	body, err := c.Hosts.GetRepo(ctx, id.URL(), id.DID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return repo.ReadSnapshot(body, repo.SnapshotLimits{NodeBytes: treeBytes})
}

// signed checks the signature of a commit. An earlier key of the DID will do where
// it does for the service: nothing was seen that the present key has signed, or it is
// the very commit that the file holds, whose signature was good when it came.
// (spec: account migration)
func (c *comparer) signed(ctx context.Context, r *row, id identity.Identity, commit *repo.Commit) error {
	err := verifyWith(id.Key, commit)
	held := r.Head != nil && r.Head.CID == commit.CID
	if err == nil || !held && !oldKeysCount(r, commit.Rev) {
		return err
	}
	if held && verifyWith(identity.Key(r.Identity.Key), commit) == nil {
		return nil
	}
	earlier, asked := c.Resolver.EarlierKeys(ctx, r.DID)
	if asked != nil {
		if _, failed := errors.AsType[*identity.Unavailable](asked); failed || ctx.Err() != nil {
			return asked
		}
		return err
	}
	for _, k := range earlier {
		if verifyWith(k.Key, commit) == nil {
			return nil
		}
	}
	return err
}

// oldKeysCount tells whether the file takes a commit of this rev that an earlier key
// has signed.
func oldKeysCount(r *row, rev atproto.TID) bool {
	return r.Identity != nil && r.OldKeysCount() && r.Identity.EarlierRev > 0 && rev <= r.Identity.EarlierRev
}

func verifyWith(k identity.Key, commit *repo.Commit) error {
	key, err := k.Public()
	if err != nil {
		return refusal.New(refusal.BadSignature, "%w", err)
	}
	return commit.Verify(key)
}
