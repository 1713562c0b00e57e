//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// service is a railyard with its own file. It outlives its processes.
type service struct {
	name    string
	binary  string
	args    []string
	db      string
	stderr  *tail
	clients *audience

	// Of the process that runs now.
	proc  *process
	index index
}

// requireSound runs railyard check over the file, beside the service or after it
// was killed.
func (s *service) requireSound(t *testing.T) {
	t.Helper()
	out, err := exec.Command(s.binary, "check", "--db", s.db).CombinedOutput()
	if err != nil {
		t.Fatalf("railyard check of %s: %v\n%s", s.name, err, out)
	}
}

// newService starts a railyard on a fresh file that follows the network, with more
// flags of serve.
func newService(t *testing.T, name, binary string, n *network, flags ...string) *service {
	t.Helper()
	db := filepath.Join(t.TempDir(), name+".db")
	s := &service{name: name, binary: binary, db: db, stderr: tailOnFailure(t, "railyard "+name), clients: newAudience()}
	s.args = []string{"serve", "--db", db, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
		"--plc-url", n.PLC, "--allow-private-hosts"}
	for _, pds := range n.PDS {
		s.args = append(s.args, "--upstream", pds)
	}
	s.args = append(s.args, flags...)
	s.start(t)
	return s
}

// start runs the binary and waits until it says where it listens.
func (s *service) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(s.binary, s.args...)
	cmd.Stderr = s.stderr
	cmd.SysProcAttr = dieWithParent()
	s.proc = start(t, "railyard "+s.name, cmd)
	line := s.proc.ready(t)
	url, found := strings.CutPrefix(line, "listening ")
	if !found || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("first line of %s: %q", s.name, line)
	}
	s.index = index(url)
	s.requireHealthy(t)
}

func (s *service) requireHealthy(t *testing.T) {
	t.Helper()
	var health struct {
		Version string `json:"version"`
	}
	if err := s.index.get(t.Context(), "/xrpc/_health", &health); err != nil {
		t.Fatalf("health of %s: %v", s.name, err)
	}
}

// stop ends the process with SIGTERM. That must be a clean end, and the line of
// the start the only one on stdout.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if len(s.proc.more) > 0 {
		t.Errorf("%s printed more than one line: %q", s.name, s.proc.more)
	}
}
