package resync

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"railyard/internal/identity"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/repo"
	"railyard/internal/store"
)

const (
	defaultWorkers = 128
	// leastPause is the least wait when nothing could be claimed: hosts become
	// ready one by one, and are better served together.
	leastPause = 5 * time.Millisecond
)

// Resolver finds DID documents.
type Resolver interface {
	Resolve(ctx context.Context, did string) (identity.Identity, error)
	EarlierKeys(ctx context.Context, did string) ([]identity.EarlierKey, error)
}

// Hosts asks PDSes.
type Hosts interface {
	GetRepoStatus(ctx context.Context, base, did string) (pds.AccountStatus, error)
	GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error)
	GetRecord(ctx context.Context, base, did, collection, rkey string) ([]byte, error)
	DescribeRepo(ctx context.Context, base, did string) (pds.RepoDescription, error)
}

// Config of the workers.
type Config struct {
	Store    *store.Store
	Resolver Resolver
	Hosts    Hosts
	// Workers bounds the looks that run at once; 0 means 128.
	Workers int
	// Method is how repos are established; empty means Auto.
	Method Method
	// HostQPS bounds the requests per second to one host, which may ask for less;
	// 0 means no bound of ours.
	HostQPS float64
	// KeyChanged is called after the commit of a changed signing key.
	KeyChanged func(did string)
	// LogCurrent tells up to when the changes of every did:plc are in the file
	// without being looked up, zero if they are not; nil means never.
	LogCurrent func() time.Time
	// NoProofs: claims wait for a proof for good. Only tests set it.
	NoProofs bool
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  *metrics.Metrics
}

// Resyncer works on the queue.
type Resyncer struct {
	cfg    Config
	lanes  *lanes
	scan   scan
	freed  chan struct{}       // workers have become free
	memory *semaphore.Weighted // of the tree nodes of all fetches but a giant's
	rooms  []repo.SnapshotLimits
	giants chan struct{} // held by the one fetch that may use much memory
}

// New makes the workers; Run starts them.
func New(cfg Config) *Resyncer {
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Method == "" {
		cfg.Method = Auto
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cfg.Log.With("component", "resync")
	return &Resyncer{
		cfg: cfg, lanes: newLanes(cfg.Workers, cfg.HostQPS), freed: make(chan struct{}, 1),
		memory: semaphore.NewWeighted(nodeBudget), rooms: normalRooms(), giants: make(chan struct{}, 1),
	}
}

// Running is the number of looks that run now.
func (rs *Resyncer) Running() int64 {
	running, _ := rs.lanes.pending()
	return int64(running)
}

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
	var workers, storing sync.WaitGroup
	ends := make(chan *finished, rs.cfg.Workers)
	storing.Go(func() { rs.storeEnds(ctx, ends, fail) })
	for ctx.Err() == nil {
		visits, err := rs.claim(ctx)
		if err != nil {
			fail(err)
		}
		for _, v := range visits {
			workers.Go(func() { ends <- &finished{v, rs.step(ctx, v)} })
		}
		if len(visits) == 0 {
			rs.wait(ctx)
		}
	}
	workers.Wait()
	close(ends)
	storing.Wait()
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

// claim takes rows that are due for the free workers, in one transaction.
func (rs *Resyncer) claim(ctx context.Context) ([]*visit, error) {
	if err := rs.catchUp(ctx); err != nil {
		return nil, err
	}
	for {
		picks := rs.lanes.choose(rs.cfg.Now())
		if len(picks) == 0 {
			return nil, nil
		}
		visits, err := rs.take(ctx, picks)
		if err != nil || len(visits) > 0 {
			return visits, err
		}
		// The heads were too early, and are right now.
	}
}

// take claims what was picked. It does not stop halfway when ctx ends: the
// workers give back what it took.
func (rs *Resyncer) take(ctx context.Context, picks []pick) (visits []*visit, err error) {
	rows, next := make([]int, len(picks)), make([]time.Time, len(picks))
	err = rs.cfg.Store.Update(context.WithoutCancel(ctx), "claim resyncs", func(tx *store.Tx) error {
		for i, p := range picks {
			tasks, left, err := tx.Claim(p.Wanted, rs.plan)
			if err != nil {
				return err
			}
			for _, t := range tasks {
				visits = append(visits, &visit{Task: t, lane: p.lane, trial: p.trial, paid: true})
			}
			rows[i], next[i] = len(tasks), left
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now := rs.cfg.Now()
	for i, p := range picks {
		rs.lanes.claimed(p, rows[i], next[i], now)
	}
	return visits, nil
}

// wait returns when there may be something to claim.
func (rs *Resyncer) wait(ctx context.Context) {
	pause := leastPause
	if !rs.scan.under {
		_, wake := rs.lanes.pending()
		if wake.IsZero() || wake.After(rs.scan.due) {
			wake = rs.scan.due
		}
		pause = max(leastPause, wake.Sub(rs.cfg.Now()))
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
