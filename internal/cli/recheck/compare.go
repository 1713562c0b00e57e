package recheck

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"railyard/internal/backoff"
	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/store"
)

const (
	// hostsAtOnce bounds the hosts that are asked at once.
	hostsAtOnce = 4
	// mostFailures is how often a repo is asked for that cannot be had, and mostRefusals
	// where what comes is refused.
	mostFailures = 3
	mostRefusals = 2
	// surelyGone is how many attempts in a row must find a repo gone.
	surelyGone = 2
)

// pauses are those between the attempts at repos of which nothing sure is known: a
// running service has half a minute to catch up.
var pauses = []time.Duration{2 * time.Second, 6 * time.Second, 18 * time.Second}

// Config is what Compare needs.
type Config struct {
	Reader   *store.Reader
	Resolver *identity.Resolver
	Hosts    *pds.Client // with the bounds of a getRepo
	QPS      float64     // requests per second to one host, above 0

	// Pauses replaces those between the attempts; nil means the default.
	Pauses []time.Duration
	// Progress, if set, hears each time of how many repos no more is to be found out.
	// It is called by one goroutine at a time.
	Progress func(done, all int)
}

// Compare compares repos, by their ids, and returns one finding for each, in the order
// of their DIDs. The error is that of the file or of the context.
func Compare(ctx context.Context, cfg Config, ids []int64) ([]Finding, error) {
	if cfg.Pauses == nil {
		cfg.Pauses = pauses
	}
	c := &comparer{
		Config: cfg, paces: newPaces(cfg.QPS), directory: &pace{patience: directoryPatience},
		establisher: establish.New(establish.Config{Hosts: cfg.Hosts, Method: establish.WholeRepo}),
	}
	for _, id := range ids {
		c.subjects = append(c.subjects, &subject{id: id})
	}
	if err := c.rounds(ctx); err != nil {
		return nil, err
	}
	findings := make([]Finding, len(c.subjects))
	for i, s := range c.subjects {
		findings[i] = s.finding()
	}
	slices.SortFunc(findings, func(a, b Finding) int { return cmp.Compare(a.DID, b.DID) })
	return findings, nil
}

// comparer is one run of Compare.
type comparer struct {
	Config
	establisher *establish.Establisher
	paces       *paces
	directory   *pace // counts its failures alone; the resolver keeps the pace
	subjects    []*subject

	mu     sync.Mutex
	closed int // subjects of which no more is to be found out
}

// rounds attempts all repos, and then again those that are still open.
func (c *comparer) rounds(ctx context.Context) error {
	for n := 0; ; n++ {
		open := slices.DeleteFunc(slices.Clone(c.subjects), func(s *subject) bool { return !s.open() })
		if len(open) == 0 || n > len(c.Pauses) {
			return nil
		}
		if n > 0 {
			if err := backoff.Sleep(ctx, c.Pauses[n-1]); err != nil {
				return err
			}
		}
		if err := c.round(ctx, open); err != nil {
			return err
		}
	}
}

// round attempts repos once, those of one host one after the other.
func (c *comparer) round(ctx context.Context, open []*subject) error {
	c.paces.reset()
	c.directory.reset()
	groups, err := c.byHost(ctx, open)
	if err != nil {
		return err
	}
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(hostsAtOnce)
	for _, group := range groups {
		workers.Go(func() error {
			for _, s := range group {
				if err := c.safely(ctx, s); err != nil {
					return err
				}
				c.progress(s)
			}
			return nil
		})
	}
	return workers.Wait()
}

// byHost groups repos by the host that the file names, the largest group first: it
// takes longest.
func (c *comparer) byHost(ctx context.Context, open []*subject) ([][]*subject, error) {
	by := make(map[int64][]*subject)
	var order []int64
	for _, s := range open {
		r, err := c.read(ctx, s.id)
		if err != nil {
			return nil, err
		}
		host := int64(0)
		if r.Identity != nil {
			host = r.Identity.HostID
		}
		if by[host] == nil {
			order = append(order, host)
		}
		by[host] = append(by[host], s)
	}
	slices.SortStableFunc(order, func(a, b int64) int { return len(by[b]) - len(by[a]) })
	groups := make([][]*subject, len(order))
	for i, host := range order {
		groups[i] = by[host]
	}
	return groups, nil
}

func (c *comparer) progress(s *subject) {
	if s.open() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed++; c.Progress != nil {
		c.Progress(c.closed, len(c.subjects))
	}
}

// safely attempts a repo; a fault of ours ends the run as an error.
func (c *comparer) safely(ctx context.Context, s *subject) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic at repo %d: %v\n%s", s.id, p, debug.Stack())
		}
	}()
	return c.attempt(ctx, s)
}
