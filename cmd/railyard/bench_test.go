package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"railyard/internal/cli/bench"
)

// The program starts its own clients, prints a line for each measurement, and leaves a
// sound file that the next run takes.
func TestBenchQueryPrintsAndKeepsItsFile(t *testing.T) {
	db := filepath.Join(t.TempDir(), "bench.db")
	program := buildProgram(t)
	query := func(flags ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"bench", "query", "--repos", "60", "--db", db, "--seconds", "0.003"}, flags...)...)
		cmd.Env = withoutOurs(os.Environ())
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", flags, err, &said)
		}
		return string(out), said.String()
	}
	out, said := query("--json", "--write", "100")
	if !strings.Contains(said, "built an index of 60 repos in ") {
		t.Errorf("it says %q", said)
	}
	lines := 0
	for line := range strings.Lines(out) {
		var row bench.Row
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&row); err != nil || row.What == "" || row.Skipped == "" && row.PagesPerSecond <= 0 {
			t.Errorf("%s: %v", line, err)
		}
		lines++
	}
	if lines < 35 {
		t.Errorf("only %d lines", lines)
	}
	out, said = query("--only", "^(first page|prefix)$")
	if !strings.Contains(said, "is there already") {
		t.Errorf("it says %q", said)
	}
	if rows := strings.Split(strings.TrimSpace(out), "\n"); len(rows) != 1+6+4 || !strings.HasPrefix(rows[0], "WHAT ") {
		t.Errorf("the table is\n%s", out)
	}
	if o := invoke(t, []string{"check", "--db", db}); o.code != exitOK {
		t.Errorf("check: %+v", o)
	}
	invoke(t, []string{"bench", "query", "--repos", "61", "--db", db}).oneLine(t, exitFail, db, "repos 60", "repos 61")
}

func TestBenchRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "which command"},
		{[]string{"speed"}, `unknown command "speed"`},
		{[]string{"query", "--repos", "0"}, "--repos 0"},
		{[]string{"query", "--repos", "100000001"}, "--repos 100000001"},
		{[]string{"query", "--seconds", "0"}, "--seconds 0"},
		{[]string{"query", "--seconds", "NaN"}, "--seconds NaN"},
		{[]string{"query", "--write", "-1"}, "--write -1"},
		{[]string{"query", "--only", "("}, "--only"},
		{[]string{"query", "stray"}, `"stray"`},
		{[]string{"client", "stray"}, "takes no arguments"},
	} {
		invoke(t, append([]string{"bench"}, c.args...)).oneLine(t, exitUsage, c.says)
	}
	if o := invoke(t, []string{"bench", "help"}); o.code != exitOK || !strings.Contains(o.stdout, "query") {
		t.Errorf("help: %+v", o)
	}
}
