package resync

import (
	"context"
	"time"
)

// Pace waits until a host may be asked again. It is for those who ask the hosts for
// other things than repos: one pace holds for all of it.
func (rs *Resyncer) Pace(ctx context.Context, host int64) error {
	return wait(ctx, rs.lanes.spend(host, rs.cfg.Now()))
}

// wait returns when a pause or the context ends.
func wait(ctx context.Context, pause time.Duration) error {
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
