package main

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// read parses flags and environment as serve does.
func read(t *testing.T, args []string, environ ...string) (*serveConfig, []string) {
	t.Helper()
	fs, cfg := serveFlags()
	unknown, err := parse(fs, args, environ, io.Discard)
	if err != nil {
		t.Fatalf("%q %q: %v", args, environ, err)
	}
	return cfg, unknown
}

func TestDefaultsStandWhereNothingIsGiven(t *testing.T) {
	cfg, unknown := read(t, nil, "PATH=/bin", "DB=x")
	if err := cfg.validate(); err != nil {
		t.Error(err)
	}
	if cfg.db != "railyard.db" || cfg.listen != "127.0.0.1:2526" || cfg.metricsListen != "127.0.0.1:2527" ||
		cfg.plcURL != "https://plc.directory" || cfg.plcQPS != 30 || cfg.crawlQPS != 8 || cfg.crawl.value != "relay" || cfg.sweepEvery != 24*time.Hour ||
		!slices.Equal(cfg.upstreams.values, []string{"wss://bsky.network"}) || cfg.allowPrivate || len(unknown) != 0 {
		t.Errorf("defaults %+v, unknown %q", cfg, unknown)
	}
}

func TestEveryFlagHasATwinInTheEnvironment(t *testing.T) {
	cfg, unknown := read(t, nil,
		"RAILYARD_DB=env.db", "RAILYARD_LISTEN=:1", "RAILYARD_METRICS_LISTEN=", "RAILYARD_UPSTREAM=wss://a.example.com,wss://b.example.com",
		"RAILYARD_PLC_URL=http://plc", "RAILYARD_PLC_EXPORT=http://log", "RAILYARD_PLC_QPS=1.5", "RAILYARD_CRAWL=off", "RAILYARD_CRAWL_QPS=2", "RAILYARD_SWEEP_EVERY=6h",
		"RAILYARD_RESYNC_WORKERS=3", "RAILYARD_REPO_TIMEOUT=4s", "RAILYARD_ALLOW_PRIVATE_HOSTS=true",
		"RAILYARD_LOG_FORMAT=json", "RAILYARD_LOG_LEVEL=warn")
	want := serveConfig{
		db: "env.db", listen: ":1", metricsListen: "", plcURL: "http://plc", plcExport: "http://log", plcQPS: 1.5, crawlQPS: 2, resyncWorkers: 3,
		repoTimeout: 4 * time.Second, sweepEvery: 6 * time.Hour, allowPrivate: true,
	}
	if cfg.db != want.db || cfg.listen != want.listen || cfg.metricsListen != want.metricsListen || cfg.plcURL != want.plcURL ||
		cfg.plcExport != want.plcExport || cfg.plcQPS != want.plcQPS || cfg.crawlQPS != want.crawlQPS || cfg.resyncWorkers != want.resyncWorkers ||
		cfg.repoTimeout != want.repoTimeout || cfg.sweepEvery != want.sweepEvery || cfg.allowPrivate != want.allowPrivate ||
		cfg.crawl.value != "off" || cfg.logFormat.value != "json" || cfg.logLevel.value != "warn" {
		t.Errorf("read %+v, want %+v", cfg, want)
	}
	if want := []string{"wss://a.example.com", "wss://b.example.com"}; !slices.Equal(cfg.upstreams.values, want) {
		t.Errorf("upstreams %q, want %q", cfg.upstreams.values, want)
	}
	if len(unknown) != 0 {
		t.Errorf("unknown variables %q", unknown)
	}
}

func TestTheCommandLineWinsOverTheEnvironment(t *testing.T) {
	cfg, _ := read(t, []string{"--db", "args.db", "--upstream", "wss://a.example.com", "-upstream=wss://b.example.com", "--allow-private-hosts=false"},
		"RAILYARD_DB=env.db", "RAILYARD_UPSTREAM=wss://c.example.com", "RAILYARD_ALLOW_PRIVATE_HOSTS=true", "RAILYARD_LISTEN=:9",
		"RAILYARD_CRAWL=nonsense that is not looked at", "RAILYARD_CRAWL=off")
	if cfg.db != "args.db" || cfg.allowPrivate || cfg.listen != ":9" || cfg.crawl.value != "off" {
		t.Errorf("read %+v", cfg)
	}
	if want := []string{"wss://a.example.com", "wss://b.example.com"}; !slices.Equal(cfg.upstreams.values, want) {
		t.Errorf("upstreams %q, want %q", cfg.upstreams.values, want)
	}
}

func TestListsAreSeparatedByCommasAndReplaceTheDefault(t *testing.T) {
	for text, want := range map[string][]string{
		"wss://a.example.com":                         {"wss://a.example.com"},
		"wss://a.example.com,wss://b.example.com":     {"wss://a.example.com", "wss://b.example.com"},
		" wss://a.example.com , wss://b.example.com,": {"wss://a.example.com", "wss://b.example.com"},
		"":    nil,
		" , ": nil,
	} {
		if cfg, _ := read(t, nil, "RAILYARD_UPSTREAM="+text); !slices.Equal(cfg.upstreams.values, want) {
			t.Errorf("%q: %q, want %q", text, cfg.upstreams.values, want)
		}
	}
}

func TestABadVariableIsAUsageErrorThatNamesIt(t *testing.T) {
	for variable, says := range map[string]string{
		"RAILYARD_CRAWL=deeper":              "want one of relay, deep, off",
		"RAILYARD_PLC_QPS=fast":              `"fast"`,
		"RAILYARD_RESYNC_WORKERS=":           `""`,
		"RAILYARD_REPO_TIMEOUT=5":            `"5"`,
		"RAILYARD_ALLOW_PRIVATE_HOSTS=maybe": `"maybe"`,
	} {
		name, _, _ := strings.Cut(variable, "=")
		invoke(t, []string{"serve"}, variable).oneLine(t, exitUsage, name, says)
	}
	invoke(t, []string{"serve"}, "RAILYARD_UPSTREAM=nonsense").oneLine(t, exitUsage, "--upstream", "nonsense")
}

func TestUnknownVariablesAreNamedWithTheNearestFlag(t *testing.T) {
	_, unknown := read(t, nil, "RAILYARD_UPSTREAMS=x", "RAILYARD_LISTEN_ADDR=x", "RAILYARD_=x", "RAILYARDDB=x", "railyard_db=x")
	if want := []string{"RAILYARD_", "RAILYARD_LISTEN_ADDR", "RAILYARD_UPSTREAMS"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown %q, want %q", unknown, want)
	}
	for name, nearest := range map[string]string{
		"RAILYARD_UPSTREAMS":       "RAILYARD_UPSTREAM",
		"RAILYARD_PLCURL":          "RAILYARD_PLC_URL",
		"RAILYARD_METRIC_LISTEN":   "RAILYARD_METRICS_LISTEN",
		"RAILYARD_DATABASE":        "",
		"RAILYARD_RESYNC_WORKER":   "RAILYARD_RESYNC_WORKERS",
		"RAILYARD_LOGLEVEL":        "RAILYARD_LOG_LEVEL",
		"RAILYARD_CRAWL_QPSS":      "RAILYARD_CRAWL_QPS",
		"RAILYARD_ALLOW_PRIVATE_H": "RAILYARD_ALLOW_PRIVATE_HOSTS",
	} {
		var log bytes.Buffer
		fs, _ := serveFlags()
		warnUnknown(slog.New(slog.NewTextHandler(&log, nil)), fs, []string{name})
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "level=WARN") ||
			!strings.Contains(log.String(), "name="+name+" ") || !strings.Contains(log.String(), "nearest=RAILYARD_") {
			t.Errorf("%s: %q", name, log.String())
		}
		if nearest != "" && !strings.HasSuffix(log.String(), "nearest="+nearest+"\n") {
			t.Errorf("%s: %q, want the nearest to be %s", name, log.String(), nearest)
		}
	}
}

func TestVariablesOfKubernetesAreLeftAlone(t *testing.T) {
	_, unknown := read(t, nil,
		"RAILYARD_SERVICE_HOST=10.0.0.1", "RAILYARD_SERVICE_PORT=2526", "RAILYARD_SERVICE_PORT_HTTP=2526",
		"RAILYARD_PORT=tcp://10.0.0.1:2526", "RAILYARD_PORT_2526_TCP=tcp://10.0.0.1:2526", "RAILYARD_PORT_2526_TCP_PROTO=tcp",
		"RAILYARD_PORT_2526_TCP_PORT=2526", "RAILYARD_PORT_2526_TCP_ADDR=10.0.0.1")
	if len(unknown) != 0 {
		t.Errorf("unknown %q", unknown)
	}
	_, unknown = read(t, nil, "RAILYARD_PORTS=1", "RAILYARD_SERVICE=x", "RAILYARD_PORT_X=1")
	if len(unknown) != 3 {
		t.Errorf("unknown %q, want all three", unknown)
	}
}

func TestNoFlagIsTakenForAVariableOfKubernetes(t *testing.T) {
	fs, _ := serveFlags()
	fs.VisitAll(func(f *flag.Flag) {
		if kubernetes.MatchString(envName(f.Name)) {
			t.Errorf("--%s: %s", f.Name, envName(f.Name))
		}
	})
}
