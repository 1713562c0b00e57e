package resync

import (
	"context"
	"errors"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// What fetched repos may take. The nodes of a tree are 90 bytes a record: nearly
// all repos have less than 10,000 records, 1 MB. Those that are larger are
// fetched again with more room, and the largest known ones, about a million
// records, one at a time.
const (
	repoBytes  = 4 << 30
	nodeBudget = 96 << 20 // of all fetches but a giant's
	giantNodes = 512 << 20
	// roomPatience is how long a fetch waits for memory before it gives its host's
	// share back.
	roomPatience = time.Second
)

// normalRooms are those for a repo of normal size, tried in this order.
func normalRooms() []repo.SnapshotLimits {
	return []repo.SnapshotLimits{
		{Bytes: 256 << 20, NodeBytes: 1 << 20},
		{Bytes: repoBytes, NodeBytes: 12 << 20},
	}
}

// tree fetches a repo and walks its tree, in the least room where it fits.
func (rs *Resyncer) tree(ctx context.Context, a *attempt) (*repo.Snapshot, error) {
	for i, limits := range rs.rooms {
		snap, err := rs.within(ctx, a, limits)
		if reason, _ := refusal.ReasonOf(err); reason != refusal.AnswerTooBig {
			return snap, err
		}
		if last := i == len(rs.rooms)-1; last && !errors.Is(err, repo.ErrTreeTooBig) {
			return nil, err // it is longer than any repo may be: it has perhaps no end
		}
	}
	select {
	case rs.giants <- struct{}{}:
	default:
		return nil, errGiant // do not hold a worker and a share of the host
	}
	defer func() { <-rs.giants }()
	return rs.snapshot(ctx, a, repo.SnapshotLimits{Bytes: repoBytes, NodeBytes: giantNodes})
}

// within fetches a repo in a room of the common memory.
func (rs *Resyncer) within(ctx context.Context, a *attempt, limits repo.SnapshotLimits) (*repo.Snapshot, error) {
	if !rs.memory.TryAcquire(limits.NodeBytes) {
		patience, cancel := context.WithTimeout(ctx, roomPatience)
		defer cancel()
		if rs.memory.Acquire(patience, limits.NodeBytes) != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, errNoRoom
		}
	}
	defer rs.memory.Release(limits.NodeBytes)
	return rs.snapshot(ctx, a, limits)
}
