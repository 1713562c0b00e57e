package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"railyard/internal/cli/archive"
)

// repoConfig is what the flags of the repo commands say; each has its part of
// them.
type repoConfig struct {
	lookups
	asJSON     bool
	maxBytes   int64
	collection string
	records    bool
	didDoc     string
	key        string
	out        string

	stdin io.Reader
	now   func() time.Time
}

// repoVerb is one of the repo commands.
type repoVerb struct {
	name    string
	args    []string
	purpose string
	flags   func(c *repoConfig, fs *flag.FlagSet)
	run     func(ctx context.Context, c *repoConfig, args []string, w io.Writer) error
}

func repoVerbs() []repoVerb {
	x := []string{"X"}
	return []repoVerb{
		{"inspect", x, "the commit, the tree and the blocks; with --collection also its keys", (*repoConfig).contentFlags, inspectRepo},
		{"collections", x, "each collection with its number of records, in the order of the tree", nil, listCollections},
		{"prove", []string{"DID", "NSID"}, "a CAR that proves whether the repo has records of a collection", (*repoConfig).proofFlags, proveCollection},
		{"verify", []string{"X", "[DID", "NSID]"}, "every check with its verdict; exit 0 only for a current, complete, signed repo", (*repoConfig).keyFlags, verifyRepo},
		{"diff", []string{"A", "B"}, "creates, updates and deletes from state A to state B", (*repoConfig).contentFlags, diffRepos},
	}
}

func (c *repoConfig) contentFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.collection, "collection", "", "only this collection")
	fs.BoolVar(&c.records, "records", false, "also print the records, as JSON")
}

func (c *repoConfig) keyFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.didDoc, "did-doc", "", "file with the DID document, instead of resolving the DID")
	fs.StringVar(&c.key, "key", "", "the signing key, did:key:...; no document is looked at")
}

func (c *repoConfig) proofFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.out, "out", "proof.car", "the file to write, or - for standard output")
	fs.StringVar(&c.host, "pds", "", "the server that is asked, instead of the PDS that the DID document names")
}

// repoFlags makes the flags of one repo command.
func repoFlags(v repoVerb) (*flag.FlagSet, *repoConfig) {
	c := &repoConfig{stdin: os.Stdin, now: time.Now}
	fs := flag.NewFlagSet("repo "+v.name, flag.ContinueOnError)
	fs.BoolVar(&c.asJSON, "json", false, "print one JSON object")
	fs.Int64Var(&c.maxBytes, "max-bytes", 2<<30, "the longest CAR that is read")
	fs.DurationVar(&c.repoTimeout, "repo-timeout", 5*time.Minute, "time for one getRepo")
	c.lookups.flags(fs)
	if v.flags != nil {
		v.flags(c, fs)
	}
	return fs, c
}

func (c *repoConfig) validate(command string) error {
	switch {
	case c.maxBytes < 1 || c.maxBytes > 1<<36:
		return usagef("%s: --max-bytes %d: not between 1 and 2^36", command, c.maxBytes)
	case c.repoTimeout < time.Second || c.repoTimeout > 24*time.Hour:
		return usagef("%s: --repo-timeout %s: not between 1s and 24h", command, c.repoTimeout)
	case c.didDoc != "" && c.key != "":
		return usagef("%s: --did-doc and --key: one of them", command)
	}
	if err := validCollection(command, c.collection); err != nil {
		return err
	}
	return c.lookups.validate(command)
}

// repoCommand is railyard repo.
func repoCommand(ctx context.Context, args, environ []string, stdout, _ io.Writer) error {
	if len(args) == 0 {
		return usagef("repo: which command? try railyard repo help")
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		printRepoUsage(stdout)
		return nil
	}
	for _, v := range repoVerbs() {
		if v.name == args[0] {
			return runRepoVerb(ctx, v, args[1:], environ, stdout)
		}
	}
	return usagef("repo: unknown command %q; try railyard repo help", args[0])
}

func runRepoVerb(ctx context.Context, v repoVerb, args, environ []string, stdout io.Writer) error {
	fs, c := repoFlags(v)
	// Unknown variables are those of other commands here.
	values, _, err := parseWith(fs, v.args, args, environ, stdout)
	if err != nil {
		return err
	}
	if err := c.validate(fs.Name()); err != nil {
		return err
	}
	return c.run(ctx, v, values, stdout)
}

// run runs a command; what it wrote before an error is shown.
func (c *repoConfig) run(ctx context.Context, v repoVerb, args []string, stdout io.Writer) error {
	w := bufio.NewWriterSize(newOutput(stdout), 64<<10)
	err := v.run(ctx, c, args, w)
	if flushed := w.Flush(); flushed != nil {
		return unlessLeft(flushed)
	}
	return unlessLeft(err)
}

func printRepoUsage(w io.Writer) {
	_, _ = fmt.Fprint(w, "usage: railyard repo COMMAND X [flags]\n\n")
	for _, v := range repoVerbs() {
		_, _ = fmt.Fprintf(w, "  %-11s %s\n", v.name, v.purpose)
	}
	_, _ = fmt.Fprint(w, `
X, A and B are each a CAR file, - for standard input, a DID, or an at-uri
at://DID[/COLLECTION[/RKEY]]. What a DID names is fetched from its PDS now.

prove writes the signed commit and the tree nodes on the path to the collection's
place. verify X DID NSID checks that anywhere, with --did-doc also offline. It
proves what was so at its rev: not that there is no later commit, which a host
can withhold, nor that the account is active.

railyard repo COMMAND --help lists the flags of a command.
`)
}

// refusedError ends a command whose input was read and refused.
type refusedError struct{ check archive.Check }

func (e *refusedError) Error() string {
	return fmt.Sprintf("refused: %s: %s", e.check.Reason, printable(e.check.Detail))
}

var errUndecided = errors.New("undecided: not every check could be made")
