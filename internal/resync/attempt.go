package resync

import (
	"context"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// attempt is one try at a queued repo: a leased row, and the host that may be asked
// for it.
type attempt struct {
	*repostate.Attempt
	host      int64 // whom it asks: host_queue.host_id
	rs        *Resyncer
	hostPace  *hostPace
	unproven  bool           // the host was, when the attempt began
	charged   bool           // a request is charged to the host that was not sent yet
	cooldowns int64          // those that had begun when it was last seen that the host has none
	limit     *pds.RateLimit // what the host has said of its limits
}

// result is what came of an attempt: one of its fields.
type result struct {
	*attempt
	identity *identity.Identity
	status   *pds.AccountStatus
	found    *repostate.Found
	observed establish.Observed // beside that, and beside an error
	answered bool               // beside err: the host has answered other requests of the attempt,
	nobody   bool               // or it serves nobody
	err      error
	fault    bool // err is ours: what the attempt has found could not be stored
}

// pace waits until the host may be asked. The first request was charged with the
// lease, which saw that the host does not cool down; the file is read again only if
// any host does since.
func (a *attempt) pace(ctx context.Context) error {
	if a.charged {
		a.charged = false
		return nil
	}
	now := a.rs.cfg.Now()
	if n := a.rs.cfg.Store.Cooldowns(); n != a.cooldowns {
		limits, err := a.rs.hostLimits(ctx, a.host)
		if err != nil {
			return err
		}
		if limits.Cooldown.After(now) {
			return errCooling
		}
		a.cooldowns = n
	}
	return backoff.Sleep(ctx, a.hostPace.take(now))
}

// putOff is why an attempt finishes without an answer that nobody is to blame for, and
// for how long the next one waits.
type putOff struct {
	why   string
	pause time.Duration
}

func (p *putOff) Error() string { return p.why }

var (
	errCooling   = &putOff{why: "the host cools down"}
	errNoMemory  = &putOff{"no memory for another tree", memoryPause}
	errOversized = &putOff{"another oversized repo is being fetched", oversizedPause}
)

// littleLeft is the part of a host's window that is left to others.
const littleLeft = 20

// finish stores what the attempt means for the host: how it may be asked from now on.
func (a *attempt) finish(tx *store.Tx) error {
	if err := a.applyLimits(tx); err != nil {
		return err
	}
	return tx.FinishAttempt(a.host, a.hostPace.next())
}

// applyLimits stores what the host has said of its limits: its rate, and where little
// of its window remains, that it is left alone until that ends.
func (a *attempt) applyLimits(tx *store.Tx) error {
	if a.limit == nil || a.host <= 0 {
		return nil
	}
	if said := a.limit.Rate; said > 0 {
		known, err := tx.HostLimits(a.host)
		if err != nil {
			return err
		}
		if said < 0.99*known.Rate || said > 1.01*known.Rate {
			if err := tx.SetRate(a.host, said); err != nil {
				return err
			}
		}
	}
	if a.limit.Remaining < 0 || a.limit.Remaining > max(1, a.limit.Limit/littleLeft) {
		return nil
	}
	return tx.CoolHost(a.host, tx.Now().Add(min(a.limit.Reset, cooldownMost)))
}
