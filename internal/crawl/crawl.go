package crawl

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const pageSize = 1000

// Lister asks servers what they list, one page at a time.
type Lister interface {
	ListRepos(ctx context.Context, base, cursor string, limit int) (pds.ReposPage, error)
	ListHosts(ctx context.Context, base, cursor string, limit int) (pds.HostsPage, error)
}

// Config of the crawler.
type Config struct {
	Store  *store.Store
	Lister Lister
	// Deep: the hosts of the relays are crawled too.
	Deep bool
	// Hosts says which names of hosts may be used.
	Hosts atproto.Hosts
	// HostName returns the canonical host of an upstream's base URL.
	HostName func(base string) (string, error)
	// QPS bounds the pages per second of one server; 0 means no bound.
	QPS float64
	// Pace waits until a host may be asked again; nil means a pace of our own. It
	// is there for those who ask the same hosts for other things.
	Pace func(ctx context.Context, host int64) error
	// SweepEvery is the time between the end of a crawl and the next one of the same
	// server; 0 means that there is none.
	SweepEvery time.Duration
	// Once: each server is crawled to the end of its listing once and no more, and
	// what that leaves out is not asked about. Only tests set it.
	Once    bool
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Crawler reads listings.
type Crawler struct {
	cfg       Config
	upstreams []int64
	wake      chan struct{}           // a crawl may be due
	wakeList  map[int64]chan struct{} // by upstream: its hosts may be asked for
	requests  *rate.Limiter           // unknown hosts that clients name

	mu      sync.Mutex     // guards what follows
	open    map[int64]bool // upstreams whose socket was open in this process
	woken   map[int64]bool // upstreams whose row must be read again
	busy    map[int64]bool // upstreams whose crawl was wanted when their row was read
	running map[store.CrawlID]bool
	kept    map[store.CrawlID]*crawl // of upstreams: put off, with what they have seen
}

// New makes a crawler for upstreams.
func New(cfg Config, upstreams []int64) *Crawler {
	cfg.Log = cfg.Log.With("component", "crawl")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Crawler{
		cfg: cfg, upstreams: upstreams, wake: make(chan struct{}, 1), wakeList: make(map[int64]chan struct{}),
		requests: rate.NewLimiter(rate.Every(24*time.Hour/requestsPerDay), requestsAtOnce),
		open:     make(map[int64]bool), woken: make(map[int64]bool), busy: make(map[int64]bool),
		running: make(map[store.CrawlID]bool), kept: make(map[store.CrawlID]*crawl),
	}
	for _, id := range upstreams {
		c.wakeList[id] = make(chan struct{}, 1)
	}
	return c
}

// Wake says that an upstream's socket is open, or that a crawl of it is wanted.
func (c *Crawler) Wake(upstream int64) {
	c.mu.Lock()
	c.open[upstream], c.woken[upstream] = true, true
	c.mu.Unlock()
	signal(c.wake)
	signal(c.wakeList[upstream])
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Busy reports whether a crawl of the upstream is wanted or under way in this process.
func (c *Crawler) Busy(upstream int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.woken[upstream] || c.busy[upstream]
}

// Hosts returns the number of hosts that are being crawled.
func (c *Crawler) Hosts() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.running {
		if id.Kind == store.OfHost {
			n++
		}
	}
	return n
}

// Run crawls until ctx ends. It fails only when the file does.
func (c *Crawler) Run(ctx context.Context) error {
	work, inner := errgroup.WithContext(ctx)
	work.Go(func() error { return c.dispatch(inner, work) })
	if c.cfg.Deep {
		for _, id := range c.upstreams {
			work.Go(func() error { return c.followHosts(inner, id) })
		}
	}
	if err := work.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// jitter spreads crawls, so that those that began together do not stay together.
func jitter(every time.Duration) time.Duration { return rand.N(every/10 + 1) }
