package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"

	"railyard/internal/cli/eventlog"
	"railyard/internal/event"
	"railyard/internal/firehose"
)

// firehoseConfig is what the flags of firehose say.
type firehoseConfig struct {
	lookups
	upstream    string
	cursor      int64
	verify      bool
	collections list
	limit       int64
}

func firehoseFlags() (*flag.FlagSet, *firehoseConfig) {
	c := &firehoseConfig{}
	fs := flag.NewFlagSet("firehose", flag.ContinueOnError)
	fs.StringVar(&c.upstream, "upstream", "wss://bsky.network", "relay or PDS to follow (ws, wss, http, https)")
	fs.Int64Var(&c.cursor, "cursor", 0, "begin after this sequence number; 0: live")
	fs.BoolVar(&c.verify, "verify", false, "verify commits and syncs, each under the key of its account now")
	fs.Var(&c.collections, "collection", "only commits with an op in this collection; may be repeated")
	fs.Int64Var(&c.limit, "limit", 0, "end after so many lines; 0: never")
	fs.Float64Var(&c.plcQPS, "plc-qps", 30, "requests per second to the PLC directory")
	c.lookups.flags(fs)
	return fs, c
}

func (c *firehoseConfig) validate() error {
	if _, err := serverURL(c.upstream); err != nil {
		return usagef("firehose: --upstream %q: %v", c.upstream, err)
	}
	switch {
	case c.cursor < 0 || c.cursor > event.MaxSeq:
		return usagef("firehose: --cursor %d: no sequence number", c.cursor)
	case c.limit < 0:
		return usagef("firehose: --limit %d: negative", c.limit)
	case !(c.plcQPS > 0 && c.plcQPS <= 10_000): // nor NaN
		return usagef("firehose: --plc-qps %g: not above 0 and at most 10000", c.plcQPS)
	}
	for _, nsid := range c.collections.values {
		if err := validCollection("firehose", nsid); err != nil {
			return err
		}
	}
	return c.lookups.validate("firehose")
}

// errEnough ends the stream at the limit.
var errEnough = errors.New("as many lines as were asked for")

// firehoseCommand prints the events of an upstream, one JSON object a line, until
// it is interrupted, the limit is reached, or nobody reads any more.
func firehoseCommand(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs, c := firehoseFlags()
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := eventlog.Config{
		Firehose:    firehose.Config{URL: c.upstream, UserAgent: "railyard/" + versionText(), Cursor: c.cursor, Log: log},
		Collections: c.collections.values,
	}
	if c.verify {
		out, resolver, _, err := c.clients()
		if err != nil {
			return err
		}
		defer out.Close()
		cfg.Resolver = resolver
	}
	w, printed := newOutput(stdout), int64(0)
	err := eventlog.Run(ctx, cfg, func(l eventlog.Line) error {
		if err := writeJSON(w, l); err != nil {
			return err
		}
		if printed++; printed == c.limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, errReaderLeft) {
		return nil
	}
	return err
}
