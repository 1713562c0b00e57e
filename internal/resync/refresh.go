package resync

import (
	"context"
	"time"

	"railyard/internal/store"
)

const (
	// identityAge is how old a document may become before it is looked at again,
	// though nothing says that it has changed: an #identity can be lost.
	identityAge = 7 * 24 * time.Hour
	// refreshEvery and refreshes bound these looks: one a second at most, and none
	// while work has been waiting for longer than refreshIdle.
	refreshEvery = time.Minute
	refreshes    = 60
	refreshIdle  = 30 * time.Second
)

// Refresh has old identities looked at in the background until ctx ends. It fails
// only when the file does.
func (rs *Resyncer) Refresh(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for after := int64(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var err error
		if after, err = rs.refresh(ctx, after); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// refresh goes on behind a repo id and tells where to go on the next time.
func (rs *Resyncer) refresh(ctx context.Context, after int64) (next int64, err error) {
	now := rs.cfg.Now()
	onlyWeb := now.Sub(rs.logCurrent()) <= identityFresh // the log tells of the others
	var repos []int64
	err = rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		busy, err := rx.Backlog(now.Add(-refreshIdle))
		if next = after; err != nil || busy {
			return err
		}
		repos, next, err = rx.Aged(after, now.Add(-identityAge), onlyWeb, refreshes)
		return err
	})
	if err != nil || len(repos) == 0 {
		return next, err
	}
	return next, rs.cfg.Store.Update(ctx, "refresh identities", func(tx *store.Tx) error {
		for i, id := range repos {
			if err := refreshOne(tx, id, tx.Now().Add(time.Duration(i)*refreshEvery/refreshes)); err != nil {
				return err
			}
		}
		return nil
	})
}

func refreshOne(tx *store.Tx, id int64, at time.Time) error {
	r, err := tx.RepoByID(id)
	if err != nil {
		return err
	}
	if queued, _, err := tx.Queued(r); err != nil || queued || r.Identity == nil {
		return err
	}
	return tx.Refresh(r, at)
}

// logCurrent is up to when the PLC directory's log is in the file.
func (rs *Resyncer) logCurrent() time.Time {
	if rs.cfg.LogCurrent == nil {
		return time.Time{}
	}
	return rs.cfg.LogCurrent()
}
