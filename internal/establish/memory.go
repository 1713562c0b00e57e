package establish

import (
	"context"
	"errors"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// What fetched repos may take. The nodes of a tree are 90 bytes a record: nearly
// all repos have less than 10,000 records, 1 MB. Those that are larger are
// fetched again with more memory, and the largest known ones, about a million
// records, one at a time.
const (
	repoBytes      = 4 << 30
	nodeBudget     = 96 << 20 // of all fetches but an oversized one's
	oversizedNodes = 512 << 20
	// memoryPatience is how long a fetch waits for memory before it gives up.
	memoryPatience = time.Second
)

var (
	// ErrNoMemory is returned when other fetches use the memory budget. Soon they
	// will have ended.
	ErrNoMemory = errors.New("no memory for another tree")
	// ErrOversized is returned when a repo needs more memory than one of normal
	// size may use, and another one such is being fetched.
	ErrOversized = errors.New("another oversized repo is being fetched")
)

// tiers are the limits for a repo of normal size, tried in this order.
func tiers() []repo.SnapshotLimits {
	return []repo.SnapshotLimits{
		{Bytes: 256 << 20, NodeBytes: 1 << 20},
		{Bytes: repoBytes, NodeBytes: 12 << 20},
	}
}

// snapshot fetches the repo and walks its tree, in the least memory where it fits.
func (a *attempt) snapshot(ctx context.Context) (*repo.Snapshot, error) {
	for i, limits := range a.tiers {
		snap, err := a.reserved(ctx, limits)
		if reason, _ := refusal.ReasonOf(err); reason != refusal.AnswerTooBig {
			return snap, err
		}
		if last := i == len(a.tiers)-1; last && !errors.Is(err, repo.ErrTreeTooBig) {
			return nil, err // it is longer than any repo may be: it has perhaps no end
		}
	}
	select {
	case a.oversized <- struct{}{}:
	default:
		return nil, ErrOversized // do not hold a worker and a share of the host
	}
	defer func() { <-a.oversized }()
	return a.read(ctx, repo.SnapshotLimits{Bytes: repoBytes, NodeBytes: oversizedNodes})
}

// reserved fetches the repo with a part of the memory budget.
func (a *attempt) reserved(ctx context.Context, limits repo.SnapshotLimits) (*repo.Snapshot, error) {
	if !a.memory.TryAcquire(limits.NodeBytes) {
		patience, cancel := context.WithTimeout(ctx, memoryPatience)
		defer cancel()
		if a.memory.Acquire(patience, limits.NodeBytes) != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, ErrNoMemory
		}
	}
	defer a.memory.Release(limits.NodeBytes)
	return a.read(ctx, limits)
}
