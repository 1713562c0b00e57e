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
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"railyard/internal/api"
	"railyard/internal/atproto"
	"railyard/internal/crawl"
	"railyard/internal/identity"
	"railyard/internal/ingest"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/plc"
	"railyard/internal/resync"
	"railyard/internal/store"
)

// serveConfig is what the flags of serve say.
type serveConfig struct {
	db              string
	listen          string
	metricsListen   string
	upstreams       list
	plcURL          string
	plcExport       string
	plcQPS          float64
	verify          choice
	sync11          choice
	crawl           choice
	crawlQPS        float64
	sweepEvery      time.Duration
	resyncWorkers   int
	resyncMethod    choice
	describeTimeout time.Duration
	repoTimeout     time.Duration
	allowPrivate    bool
	logFormat       choice
	logLevel        choice

	// What the process touches; nil means the real thing.
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

func serveFlags() (*flag.FlagSet, *serveConfig) {
	c := &serveConfig{
		upstreams:    list{values: []string{"wss://bsky.network"}},
		verify:       choice{"all", []string{"all", "changes"}},
		sync11:       choice{"auto", []string{"auto", "strict", "lenient"}},
		crawl:        choice{"relay", []string{"relay", "deep", "off"}},
		resyncMethod: choice{string(resync.Auto), resync.Methods()},
		logFormat:    choice{"text", []string{"text", "json"}},
		logLevel:     choice{"info", []string{"debug", "info", "warn", "error"}},
	}
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.StringVar(&c.db, "db", "railyard.db", "the index file; made if it does not exist")
	fs.StringVar(&c.listen, "listen", "127.0.0.1:2526", "address of the public service; port 0 takes a free one")
	fs.StringVar(&c.metricsListen, "metrics-listen", "127.0.0.1:2527", "address of /metrics; empty for none")
	fs.Var(&c.upstreams, "upstream", "relay or PDS to follow (ws, wss, http, https); may be repeated")
	fs.StringVar(&c.plcURL, "plc-url", "https://plc.directory", "the PLC directory")
	fs.StringVar(&c.plcExport, "plc-export", "", "server whose /export gives identities in bulk and changes of them, https://plc.directory; empty for none")
	fs.Float64Var(&c.plcQPS, "plc-qps", 30, "requests per second to the PLC directory, its export included")
	fs.Var(&c.verify, "verify", "signatures that are checked: all, or changes (of the commits that change a set of collections, and a sample)")
	fs.Var(&c.sync11, "sync11", "commits without prevData: auto (accepted from hosts that never sent better), strict, lenient")
	fs.Var(&c.crawl, "crawl", "where to look for repos: relay (listRepos of the upstreams), deep (and of each host that the relays follow), off")
	fs.Float64Var(&c.crawlQPS, "crawl-qps", 8, "requests per second to one host; hosts whose answers ask for less get less")
	fs.DurationVar(&c.sweepEvery, "sweep-every", 24*time.Hour, "time between two walks of a listing; 0 for one walk only")
	fs.IntVar(&c.resyncWorkers, "resync-workers", 128, "repos that are looked at at once, at most 4 at one host")
	fs.Var(&c.resyncMethod, "resync-method", "how repos are established: auto, describe (claims, proven later), probe (getRecord), repo (getRepo)")
	fs.DurationVar(&c.describeTimeout, "describe-timeout", 30*time.Second, "time for one describeRepo")
	fs.DurationVar(&c.repoTimeout, "repo-timeout", 5*time.Minute, "time for one getRepo")
	fs.BoolVar(&c.allowPrivate, "allow-private-hosts", false, "development: allow http, private addresses and any port")
	fs.Var(&c.logFormat, "log-format", "text or json")
	fs.Var(&c.logLevel, "log-level", "debug, info, warn or error")
	return fs, c
}

func (c *serveConfig) validate() error {
	switch {
	case len(c.upstreams.values) == 0:
		return usagef("serve: --upstream: none given")
	case c.db == "":
		return usagef("serve: --db: no file given")
	case !(c.plcQPS > 0 && c.plcQPS <= 10_000): // nor NaN
		return usagef("serve: --plc-qps %g: not above 0 and at most 10000", c.plcQPS)
	case !(c.crawlQPS > 0 && c.crawlQPS <= 10_000):
		return usagef("serve: --crawl-qps %g: not above 0 and at most 10000", c.crawlQPS)
	case c.sweepEvery != 0 && (c.sweepEvery < time.Minute || c.sweepEvery > 365*24*time.Hour):
		return usagef("serve: --sweep-every %s: not 0, nor between 1m and 8760h", c.sweepEvery)
	case c.resyncWorkers < 1 || c.resyncWorkers > 4096:
		return usagef("serve: --resync-workers %d: not between 1 and 4096", c.resyncWorkers)
	case c.describeTimeout < time.Second || c.describeTimeout > time.Hour:
		return usagef("serve: --describe-timeout %s: not between 1s and 1h", c.describeTimeout)
	case c.repoTimeout < time.Second || c.repoTimeout > 24*time.Hour:
		return usagef("serve: --repo-timeout %s: not between 1s and 24h", c.repoTimeout)
	}
	if err := directoryURL("--plc-url", c.plcURL); err != nil {
		return err
	}
	if c.plcExport != "" {
		if err := directoryURL("--plc-export", c.plcExport); err != nil {
			return err
		}
	}
	given := make(map[string]bool)
	for _, raw := range c.upstreams.values {
		base, err := serverURL(raw)
		if err != nil {
			return usagef("serve: --upstream %q: %v", raw, err)
		}
		name := strings.ToLower(base)
		if given[name] {
			return usagef("serve: --upstream %q: given twice", raw)
		}
		given[name] = true
	}
	return nil
}

// directoryURL checks the URL of a PLC directory.
func directoryURL(flag, raw string) error {
	base, err := serverURL(raw)
	if err != nil {
		return usagef("serve: %s %q: %v", flag, raw, err)
	}
	if base != strings.TrimSuffix(raw, "/") {
		return usagef("serve: %s %q: wants http or https, a host and nothing else", flag, raw)
	}
	return nil
}

// serverURL checks the URL of a server of the operator's choice and gives its
// http form.
func serverURL(raw string) (string, error) {
	base, err := ingest.BaseURL(raw)
	if err != nil {
		return "", err
	}
	_, err = operatorHost(base)
	return base, err
}

// serve is the service.
func serve(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, cfg := serveFlags()
	unknown, err := parse(fs, args, environ, stdout)
	if err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	log := newLogger(cfg, stderr)
	// Libraries that write to the standard logger do so when strangers make them.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	warnUnknown(log, fs, unknown)
	if cfg.allowPrivate {
		log.Warn("private hosts are allowed: any DID document can make this process send requests into this network")
	}
	return runService(ctx, cfg, stdout, log)
}

func newLogger(cfg *serveConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.logLevel.value)) // one of the choices
	opts := &slog.HandlerOptions{Level: level}
	if cfg.logFormat.value == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// service is the running whole. It is the only place where its parts meet.
type service struct {
	cfg      *serveConfig
	log      *slog.Logger
	metrics  *metrics.Metrics
	store    *store.Store
	outbound *outbound.Client
	pds      *pds.Client
	ingest   *ingest.Ingest
	resync   *resync.Resyncer
	crawl    *crawl.Crawler
	plc      *plc.Follower // nil without --plc-export
}

// runService takes the ports, so that a taken one is known before anything is
// touched, and serves.
func runService(ctx context.Context, cfg *serveConfig, stdout io.Writer, log *slog.Logger) (err error) {
	public, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer func() { _ = public.Close() }()
	var private net.Listener
	if cfg.metricsListen != "" {
		if private, err = net.Listen("tcp", cfg.metricsListen); err != nil {
			return fmt.Errorf("--metrics-listen: %w", err)
		}
		defer func() { _ = private.Close() }()
	}
	return serveOn(ctx, cfg, public, private, stdout, log)
}

// serveOn is the service over given listeners; private may be nil.
func serveOn(ctx context.Context, cfg *serveConfig, public, private net.Listener, stdout io.Writer, log *slog.Logger) (err error) {
	s, err := openService(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, err := fmt.Fprintf(stdout, "listening http://%s\n", public.Addr()); err != nil {
		return err
	}
	return s.run(ctx, public, private)
}

// openService opens the file and makes the service over it; close ends both.
func openService(ctx context.Context, cfg *serveConfig, log *slog.Logger) (*service, error) {
	st, err := store.Open(ctx, store.Config{Path: cfg.db, Version: versionText()})
	if err != nil {
		return nil, err
	}
	s, err := newService(ctx, cfg, st, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

func (s *service) close() error {
	s.outbound.Close()
	return s.store.Close()
}

func newService(ctx context.Context, cfg *serveConfig, st *store.Store, log *slog.Logger) (*service, error) {
	s := &service{cfg: cfg, log: log, metrics: metrics.New(), store: st}
	agent := "railyard/" + versionText()
	hosts := atproto.Hosts{AllowPrivate: cfg.allowPrivate}
	var exempt []string
	directories := []string{cfg.plcURL}
	if cfg.plcExport != "" {
		directories = append(directories, cfg.plcExport)
	}
	for _, raw := range append(directories, cfg.upstreams.values...) {
		hostPort, err := outbound.HostPort(raw)
		if err != nil {
			return nil, err
		}
		exempt = append(exempt, hostPort)
	}
	s.outbound = outbound.New(outbound.Config{
		AllowPrivate: cfg.allowPrivate, Exempt: exempt, UserAgent: agent, Dial: cfg.dial, Lookup: cfg.lookup, Log: log,
	})
	s.pds = pds.New(s.outbound)
	s.pds.RepoTimeout, s.pds.DescribeTimeout = cfg.repoTimeout, cfg.describeTimeout

	var err error
	s.ingest, err = ingest.New(ctx, ingest.Config{
		Store: st, Upstreams: cfg.upstreams.values, UserAgent: agent, Dial: cfg.dial, Log: log, Metrics: s.metrics,
		Kind: s.kind, HostName: operatorHost, Connected: func(id int64) { s.crawl.Wake(id) },
		Changes: cfg.verify.value == "changes", Sync11: ingest.Sync11(cfg.sync11.value),
	})
	if err != nil {
		return nil, err
	}
	s.crawl = crawl.New(crawl.Config{
		Store: st, Lister: s.pds, Deep: cfg.crawl.value == "deep", Hosts: hosts, HostName: operatorHost, QPS: cfg.crawlQPS,
		Pace:       func(ctx context.Context, host int64) error { return s.resync.Pace(ctx, host) },
		SweepEvery: cfg.sweepEvery, Log: log, Metrics: s.metrics,
	}, s.ingest.Upstreams())
	resolver := identity.NewResolver(identity.Config{
		Client: s.outbound, PLCURL: cfg.plcURL, QPS: cfg.plcQPS, Hosts: hosts, Log: log,
	})
	s.plc = s.newFollower(resolver, hosts)
	s.resync = resync.New(resync.Config{
		Store: st, Hosts: s.pds, Workers: cfg.resyncWorkers, HostQPS: cfg.crawlQPS, Log: log, Metrics: s.metrics,
		Resolver: resolver, KeyChanged: s.ingest.ForgetKey, LogCurrent: s.logCurrent, Method: resync.Method(cfg.resyncMethod.value),
	})
	s.metrics.Gauge("in_flight", "Frames received and not committed, looks at repos and wanted walks of listings.", nil,
		func() float64 { return float64(s.live().InFlight) })
	return s, nil
}

// operatorHost gives the name of an upstream, which the operator may put
// anywhere.
func operatorHost(base string) (string, error) {
	host, _, err := atproto.Hosts{AllowPrivate: true}.Endpoint(base)
	return host, err
}

func (s *service) kind(ctx context.Context, base string) (store.Kind, error) {
	k, err := s.pds.UpstreamKind(ctx, base)
	return store.Kind(k), err
}

func (s *service) live() api.Live {
	l := api.Live{InFlight: s.ingest.InFlight() + s.resync.Running(), Connected: make(map[int64]bool)}
	for _, id := range s.ingest.Upstreams() {
		l.Connected[id] = s.ingest.Connected(id)
		if s.cfg.crawl.value != "off" && s.crawl.Busy(id) {
			l.InFlight++
		}
	}
	l.InFlight += int64(s.crawl.Walking())
	return l
}

// run works until ctx ends or a part fails. It stops in the order of need: first
// the intake, then what reads, and its caller closes the file last.
func (s *service) run(ctx context.Context, public, private net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The queries go on while the intake drains, and the upkeep of the file
	// after everything else has ended.
	queries, closeQueries := context.WithCancel(context.WithoutCancel(ctx))
	defer closeQueries()

	var intake, rest errgroup.Group
	work := func(name string, run func(context.Context) error) {
		intake.Go(func() error {
			defer cancel() // one part ends, all end
			if err := run(ctx); err != nil {
				s.store.Stop(err)
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	serve := func(l net.Listener, h http.Handler) {
		rest.Go(func() error {
			defer cancel()
			return api.Serve(queries, l, h, s.log)
		})
	}
	work("ingest", s.ingest.Run)
	work("resync", s.resync.Run)
	work("refresh", s.resync.Refresh)
	work("plc", s.followLog)
	if s.cfg.crawl.value != "off" {
		work("crawl", s.crawl.Run)
	}
	routes := api.Config{
		Store: s.store, Version: versionText(), Live: s.live, Hosts: atproto.Hosts{AllowPrivate: s.cfg.allowPrivate},
		Log: s.log.With("component", "api"), Metrics: s.metrics,
	}
	if s.cfg.crawl.value == "deep" {
		routes.RequestCrawl = s.crawl.Request
	}
	serve(public, api.Handler(routes))
	if private != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", s.metrics.Handler())
		serve(private, mux)
	}
	rest.Go(func() error { return s.store.Maintain(queries, s.log) })

	err := intake.Wait() // 1. no new events; what was received is committed
	closeQueries()       // 2. requests under way are answered, the upkeep ends
	return errors.Join(err, rest.Wait())
}
