package resync

import (
	"context"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// refreshEvery and refreshes bound these look-ups: one a second at most, and none
	// while work has been waiting for longer than refreshIdle.
	refreshEvery = time.Minute
	refreshes    = 60
	refreshIdle  = 30 * time.Second
	// logFresh is how far behind the directory the log may be for its changes to be
	// known without a look-up.
	logFresh = 5 * time.Minute
)

// Refresh has old documents looked up in the background until ctx ends. It fails
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

// refresh goes on behind a repo id and returns where to go on the next time.
func (rs *Resyncer) refresh(ctx context.Context, after int64) (next int64, err error) {
	now := rs.cfg.Now()
	onlyWeb := now.Sub(rs.logCurrent()) <= logFresh // the log has the others
	var repos []int64
	err = rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		busy, err := rx.Backlog(now.Add(-refreshIdle))
		if next = after; err != nil || busy {
			return err
		}
		repos, next, err = rx.Aged(after, now.Add(-repostate.IdentityAge), onlyWeb, refreshes)
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
	_, err = tx.Apply(r, repostate.Decide(r, repostate.Aged{At: at}, tx.Env()))
	return err
}

// logCurrent is up to when the PLC directory's log is in the file.
func (rs *Resyncer) logCurrent() time.Time {
	if rs.cfg.LogCurrent == nil {
		return time.Time{}
	}
	return rs.cfg.LogCurrent()
}
