package resync

import (
	"context"
	"errors"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/pds"
	"railyard/internal/store"
)

// visit is a claimed row on its way through a worker: whose turn it is, and what
// the host says of its limits.
type visit struct {
	*store.Task
	lane  *lane
	trial bool // it began on probation
	paid  bool // the first request is counted already
	limit *pds.RateLimit
}

type visitKey struct{}

// context makes the requests of the visit know it.
func (v *visit) context(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, visitKey{}, v)
	return pds.OnRateLimit(ctx, func(l pds.RateLimit) { v.limit = &l })
}

// putOff is why a look ends without an answer that nobody is to blame for, and
// for how long.
type putOff struct {
	why   string
	pause time.Duration
}

func (p *putOff) Error() string { return p.why }

var (
	errCooling = &putOff{why: "the host cools down"}
	errNoRoom  = &putOff{"no memory for another tree", roomPause}
	errGiant   = &putOff{"another giant repo is being fetched", giantPause}
)

// pace waits until the host of a visit may be asked; ctx is that of the step. The
// first request was counted when the row was claimed.
func (rs *Resyncer) pace(ctx context.Context, _ int64) error {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return errors.New("a request without a visit")
	}
	if v.paid {
		v.paid = false
		return nil
	}
	pause, ok := rs.lanes.again(v.lane, rs.cfg.Now())
	if !ok {
		return errCooling
	}
	return backoff.Sleep(ctx, pause)
}

// littleLeft is the part of a host's window that is left to others.
const littleLeft = 20

// heed follows what the host said of its limits: its rate is kept with it, and it
// is left alone until its window ends where little of that remains.
func (rs *Resyncer) heed(tx *store.Tx, v *visit) error {
	if v.limit == nil || v.Lane <= 0 {
		return nil
	}
	if said := v.limit.Rate; said > 0 {
		if known := rs.lanes.rate(v.lane); said < 0.99*known || said > 1.01*known {
			if err := tx.SetRate(v.Lane, said); err != nil {
				return err
			}
		}
	}
	if v.limit.Remaining < 0 || v.limit.Remaining > max(1, v.limit.Limit/littleLeft) {
		return nil
	}
	return tx.CoolHost(v.Lane, tx.Now().Add(min(v.limit.Reset, cooldownMost)))
}
