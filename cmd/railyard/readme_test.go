package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/test/simnet"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// commandsOf returns the indented lines of the README that begin with a prefix.
func commandsOf(t *testing.T, text, prefix string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, prefix) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no line begins with %q", prefix)
	}
	return lines
}

// The check of the README's first screen, as it stands there.
func TestTheReadmesCheckRuns(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, line := range commandsOf(t, readme(t), "go run ./cmd/railyard demo") {
		if !strings.Contains(line, "--check") {
			continue
		}
		ran++
		var stdout, stderr bytes.Buffer
		args := strings.Fields(strings.TrimPrefix(line, "go run ./cmd/railyard "))
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != 0 {
			t.Errorf("%s: exit %d\n%s%s", line, code, &stdout, &stderr)
		}
		if m := lastLine(t, stdout.String()); m[3] != "0" {
			t.Errorf("%s: %s", line, m[0])
		}
	}
	if ran == 0 {
		t.Error("the README has no check")
	}
}

// What the interactive demo prints to try works as printed, and so do the
// README's queries; Ctrl-C ends it with exit code 0.
func TestTheDemosInvitationWorksAsPrinted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	db := filepath.Join(t.TempDir(), "demo.db")
	printed, screen := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"demo", "--accounts", "30", "--rate", "5", "--listen", "127.0.0.1:0", "--db", db}, nil, io.Discard, screen)
		_ = screen.Close()
		ended <- code
	}()
	var invitation strings.Builder
	lines := bufio.NewScanner(printed)
	for lines.Scan() {
		invitation.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, printed) }()
	text := invitation.String()
	quoted := regexp.MustCompile(`'([^']*)'`)
	for _, line := range commandsOf(t, text, "curl ") {
		resp, err := http.Get(quoted.FindStringSubmatch(line)[1])
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || len(body) < 10 {
			t.Errorf("%s: status %d: %s", line, resp.StatusCode, body)
		}
	}
	check := commandsOf(t, text, "railyard check ")
	plc := regexp.MustCompile(`--plc-url \S+`).FindString(check[0])
	for _, line := range append(check, commandsOf(t, readme(t), "railyard check ")...) {
		if !strings.Contains(line, plc) { // the README's
			line = strings.ReplaceAll(line, "/var/lib/railyard/railyard.db", db) + " --allow-private-hosts " + plc
		}
		args := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(line, "railyard "), "'", ""))
		if o := invoke(t, args); o.code != exitOK || o.stderr != "" || !strings.Contains(o.stdout, "sample: asked=") {
			t.Errorf("%s: %+v", line, o)
		}
	}
	d, err := sql.Open("sqlite", "file:"+db+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	for _, line := range append(commandsOf(t, text, "sqlite3 "), commandsOf(t, readme(t), "sqlite3 ")...) {
		query := line[strings.LastIndexByte(line[:len(line)-1], line[len(line)-1])+1 : len(line)-1]
		rows, err := d.Query(query)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if found := rows.Next(); !found && !strings.Contains(line, "…") && !strings.Contains(line, "backlog") && !strings.Contains(line, "violation") {
			t.Errorf("%s: no rows", line)
		}
		if err := rows.Close(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d after an interrupt", code)
	}
}

// The README's commands that need no index, as they stand there, on a network of
// our own.
func TestTheReadmesLooksAtReposAndEventsWork(t *testing.T) {
	l := newLive(t, simnet.Config{Seed: 51, Accounts: 4})
	did, text := l.DIDs()[0], readme(t)
	file := l.car(did)
	t.Chdir(filepath.Dir(file))
	env := append(l.env, "RAILYARD_UPSTREAM="+l.PDS(0), "RAILYARD_PLC_QPS=1000")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // so that a firehose has something to print
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				if err := l.StepCommit(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	lines := append(commandsOf(t, text, "railyard repo "), commandsOf(t, text, "railyard firehose ")...)
	for _, line := range lines {
		line = strings.NewReplacer("did:plc:…", did, "3k…", "3kaaaaaaaaaaa", "railyard ", "").Replace(line)
		if o := invoke(t, strings.Fields(line), env...); o.code != exitOK || o.stderr != "" || len(o.stdout) < 50 {
			t.Errorf("%s: %+v", line, o)
		}
	}
	close(done)
	<-ended
	if len(lines) < 6 {
		t.Errorf("only %d commands", len(lines))
	}
}

// The README's table of flags is that of the program.
func TestTheReadmeNamesEveryFlagOfServe(t *testing.T) {
	text := readme(t)
	fs, _ := serveFlags()
	present(fs, func(f *flag.Flag) {
		if !strings.Contains(text, "`--"+f.Name+"`") {
			t.Errorf("--%s is missing", f.Name)
		}
		if name := envName(f.Name); !strings.Contains(text, name) && !strings.HasPrefix(name, "RAILYARD_LOG_") {
			t.Errorf("%s is missing", name)
		}
	})
	demo, _ := demoFlags()
	stream, _ := firehoseFlags()
	check, _ := checkFlags()
	measure, _ := benchFlags()
	comparing, _ := compareFlags()
	sets := []*flag.FlagSet{fs, demo, stream, check, measure, comparing}
	for _, v := range repoVerbs() {
		set, _ := repoFlags(v)
		sets = append(sets, set)
	}
	for _, m := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(sets, func(set *flag.FlagSet) bool { return set.Lookup(m[1]) != nil }) {
			t.Errorf("there is no --%s", m[1])
		}
	}
}
