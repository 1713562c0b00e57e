//go:build e2e

package e2e

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// tailLines is how much of a process's stderr a failed test shows.
const tailLines = 60

// tail keeps the last lines that were written to it.
type tail struct {
	mu      sync.Mutex
	partial []byte
	lines   []string
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.lines = append(l.lines, string(line))
		l.partial = rest
		if len(l.lines) > tailLines {
			l.lines = l.lines[len(l.lines)-tailLines:]
		}
	}
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(l.lines[:len(l.lines):len(l.lines)], string(l.partial)), "\n")
}

// tailOnFailure returns a tail that is printed at the end of a failed test.
func tailOnFailure(t *testing.T, name string) *tail {
	l := &tail{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", name, l)
		}
	})
	return l
}
