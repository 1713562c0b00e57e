package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/daemon"
	"railyard/internal/test/simnet"
)

const (
	demoReplay     = 1 << 20 // events that a simulated firehose can repeat
	demoMaxCommits = 100_000_000
)

// demoConfig is what the flags of demo say.
type demoConfig struct {
	accounts int
	pds      int
	seed     uint64
	rate     float64
	duration time.Duration
	settle   time.Duration
	db       string
	listen   string
	check    bool

	// What tests plant: after the service has been made and before it runs, and
	// between settling and comparing.
	beforeRun     func(db string) error
	beforeCompare func(db string) error
	client        *http.Client
}

func demoFlags() (*flag.FlagSet, *demoConfig) {
	c := &demoConfig{client: http.DefaultClient}
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.IntVar(&c.accounts, "accounts", 200, "accounts of the simulated network")
	fs.IntVar(&c.pds, "pds", 2, "PDSes of the simulated network")
	fs.Uint64Var(&c.seed, "seed", 1, "one seed, one history")
	fs.Float64Var(&c.rate, "rate", 50, "commits per second of the whole network")
	fs.DurationVar(&c.duration, "for", 0, "how long the network lives; 0: until interrupted, 10s with --check")
	fs.DurationVar(&c.settle, "settle", time.Minute, "with --check: how long the index may take to settle")
	fs.StringVar(&c.db, "db", "", "a new index file, kept; empty: a temporary one")
	fs.StringVar(&c.listen, "listen", "", "address of the service (default 127.0.0.1:2526, a free port with --check)")
	fs.BoolVar(&c.check, "check", false, "compare the index with the truth at the end; exit 1 on any difference")
	return fs, c
}

func (c *demoConfig) validate() error {
	switch {
	case c.accounts < 1 || c.accounts > 1_000_000:
		return usagef("demo: --accounts %d: not between 1 and 1000000", c.accounts)
	case c.pds < 1 || c.pds > 500:
		return usagef("demo: --pds %d: not between 1 and 500", c.pds)
	case !(c.rate >= 0 && c.rate <= 1_000_000): // nor NaN
		return usagef("demo: --rate %g: not between 0 and 1000000", c.rate)
	case c.duration < 0:
		return usagef("demo: --for %s: negative", c.duration)
	case c.settle <= 0:
		return usagef("demo: --settle %s: not above 0", c.settle)
	case c.rate*c.duration.Seconds() > demoMaxCommits:
		return usagef("demo: --rate × --for: more than %d commits", demoMaxCommits)
	}
	if c.check && c.duration == 0 {
		c.duration = 10 * time.Second
	}
	if c.listen == "" {
		c.listen = "127.0.0.1:2526"
		if c.check {
			c.listen = "127.0.0.1:0"
		}
	}
	return nil
}

// demo runs a simulated network with the service on it, without any other
// network.
func demo(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, cfg := demoFlags()
	unknown, err := parse(fs, args, environ, stdout)
	if err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	warnUnknown(log, fs, unknown)
	return runDemo(ctx, cfg, stdout, stderr, log)
}

// theDemo is the running whole of network and service.
type theDemo struct {
	cfg     *demoConfig
	net     *simnet.Network
	service *daemon.Service
	db      string
	base    string // of the public service
	from    int64  // the network's last event when the service was connected
	stdout  io.Writer
	screen  *screen
}

func runDemo(ctx context.Context, cfg *demoConfig, stdout, stderr io.Writer, log *slog.Logger) (err error) {
	d := &theDemo{cfg: cfg, stdout: stdout, screen: newScreen(stderr)}
	db, cleanup, err := demoFile(cfg.db)
	if err != nil {
		return err
	}
	defer cleanup()
	d.db = db
	public, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer func() { _ = public.Close() }()
	d.base = "http://" + public.Addr().String()

	d.screen.say("making a network of %d accounts on %d PDSes, seed %d ...", cfg.accounts, cfg.pds, cfg.seed)
	d.net, err = simnet.New(simnet.Config{
		Seed: cfg.seed, PDS: cfg.pds, Accounts: cfg.accounts, Relay: true, Now: time.Now, ReplayWindow: demoReplay,
		Listen: func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.net.Close()) }()
	return d.run(ctx, public, log)
}

// demoFile returns a path for a new index file.
func demoFile(path string) (string, func(), error) {
	if path != "" {
		if _, err := os.Stat(path); err == nil {
			return "", nil, fmt.Errorf("--db %s: the file exists; the demo wants a new one", path)
		}
		return path, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "railyard-demo-")
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "demo.db"), func() { _ = os.RemoveAll(dir) }, nil
}

// run starts the service, lets the network live, and compares at the end if that
// is asked for.
func (d *theDemo) run(ctx context.Context, public net.Listener, log *slog.Logger) (err error) {
	_, cfg := serveFlags()
	cfg.db, cfg.upstreams, cfg.plcURL = d.db, list{values: []string{d.net.Relay()}}, d.net.PLC()
	cfg.plcQPS, cfg.crawlQPS, cfg.allowPrivate = 10_000, 10_000, true
	if d.service, err = daemon.Open(ctx, cfg.service(), log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.service.Close()) }()
	if d.cfg.beforeRun != nil {
		if err := d.cfg.beforeRun(d.db); err != nil {
			return err
		}
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.service.Run(serving, public, nil) }()
	if _, err := fmt.Fprintf(d.stdout, "listening %s\n", d.base); err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	err = d.live(serving)
	stop()
	d.screen.end()
	return errors.Join(err, <-ended)
}

// live shows the backfill, then lets the network live and shows figures.
func (d *theDemo) live(ctx context.Context) error {
	d.connect(ctx)
	if !d.cfg.check {
		d.backfill(ctx)
		d.screen.invite(d.base, d.db, d.net.PLC())
	}
	if err := d.commits(ctx); err != nil || !d.cfg.check || ctx.Err() != nil {
		return err
	}
	return d.compare(ctx)
}

// connect waits until the service follows the network, which makes no event
// before that.
func (d *theDemo) connect(ctx context.Context) {
	for ctx.Err() == nil {
		if st, err := d.stats(ctx); err == nil && st.connected() {
			break
		}
		_ = backoff.Sleep(ctx, 10*time.Millisecond)
	}
	d.from = d.net.LastSeq("relay")
}

// backfill shows how the service finds and fetches what the network holds.
func (d *theDemo) backfill(ctx context.Context) {
	for ctx.Err() == nil {
		st, err := d.stats(ctx)
		if err == nil {
			known := st.Repos["synchronized"]
			d.screen.bar("backfill", known, int64(d.cfg.accounts))
			if st.settled(d.from, d.net.LastSeq("relay")) {
				return
			}
		}
		_ = backoff.Sleep(ctx, 100*time.Millisecond)
	}
}

// commits lets the network live at its rate. rate × for commits are made
// whatever the clock does.
func (d *theDemo) commits(ctx context.Context) error {
	total := int(d.cfg.rate * d.cfg.duration.Seconds())
	endless := d.cfg.duration == 0
	start, shown := time.Now(), time.Time{}
	for made := 0; (endless || made < total) && ctx.Err() == nil; {
		due := int(d.cfg.rate * time.Since(start).Seconds())
		if !endless {
			due = min(due, total)
		}
		for ; made < due; made++ {
			if err := d.net.Step(); err != nil {
				return err
			}
		}
		if time.Since(shown) >= time.Second {
			shown = time.Now()
			d.figures(ctx)
		}
		_ = backoff.Sleep(ctx, 10*time.Millisecond)
	}
	return nil
}

func (d *theDemo) figures(ctx context.Context) {
	st, err := d.stats(ctx)
	if err != nil {
		return
	}
	l := d.net.Ledger()
	d.screen.line("%d repos, %d memberships in %d collections; the network made %d commits, %d births, %d deaths; %d in the queue",
		st.Repos["total"], st.Memberships, st.Collections, l.Commits, l.Births, l.Deaths, st.ResyncQueue)
}
