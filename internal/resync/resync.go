package resync

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const defaultWorkers = 128

// Resolver finds DID documents.
type Resolver interface {
	Resolve(ctx context.Context, did string) (identity.Identity, error)
	EarlierKeys(ctx context.Context, did string) ([]identity.EarlierKey, error)
}

// Hosts asks PDSes.
type Hosts interface {
	establish.Hosts
	GetRepoStatus(ctx context.Context, base, did string) (pds.AccountStatus, error)
	ListRepos(ctx context.Context, base, cursor string, limit int) (pds.ReposPage, error)
}

// Config of the workers.
type Config struct {
	Store    *store.Store
	Resolver Resolver
	Hosts    Hosts
	// Workers bounds the attempts that run at once; 0 means 128.
	Workers int
	// Method is how repos are established; empty means establish.Auto.
	Method establish.Method
	// HostQPS bounds the requests per second to one host, which may ask for less;
	// 0 means no bound of ours.
	HostQPS float64
	// KeyChanged is called after the commit of a changed signing key.
	KeyChanged func(did string)
	// LogCurrent returns the time up to which the changes of every did:plc are in the file
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
	cfg         Config
	establisher *establish.Establisher
	scheduler   scheduler
	pacer       *pacer
	freed       chan struct{} // workers have become free
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
	rs := &Resyncer{
		cfg: cfg, scheduler: scheduler{workers: cfg.Workers}, pacer: newPacer(cfg.HostQPS), freed: make(chan struct{}, 1),
	}
	rs.establisher = rs.newEstablisher()
	return rs
}

// Run works on the queue until ctx ends. Attempts that are under way then are
// cancelled and given back. It fails only when the file does.
func (rs *Resyncer) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failure := make(chan error, 1) // the first one
	fail := func(err error) {
		if ctx.Err() != nil {
			return // it stops anyhow; leases are released at the next start
		}
		select {
		case failure <- err:
		default:
		}
		stop()
	}
	var workers, storing sync.WaitGroup
	results := make(chan *result, rs.cfg.Workers)
	storing.Go(func() { rs.storeResults(ctx, results, fail) })
	for ctx.Err() == nil {
		attempts, next, err := rs.leaseDue(ctx)
		if err != nil {
			fail(err)
		}
		for _, a := range attempts {
			workers.Go(func() { results <- rs.try(ctx, a) })
		}
		if len(attempts) == 0 {
			rs.wait(ctx, next)
		}
	}
	workers.Wait()
	close(results)
	storing.Wait()
	select {
	case err := <-failure:
		return err
	default:
		return nil
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
