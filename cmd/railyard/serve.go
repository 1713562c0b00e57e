package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/ingest"
)

// serveConfig is what the flags of serve say.
type serveConfig struct {
	db              string
	listen          string
	metricsListen   string
	trustedProxies  list
	upstreams       list
	plcURL          string
	plcExport       string
	plcQPS          float64
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
}

func serveFlags() (*flag.FlagSet, *serveConfig) {
	c := &serveConfig{
		upstreams:    list{values: []string{"wss://bsky.network"}},
		crawl:        choice{"relay", []string{"relay", "deep", "off"}},
		resyncMethod: choice{string(establish.Auto), establish.Methods()},
		logFormat:    choice{"text", []string{"text", "json"}},
		logLevel:     choice{"info", []string{"debug", "info", "warn", "error"}},
	}
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.StringVar(&c.db, "db", "railyard.db", "the index file; made if it does not exist")
	fs.StringVar(&c.listen, "listen", "127.0.0.1:2526", "address of the public service; port 0 takes a free one")
	fs.StringVar(&c.metricsListen, "metrics-listen", "127.0.0.1:2527", "address of /metrics; empty for none")
	fs.Var(&c.trustedProxies, "trusted-proxy", "network of reverse proxies (10.0.0.0/8, ::1) whose X-Forwarded-For is believed; may be repeated")
	fs.Var(&c.upstreams, "upstream", "relay or PDS to follow (ws, wss, http, https); may be repeated. URL#NAME: a PDS that documents call NAME")
	fs.StringVar(&c.plcURL, "plc-url", "https://plc.directory", "the PLC directory")
	fs.StringVar(&c.plcExport, "plc-export", "", "server whose /export gives identities in bulk and changes of them, https://plc.directory; empty for none")
	fs.Float64Var(&c.plcQPS, "plc-qps", 30, "requests per second to the PLC directory, its export included")
	fs.Var(&removed{why: "signatures are always checked now"}, "verify", "")
	fs.Var(&removed{why: "a commit that cannot be inverted always has its repo fetched now"}, "sync11", "")
	fs.Var(&c.crawl, "crawl", "where to look for repos: relay (listRepos of the upstreams), deep (and of each host that the relays follow), off")
	fs.Float64Var(&c.crawlQPS, "crawl-qps", 8, "requests per second to one host; hosts whose answers ask for less get less")
	fs.DurationVar(&c.sweepEvery, "sweep-every", 24*time.Hour, "time between two crawls of a listing; 0 for one crawl only")
	fs.IntVar(&c.resyncWorkers, "resync-workers", 128, "attempts at repos at once, at most 4 at one host")
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
	if _, err := c.proxies(); err != nil {
		return err
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
		base, _, err := ingest.ParseUpstream(raw)
		if err == nil {
			_, err = daemon.OperatorHost(base)
		}
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

// proxies returns the networks of the trusted proxies.
func (c *serveConfig) proxies() ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(c.trustedProxies.values))
	for i, text := range c.trustedProxies.values {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(text); err == nil {
				network = netip.PrefixFrom(addr, addr.BitLen())
			}
		}
		switch {
		case err != nil || network.Addr().Zone() != "" || network.Addr().Is4In6():
			return nil, usagef("serve: --trusted-proxy %q: wants an address or a network such as 10.0.0.0/8", text)
		case network.Bits() == 0:
			return nil, usagef("serve: --trusted-proxy %q: that is everybody", text)
		}
		networks[i] = network
	}
	return networks, nil
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

// serverURL checks the URL of a server of the operator's choice and returns its
// http form.
func serverURL(raw string) (string, error) {
	base, err := ingest.BaseURL(raw)
	if err != nil {
		return "", err
	}
	_, err = daemon.OperatorHost(base)
	return base, err
}

// service is what the flags say to the service.
func (c *serveConfig) service() daemon.Config {
	proxies, _ := c.proxies() // validate has read them
	return daemon.Config{
		DB: c.db, Version: versionText(), Upstreams: c.upstreams.values, PLCURL: c.plcURL, PLCExport: c.plcExport, PLCQPS: c.plcQPS,
		Crawl: daemon.Crawl(c.crawl.value), CrawlQPS: c.crawlQPS, SweepEvery: c.sweepEvery,
		ResyncWorkers: c.resyncWorkers, ResyncMethod: establish.Method(c.resyncMethod.value),
		DescribeTimeout: c.describeTimeout, RepoTimeout: c.repoTimeout, AllowPrivate: c.allowPrivate, TrustedProxies: proxies,
	}
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
	signal.Ignore(syscall.SIGPIPE) // a service outlives the reader of its log
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
	s, err := daemon.Open(ctx, cfg.service(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := fmt.Fprintf(stdout, "listening http://%s\n", public.Addr()); err != nil {
		return err
	}
	return s.Run(ctx, public, private)
}
