package sim

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"railyard/internal/test/simnet"
)

// docs/faults.md has one line for each fault, as the table of simnet says it. With
// RAILYARD_WRITE_DOCS set the lines are written anew.
func TestEveryFaultHasOneLineInTheDocumentation(t *testing.T) {
	const name = "../../../docs/faults.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), "| fault |")
	if !found {
		t.Fatal("there is no table")
	}
	want := head + "| fault | where | what happens | what railyard does |\n| --- | --- | --- | --- |\n"
	for _, f := range simnet.Faults() {
		if strings.Contains(f.Doc+f.Expect, "|") {
			t.Errorf("%s: a bar would end the cell", f.Name)
		}
		want += fmt.Sprintf("| %s | %s | %s | %s |\n", f.Name, f.Where, f.Doc, f.Expect)
	}
	if want == string(text) {
		return
	}
	if os.Getenv("RAILYARD_WRITE_DOCS") == "" {
		t.Fatal("docs/faults.md is not what the table says; write it anew with RAILYARD_WRITE_DOCS=1")
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
