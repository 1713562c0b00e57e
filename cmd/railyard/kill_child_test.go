package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// childReady and childEnds are how long a process may take to say where it
	// listens, and to end when it is asked to.
	childReady = 30 * time.Second
	childEnds  = 30 * time.Second
)

// buildOnce compiles the program, once for all tests, into a folder that is
// removed at the end of them.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "railyard-built-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "railyard")
	if said, err := exec.Command("go", "build", "-o", out, "railyard/cmd/railyard").CombinedOutput(); err != nil {
		return out, fmt.Errorf("go build: %w\n%s", err, said)
	}
	return out, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(filepath.Dir(built))
	}
	os.Exit(code)
}

// built is where buildOnce has put the program; empty before.
var built string

func buildProgram(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	built = path
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// child is one run of the program as a process.
type child struct {
	cmd       *exec.Cmd
	log       string      // file of its stderr
	listening chan string // the URL of its service; closed without one if it ends before
	ended     chan struct{}
	err       error // of the end, to be read after ended
}

// startChild runs the program. At the end of the test it is killed if it still runs.
func startChild(t *testing.T, program, log string, args []string) *child {
	t.Helper()
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stderr.Close() }()
	c := &child{cmd: exec.Command(program, args...), log: log, listening: make(chan string, 1), ended: make(chan struct{})}
	c.cmd.Stderr, c.cmd.SysProcAttr = stderr, dieWithTest()
	c.cmd.Env = withoutOurs(os.Environ())
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.kill() })
	go func() {
		defer close(c.ended)
		in := bufio.NewScanner(stdout)
		if in.Scan() {
			c.listening <- strings.TrimPrefix(in.Text(), "listening ")
		}
		close(c.listening)
		for in.Scan() {
			// nothing more is contracted; a full pipe would block it
		}
		c.err = c.cmd.Wait()
	}()
	return c
}

// withoutOurs leaves out the variables that would change what the program does.
func withoutOurs(environ []string) (kept []string) {
	for _, v := range environ {
		if !strings.HasPrefix(v, envPrefix) {
			kept = append(kept, v)
		}
	}
	return kept
}

// where waits for the URL of the service; empty if ctx ends or the process has ended
// before.
func (c *child) where(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, childReady)
	defer cancel()
	select {
	case base := <-c.listening:
		return base
	case <-ctx.Done():
		return ""
	}
}

// kill ends the process with SIGKILL, which leaves it no instruction more. Its error
// tells that it had ended by itself.
func (c *child) kill() error {
	_ = c.cmd.Process.Kill()
	<-c.ended
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("it ended by itself before it was killed: %v", c.cmd.ProcessState)
	}
	return nil
}

// stop asks the process to end and wants exit code 0.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.ended:
		return c.err
	case <-time.After(childEnds):
		_ = c.kill()
		return fmt.Errorf("it still ran %s after SIGTERM", childEnds)
	}
}

// complaints are the lines of its log that no healthy run has.
func (c *child) complaints() error {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		for _, bad := range []string{"level=ERROR", "panic", "fatal error", "DATA RACE", "railyard: "} {
			if strings.Contains(line, bad) {
				err = errors.Join(err, errors.New(strings.TrimSpace(line)))
			}
		}
	}
	return err
}
