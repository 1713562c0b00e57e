//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	// readyWithin is how long a process may take to print its first line, endWithin
	// how long to end when it is asked to.
	readyWithin = 30 * time.Second
	endWithin   = 20 * time.Second
)

// process is a running program that prints one line when it is ready.
type process struct {
	name  string
	cmd   *exec.Cmd
	first chan string
	// more holds the further lines, to be read once the process has ended.
	more  []string
	ended chan struct{}
	err   error
}

// start runs a program. The test kills it at its end, should it still run.
func start(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p := &process{name: name, cmd: cmd, first: make(chan string, 1), ended: make(chan struct{})}
	t.Cleanup(p.kill)
	go func() {
		defer close(p.ended)
		in := bufio.NewScanner(stdout)
		if in.Scan() {
			p.first <- in.Text()
		}
		close(p.first)
		for in.Scan() {
			p.more = append(p.more, in.Text())
		}
		p.err = cmd.Wait()
	}()
	return p
}

// ready waits for the first line.
func (p *process) ready(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.first:
		if !ok {
			<-p.ended
			t.Fatalf("%s ended before it was ready: %v", p.name, p.err)
		}
		return line
	case <-time.After(readyWithin):
		t.Fatalf("%s is not ready after %v", p.name, readyWithin)
		return ""
	}
}

// kill ends the process with SIGKILL, which leaves it no time to write. On a
// process that has ended it does nothing.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end sends a signal and waits for a clean end, exit code 0.
func (p *process) end(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s: %v: %w", p.name, sig, err)
	}
	return p.waitEnd(sig.String())
}

func (p *process) waitEnd(why string) error {
	select {
	case <-p.ended:
	case <-time.After(endWithin):
		p.kill()
		return fmt.Errorf("%s: still running %v after %s", p.name, endWithin, why)
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return fmt.Errorf("%s: after %s exit code %d (%v), want 0", p.name, why, exit.ExitCode(), exit)
	}
	return p.err
}
