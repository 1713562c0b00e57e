package resync

import (
	"context"
	"sync"
	"time"

	"railyard/internal/store"
)

const (
	// leastPause is the least wait when nothing could be leased: hosts become
	// ready one by one, and are better served together.
	leastPause = 5 * time.Millisecond
	// mostPause is the longest one. A row that came into the file without a word from
	// the store is found then.
	mostPause = time.Minute
	// The parts of the workers that the directory, the hosts of did:web, and all
	// unproven hosts together may hold: a quarter of them is always left for
	// hosts that are known to answer.
	directoryPart = 4
	webPart       = 8
	unprovenPart  = 2
)

// scheduler leases rows of the queue to the workers. Which host is asked, and for
// what, is chosen by the file (host_queue); the scheduler knows how many workers are
// free.
type scheduler struct {
	workers int
	started bool      // the file knows the parts of the workers
	last    time.Time // the clock, when the queue was last read
	back    bool      // it was set back since the last lease

	mu       sync.Mutex
	running  int // attempts
	unproven int // of them, those that were begun at an unproven host
}

// part is a share of the workers, at least one.
func (s *scheduler) part(of int) int { return max(1, s.workers/of) }

// free returns how many attempts more may run, and how many of them at unproven
// hosts.
func (s *scheduler) free() (all, unproven int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = s.workers - s.running
	return all, max(0, min(all, s.part(unprovenPart)-s.unproven))
}

// count adds attempts that begin, or takes off those that are finished.
func (s *scheduler) count(n int, attempts ...*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range attempts {
		s.running += n
		if a.unproven {
			s.unproven += n
		}
	}
}

// Running is the number of attempts that run now.
func (rs *Resyncer) Running() int64 {
	rs.scheduler.mu.Lock()
	defer rs.scheduler.mu.Unlock()
	return int64(rs.scheduler.running)
}

// next returns when something may be leased, the zero time if that needs an attempt to
// end, or a row to come.
func (rs *Resyncer) next(ctx context.Context) (at time.Time, err error) {
	all, unproven := rs.scheduler.free()
	if all == 0 {
		return time.Time{}, nil
	}
	err = rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		at, err = rx.NextReady(unproven > 0)
		return err
	})
	return at, err
}

// wait returns when there may be something to lease.
func (rs *Resyncer) wait(ctx context.Context, next time.Time) {
	pause := mostPause
	if !next.IsZero() {
		pause = min(mostPause, max(leastPause, next.Sub(rs.cfg.Now())))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-rs.cfg.Store.Wakeup():
	case <-rs.freed:
	}
}

// leaseDue leases rows if any are due, and returns when to try again if it gets none.
func (rs *Resyncer) leaseDue(ctx context.Context) (attempts []*attempt, next time.Time, err error) {
	now := rs.cfg.Now().Round(0) // without the monotonic clock, which is never set
	next, err = rs.next(ctx)
	if err != nil {
		return nil, next, err
	}
	if back := rs.scheduler.wentBack(now); !back && (next.IsZero() || next.After(now)) {
		return nil, next, nil
	}
	attempts, err = rs.lease(ctx)
	return attempts, next, err
}

// lease takes rows that are due for the free workers, in one transaction. It does not
// stop halfway when ctx ends: the workers release what it took.
func (rs *Resyncer) lease(ctx context.Context) (attempts []*attempt, err error) {
	err = rs.cfg.Store.Update(context.WithoutCancel(ctx), "lease resyncs", func(tx *store.Tx) error {
		if err := rs.scheduler.prepare(tx); err != nil {
			return err
		}
		for more := true; more; {
			if more, err = rs.round(tx, &attempts); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, a := range attempts {
			rs.forget(a)
		}
		return nil, err
	}
	return attempts, nil
}

// wentBack reports whether the clock was set back since the last lease.
func (s *scheduler) wentBack(now time.Time) bool {
	s.back = s.back || s.last.Sub(now) > time.Second
	s.last = now
	return s.back
}

// prepare stores the parts of the workers, and brings forward what a clock
// has put off that was set back.
func (s *scheduler) prepare(tx *store.Tx) error {
	if s.back {
		if err := tx.ClampHosts(); err != nil {
			return err
		}
	}
	if !s.started {
		if err := tx.SetShare(store.DirectoryQueue, s.part(directoryPart)); err != nil {
			return err
		}
		if err := tx.SetShare(store.WebQueue, s.part(webPart)); err != nil {
			return err
		}
	}
	tx.AfterCommit(func() { s.started, s.back = true, false })
	return nil
}

// round leases a row of each host that is ready for the most urgent ones. more is
// false once no host is ready, or no worker free.
func (rs *Resyncer) round(tx *store.Tx, attempts *[]*attempt) (more bool, err error) {
	all, unproven := rs.scheduler.free()
	if all == 0 {
		return false, nil
	}
	hosts, err := tx.ReadyHosts(all, unproven)
	if err != nil {
		return false, err
	}
	for _, h := range hosts {
		a, err := rs.leaseOf(tx, h)
		if err != nil {
			return false, err
		}
		if a != nil {
			rs.scheduler.count(1, a)
			*attempts = append(*attempts, a)
		}
	}
	return len(hosts) > 0, nil
}

// leaseOf leases the first row of a host, nil if it must not be asked after all. The
// file is right about that then.
func (rs *Resyncer) leaseOf(tx *store.Tx, h store.ReadyHost) (*attempt, error) {
	pace := rs.pacer.open(h.ID, h.Rate, h.NextAt)
	if !pace.try(tx.Now()) {
		defer pace.close()
		return nil, tx.SetNextAt(h.ID, pace.next())
	}
	t, err := tx.Lease(h, pace.next(), rs.env(tx))
	if err != nil || t == nil {
		pace.giveBack()
		pace.close()
		return nil, err
	}
	return &attempt{Attempt: t, host: h.ID, rs: rs, hostPace: pace, unproven: h.Unproven, charged: true, cooldowns: rs.cfg.Store.Cooldowns()}, nil
}

// forget drops an attempt that the file knows nothing of, or nothing of any more.
func (rs *Resyncer) forget(a *attempt) {
	rs.scheduler.count(-1, a)
	a.hostPace.close()
}
