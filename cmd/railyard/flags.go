package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

const envPrefix = "RAILYARD_"

// list is a flag that may be repeated; in the environment it is separated by
// commas.
type list struct {
	values []string
	given  bool
}

func (l *list) String() string { return strings.Join(l.values, ",") }

// Set replaces the default with the first value that is given.
func (l *list) Set(v string) error {
	if !l.given {
		l.values, l.given = nil, true
	}
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			l.values = append(l.values, part)
		}
	}
	return nil
}

// removed is a flag that is no more. Who still uses it is told what became of it.
type removed struct{ why string }

func (r *removed) String() string { return "" }

// Set accepts any value: usesRemoved complains.
func (r *removed) Set(string) error { return nil }

// usesRemoved returns a usage error if a flag, or the variable of a flag, was set
// that is no more.
func usesRemoved(fs *flag.FlagSet) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if r, is := f.Value.(*removed); is && err == nil {
			err = usagef("%s: --%s: %s", fs.Name(), f.Name, r.why)
		}
	})
	return err
}

// present visits the flags that are not removed.
func present(fs *flag.FlagSet, visit func(*flag.Flag)) {
	fs.VisitAll(func(f *flag.Flag) {
		if _, is := f.Value.(*removed); !is {
			visit(f)
		}
	})
}

// choice is a flag with a closed set of values.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }

func (c *choice) Set(v string) error {
	v = strings.ToLower(v) // RAILYARD_LOG_LEVEL=INFO
	if !slices.Contains(c.allowed, v) {
		return fmt.Errorf("want one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = v
	return nil
}

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// parse reads flags and their twins in the environment; the command line wins.
// It returns the variables with our prefix that name no flag.
func parse(fs *flag.FlagSet, args, environ []string, stdout io.Writer) (unknown []string, err error) {
	_, unknown, err = parseWith(fs, nil, args, environ, stdout)
	return unknown, err
}

// parseWith is parse for a command that takes arguments of these names, before,
// between or after its flags. Names from "[" to "]" may be left out together.
func parseWith(fs *flag.FlagSet, names, args, environ []string, stdout io.Writer) (values, unknown []string, err error) {
	fs.SetOutput(io.Discard)
	for {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			printFlags(stdout, fs, names)
			return nil, nil, errHelp
		} else if err != nil {
			return nil, nil, usagef("%s: %v; try railyard %s --help", fs.Name(), err, fs.Name())
		}
		if fs.NArg() == 0 {
			break
		}
		if len(values) == len(names) {
			return nil, nil, usagef("%s: unexpected argument %q", fs.Name(), fs.Arg(0))
		}
		values, args = append(values, fs.Arg(0)), fs.Args()[1:]
	}
	if n := len(values); n < len(names) && !strings.HasPrefix(names[n], "[") {
		return nil, nil, usagef("%s: no %s given; try railyard %s --help", fs.Name(), strings.Trim(names[n], "[]"), fs.Name())
	}
	if unknown, err = parseEnviron(fs, environ); err != nil {
		return nil, nil, err
	}
	return values, unknown, usesRemoved(fs)
}

// parseEnviron sets the flags that the command line does not name.
func parseEnviron(fs *flag.FlagSet, environ []string) (unknown []string, err error) {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	env := make(map[string]string)
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		name := envName(f.Name)
		value, ok := env[name]
		delete(env, name)
		if !ok || given[f.Name] || err != nil {
			return
		}
		if e := fs.Set(f.Name, value); e != nil {
			err = usagef("%s: variable %s: invalid value %q: %v", fs.Name(), name, value, e)
		}
	})
	for name := range env {
		if !kubernetes.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown, err
}

// kubernetes sets such variables for a service that is called railyard.
var kubernetes = regexp.MustCompile(`^RAILYARD_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

// warnUnknown names the flag that was probably meant.
func warnUnknown(log *slog.Logger, fs *flag.FlagSet, unknown []string) {
	for _, name := range unknown {
		nearest, least := "", 1<<30
		present(fs, func(f *flag.Flag) {
			if d := distance(name, envName(f.Name)); d < least {
				nearest, least = envName(f.Name), d
			}
		})
		log.Warn("unknown variable", "name", name, "nearest", nearest)
	}
}

// distance is the number of edits between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func printFlags(w io.Writer, fs *flag.FlagSet, names []string) {
	words := strings.Join(append([]string{fs.Name()}, names...), " ")
	_, _ = fmt.Fprintf(w, "usage: railyard %s [flags]\n\n", words)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	present(fs, func(f *flag.Flag) {
		def := f.DefValue
		if def == "" {
			def = "-"
		}
		_, _ = fmt.Fprintf(t, "  --%s\t%s\t%s\t%s\n", f.Name, envName(f.Name), def, f.Usage)
	})
	_ = t.Flush()
}
