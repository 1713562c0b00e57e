package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal that closes ends the service cleanly; the reader of its log, who goes away
// while it has much to say, does not end it.
func TestServeEndsByItsSignalsAlone(t *testing.T) {
	program := buildProgram(t)
	for _, c := range []struct {
		name   string
		signal os.Signal
		deaf   bool // nobody reads its log
	}{{"a hangup", syscall.SIGHUP, false}, {"no reader of its log", syscall.SIGTERM, true}} {
		t.Run(c.name, func(t *testing.T) {
			if signal.Ignored(c.signal) {
				t.Skip("the tests run where the signal is ignored (nohup), and so would the program")
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			db := filepath.Join(t.TempDir(), "index.db")
			// The upstream is not there, of which the log speaks again and again.
			cmd := exec.Command(program, "serve", "--db", db, "--listen", "127.0.0.1:0", "--metrics-listen", "", "--log-level", "debug",
				"--upstream", "ws://127.0.0.1:1", "--plc-url", "http://127.0.0.1:1", "--allow-private-hosts")
			cmd.Env, cmd.SysProcAttr = withoutOurs(os.Environ()), dieWithTest()
			out, err := cmd.StdoutPipe()
			must(err)
			said, log, err := os.Pipe()
			must(err)
			cmd.Stderr = log
			must(cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			must(log.Close())
			line, err := bufio.NewReader(out).ReadString('\n')
			must(err)
			if c.deaf {
				must(said.Close())
			} else {
				go func() { _, _ = io.Copy(io.Discard, said) }()
			}
			url := strings.TrimSpace(strings.TrimPrefix(line, "listening "))
			for range 20 { // each is a line of the log at this level, or the upstream brings one
				resp, err := http.Get(url + "/v1/stats")
				if err != nil {
					t.Fatalf("it does not answer any more: %v", err)
				}
				_ = resp.Body.Close()
				time.Sleep(100 * time.Millisecond)
			}
			must(cmd.Process.Signal(c.signal))
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			if info, err := os.Stat(db + "-wal"); err == nil && info.Size() > 0 {
				t.Errorf("its log of %d bytes is not in the file", info.Size())
			}
		})
	}
}
