package resync

import (
	"context"

	"railyard/internal/backoff"
)

// Pace waits until a host may be asked again. It is for those who ask the hosts for
// other things than repos: one pace holds for all of it.
func (rs *Resyncer) Pace(ctx context.Context, host int64) error {
	return backoff.Sleep(ctx, rs.lanes.spend(host, rs.cfg.Now()))
}
