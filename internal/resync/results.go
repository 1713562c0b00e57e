package resync

import (
	"context"
	"fmt"
	"time"

	"railyard/internal/gather"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// resultsAtOnce and resultsDelay close a transaction: so many results, or that time
	// after the first one.
	resultsAtOnce = 128
	resultsDelay  = 3 * time.Millisecond
	// endTime is how long the last transactions may take once the process stops.
	endTime = 10 * time.Second
)

// storeResults stores what came of attempts until there are no more. It goes on for a
// while after ctx has ended, so that a stop gives the leases back. After an error,
// which is the file's, it calls fail and stores no more.
func (rs *Resyncer) storeResults(ctx context.Context, results <-chan *result, fail func(error)) {
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTime, cancel) })()
	broken := false
	for {
		group := gather.Batch(results, nil, resultsAtOnce, resultsDelay)
		switch {
		case len(group) == 0:
			return
		case broken:
			continue
		}
		if err := rs.store(detached, group); err != nil {
			broken = true
			fail(err)
		}
	}
}

// store finishes a group of attempts in one transaction. If that fails, each is finished on
// its own, so that a fault of ours in one does not spoil the others. Its error is
// the file's.
func (rs *Resyncer) store(ctx context.Context, group []*result) error {
	err := rs.finishAll(ctx, group)
	if err == nil {
		return nil
	}
	if len(group) > 1 {
		for i := range group {
			if err := rs.store(ctx, group[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	res := group[0]
	if ctx.Err() != nil || rs.cfg.Store.Err() != nil || res.fault {
		return fmt.Errorf("resync of %s: %w", res.Repo.DID, err)
	}
	rs.cfg.Log.Error("a resync could not be finished", "did", res.Repo.DID, "err", err)
	*res = result{attempt: res.attempt, err: refusal.New(refusal.Internal, "the result of an attempt: %w", err), fault: true}
	return rs.store(ctx, group)
}

// finishAll finishes a group of attempts in one transaction, all of them or none.
func (rs *Resyncer) finishAll(ctx context.Context, group []*result) error {
	outcomes := make([]repostate.Outcome, len(group))
	err := rs.cfg.Store.Update(ctx, "finish resyncs", func(tx *store.Tx) (err error) {
		for i, res := range group {
			if outcomes[i], err = rs.finish(tx, res); err == nil {
				err = res.finish(tx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, res := range group {
		rs.forget(res.attempt)
		rs.cfg.Metrics.Resynced(string(outcomes[i]))
		rs.cfg.Log.Debug("attempted", "did", res.Repo.DID, "reason", res.Repo.Waiting.Reason, "outcome", outcomes[i])
	}
	wake(rs.freed)
	return nil
}
