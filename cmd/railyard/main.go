// Command railyard answers, for the AT Protocol: which repos have records in
// this collection?
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Exit codes.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one word of the command line.
type command struct {
	name    string
	purpose string
	run     func(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"serve", "follow upstreams, keep the index, answer queries", serve},
		{"demo", "a simulated network with the service on it; --check proves it right", demo},
		{"status", "say how the index is: repos, queue, lag, refusals, hosts", status},
		{"check", "verify the rules that an index file keeps; --sample compares with the network", check},
		{"compare", "say what this index and that of a server do not both list", compareCommand},
		{"new-index-id", "put an older copy of a file back (--from) and give it a new index id: cursors start over and miss nothing", newIndexID},
		{"repo", "look at CAR files and repos: inspect, collections, prove, verify, diff", repoCommand},
		{"firehose", "print the events of a relay or PDS as JSON lines", firehoseCommand},
		{"bench", "what this machine can do: query", benchCommand},
		{"version", "print the version", printVersion},
	}
}

// usageError is a mistake on the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errHelp ends a command whose usage was asked for and printed.
var errHelp = errors.New("help")

// run is the program, with everything that it touches passed in.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, environ, stdout, stderr)
	usage, isUsage := errors.AsType[*usageError](err)
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case isUsage:
		_, _ = fmt.Fprintln(stderr, "railyard:", usage)
		return exitUsage
	default:
		_, _ = fmt.Fprintln(stderr, "railyard:", err)
		return exitFail
	}
}

func dispatch(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usagef("which command? try railyard help")
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		printUsage(stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], environ, stdout, stderr)
		}
	}
	return usagef("unknown command %q; try railyard help", args[0])
}

func printUsage(w io.Writer) {
	_, _ = fmt.Fprint(w, "railyard answers: which repos have records in this collection?\n\nusage: railyard COMMAND [flags]\n\n")
	for _, c := range commands() {
		_, _ = fmt.Fprintf(w, "  %-12s %s\n", c.name, c.purpose)
	}
	_, _ = fmt.Fprint(w, "\nrailyard COMMAND --help lists the flags of a command.\n")
}

// version is that of the release, set by the linker, or of the module.
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

func printVersion(_ context.Context, args, _ []string, stdout, _ io.Writer) error {
	if len(args) > 0 {
		return usagef("version takes no arguments")
	}
	_, err := fmt.Fprintln(stdout, versionText())
	return err
}
