package resync

import (
	"context"
	"fmt"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	// endsAtOnce and endsDelay close a transaction: so many ends, or that time
	// after the first one.
	endsAtOnce = 128
	endsDelay  = 3 * time.Millisecond
	// endTime is how long the last transactions may take once the process stops.
	endTime = 10 * time.Second
)

// finished is a look whose end is to be stored.
type finished struct {
	*visit
	end ending
}

// storeEnds stores the ends of looks until there are no more. It goes on for a
// while after ctx has ended, so that a stop gives the claims back. After an error,
// which is the file's, it calls fail and stores no more.
func (rs *Resyncer) storeEnds(ctx context.Context, ends <-chan *finished, fail func(error)) {
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTime, cancel) })()
	broken := false
	for group := gather(ends); len(group) > 0; group = gather(ends) {
		if broken {
			continue
		}
		if err := rs.store(detached, group); err != nil {
			broken = true
			fail(err)
		}
	}
}

// gather waits for one end and takes those that come soon after. An empty group
// means that there will be none.
func gather(ends <-chan *finished) []*finished {
	first, ok := <-ends
	if !ok {
		return nil
	}
	group := []*finished{first}
	timer := time.NewTimer(endsDelay)
	defer timer.Stop()
	for len(group) < endsAtOnce {
		select {
		case f, ok := <-ends:
			if !ok {
				return group
			}
			group = append(group, f)
		case <-timer.C:
			return group
		}
	}
	return group
}

// store ends a group of looks in one transaction. If that fails, each is ended on
// its own, so that a fault of ours in one does not spoil the others. Its error is
// the file's.
func (rs *Resyncer) store(ctx context.Context, group []*finished) error {
	err := rs.conclude(ctx, group)
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
	f := group[0]
	if ctx.Err() != nil || rs.cfg.Store.Err() != nil || f.end.fault {
		return fmt.Errorf("resync of %s: %w", f.Repo.DID, err)
	}
	rs.cfg.Log.Error("a resync could not be ended", "did", f.Repo.DID, "err", err)
	f.end = ending{err: refusal.New(refusal.Internal, "the end of a look: %w", err), fault: true}
	return rs.store(ctx, group)
}

// conclude ends a group of looks in one transaction, all of them or none.
func (rs *Resyncer) conclude(ctx context.Context, group []*finished) error {
	outcomes := make([]Outcome, len(group))
	err := rs.cfg.Store.Update(ctx, "end resyncs", func(tx *store.Tx) (err error) {
		for i, f := range group {
			task := *f.Task // it learns what the row has learned
			if outcomes[i], err = rs.finish(tx, &task, f.end); err == nil {
				err = rs.heed(tx, f.visit)
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
	now := rs.cfg.Now()
	for i, f := range group {
		rs.lanes.done(f.lane, f.trial, f.paid, now)
		rs.cfg.Metrics.Resynced(string(outcomes[i]))
		rs.cfg.Log.Debug("looked", "did", f.Repo.DID, "reason", f.Reason, "outcome", outcomes[i])
	}
	nudge(rs.freed)
	return nil
}
