package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"railyard/internal/store"
)

// deadURL is the URL of a port on loopback that nobody listens on.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// quietly are the arguments of a serve that reaches nobody.
func quietly(t *testing.T, db string, more ...string) []string {
	dead := deadURL(t)
	args := []string{"serve", "--db", db, "--listen", "127.0.0.1:0", "--metrics-listen", "", "--upstream", dead,
		"--plc-url", dead, "--allow-private-hosts", "--log-level", "error"}
	return append(args, more...)
}

// sqliteFile makes a file with plain SQL.
func sqliteFile(t *testing.T, path, script string) {
	t.Helper()
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAFileThatCannotBeOursEndsWithOneAndOneLineAndIsLeftAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		says string
	}{
		"another application's": {func(t *testing.T, path string) {
			sqliteFile(t, path, "PRAGMA application_id=1234; CREATE TABLE x (y); INSERT INTO x VALUES (1)")
		}, "not a railyard file"},
		"another application's without tables": {func(t *testing.T, path string) {
			sqliteFile(t, path, "PRAGMA application_id=1234")
		}, "not a railyard file"},
		"of nobody, with tables": {func(t *testing.T, path string) {
			sqliteFile(t, path, "CREATE TABLE x (y)")
		}, "not a railyard file"},
		"of nobody, with a version": {func(t *testing.T, path string) {
			sqliteFile(t, path, "PRAGMA user_version=7")
		}, "not a railyard file"},
		"no database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("this is no database\n"), 500), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "not a railyard file"},
		"a short text": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "not a railyard file"},
		"of a newer railyard": {func(t *testing.T, path string) {
			if err := openStore(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			sqliteFile(t, path, "PRAGMA user_version=9999; PRAGMA wal_checkpoint(TRUNCATE)")
		}, "newer railyard (schema version 9999"},
		"a folder": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index.db")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			invoke(t, quietly(t, path)).oneLine(t, exitFail, path, c.says)
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestAMissingFolderEndsWithOneAndIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "no", "such")
	invoke(t, quietly(t, filepath.Join(dir, "index.db"))).oneLine(t, exitFail, dir, "does not exist")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

func TestAFileThatAnotherRailyardWritesEndsWithOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	st := openStore(t, path)
	invoke(t, quietly(t, path)).oneLine(t, exitFail, path, "another railyard writes to it")
	if err := st.Err(); err != nil {
		t.Errorf("the first writer has stopped: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestATakenPortEndsWithOneBeforeTheFileIsMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, name := range []string{"--listen", "--metrics-listen"} {
		path := filepath.Join(t.TempDir(), "index.db")
		invoke(t, quietly(t, path, name, l.Addr().String())).oneLine(t, exitFail, name+":", l.Addr().String(), "in use")
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: the file was made", name)
		}
	}
	invoke(t, quietly(t, "unused.db", "--listen", "nonsense")).oneLine(t, exitFail, "--listen:", "nonsense")
}

// process is a serve that runs.
type process struct {
	base   string
	stderr func() string
	stop   func() int
}

// launch starts serve and waits for its one line on stdout.
func launch(t *testing.T, args []string, environ ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r, w := io.Pipe()
	var log lockedBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, environ, w, &log)
		_ = w.Close()
	}()
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("serve ended with %d before it listened: %s", <-code, log.String())
	}
	m := regexp.MustCompile(`^listening (http://127\.0\.0\.1:[1-9][0-9]*)\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Errorf("stdout %q", line)
		m = []string{"", "http://127.0.0.1:0"}
	}
	more := make(chan string, 1)
	go func() {
		rest, _ := io.ReadAll(out)
		more <- string(rest)
	}()
	stop := sync.OnceValue(func() int {
		cancel()
		if rest := <-more; rest != "" {
			t.Errorf("more on stdout: %q", rest)
		}
		return <-code
	})
	t.Cleanup(func() { stop() })
	return &process{base: m[1], stderr: log.String, stop: stop}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServeAnswersThoughItsUpstreamIsDeadAndEndsWithZero(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	args := quietly(t, path, "--log-level", "warn")
	p := launch(t, args, "RAILYARD_UPSTRAEM=x", "RAILYARD_SERVICE_HOST=10.0.0.1")
	for _, health := range []string{"/_health", "/xrpc/_health"} {
		if status, body := get(t, p.base+health); status != 200 || !strings.Contains(body, versionText()) {
			t.Errorf("%s: status %d: %s", health, status, body)
		}
	}
	if status, body := get(t, p.base+"/xrpc/com.atproto.sync.listReposByCollection"); status != 200 || body != `{"repos":[]}` {
		t.Errorf("listing: status %d: %s", status, body)
	}
	var stats struct {
		InFlight  *int64 `json:"in_flight"`
		Upstreams []struct {
			URL         string
			Kind        *string
			Cursor      *int64
			Connected   bool
			LastEventAt *string `json:"last_event_at"`
		}
	}
	_, body := get(t, p.base+"/v1/stats")
	if err := json.Unmarshal([]byte(body), &stats); err != nil {
		t.Fatal(err)
	}
	if len(stats.Upstreams) != 1 || stats.InFlight == nil || *stats.InFlight != 0 {
		t.Fatalf("stats %s", body)
	}
	if up := stats.Upstreams[0]; up.URL != args[8] || up.Kind != nil || up.Cursor != nil || up.Connected || up.LastEventAt != nil {
		t.Errorf("stats %s", body)
	}

	invoke(t, quietly(t, path)).oneLine(t, exitFail, path, "another railyard writes to it")

	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr())
	}
	log := p.stderr()
	if strings.Count(log, "RAILYARD_UPSTRAEM") != 1 || !strings.Contains(log, "nearest=RAILYARD_UPSTREAM\n") {
		t.Errorf("no warning names the nearest variable: %s", log)
	}
	if strings.Contains(log, "SERVICE_HOST") {
		t.Errorf("a variable of Kubernetes is complained about: %s", log)
	}

	again := launch(t, quietly(t, path)) // the file is free again
	if code := again.stop(); code != exitOK {
		t.Errorf("the second run ends with %d: %s", code, again.stderr())
	}
}

func TestMetricsHaveTheirOwnListener(t *testing.T) {
	metrics := deadURL(t)
	p := launch(t, quietly(t, filepath.Join(t.TempDir(), "index.db"), "--metrics-listen", strings.TrimPrefix(metrics, "http://")))
	if status, body := get(t, metrics+"/metrics"); status != 200 || !strings.Contains(body, "railyard_in_flight 0") {
		t.Errorf("status %d: %.200s", status, body)
	}
	if status, _ := get(t, p.base+"/metrics"); status != 404 {
		t.Errorf("the public listener answers /metrics with %d", status)
	}
	if status, _ := get(t, metrics+"/v1/stats"); status != 404 {
		t.Errorf("the metrics listener answers /v1/stats with %d", status)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr())
	}
}

func TestLogsAreJSONIfAsked(t *testing.T) {
	p := launch(t, quietly(t, filepath.Join(t.TempDir(), "index.db"), "--log-format", "json", "--log-level", "warn"))
	p.stop()
	lines := strings.Split(strings.TrimSpace(p.stderr()), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line %q", line)
		}
	}
	if !strings.Contains(lines[0], "private hosts are allowed") {
		t.Errorf("the first line does not warn of private hosts: %s", lines[0])
	}
}
