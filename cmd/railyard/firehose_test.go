package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"railyard/internal/cli/eventlog"
	"railyard/internal/test/simnet"
)

// linesOf parses the output of firehose.
func linesOf(t *testing.T, stdout string) (lines []eventlog.Line) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var l eventlog.Line
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

func (l *live) firehose(args ...string) outcome {
	l.t.Helper()
	return invoke(l.t, append([]string{"firehose"}, args...), append(l.env, "RAILYARD_UPSTREAM="+l.PDS(0), "RAILYARD_PLC_QPS=1000")...)
}

func TestFirehosePrintsEventsFromACursor(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 41, Accounts: 5})
	for range 30 {
		if err := l.StepCommit(); err != nil {
			t.Fatal(err)
		}
	}
	o := l.firehose("--cursor", "3", "--limit", "25")
	lines := linesOf(t, o.stdout)
	if o.code != exitOK || o.stderr != "" || len(lines) != 25 {
		t.Fatalf("%+v", o)
	}
	for i, line := range lines {
		if line.Seq != int64(i+4) || line.Verified != nil || line.DID == "" {
			t.Errorf("line %d: %+v", i, line)
		}
	}
	verified := linesOf(t, l.firehose("--cursor", "3", "--limit", "25", "--verify").stdout)
	commits := 0
	for i := range verified {
		v, plain := verified[i], lines[i]
		if v.Seq != plain.Seq || v.Commit != plain.Commit || !slices.Equal(v.Ops, plain.Ops) {
			t.Errorf("%+v is not %+v", v, plain)
		}
		if v.Type == "commit" {
			if commits++; v.Verified == nil || !*v.Verified || v.Present == nil {
				t.Errorf("%+v", v)
			}
		}
	}
	if commits < 5 {
		t.Errorf("%d commits", commits)
	}
	did := l.DIDs()[0]
	last := strconv.FormatInt(l.LastSeq("pds1"), 10)
	for _, path := range []string{"com.example.other/1", "com.example.wanted/1"} {
		if err := l.Create(did, path); err != nil {
			t.Fatal(err)
		}
	}
	lines = linesOf(t, l.firehose("--cursor", last, "--limit", "1", "--collection", "com.example.wanted").stdout)
	if len(lines) != 1 || lines[0].Ops[0].Path != "com.example.wanted/1" {
		t.Errorf("%+v", lines)
	}
}

// notices hands each write on, and lets a test wait for it.
type notices struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines chan string
}

func (n *notices) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buf.Write(p)
	n.lines <- string(p)
	return len(p), nil
}

// It goes on after a lost connection without a line twice or left out, and an
// interrupt is a clean end.
func TestFirehoseSurvivesItsConnectionAndEndsWhenInterrupted(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 42, Accounts: 2})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &notices{lines: make(chan string, 100)}
	code := make(chan int, 1)
	cursor := l.LastSeq("pds1")
	go func() {
		code <- run(ctx, []string{"firehose", "--upstream", l.PDS(0), "--cursor", strconv.FormatInt(cursor, 10), "--verify"}, l.env, out, io.Discard)
	}()
	for i := range 3 {
		if err := l.Create(l.DIDs()[0], "com.example.thing/"+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		line := linesOf(t, <-out.lines)
		if cursor++; len(line) != 1 || line[0].Seq != cursor || line[0].Verified == nil || !*line[0].Verified {
			t.Errorf("%+v", line)
		}
		l.Disconnect("pds1")
	}
	interrupt()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
}

// leaver reads a few lines and leaves.
type leaver struct{ left int }

func (w *leaver) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
	}
	return len(p), nil
}

func TestAReaderThatLeavesIsNoFailure(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 43, Accounts: 3})
	did := l.DIDs()[0]
	for _, args := range [][]string{
		{"firehose", "--upstream", l.PDS(0), "--cursor", "1"}, {"firehose", "--upstream", l.PDS(0), "--cursor", "1", "--verify"},
		{"repo", "inspect", did, "--records"}, {"repo", "diff", did, did, "--json"}, {"repo", "collections", did},
	} {
		var stderr bytes.Buffer
		w := &leaver{left: 2}
		if args[0] == "repo" {
			w.left = 0
		}
		if code := run(t.Context(), args, l.env, w, &stderr); code != exitOK || stderr.Len() > 0 || w.left >= 0 {
			t.Errorf("%v: exit code %d, %s", args, code, &stderr)
		}
	}
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	for _, args := range [][]string{{"firehose", "--upstream", l.PDS(0), "--cursor", "1"}, {"repo", "inspect", did}} {
		if code := run(t.Context(), args, l.env, full, io.Discard); code != exitFail {
			t.Errorf("%v: exit code %d with a full disk", args, code)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestMistakesOfFirehoseAreUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--upstream", "bsky.network"}, `"bsky.network"`},
		{[]string{"--upstream", ""}, "--upstream"},
		{[]string{"--cursor", "-1"}, "--cursor -1"},
		{[]string{"--cursor", "9007199254740992"}, "--cursor 9007199254740992"},
		{[]string{"--limit", "-1"}, "--limit -1"},
		{[]string{"--collection", "com.example.thing", "--collection", "thing"}, `"thing"`},
		{[]string{"--plc-qps", "NaN"}, "--plc-qps NaN"},
		{[]string{"--plc-url", "ftp://x"}, "--plc-url"},
		{[]string{"stray"}, `"stray"`},
	} {
		invoke(t, append([]string{"firehose"}, c.args...)).oneLine(t, exitUsage, "firehose:", c.says)
	}
}
