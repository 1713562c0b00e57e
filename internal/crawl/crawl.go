package crawl

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const (
	pageSize   = 1000
	retryFirst = 5 * time.Second
	retryMost  = 10 * time.Minute
)

// Lister asks servers what they list, one page at a time.
type Lister interface {
	ListRepos(ctx context.Context, base, cursor string, limit int) (pds.ReposPage, error)
	ListHosts(ctx context.Context, base, cursor string, limit int) (pds.HostsPage, error)
}

// Config of the crawler.
type Config struct {
	Store  *store.Store
	Lister Lister
	// Deep: the hosts of the relays are walked too.
	Deep bool
	// Hosts says which names of hosts may be used.
	Hosts atproto.Hosts
	// HostName gives the canonical host of an upstream's base URL.
	HostName func(base string) (string, error)
	// QPS bounds the pages per second of one server; 0 means no bound.
	QPS float64
	// Pace waits until a host may be asked again; nil means a pace of our own. It
	// is there for those who ask the same hosts for other things.
	Pace func(ctx context.Context, host int64) error
	// SweepEvery is the time between the end of a walk and the next one; 0 means
	// that there is none.
	SweepEvery time.Duration
	// Once: an upstream is walked to the end of its listing once and no more, and
	// what that leaves out is not asked about. Only tests set it.
	Once    bool
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Crawler walks listings.
type Crawler struct {
	cfg      Config
	wake     map[int64]chan struct{} // by upstream: a walk of its repos may be wanted
	wakeList map[int64]chan struct{} // by upstream: its hosts may be asked for
	nudge    chan struct{}           // the walk of a host may be due
	requests *rate.Limiter           // unknown hosts that strangers name

	mu      sync.Mutex // guards what follows
	busy    map[int64]bool
	walking map[int64]bool // hosts
}

// New makes a crawler for upstreams.
func New(cfg Config, upstreams []int64) *Crawler {
	cfg.Log = cfg.Log.With("component", "crawl")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Crawler{
		cfg: cfg, wake: make(map[int64]chan struct{}), wakeList: make(map[int64]chan struct{}), nudge: make(chan struct{}, 1),
		requests: rate.NewLimiter(rate.Every(24*time.Hour/requestsPerDay), requestsAtOnce),
		busy:     make(map[int64]bool), walking: make(map[int64]bool),
	}
	for _, id := range upstreams {
		c.wake[id], c.wakeList[id] = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return c
}

// Wake says that an upstream's socket is open, or that a walk is wanted.
func (c *Crawler) Wake(upstream int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[upstream] = true
	poke(c.wake[upstream])
	poke(c.wakeList[upstream])
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Busy tells whether a walk of the upstream is wanted or under way in this
// process.
func (c *Crawler) Busy(upstream int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy[upstream]
}

// Walking is the number of hosts whose walk is under way.
func (c *Crawler) Walking() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.walking)
}

// rest ends a walk: the upstream stays busy if it was woken meanwhile.
func (c *Crawler) rest(upstream int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[upstream] = len(c.wake[upstream]) > 0
}

// Run walks until ctx ends. It fails only when the file does.
func (c *Crawler) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var parts []func() error
	for id := range c.wake {
		parts = append(parts, func() error { return c.follow(ctx, id) })
		if c.cfg.Deep {
			parts = append(parts, func() error { return c.followHosts(ctx, id) })
		}
	}
	if c.cfg.Deep {
		parts = append(parts, func() error { return c.walkHosts(ctx) })
	}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part() }()
	}
	var failure error
	for range parts {
		if err := <-ended; err != nil && ctx.Err() == nil {
			failure = err
			stop()
		}
	}
	return failure
}

// until gives the time to the next walk, when the last one ended at a time. A
// clock that was set back does not put it off.
func (c *Crawler) until(ended time.Time) time.Duration {
	since := max(0, c.cfg.Now().Sub(ended))
	return max(0, c.cfg.SweepEvery-since) + jitter(c.cfg.SweepEvery)
}

// jitter spreads walks, so that those that began together do not stay together.
func jitter(every time.Duration) time.Duration { return rand.N(every/10 + 1) }

// stopped tells whether an error is no more than the end of ctx.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}
