package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"railyard/internal/store"
)

// errBroken ends check with exit code 1; the violations are on stdout.
var errBroken = errors.New("the file breaks its own rules")

// checkReport is what check found.
type checkReport struct {
	Invariants int               `json:"invariants"`
	Violations []store.Violation `json:"violations"`
	Sample     *sampleReport     `json:"sample,omitempty"` // with --sample
}

// checkConfig is what the flags of check say.
type checkConfig struct {
	db     string
	asJSON bool
	sampling
}

func checkFlags() (*flag.FlagSet, *checkConfig) {
	c := new(checkConfig)
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	fs.StringVar(&c.db, "db", "railyard.db", "the index file; a service may be running on it")
	fs.BoolVar(&c.asJSON, "json", false, "print one JSON object")
	c.sampling.flags(fs)
	return fs, c
}

// check verifies the invariants of a file, also beside the service that writes to
// it, and compares a sample of its repos with the network if that is asked for.
func check(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, c := checkFlags()
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	return c.check(ctx, stdout, stderr)
}

func (c *checkConfig) check(ctx context.Context, stdout, stderr io.Writer) error {
	rd, err := store.OpenReader(ctx, c.db)
	if err != nil {
		return err
	}
	report := &checkReport{Violations: []store.Violation{}}
	err = c.fill(ctx, report, rd, stdout, stderr)
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	return report.verdict()
}

// fill makes the checks and prints what they find: lines for people at once, JSON as
// one object at the end.
func (c *checkConfig) fill(ctx context.Context, r *checkReport, rd *store.Reader, stdout, stderr io.Writer) error {
	checked, broken, err := rd.Check(ctx)
	if err != nil {
		return err
	}
	r.Invariants, r.Violations = checked, append(r.Violations, broken...)
	if !c.asJSON {
		if err := r.print(stdout); err != nil {
			return err
		}
	}
	if c.repos > 0 {
		if r.Sample, err = c.sampling.run(ctx, rd, stderr); err != nil {
			return fmt.Errorf("sample: %w", err)
		}
	}
	switch {
	case c.asJSON:
		return writeJSON(stdout, r)
	case r.Sample != nil:
		return r.Sample.print(stdout)
	}
	return nil
}

// verdict is nil for a sound file of which nothing wrong was found.
func (r *checkReport) verdict() error {
	switch {
	case len(r.Violations) > 0:
		return errBroken
	case r.Sample != nil:
		return r.Sample.verdict
	}
	return nil
}

func (c *checkReport) print(w io.Writer) error {
	for _, v := range c.Violations {
		if _, err := fmt.Fprintf(w, "%s: %s: %d\n", v.Invariant, v.Explanation, v.Count); err != nil {
			return err
		}
		for _, row := range v.Rows {
			if _, err := fmt.Fprintf(w, "  %s\n", printable(row)); err != nil {
				return err
			}
		}
		if more := v.Count - int64(len(v.Rows)); more > 0 {
			if _, err := fmt.Fprintf(w, "  and %d more\n", more); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "check: %d invariants, %d violations\n", c.Invariants, len(c.Violations))
	return err
}
