package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"railyard/internal/api"
	"railyard/internal/atproto"
	"railyard/internal/crawl"
	"railyard/internal/establish"
	"railyard/internal/health"
	"railyard/internal/identity"
	"railyard/internal/ingest"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/plc"
	"railyard/internal/resync"
	"railyard/internal/store"
)

// Crawl is where the service looks for repos.
type Crawl string

// The values of Config.Crawl.
const (
	Relay Crawl = "relay" // in the listings of the upstreams
	Deep  Crawl = "deep"  // and in those of each host that the relays follow
	Off   Crawl = "off"   // nowhere: only repos that speak are found
)

// Config of the service. Most fields are flags of serve; where zero means
// nothing there, the package that takes them has a default.
type Config struct {
	DB              string // path of the file
	Version         string // of the program
	Upstreams       []string
	PLCURL          string
	PLCExport       string  // server of the PLC directory's log; empty for none
	PLCQPS          float64 // requests per second to the directory, its log included
	Crawl           Crawl
	CrawlQPS        float64       // requests per second to one host
	SweepEvery      time.Duration // between two crawls of a listing; 0: one crawl only
	ResyncWorkers   int
	ResyncMethod    establish.Method
	DescribeTimeout time.Duration
	RepoTimeout     time.Duration
	// AllowPrivate lifts the guard against private addresses, http and odd ports.
	AllowPrivate bool
	// TrustedProxies may say whose requests they forward (api.Config).
	TrustedProxies []netip.Prefix

	// What the process touches; nil means the real thing.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// What only tests set: how many goroutines verify, and when a transaction of
	// events is closed (ingest.Config).
	Provers int
	Batch   int
	Delay   time.Duration
	LogSize int64 // of the write-ahead log from which on the writer shortens it
	// Die is asked where the process may die; only tests set it. (store.Config)
	Die func(store.Point) error
	// Unrepaired leaves out all that finds what events alone do not show, so that
	// tests see what the path of events is worth: commits do not question the rows,
	// a listing is crawled once, claims are not proven and documents not refreshed.
	Unrepaired bool
}

// Service is the running whole. It is the only place where its parts meet.
type Service struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics.Metrics
	store    *store.Store
	outbound *outbound.Client
	conns    bounds
	pds      *pds.Client
	ingest   *ingest.Ingest
	resync   *resync.Resyncer
	crawl    *crawl.Crawler
	plc      *plc.Follower // nil without Config.PLCExport
	health   *health.Board
}

// Open opens the file and makes the service over it; Close ends both.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Service, error) {
	st, err := store.Open(ctx, store.Config{Path: cfg.DB, Version: cfg.Version, Die: cfg.Die, LogSize: cfg.LogSize})
	if err != nil {
		return nil, err
	}
	s, err := assemble(ctx, cfg, st, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// Close closes what Open has opened. Run must have returned.
func (s *Service) Close() error {
	s.outbound.Close()
	return s.store.Close()
}

// Store is the open file.
func (s *Service) Store() *store.Store { return s.store }

// Metrics are those that the service counts in.
func (s *Service) Metrics() *metrics.Metrics { return s.metrics }

func assemble(ctx context.Context, cfg Config, st *store.Store, log *slog.Logger) (*Service, error) {
	s := &Service{cfg: cfg, log: log, metrics: metrics.New(), store: st, health: health.New(log, time.Now)}
	agent := "railyard/" + cfg.Version
	s.conns = connections(descriptors(), len(cfg.Upstreams), log)
	hosts := atproto.Hosts{AllowPrivate: cfg.AllowPrivate}
	var exempt []string
	directories := []string{cfg.PLCURL}
	if cfg.PLCExport != "" {
		directories = append(directories, cfg.PLCExport)
	}
	for _, raw := range append(directories, cfg.Upstreams...) {
		hostPort, err := outbound.HostPort(raw)
		if err != nil {
			return nil, err
		}
		exempt = append(exempt, hostPort)
	}
	s.outbound = outbound.New(outbound.Config{
		AllowPrivate: cfg.AllowPrivate, Exempt: exempt, UserAgent: agent, Dial: cfg.Dial, Lookup: cfg.Lookup, Log: log,
		MaxConns: s.conns.out,
	})
	s.pds = pds.New(s.outbound)
	s.pds.RepoTimeout, s.pds.DescribeTimeout = cfg.RepoTimeout, cfg.DescribeTimeout
	s.pds.Route = func(base string) string { return s.ingest.Route(base) }

	var err error
	s.ingest, err = ingest.New(ctx, ingest.Config{
		Store: st, Upstreams: cfg.Upstreams, UserAgent: agent, Dial: cfg.Dial, Log: log, Metrics: s.metrics,
		Kind: s.kind, HostName: OperatorHost, WakeCrawl: func(id int64) { s.crawl.Wake(id) },
		Provers: cfg.Provers, Batch: cfg.Batch, Delay: cfg.Delay, DirectoryQPS: cfg.PLCQPS,
		NoAudit: cfg.Unrepaired,
	})
	if err != nil {
		return nil, err
	}
	s.crawl = crawl.New(crawl.Config{
		Store: st, Lister: s.pds, Deep: cfg.Crawl == Deep, Hosts: hosts, HostName: OperatorHost, QPS: cfg.CrawlQPS,
		Pace:       func(ctx context.Context, host int64) error { return s.resync.Pace(ctx, host) },
		SweepEvery: cfg.SweepEvery, Once: cfg.Unrepaired, Log: log, Metrics: s.metrics,
	}, s.ingest.Upstreams())
	resolver := identity.NewResolver(identity.Config{
		Client: s.outbound, PLCURL: cfg.PLCURL, QPS: cfg.PLCQPS, Hosts: hosts, Log: log,
	})
	s.plc = s.newFollower(resolver, hosts)
	s.resync = resync.New(resync.Config{
		Store: st, Hosts: s.pds, Workers: cfg.ResyncWorkers, HostQPS: cfg.CrawlQPS, Log: log, Metrics: s.metrics,
		Resolver: resolver, KeyChanged: s.ingest.ForgetKey, LogCurrent: s.logCurrent, Method: cfg.ResyncMethod,
		NoProofs: cfg.Unrepaired,
	})
	s.metrics.Gauge("in_flight", "Frames received and not committed, attempts at repos and wanted crawls of listings.", nil,
		func() float64 { return float64(s.live().InFlight) })
	s.metrics.Gauge("upkeep_failures", "Checkpoints of the file and prunings of the change feed that failed since the start, or came to nothing because of a reader. "+
		"Growth means that the disk is full or fails, or railyard_troubles{kind=\"log-pinned\"}.", nil, func() float64 { return float64(st.UpkeepFailures()) })
	for _, kind := range health.Kinds() {
		s.metrics.Gauge("troubles", "What stands still or falls behind, for longer than a moment: the file (locked, log-pinned), the process (short) or upstreams "+
			"(cut-off, silent, refused, behind). Anything above 0 deserves a look at /v1/stats.", map[string]string{"kind": string(kind)},
			func() float64 { return float64(s.troubles(kind)) })
	}
	return s, nil
}

func (s *Service) troubles(kind health.Kind) (n int) {
	for _, t := range s.health.Troubles() {
		if t.Kind == kind {
			n++
		}
	}
	return n
}

// OperatorHost returns the canonical name of a server that the operator chose, and
// may put anywhere. The error says what is wrong with it.
func OperatorHost(base string) (string, error) {
	host, _, err := atproto.Hosts{AllowPrivate: true}.Endpoint(base)
	return host, err
}

func (s *Service) live() api.Live {
	l := api.Live{InFlight: s.ingest.InFlight() + s.resync.Running(), Connected: make(map[int64]bool)}
	for _, id := range s.ingest.Upstreams() {
		l.Connected[id] = s.ingest.Connected(id)
		if s.cfg.Crawl != Off && s.crawl.Busy(id) {
			l.InFlight++
		}
	}
	l.InFlight += int64(s.crawl.Hosts())
	l.Troubles = s.health.Troubles()
	return l
}

// Run works until ctx ends or a part fails. It stops in the order of need: first
// the intake, then what reads, and its caller closes the file last.
func (s *Service) Run(ctx context.Context, public, private net.Listener) error {
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
	serve := func(l net.Listener, h http.Handler, most int) {
		rest.Go(func() error {
			defer cancel()
			return api.Serve(queries, l, h, most, s.log)
		})
	}
	work("ingest", s.ingest.Run)
	work("resync", s.resync.Run)
	if !s.cfg.Unrepaired {
		work("refresh", s.resync.Refresh)
	}
	work("plc", s.followLog)
	work("health", s.watch)
	if s.cfg.Crawl != Off {
		work("crawl", s.crawl.Run)
	}
	routes := api.Config{
		Store: s.store, Version: s.cfg.Version, Live: s.live, Hosts: atproto.Hosts{AllowPrivate: s.cfg.AllowPrivate},
		TrustedProxies: s.cfg.TrustedProxies, Closing: queries.Done(), Log: s.log.With("component", "api"), Metrics: s.metrics,
	}
	if s.cfg.Crawl == Deep {
		routes.RequestCrawl = s.crawl.Request
	}
	serve(public, api.Handler(routes), s.conns.in)
	if private != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", s.metrics.Handler())
		serve(private, mux, privateConns)
	}
	rest.Go(func() error {
		defer cancel()
		return s.store.Maintain(queries, s.log)
	})

	defer context.AfterFunc(ctx, s.store.WaitNoLonger)()
	err := intake.Wait() // 1. no new events; what was received is committed
	closeQueries()       // 2. requests under way are answered, the upkeep ends
	return errors.Join(err, rest.Wait())
}
