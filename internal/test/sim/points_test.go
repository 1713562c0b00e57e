package sim

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"railyard/internal/store"
)

// The process dies at each point of the list, in each variant: what it leaves keeps
// the rules of the file, is what is promised, and becomes the truth after a start.
func TestTheProcessMayDieAtEachPoint(t *testing.T) {
	passed := map[*story]bool{}
	for _, p := range promises {
		if passed[p.story] {
			continue
		}
		passed[p.story] = true
		for seed := range max(1, seeds(t)/4) {
			t.Run(fmt.Sprintf("%s, seed %d", p.story.name, seed), func(t *testing.T) {
				withScenario(t, seed, p.story, func(g *scenario) { g.dieEverywhere(seeds(t) > 4) })
			})
		}
	}
}

// dieEverywhere dies at the points of the story that have a promise: at the first
// pass, the last and one between, or at one of them.
func (g *scenario) dieEverywhere(all bool) {
	g.t.Helper()
	passes := g.passes()
	for i, p := range promises {
		if p.story != g.story {
			continue
		}
		for _, done := range []bool{false, true} {
			at := store.Point{Step: p.step, Done: done}
			n := passes[at]
			if n == 0 {
				g.t.Errorf("%s: %v is not passed", g.name, at)
				continue
			}
			nths := []int{1, n, 1 + g.dice.IntN(n)}
			if one := nths[i%3]; !all && p.first {
				nths = nths[:1]
			} else if !all {
				nths = []int{one}
			}
			slices.Sort(nths)
			for _, nth := range slices.Compact(nths) {
				g.dieAt(p, at, nth)
			}
		}
	}
}

func (g *scenario) dieAt(p promise, at store.Point, nth int) {
	g.t.Helper()
	reached := g.dies(at, nth)
	if reached == 0 {
		g.t.Errorf("%v was not passed again", at)
	}
	g.left()
	if p.moves != "" && at.Done && (reached == 1 || !p.first) {
		g.moved(p)
	}
	g.label("the file that was left at", at, "pass", reached)
	g.recover()
	g.label("after the death at", at, "pass", reached)
}

// moved checks that a step has changed all that it changes together.
func (g *scenario) moved(p promise) {
	g.t.Helper()
	g.keep(indexFile, probeFile)
	for query := range strings.SplitSeq(p.moves, "; ") {
		if was, is := g.answer(beforeFile, query), g.answer(probeFile, query); was == is {
			g.t.Errorf("%s: %s gives %q before and after", p.step, query, is)
		}
	}
}

// Every step of the source is in the list, and every row has its step.
func TestEveryStepHasItsPromise(t *testing.T) {
	inSource, err := stepsOf("../../..")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, p := range promises {
		if listed[p.step] {
			t.Errorf("%q is listed twice", p.step)
		}
		listed[p.step] = true
	}
	// No file is of an older version until there is a first migration.
	migrations, err := filepath.Glob("../../../db/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range inSource {
		if !listed[step] && (step != stepMigration || len(migrations) > 0) {
			t.Errorf("the step %q has no promise", step)
		}
	}
	for _, step := range slices.Sorted(maps.Keys(listed)) {
		if !slices.Contains(inSource, step) && !slices.Contains(wireSteps, step) {
			t.Errorf("no code has the step %q", step)
		}
	}
}

const stepMigration = "migrate the schema"

// wireSteps touch no file.
var wireSteps = []string{
	stepFrame, stepDocument, stepKeys, stepLogPage, "getRecord", "getRepo", "getRepoStatus", "describeRepo", "listRepos", "listHosts",
}

// namesAt is where the functions that pass points take the name of the step, by
// their number of arguments.
var namesAt = map[string][2]int{"Update": {3, 1}, "around": {2, 0}, "step": {5, 1}, "queuePieces": {3, 1}}

// stepsOf reads the names of steps out of the source. One that is no constant is an
// error, but where it is handed on.
func stepsOf(root string) (steps []string, err error) {
	set := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		// bench makes files to measure them, which nobody goes on with.
		if err != nil || d.IsDir() && slices.Contains([]string{"simnet", "sim", "bench", ".git"}, d.Name()) {
			return cmpErr(err, d)
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			name := stepIn(n)
			switch name := name.(type) {
			case *ast.BasicLit:
				text, _ := strconv.Unquote(name.Value)
				steps = append(steps, text)
			case *ast.Ident:
				if !slices.Contains([]string{"why", "name", "step"}, name.Name) || file.Name.Name != "store" {
					err = fmt.Errorf("%s: a step whose name is no constant", set.Position(name.Pos()))
				}
			case nil:
			default:
				err = fmt.Errorf("%s: a step whose name is no constant", set.Position(name.Pos()))
			}
			return true
		})
		return err
	})
	slices.Sort(steps)
	return slices.Compact(steps), err
}

// cmpErr skips a folder, or returns the error.
func cmpErr(err error, d fs.DirEntry) error {
	if err == nil && d.IsDir() {
		return fs.SkipDir
	}
	return err
}

// stepIn returns the name of the step that a node passes the points of, nil if none.
func stepIn(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return nil
		}
		if at, passes := namesAt[f.Sel.Name]; passes && len(n.Args) == at[0] {
			return n.Args[at[1]]
		}
	case *ast.CompositeLit:
		if typ, ok := n.Type.(*ast.Ident); ok && typ.Name == "Point" && len(n.Elts) == 2 {
			return n.Elts[0]
		}
	}
	return nil
}

const crashesDoc = "../../../docs/crashes.md"

// The documentation has the list as it is.
func TestTheListOfPointsIsDocumented(t *testing.T) {
	text, err := os.ReadFile(crashesDoc)
	if err != nil {
		t.Fatal(err)
	}
	var documented, want []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| step") && !strings.HasPrefix(line, "| ---") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	for _, p := range promises {
		want = append(want, fmt.Sprintf("| %s | %s | %s |", p.step, p.lost, p.kept))
	}
	for i := range max(len(want), len(documented)) {
		switch {
		case i >= len(documented):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("too much: %s", documented[i])
		case want[i] != documented[i]:
			t.Errorf("line %d is %q,\nwant %q", i+1, documented[i], want[i])
		}
	}
}
