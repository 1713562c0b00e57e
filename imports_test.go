package railyard_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"railyard/internal/refusal"
)

// floors is the order of the packages: each may import only what stands on a
// lower floor. A new package takes the lowest floor above all that it imports.
var floors = [][]string{
	0: {".", "internal/atproto", "internal/backoff", "internal/exactjson", "internal/gather", "internal/health", "internal/listing", "internal/refusal", "internal/test/faultvfs", "internal/test/fixtures"},
	1: {"db", "internal/dagcbor", "internal/metrics", "internal/outbound", "internal/repostate"},
	2: {"internal/event", "internal/identity", "internal/mst", "internal/pds", "internal/store", "internal/test/msttest", "internal/test/simnet", "internal/test/testrepo"},
	3: {"internal/cli/compare", "internal/firehose", "internal/plc", "internal/repo"},
	4: {"internal/verify"},
	5: {"internal/api", "internal/cli/archive", "internal/crawl", "internal/establish", "internal/ingest"},
	6: {"internal/cli/bench", "internal/cli/eventlog", "internal/cli/recheck", "internal/resync"},
	7: {"internal/daemon"},
	8: {"cmd/railyard", "e2e", "internal/test/sim"},
}

// graph holds the imports of this module's packages from each other, by folder.
type graph map[string][]string

func (g graph) add(from, to string) {
	if !slices.Contains(g[from], to) {
		g[from] = append(g[from], to)
	}
}

// eachFile parses all files, without those of tests, under whatever build constraint they
// are.
func eachFile(t *testing.T, tree fs.FS, mode parser.Mode, visit func(folder string, file *ast.File)) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" ||
			d.Name() == "testdata" || d.Name() == "tools"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, mode)
		if err == nil {
			visit(path.Dir(name), file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// importOf returns what an import clause names.
func importOf(spec *ast.ImportSpec) string {
	target, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
	return target
}

// readGraph reads the import clauses.
func readGraph(t *testing.T, tree fs.FS) graph {
	t.Helper()
	g := make(graph)
	eachFile(t, tree, parser.ImportsOnly, func(from string, file *ast.File) {
		if g[from] == nil {
			g[from] = []string{}
		}
		for _, spec := range file.Imports {
			if target := importOf(spec); target == "railyard" {
				g.add(from, ".")
			} else if folder, ours := strings.CutPrefix(target, "railyard/"); ours {
				g.add(from, folder)
			}
		}
	})
	return g
}

func floorOf(folder string) int {
	return slices.IndexFunc(floors, func(floor []string) bool { return slices.Contains(floor, folder) })
}

// reach returns all that a package imports, directly or not.
func (g graph) reach(from string) map[string]bool {
	seen := make(map[string]bool)
	todo := slices.Clone(g[from])
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen[next] {
			seen[next] = true
			todo = append(todo, g[next]...)
		}
	}
	return seen
}

// faults names every arrow that breaks a rule.
func (g graph) faults() (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for from, targets := range g {
		if floorOf(from) < 0 {
			add("%s stands on no floor", from)
			continue
		}
		for _, to := range targets {
			switch {
			case floorOf(to) < 0:
				add("%s imports %s, which stands on no floor", from, to)
			case floorOf(to) >= floorOf(from):
				add("%s (floor %d) imports %s (floor %d): not downwards", from, floorOf(from), to, floorOf(to))
			}
			if to == "db" && from != "internal/store" {
				add("%s imports db: only internal/store speaks SQL", from)
			}
			if to == "internal/test/simnet" && from != "cmd/railyard" {
				add("%s imports internal/test/simnet: it is there for the demo and for tests", from)
			}
		}
	}
	for _, tool := range []string{"internal/test/faultvfs", "internal/test/fixtures", "internal/test/msttest", "internal/test/testrepo", "e2e"} {
		if g.reach("cmd/railyard")[tool] {
			add("%s is for tests and gets into the binary", tool)
		}
	}
	for imported := range g.reach("internal/repostate") {
		if imported != "internal/atproto" && imported != "internal/refusal" {
			add("internal/repostate imports %s: it is to be pure", imported)
		}
	}
	for _, verifier := range []string{"internal/event", "internal/mst", "internal/repo", "internal/verify"} {
		if g.reach("internal/test/simnet")[verifier] {
			add("internal/test/simnet imports %s, which it is to test", verifier)
		}
	}
	slices.Sort(faults)
	return faults
}

func TestImportsPointDownwards(t *testing.T) {
	g := readGraph(t, os.DirFS("."))
	for _, fault := range g.faults() {
		t.Error(fault)
	}
	for i, floor := range floors {
		for _, folder := range floor {
			if _, exists := g[folder]; !exists {
				t.Errorf("%s on floor %d does not exist", folder, i)
			}
		}
	}
	if len(g["cmd/railyard"]) < 5 || !slices.Contains(g["internal/store"], "db") {
		t.Errorf("the graph was not read: %v", g)
	}
}

func TestArrowsThatBreakARuleAreSeen(t *testing.T) {
	for _, c := range []struct{ from, to, says string }{
		{"internal/atproto", "internal/event", "internal/atproto (floor 0) imports internal/event (floor 2)"},
		{"internal/api", "internal/crawl", "internal/api (floor 5) imports internal/crawl (floor 5)"},
		{"internal/api", "internal/novelty", "internal/novelty, which stands on no floor"},
		{"internal/novelty", "internal/atproto", "internal/novelty stands on no floor"},
		{"internal/api", "db", "only internal/store speaks SQL"},
		{"internal/ingest", "internal/test/simnet", "internal/ingest imports internal/test/simnet"},
		{"internal/verify", "internal/test/fixtures", "internal/test/fixtures is for tests"},
		{"internal/store", "internal/test/faultvfs", "internal/test/faultvfs is for tests"},
		{"internal/repostate", "internal/backoff", "internal/repostate imports internal/backoff: it is to be pure"},
		{"internal/test/simnet", "internal/mst", "internal/test/simnet imports internal/mst"},
		{"internal/dagcbor", "internal/repo", "internal/test/simnet imports internal/repo"},
	} {
		g := readGraph(t, os.DirFS("."))
		g.add(c.from, c.to)
		if faults := strings.Join(g.faults(), "\n"); !strings.Contains(faults, c.says) {
			t.Errorf("%s imports %s, and it is said: %q", c.from, c.to, faults)
		}
	}
}

// ownJSON are the packages that may decode JSON by names that are not exact: the decoder
// itself, and the store, which reads what it has written.
var ownJSON = []string{"internal/exactjson", "internal/store"}

// looseJSON returns what a file uses of JSON decoders that take a name in another case for
// the right one.
func looseJSON(folder string, file *ast.File) (uses []string) {
	if slices.Contains(ownJSON, folder) {
		return nil
	}
	json := ""
	for _, spec := range file.Imports {
		switch target := importOf(spec); {
		case target == "encoding/json" && spec.Name == nil:
			json = "json"
		case target == "encoding/json":
			json = spec.Name.Name
		case strings.Contains(target, "json") && target != "railyard/internal/exactjson":
			uses = append(uses, target)
		}
	}
	if json == "." {
		return append(uses, "a dot import")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if from, ok := sel.X.(*ast.Ident); ok && from.Name == json && (strings.HasPrefix(sel.Sel.Name, "Unmarshal") ||
				sel.Sel.Name == "NewDecoder" || sel.Sel.Name == "Decoder") {
				uses = append(uses, json+"."+sel.Sel.Name)
			}
		}
		return true
	})
	return uses
}

func TestJSONIsDecodedByExactNames(t *testing.T) {
	files := 0
	eachFile(t, os.DirFS("."), parser.SkipObjectResolution, func(folder string, file *ast.File) {
		files++
		for _, use := range looseJSON(folder, file) {
			t.Errorf("%s uses %s; strangers' JSON is decoded by internal/exactjson", folder, use)
		}
	})
	if files < 100 {
		t.Errorf("%d files were read", files)
	}
	for text, want := range map[string]string{
		`import "encoding/json"; var _ = json.Unmarshal`:                    "json.Unmarshal",
		`import "encoding/json"; var _ = json.NewDecoder`:                   "json.NewDecoder",
		`import "encoding/json"; var _ json.Decoder`:                        "json.Decoder",
		`import other "encoding/json"; var _ = other.Unmarshal`:             "other.Unmarshal",
		`import . "encoding/json"; var _ = Unmarshal`:                       "a dot import",
		`import "github.com/goccy/go-json"`:                                 "github.com/goccy/go-json",
		`import "encoding/json"; var _ = json.Marshal`:                      "",
		`import "railyard/internal/exactjson"; var _ = exactjson.Unmarshal`: "",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package x; "+text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if uses := strings.Join(looseJSON("internal/novelty", file), " "); uses != want {
			t.Errorf("%s: seen are %q, want %q", text, uses, want)
		}
	}
}

func TestEveryRefusalHasOneLineInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []refusal.Entry
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		if len(cells) != 5 || len(strings.TrimSpace(cells[3])) < 10 {
			t.Errorf("a line without reason, meaning and consequence: %s", line)
			continue
		}
		documented = append(documented, refusal.Entry{
			Reason: refusal.Reason(strings.Trim(cells[1], " `")), Meaning: strings.TrimSpace(cells[2]),
		})
	}
	all := refusal.All()
	for i := range max(len(all), len(documented)) {
		switch {
		case i >= len(documented):
			t.Errorf("%s has no line", all[i].Reason)
		case i >= len(all):
			t.Errorf("%s is no reason, or comes twice", documented[i].Reason)
		case all[i] != documented[i]:
			t.Fatalf("line %d is %q, want %q", i+1, documented[i], all[i])
		}
	}
}
