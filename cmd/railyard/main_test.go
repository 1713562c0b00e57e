package main

import (
	"bytes"
	"flag"
	"io"
	"strings"
	"testing"
)

// outcome is what a run of the program left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// invoke runs the program with a command line and an environment.
func invoke(t *testing.T, args []string, environ ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, environ, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// oneLine checks that the program failed with one line on stderr, nothing on
// stdout, and that the line says what is wrong.
func (o outcome) oneLine(t *testing.T, code int, says ...string) {
	t.Helper()
	if o.code != code || o.stdout != "" {
		t.Errorf("exit code %d, want %d; stdout %q, stderr %q", o.code, code, o.stdout, o.stderr)
	}
	line, rest, _ := strings.Cut(o.stderr, "\n")
	if rest != "" || !strings.HasPrefix(line, "railyard: ") || !strings.HasSuffix(o.stderr, "\n") {
		t.Errorf("stderr is not one line of ours: %q", o.stderr)
	}
	for _, s := range says {
		if !strings.Contains(line, s) {
			t.Errorf("stderr %q does not say %q", line, s)
		}
	}
}

func TestMistakesOnTheCommandLineEndWithTwoAndOneLine(t *testing.T) {
	serve := func(args ...string) []string { return append([]string{"serve", "--db", "unused/x.db"}, args...) }
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"which command", "railyard help"}},
		{[]string{"sever"}, []string{`unknown command "sever"`, "railyard help"}},
		{[]string{""}, []string{`unknown command ""`}},
		{[]string{"two\nlines"}, []string{`unknown command`}},
		{[]string{"--db", "x.db"}, []string{`unknown command "--db"`}},
		{[]string{"version", "now"}, []string{"version takes no arguments"}},
		{serve("--no-such-flag"), []string{"serve:", "-no-such-flag", "railyard serve --help"}},
		{serve("--resync-method", "guess"), []string{`"guess"`, "-resync-method", "auto, describe, probe, repo"}},
		{serve("--describe-timeout", "soon"), []string{`"soon"`, "-describe-timeout"}},
		{serve("--describe-timeout", "0s"), []string{"--describe-timeout 0s"}},
		{serve("--describe-timeout", "2h"), []string{"--describe-timeout 2h"}},
		{serve("--crawl", "deeper"), []string{`"deeper"`, "-crawl", "relay, deep, off"}},
		{serve("--crawl"), []string{"-crawl", "needs an argument"}},
		{serve("stray"), []string{`unexpected argument "stray"`}},
		{serve("--plc-qps", "fast"), []string{`"fast"`, "-plc-qps"}},
		{serve("--plc-qps", "0"), []string{"--plc-qps 0"}},
		{serve("--plc-qps", "NaN"), []string{"--plc-qps NaN"}},
		{serve("--crawl-qps", "-1"), []string{"--crawl-qps -1"}},
		{serve("--crawl-qps", "0"), []string{"--crawl-qps 0"}},
		{serve("--crawl-qps", "NaN"), []string{"--crawl-qps NaN"}},
		{serve("--crawl-qps", "Inf"), []string{"--crawl-qps +Inf"}},
		{serve("--sweep-every", "daily"), []string{`"daily"`, "-sweep-every"}},
		{serve("--sweep-every", "-1h"), []string{"--sweep-every -1h"}},
		{serve("--sweep-every", "59s"), []string{"--sweep-every 59s"}},
		{serve("--sweep-every", "8761h"), []string{"--sweep-every 8761h"}},
		{serve("--resync-workers", "0"), []string{"--resync-workers 0"}},
		{serve("--resync-workers", "5000"), []string{"--resync-workers 5000"}},
		{serve("--repo-timeout", "5"), []string{`"5"`, "-repo-timeout"}},
		{serve("--repo-timeout", "1ms"), []string{"--repo-timeout 1ms"}},
		{serve("--log-level", "loud"), []string{`"loud"`, "debug, info, warn, error"}},
		{serve("--log-format", "xml"), []string{`"xml"`, "text, json"}},
		{serve("--allow-private-hosts=perhaps"), []string{`"perhaps"`, "-allow-private-hosts"}},
		{serve("--trusted-proxy", "10.0.0.0/8,proxy.example.com"), []string{`--trusted-proxy "proxy.example.com"`}},
		{serve("--trusted-proxy", "0.0.0.0/0"), []string{`--trusted-proxy "0.0.0.0/0"`, "everybody"}},
		{serve("--trusted-proxy", "::ffff:10.0.0.0/104"), []string{`--trusted-proxy "::ffff:10.0.0.0/104"`}},
		{serve("--db", ""), []string{"--db"}},
		{serve("--upstream", ""), []string{"--upstream", "none"}},
		{serve("--upstream", "bsky.network"), []string{"--upstream", `"bsky.network"`}},
		{serve("--upstream", "ftp://bsky.network"), []string{"--upstream", "ws, wss, http or https"}},
		{serve("--upstream", "wss://bsky.network/xrpc"), []string{"--upstream", "wss://bsky.network/xrpc"}},
		{serve("--upstream", "wss://user:secret@bsky.network"), []string{"--upstream"}},
		{serve("--upstream", "wss://bsky.network:70000"), []string{"--upstream", "70000"}},
		{serve("--upstream", "wss://not a host"), []string{"--upstream"}},
		{serve("--upstream", "wss://a.example.com#not a host"), []string{"--upstream", "not a host"}},
		{serve("--upstream", "wss://a.example.com", "--upstream", "wss://a.example.com#b.example.com"), []string{"twice"}},
		{serve("--upstream", "wss://a.example.com", "--upstream", "https://a.example.com"), []string{"https://a.example.com", "twice"}},
		{serve("--upstream", "wss://a.example.com,wss://A.example.com/"), []string{"A.example.com", "twice"}},
		{serve("--plc-url", "https://plc.directory#x"), []string{"--plc-url", "nothing else"}},
		{serve("--plc-url", "plc.directory"), []string{"--plc-url", `"plc.directory"`}},
		{serve("--plc-export", "https://plc.directory/export"), []string{"--plc-export", "nothing else"}},
		{serve("--plc-export", "plc.directory"), []string{"--plc-export", `"plc.directory"`}},
		{serve("--plc-url", "wss://plc.directory"), []string{"--plc-url", "http or https"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			invoke(t, c.args).oneLine(t, exitUsage, c.says...)
		})
	}
}

// Who still uses a flag that is no more is told what became of it.
func TestRemovedFlagsSayWhatBecameOfThem(t *testing.T) {
	for flag, says := range map[string]string{"--verify": "signatures are always checked now", "--sync11": "cannot be inverted"} {
		invoke(t, []string{"serve", flag, "auto"}).oneLine(t, exitUsage, flag+": ", says)
		fs, _ := serveFlags()
		_, err := parse(fs, nil, []string{envName(flag[2:]) + "=auto"}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("its variable: %v", err)
		}
	}
}

// Commands, flags and values whose feature has not landed do not exist: no stubs.
func TestWhatHasNotLandedDoesNotExist(t *testing.T) {
	for _, args := range [][]string{
		{"demo"}, {"status"}, {"check"}, {"repo"}, {"firehose"}, {"resync"}, {"crawl"}, {"snapshot"}, {"import"}, {"bench"},
		{"serve", "--describe-timeout", "1s"}, {"serve", "--admin-password", "x"}, {"serve", "--read-only"}, {"serve", "--memory-limit", "1"},
	} {
		if known := args[0] == "serve" && lookupFlag(args[1]) || args[0] != "serve" && lookupCommand(args[0]); known {
			continue // it has landed
		}
		invoke(t, args).oneLine(t, exitUsage)
	}
}

func lookupFlag(arg string) bool {
	fs, _ := serveFlags()
	return fs.Lookup(strings.TrimLeft(arg, "-")) != nil
}

func lookupCommand(name string) bool {
	for _, c := range commands() {
		if c.name == name {
			return true
		}
	}
	return false
}

func TestHelpListsEveryCommandAndEveryFlagWithItsVariable(t *testing.T) {
	for _, arg := range []string{"help", "-h", "--help"} {
		o := invoke(t, []string{arg})
		if o.code != exitOK || o.stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q", arg, o.code, o.stderr)
		}
		for _, c := range commands() {
			if !strings.Contains(o.stdout, "\n  "+c.name+" ") || !strings.Contains(o.stdout, c.purpose) {
				t.Errorf("%s does not list %s", arg, c.name)
			}
		}
	}
	fs, _ := serveFlags()
	for _, arg := range []string{"-h", "--help"} {
		o := invoke(t, []string{"serve", arg})
		if o.code != exitOK || o.stderr != "" {
			t.Errorf("serve %s: exit code %d, stderr %q", arg, o.code, o.stderr)
		}
		present(fs, func(f *flag.Flag) {
			i := strings.Index(o.stdout, "\n  --"+f.Name+" ")
			if i < 0 {
				t.Errorf("serve %s does not list --%s", arg, f.Name)
				return
			}
			line, _, _ := strings.Cut(o.stdout[i+1:], "\n")
			if !strings.Contains(line, envName(f.Name)+" ") || !strings.Contains(line, f.DefValue) || !strings.HasSuffix(line, f.Usage) {
				t.Errorf("serve %s: line %q", arg, line)
			}
		})
	}
}

func TestVersionIsOneLine(t *testing.T) {
	o := invoke(t, []string{"version"})
	if o.code != exitOK || o.stderr != "" || strings.Count(o.stdout, "\n") != 1 || len(o.stdout) < 3 {
		t.Errorf("exit code %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
	}
}
