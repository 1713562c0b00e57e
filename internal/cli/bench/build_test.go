package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"railyard/internal/store"
)

func silent(string, int, int) {}

// built makes an index of a shape in a folder of the test.
func built(t *testing.T, s Shape) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "bench.db")
	if fresh, err := Build(t.Context(), path, s, silent); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	return path
}

// reader opens a file for as long as the test runs.
func reader(t *testing.T, path string) *store.Reader {
	t.Helper()
	rd, err := store.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rd.Close() })
	return rd
}

// sound fails the test if the file breaks an invariant.
func sound(t *testing.T, path string) {
	t.Helper()
	checked, broken, err := reader(t, path).Check(t.Context())
	if err != nil || len(broken) > 0 || checked == 0 {
		t.Errorf("%d invariants, broken are %v, %v", checked, broken, err)
	}
}

// A built index lists what its shape says, and what comes late stands behind what was
// fetched.
func TestABuiltIndexIsOfItsShape(t *testing.T) {
	s := Shape{Repos: 400, Seed: 3}
	path := built(t, s)
	sound(t, path)
	type row struct{ nsid, did string }
	late := make(map[row]bool) // every row of the shape
	for i := range s.Repos {
		first, later := s.Collections(i)
		for _, nsid := range first {
			late[row{nsid, s.DID(i)}] = false
		}
		for _, nsid := range later {
			late[row{nsid, s.DID(i)}] = true
		}
		late[row{"", s.DID(i)}] = false // its own listing
	}
	err := reader(t, path).View(t.Context(), func(rx *store.Rx) error {
		seen := make(map[row]bool)
		err := rx.VisibleRows(func(nsid, did string) { seen[row{nsid, did}] = true })
		if err != nil {
			return err
		}
		for r := range late {
			if !seen[r] {
				t.Fatalf("%v is not listed", r)
			}
		}
		if len(seen) != len(late) {
			t.Errorf("%d rows, and %d are in the shape", len(seen), len(late))
		}
		var page store.Page
		err = rx.List(&page, []string{Large(0)}, 0, s.Repos)
		dids := page.DIDs()
		behind := slices.IndexFunc(dids, func(did string) bool { return late[row{Large(0), did}] })
		if behind < s.Repos/2 || behind == len(dids)-1 {
			t.Errorf("the first of %d that came late is at %d", len(dids), behind)
			return err
		}
		for _, did := range dids[behind:] {
			if !late[row{Large(0), did}] {
				t.Fatalf("%s was fetched, and comes after what came late", did)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file is used again if it is of the same shape, and never overwritten.
func TestBuildTakesAFileOfItsShapeAndRefusesOthers(t *testing.T) {
	s := Shape{Repos: 20, Seed: 1}
	path := built(t, s)
	if fresh, err := Build(t.Context(), path, s, silent); fresh || err != nil {
		t.Errorf("once more: new %v, %v", fresh, err)
	}
	for _, other := range []Shape{{Repos: 21, Seed: 1}, {Repos: 20, Seed: 2}} {
		_, err := Build(t.Context(), path, other, silent)
		if err == nil || !strings.Contains(err.Error(), s.String()) || !strings.Contains(err.Error(), other.String()) {
			t.Errorf("%s: %v", other, err)
		}
	}
	letter := filepath.Join(t.TempDir(), "letter.txt")
	const text = "Dear Sir or Madam"
	if err := os.WriteFile(letter, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), letter, s, silent)
	if is, _ := os.ReadFile(letter); err == nil || string(is) != text {
		t.Errorf("a letter was taken for an index: %v, %q", err, is)
	}
}

// What an interrupted build has left is in nobody's way.
func TestBuildBeginsAnewAfterAnInterruptedOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.db")
	if err := os.WriteFile(path+".part", []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fresh, err := Build(t.Context(), path, Shape{Repos: 20, Seed: 1}, silent); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	sound(t, path)
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
