package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/cli/compare"
	"railyard/internal/outbound"
	"railyard/internal/store"
)

// errIndexesDiffer ends compare with exit code 1; the differences are on stdout.
var errIndexesDiffer = errors.New("the indexes differ")

// compareConfig is what the flags of compare say.
type compareConfig struct {
	db          string
	collections list
	show        int
	again       time.Duration
}

func compareFlags() (*flag.FlagSet, *compareConfig) {
	c := new(compareConfig)
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.StringVar(&c.db, "db", "railyard.db", "the index file; a service may be running on it")
	fs.Var(&c.collections, "collection", "the NSID of a collection, repeatable; none: all of them and the listed repos, where the server is a railyard")
	fs.IntVar(&c.show, "show", 20, "print so many DIDs of each side and collection")
	fs.DurationVar(&c.again, "again", time.Second, "between the two looks at what differs")
	return fs, c
}

// compareCommand compares an index file with the index of a server.
func compareCommand(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, c := compareFlags()
	// Unknown variables are those of other commands here.
	values, _, err := parseWith(fs, []string{"URL"}, args, environ, stdout)
	if err != nil {
		return err
	}
	base, err := serverURL(values[0])
	if err != nil {
		return usagef("compare: URL %q: %v", atproto.Clip(values[0]), err)
	}
	for _, nsid := range c.collections.values {
		if !atproto.IsNSID(nsid) {
			return usagef("compare: --collection %q: not an NSID", atproto.Clip(nsid))
		}
	}
	if c.show < 0 {
		return usagef("compare: --show %d: below 0", c.show)
	}
	if c.again < 0 || c.again > time.Hour {
		return usagef("compare: --again %s: not between 0 and 1h", c.again)
	}
	return c.compare(ctx, base, stdout, stderr)
}

func (c *compareConfig) compare(ctx context.Context, base string, stdout, stderr io.Writer) error {
	rd, err := store.OpenReader(ctx, c.db)
	if err != nil {
		return err
	}
	hostPort, err := outbound.HostPort(base)
	if err != nil {
		return errors.Join(err, rd.Close())
	}
	out := outbound.New(outbound.Config{Exempt: []string{hostPort}, UserAgent: "railyard/" + versionText()})
	defer out.Close()
	cfg := compare.Config{Reader: rd, Client: out, Base: base, Collections: c.collections.values, Again: c.again}
	progress := newScreen(stderr)
	if progress.tty {
		cfg.Progress = func(what string, done, total int) { progress.bar(what, int64(done), int64(total)) }
	}
	r, err := compare.Run(ctx, cfg)
	progress.end()
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	if err := c.print(stdout, r); err != nil {
		return err
	}
	if len(r.Differences) > 0 {
		return errIndexesDiffer
	}
	return nil
}

func (c *compareConfig) print(w io.Writer, r *compare.Report) (err error) {
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	here, there := 0, 0
	for _, d := range r.Differences {
		here, there = here+len(d.Here), there+len(d.There)
		line("%s: %s here alone, %s there alone", cmp.Or(d.NSID, "listed repos"), count(len(d.Here), "repo"), count(len(d.There), "repo"))
		for _, side := range []struct {
			name string
			dids []string
		}{{"here", d.Here}, {"there", d.There}} {
			for _, did := range side.dids[:min(c.show, len(side.dids))] {
				line("  %s %s", side.name, did)
			}
			if more := len(side.dids) - c.show; more > 0 {
				line("  %s and %d more", side.name, more)
			}
		}
	}
	if len(r.Differences) > 0 || r.Moved > 0 {
		line("what differed was looked at a second time at both; %s no longer differed", count(r.Moved, "repo"))
	}
	line("compare: collections=%d differ=%d here=%d there=%d", r.Collections, len(r.Differences), here, there)
	return err
}
