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
	// leastPause is the least wait when nothing could be claimed.
	leastPause = 50 * time.Millisecond
	busyPause  = 500 * time.Millisecond
	// limitedHosts bounds the hosts whose pace is remembered.
	limitedHosts = 1 << 15
	// hostShare: one host has at most this part of the workers.
	hostShare = 4
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
	cfg     Config
	running atomic.Int64
	freed   chan struct{} // a worker has become free
	giants  chan struct{} // held by the one fetch that may use much memory

	mu       sync.Mutex // guards what follows
	limiters *lru.Cache[int64, *rate.Limiter]
	asking   map[int64]int // looks that run, by host
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
	return &Resyncer{
		cfg: cfg, limiters: limiters, freed: make(chan struct{}, 1), giants: make(chan struct{}, 1), asking: make(map[int64]int),
	}
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
		if ctx.Err() != nil {
			return // it stops anyhow; claims are released at the next start
		}
		select {
		case failure <- err:
		default:
		}
		stop()
	}
	var workers sync.WaitGroup
	for ctx.Err() == nil {
		tasks, err := rs.claim(ctx)
		if err != nil {
			fail(err)
		}
		for _, t := range tasks {
			workers.Go(func() {
				if err := rs.work(ctx, t); err != nil {
					fail(err)
				}
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

// work is one look, from the claim to the end.
func (rs *Resyncer) work(ctx context.Context, t *store.Task) error {
	defer func() {
		rs.leaveHost(t)
		rs.running.Add(-1)
		nudge(rs.freed)
	}()
	return rs.look(ctx, t)
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
	most := max(1, rs.cfg.Workers/hostShare)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var claimed map[int64]int
	err = rs.cfg.Store.Update(ctx, "claim resyncs", func(tx *store.Tx) (err error) {
		claimed = make(map[int64]int)
		tasks, err = tx.Claim(free, plan, func(host int64) bool {
			if rs.asking[host]+claimed[host] >= most {
				return true
			}
			claimed[host]++
			return false
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	for host, n := range claimed {
		rs.asking[host] += n
	}
	rs.running.Add(int64(len(tasks)))
	return tasks, nil
}

// leaveHost ends the share of its host that a task has.
func (rs *Resyncer) leaveHost(t *store.Task) {
	if t.Step != store.AskStatus && t.Step != store.Fetch {
		return
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	host := t.Repo.Identity.HostID
	if rs.asking[host]--; rs.asking[host] <= 0 {
		delete(rs.asking, host)
	}
}

func (rs *Resyncer) nextDue(ctx context.Context) (due time.Time, err error) {
	err = rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
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
		least := leastPause
		if rs.running.Load() > 0 {
			least = busyPause // what is due waits for a host; its worker will wake us
		}
		pause = min(pause, max(least, due.Sub(rs.cfg.Now())))
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
