package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"railyard/internal/cli/bench"
)

// benchConfig is what the flags of bench query say.
type benchConfig struct {
	bench.Shape
	db      string
	seconds float64
	write   float64
	only    string
	asJSON  bool
}

func benchFlags() (*flag.FlagSet, *benchConfig) {
	c := new(benchConfig)
	fs := flag.NewFlagSet("bench query", flag.ContinueOnError)
	fs.IntVar(&c.Repos, "repos", 400_000, "repos of the index")
	fs.Uint64Var(&c.Seed, "seed", 1, "one seed, one index")
	fs.StringVar(&c.db, "db", "", "the index file, kept, and used again by the next run; empty: a temporary one")
	fs.Float64Var(&c.seconds, "seconds", 2, "time of each measurement, and as much again for ready bytes beside it")
	fs.Float64Var(&c.write, "write", 0, "also measure while so many commits per second are written; 0: not")
	fs.StringVar(&c.only, "only", "", "regular expression: measure what has such a name; empty: everything")
	fs.BoolVar(&c.asJSON, "json", false, "print one JSON object a line")
	return fs, c
}

func (c *benchConfig) validate() error {
	switch {
	case c.Repos < 1 || c.Repos > 100_000_000:
		return usagef("bench query: --repos %d: not between 1 and 100000000", c.Repos)
	case !(c.seconds > 0 && c.seconds <= 3600): // nor NaN
		return usagef("bench query: --seconds %g: not above 0 and at most 3600", c.seconds)
	case !(c.write >= 0 && c.write <= 1_000_000):
		return usagef("bench query: --write %g: not between 0 and 1000000", c.write)
	}
	if _, err := regexp.Compile(c.only); err != nil {
		return usagef("bench query: --only %q: %v", c.only, err)
	}
	return nil
}

// benchCommand is railyard bench.
func benchCommand(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usagef("bench: which command? try railyard bench help")
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		_, err := fmt.Fprint(stdout, `usage: railyard bench COMMAND [flags]

  query   pages per second, times and CPU of queries to an index of made-up repos
  client  the clients of query, which starts it

railyard bench query --help lists its flags.
`)
		return err
	case "query":
		return benchQuery(ctx, args[1:], environ, stdout, stderr)
	case "client":
		if len(args) > 1 {
			return usagef("bench client takes no arguments")
		}
		return bench.Client(os.Stdin, stdout)
	}
	return usagef("bench: unknown command %q; try railyard bench help", args[0])
}

func benchQuery(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, c := benchFlags()
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	return unlessLeft(c.query(ctx, newOutput(stdout), stderr))
}

func (c *benchConfig) query(ctx context.Context, stdout, stderr io.Writer) (err error) {
	path := c.db
	if path == "" {
		dir, err := os.MkdirTemp("", "railyard-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path = filepath.Join(dir, "bench.db")
	}
	if err := c.build(ctx, path, stderr); err != nil {
		return err
	}
	clients, end, err := startClients(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() {
		if e := end(); err == nil {
			err = e
		}
		if ctx.Err() != nil { // the clients were killed, whatever that led to
			err = ctx.Err()
		}
	}()
	report := printRow(stdout)
	if c.asJSON {
		report = func(r bench.Row) error { return writeJSON(stdout, r) }
	}
	return bench.Query(ctx, bench.QueryConfig{
		Shape: c.Shape, Path: path, For: time.Duration(c.seconds * float64(time.Second)), Only: regexp.MustCompile(c.only),
		Write: c.write, Clients: clients,
	}, report)
}

// build makes the file if it is not there, and says how far it is.
func (c *benchConfig) build(ctx context.Context, path string, stderr io.Writer) error {
	screen, began := newScreen(stderr), time.Now()
	defer screen.end()
	built, err := bench.Build(ctx, path, c.Shape, func(what string, done, total int) {
		screen.bar(fmt.Sprintf("%-6s", what), int64(done), int64(total))
	})
	switch {
	case err != nil:
		return err
	case built:
		screen.say("built an index of %d repos in %s", c.Repos, time.Since(began).Round(time.Millisecond))
	default:
		screen.say("%s is there already", path)
	}
	return nil
}

// pipes are the standard input and output of a process.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// startClients runs this program as the clients. end closes their input, at which they
// end.
func startClients(ctx context.Context, stderr io.Writer) (_ *pipes, end func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "client")
	cmd.Stderr = stderr
	p := new(pipes)
	if p.WriteCloser, err = cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	if p.Reader, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return p, func() error { return errors.Join(p.Close(), cmd.Wait()) }, nil
}

// printRow prints the head of a table, and returns what prints its rows as they come.
func printRow(w io.Writer) func(bench.Row) error {
	const form = "%-32s %6s %7s %9s %9s %9s %9s %8s  %s\n"
	head := false
	return func(r bench.Row) error {
		if !head {
			head = true
			if _, err := fmt.Fprintf(w, form, "WHAT", "LIMIT", "CLIENTS", "PAGES/S", "P50 MS", "P99 MS", "CPU US", "OF LIMIT", ""); err != nil {
				return err
			}
		}
		ofLimit, note := "-", ""
		if r.OfLimit != nil {
			ofLimit = figure(*r.OfLimit)
		}
		switch {
		case r.Skipped != "":
			note = "skipped: " + printable(r.Skipped)
		case r.Writes != nil:
			note = fmt.Sprintf("%.0f commits/s", *r.Writes)
		case r.Memory > 0:
			note = fmt.Sprintf("%.0f MiB above idle", r.Memory)
		}
		if r.Failed > 0 {
			note += fmt.Sprintf(" %d failed", r.Failed)
		}
		_, err := fmt.Fprintf(w, form, r.What, figure(float64(r.Limit)), figure(float64(r.Clients)), figure(r.PagesPerSecond),
			figure(r.P50), figure(r.P99), figure(r.CPU), ofLimit, note)
		return err
	}
}

// figure is a number with three digits that count, or more before the point.
func figure(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v < 0.001:
		return strconv.FormatFloat(v, 'f', 5, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
