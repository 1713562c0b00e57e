package establish

import (
	"context"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// fetch asks the host for the whole repo.
func (a *attempt) fetch(ctx context.Context) (*Found, error) {
	snap, err := a.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if snap.Commit.DID != a.DID {
		return nil, refusal.New(refusal.AnswerWrongDID, "a repo of %s", snap.Commit.DID)
	}
	if n := len(snap.Collections); n > refusal.MaxCollections {
		return nil, refusal.New(refusal.RepoTooBig, "%d collections, at most %d", n, refusal.MaxCollections)
	}
	if err := a.verify(ctx, snap.Commit); err != nil {
		return nil, err
	}
	return a.found(&result{snap.Commit, snap.Collections, ByTree})
}

// read fetches the repo once and walks its tree, within bounds.
func (a *attempt) read(ctx context.Context, limits repo.SnapshotLimits) (*repo.Snapshot, error) {
	if err := a.Pace(ctx); err != nil {
		return nil, err
	}
	body, err := a.cfg.Hosts.GetRepo(ctx, a.Host, a.DID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return repo.ReadSnapshot(body, limits)
}
