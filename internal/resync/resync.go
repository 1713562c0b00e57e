package resync

import (
	"context"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"railyard/internal/identity"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const (
	defaultWorkers = 32
	// idlePoll bounds the wait for work when nothing is known to become due.
	idlePoll = time.Minute
	// limitedHosts bounds the hosts whose pace is remembered.
	limitedHosts = 1 << 15
)

// Resolver finds DID documents.
type Resolver interface {
	Resolve(ctx context.Context, did string) (identity.Identity, error)
}

// Hosts asks PDSes.
type Hosts interface {
	GetRepoStatus(ctx context.Context, base, did string) (pds.AccountStatus, error)
	GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error)
}

// Config of the workers.
type Config struct {
	Store    *store.Store
	Resolver Resolver
	Hosts    Hosts
	// Workers bounds the looks that run at once; 0 means 32.
	Workers int
	// HostQPS bounds the requests per second to one host; 0 means no bound.
	HostQPS float64
	// KeyChanged is called after the commit of a changed signing key.
	KeyChanged func(did string)
	Now        func() time.Time
	Log        *slog.Logger
	Metrics    *metrics.Metrics
}

// Resyncer works on the queue.
type Resyncer struct {
	cfg      Config
	running  atomic.Int64
	freed    chan struct{} // a worker has become free
	mu       sync.Mutex    // two workers must not make two limiters for a host
	limiters *lru.Cache[int64, *rate.Limiter]
}

// New makes the workers; Run starts them.
func New(cfg Config) *Resyncer {
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cfg.Log.With("component", "resync")
	limiters, err := lru.New[int64, *rate.Limiter](limitedHosts)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return &Resyncer{cfg: cfg, limiters: limiters, freed: make(chan struct{}, 1)}
}

// Running is the number of looks that run now.
func (rs *Resyncer) Running() int64 { return rs.running.Load() }

// Run works on the queue until ctx ends. Looks that are under way then are
// cancelled and given back. It fails only when the file does.
func (rs *Resyncer) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failure := make(chan error, 1) // the first one
	fail := func(err error) {
		select {
		case failure <- err:
		default:
		}
		stop()
	}
	var workers sync.WaitGroup
	for ctx.Err() == nil {
		tasks, err := rs.claim(ctx)
		if err != nil && ctx.Err() == nil {
			fail(err)
		}
		for _, t := range tasks {
			workers.Go(func() {
				if err := rs.look(ctx, t); err != nil {
					fail(err)
				}
				rs.running.Add(-1)
				nudge(rs.freed)
			})
		}
		if len(tasks) == 0 {
			rs.wait(ctx)
		}
	}
	workers.Wait()
	select {
	case err := <-failure:
		return err
	default:
		return nil
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// claim takes as many due rows as there are free workers.
func (rs *Resyncer) claim(ctx context.Context) (tasks []*store.Task, err error) {
	free := rs.cfg.Workers - int(rs.running.Load())
	if free <= 0 {
		return nil, nil
	}
	due, err := rs.nextDue(ctx)
	if err != nil || due.IsZero() || due.After(rs.cfg.Now()) {
		return nil, err
	}
	err = rs.cfg.Store.Update(ctx, "claim resyncs", func(tx *store.Tx) (err error) {
		tasks, err = tx.Claim(free, plan)
		return err
	})
	rs.running.Add(int64(len(tasks)))
	return tasks, err
}

func (rs *Resyncer) nextDue(ctx context.Context) (due time.Time, err error) {
	err = rs.cfg.Store.View(ctx, func(rx *store.Rx) error {
		due, err = rx.NextDue()
		return err
	})
	return due, err
}

// wait returns when there may be something to claim.
func (rs *Resyncer) wait(ctx context.Context) {
	pause := idlePoll
	if rs.running.Load() >= int64(rs.cfg.Workers) {
		pause = math.MaxInt64 // until a worker is free
	} else if due, err := rs.nextDue(ctx); err == nil && !due.IsZero() {
		pause = min(pause, max(0, due.Sub(rs.cfg.Now())))
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

// pace waits until a host may be asked again.
func (rs *Resyncer) pace(ctx context.Context, host int64) error {
	if rs.cfg.HostQPS <= 0 {
		return nil
	}
	rs.mu.Lock()
	lim, ok := rs.limiters.Get(host)
	if !ok {
		lim = rate.NewLimiter(rate.Limit(rs.cfg.HostQPS), max(1, int(rs.cfg.HostQPS)))
		rs.limiters.Add(host, lim)
	}
	rs.mu.Unlock()
	return lim.Wait(ctx)
}
