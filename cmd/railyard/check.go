package main

import (
	"context"
	"encoding/json"
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
}

// check verifies the invariants of a file, also beside the service that writes to
// it.
func check(ctx context.Context, args, environ []string, stdout, _ io.Writer) error {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	db := fs.String("db", "railyard.db", "the index file; a service may be running on it")
	asJSON := fs.Bool("json", false, "print one JSON object")
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	rd, err := store.OpenReader(ctx, *db)
	if err != nil {
		return err
	}
	report := checkReport{Violations: []store.Violation{}}
	checked, broken, err := rd.Check(ctx)
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	report.Invariants, report.Violations = checked, append(report.Violations, broken...)
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(report)
	} else {
		err = report.print(stdout)
	}
	if err == nil && len(broken) > 0 {
		err = errBroken
	}
	return err
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
