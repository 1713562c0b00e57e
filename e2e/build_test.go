//go:build e2e

package e2e

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build compiles the binary that is tested.
func build(t *testing.T) string {
	t.Helper()
	dependOnModule(t)
	out := filepath.Join(t.TempDir(), "railyard")
	if msg, err := exec.Command("go", "build", "-o", out, "railyard/cmd/railyard").CombinedOutput(); err != nil {
		t.Fatalf("build railyard: %v\n%s", err, msg)
	}
	return out
}

// dependOnModule looks into every folder of the module. The go command repeats
// an old result while no file changed that the test process itself has looked
// at, and the compiler and Node are other processes.
func dependOnModule(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if d.IsDir() && (name == "node_modules" || strings.HasPrefix(name, ".") && path != "..") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
