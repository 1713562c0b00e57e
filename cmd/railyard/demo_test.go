package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to plant wrong rows
)

// smallDemo is a demo that ends soon, with --check.
func smallDemo(t *testing.T) *demoConfig {
	_, cfg := demoFlags()
	cfg.accounts, cfg.seed, cfg.rate, cfg.duration, cfg.check = 20, 3, 300, time.Second, true
	cfg.db = filepath.Join(t.TempDir(), "demo.db")
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func runSmall(t *testing.T, cfg *demoConfig) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = runDemo(t.Context(), cfg, &out, io.Discard, slog.New(slog.DiscardHandler))
	return out.String(), err
}

var checkLine = regexp.MustCompile(`^check: accounts=\d+ active=\d+ collections=\d+ memberships=\d+ commits=\d+ births=\d+ deaths=\d+ ` +
	`resyncs=\d+ refused=\d+ missing=(\d+) extra=(\d+) differences=(\d+)$`)

// lastLine returns the contracted last line of a check.
func lastLine(t *testing.T, stdout string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	m := checkLine.FindStringSubmatch(lines[len(lines)-1])
	if m == nil {
		t.Fatalf("last line %q", lines[len(lines)-1])
	}
	return m
}

func TestTheDemoFindsNoDifferenceAndOneSeedIsOneHistory(t *testing.T) {
	t.Parallel()
	history := regexp.MustCompile(` resyncs=.*`)
	var first string
	for range 2 {
		stdout, err := runSmall(t, smallDemo(t))
		if err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if m := lastLine(t, stdout); m[3] != "0" {
			t.Errorf("%s", stdout)
		}
		if !strings.HasPrefix(stdout, "listening http://127.0.0.1:") {
			t.Errorf("first line of %q", stdout)
		}
		told := history.ReplaceAllString(lastLine(t, stdout)[0], "")
		if first == "" {
			first = told
		}
		if told != first {
			t.Errorf("the same seed:\n%s\n%s", first, told)
		}
	}
}

// A check that cannot fail is worth nothing: each kind of wrong index is planted
// and must be found.
func TestTheDemoFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	script := func(text string) func(string) error {
		return func(path string) error {
			d, err := sql.Open("sqlite", path)
			if err != nil {
				return err
			}
			defer func() { _ = d.Close() }()
			_, err = d.Exec("PRAGMA busy_timeout=5000; " + text)
			return err
		}
	}
	for name, tc := range map[string]struct {
		plant    func(*demoConfig)
		missing  bool
		restless bool // the service may find it itself, and try to mend it for ever
	}{
		"a removed row": {func(c *demoConfig) {
			c.beforeCompare = script(`DELETE FROM membership WHERE (repo_id, collection_id) =
				(SELECT repo_id, collection_id FROM membership WHERE seq > 0 LIMIT 1)`)
		}, true, false},
		"an added row": {func(c *demoConfig) {
			c.beforeCompare = script(`INSERT INTO collection (nsid, first_seen_at) VALUES ('com.example.planted', 0);
				INSERT INTO membership SELECT r.id, c.id, 1 << 23, 1 FROM collection c, repo r
				WHERE c.nsid = 'com.example.planted' AND r.seq > 0 LIMIT 1`)
		}, false, false},
		"a repo that is no longer listed": {func(c *demoConfig) {
			c.beforeCompare = script("UPDATE repo SET seq = 0 WHERE id = (SELECT id FROM repo WHERE seq > 0 LIMIT 1)")
		}, true, false},
		"a death that is not applied": {func(c *demoConfig) {
			c.duration = 2 * time.Second // so that rows die that were there, on a slow machine too
			c.beforeRun = script("CREATE TRIGGER undead BEFORE DELETE ON membership BEGIN SELECT RAISE(IGNORE); END")
		}, false, true},
		"a page that leaves out a repo": {func(c *demoConfig) {
			c.client = &http.Client{Transport: leavingOut{}}
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := smallDemo(t)
			tc.plant(cfg)
			stdout, err := runSmall(t, cfg)
			if err == nil {
				t.Fatalf("no error\n%s", stdout)
			}
			if tc.restless && strings.Contains("\n"+stdout, "\ncheck: not settled: ") {
				return
			}
			m := lastLine(t, stdout)
			if m[3] == "0" || (m[1] != "0") != tc.missing || !strings.Contains(stdout, "\ndifference: did:plc:") {
				t.Errorf("%s", stdout)
			}
			if strings.Count(stdout, "\ndifference: ") > 20 {
				t.Errorf("more than 20 differences are shown")
			}
		})
	}
}

// leavingOut drops the last repo of a page.
type leavingOut struct{}

func (leavingOut) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.Contains(r.URL.Path, "listReposByCollection") {
		return resp, err
	}
	var page struct {
		Repos  []map[string]string `json:"repos"`
		Cursor string              `json:"cursor,omitempty"`
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	if len(page.Repos) > 1 {
		page.Repos = page.Repos[:len(page.Repos)-1]
	}
	body, err := json.Marshal(page)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

func TestTheDemoSaysWhenItDidNotSettle(t *testing.T) {
	t.Parallel()
	cfg := smallDemo(t)
	cfg.settle = time.Nanosecond
	cfg.rate = 2000
	stdout, err := runSmall(t, cfg)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if last := lines[len(lines)-1]; err == nil || !strings.HasPrefix(last, "check: not settled: ") {
		t.Errorf("error %v, last line %q", err, last)
	}
}

func TestTheDemoKeepsNoFileAndOverwritesNone(t *testing.T) {
	t.Parallel()
	cfg := smallDemo(t)
	if _, err := runSmall(t, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := runSmall(t, cfg); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a second demo over the first one's file: %v", err)
	}
}

func TestTheDemoRefusesFlagsThatMeanNothing(t *testing.T) {
	for _, args := range []string{
		"--rate NaN", "--rate -1", "--rate 2000000", "--accounts 0", "--pds 0", "--pds 501", "--for -1s", "--settle 0s",
		"--rate 1000000 --for 1h",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"demo"}, strings.Fields(args)...), nil, &stdout, &stderr)
		if code != exitUsage || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q", args, code, &stderr)
		}
	}
}

func TestTheScreenDrawsOnlyInATerminal(t *testing.T) {
	var b bytes.Buffer
	s := newScreen(&b)
	for i := range 25 {
		s.bar("backfill", int64(i), 25)
	}
	s.say("done")
	s.end()
	if n := strings.Count(b.String(), "\n"); n != 4 || strings.Contains(b.String(), "\r") {
		t.Errorf("%d lines: %q", n, b.String())
	}
	b.Reset()
	s.tty = true
	s.line("one")
	s.line("two")
	s.end()
	if got := b.String(); got != "one\r\x1b[Ktwo\n" {
		t.Errorf("in a terminal: %q", got)
	}
}
