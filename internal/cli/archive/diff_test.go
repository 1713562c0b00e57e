package archive

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/test/msttest"
)

func changes(t *testing.T, from, to *mst.View, nsid string) (list []string, s Summary) {
	t.Helper()
	s, err := Compare(from, to, nsid, func(c Change) error {
		if (c.Old != nil) != (c.Action == Update || c.Action == Delete) && c.Action != Unknown {
			t.Errorf("%+v", c)
		}
		list = append(list, string(c.Action)+" "+c.Path)
		return nil
	})
	must(t, err)
	return list, s
}

func TestCompareReportsWhatChanged(t *testing.T) {
	m := newRepo(t, "com.example.a/1", "com.example.a/2", "com.example.b/1", "com.example.same/1")
	before := Read(m.car(t)).View
	m.records["com.example.a/2"] = record("new")
	delete(m.records, "com.example.a/1")
	delete(m.records, "com.example.b/1")
	m.records["com.example.c/1"] = record("c")
	after := Read(m.car(t)).View

	list, s := changes(t, before, after, "")
	if want := "delete com.example.a/1|update com.example.a/2|delete com.example.b/1|create com.example.c/1"; strings.Join(list, "|") != want {
		t.Errorf("%v", list)
	}
	if s.Creates != 1 || s.Updates != 1 || s.Deletes != 2 || s.Same != 1 || s.Unknown != 0 ||
		!slices.Equal(s.Born, []string{"com.example.c"}) || !slices.Equal(s.Died, []string{"com.example.b"}) || s.Undecided != nil {
		t.Errorf("%+v", s)
	}
	list, s = changes(t, before, after, "com.example.a")
	if len(list) != 2 || s.Deletes != 1 || s.Updates != 1 || s.Same != 0 || s.Born != nil || s.Died != nil {
		t.Errorf("%v %+v", list, s)
	}
	if list, s = changes(t, before, after, "com.example.c"); len(list) != 1 || len(s.Born) != 1 || s.Died != nil {
		t.Errorf("%v %+v", list, s)
	}
	stop := errors.New("stop")
	if _, err := Compare(before, after, "", func(Change) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// Where a state hides the place of a record, nothing is claimed about it.
func TestCompareSaysNothingAboutWhatIsHidden(t *testing.T) {
	m := newRepo(t, paths("com.example.thing", 60)...)
	whole := Read(m.car(t)).View
	root, commit, nodes, _ := m.blocks(t)
	for i := range nodes {
		partial := Read(writeCAR(root, append([][]byte{commit}, slices.Delete(slices.Clone(nodes), i, i+1)...)...)).View
		hidden := len(whole.Keys()) - len(partial.Keys())
		_, gone := changes(t, whole, partial, "")
		_, come := changes(t, partial, whole, "")
		if hidden == 0 || gone.Unknown != hidden || come.Unknown != hidden || gone.Deletes+come.Creates+gone.Updates != 0 {
			t.Errorf("%d hidden: %+v %+v", hidden, gone, come)
		}
		if len(partial.Keys()) == 0 && (len(gone.Undecided) != 1 || len(come.Undecided) != 1 || gone.Died != nil || come.Born != nil) {
			t.Errorf("%+v %+v", gone, come)
		}
	}
}

func TestCompareAgainstAPlainMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := map[Action]int{}
	for range 200 {
		from, to := randomContent(rng), randomContent(rng)
		fromView, toView := viewOf(t, from), viewOf(t, to)
		replayed := map[string]string{}
		for path, value := range from {
			replayed[path] = string(value)
		}
		s, err := Compare(fromView, toView, "", func(c Change) error {
			kinds[c.Action]++
			if replayed[c.Path] != string(c.Old) {
				t.Errorf("%s: old is wrong", c.Path)
			}
			if delete(replayed, c.Path); c.Action != Delete {
				replayed[c.Path] = string(c.New)
			}
			return nil
		})
		must(t, err)
		if len(replayed) != len(to) {
			t.Fatalf("%d records instead of %d", len(replayed), len(to))
		}
		for path, value := range to {
			if replayed[path] != string(value) {
				t.Fatalf("%s differs", path)
			}
		}
		for i := range 6 {
			nsid := fmt.Sprintf("com.example.c%d", i)
			before, after := hasAny(from, nsid), hasAny(to, nsid)
			if slices.Contains(s.Born, nsid) != (!before && after) || slices.Contains(s.Died, nsid) != (before && !after) {
				t.Fatalf("%s: %t, %t; %+v", nsid, before, after, s)
			}
		}
	}
	if kinds[Create] < 100 || kinds[Update] < 100 || kinds[Delete] < 100 || kinds[Unknown] != 0 {
		t.Errorf("%v", kinds)
	}
}

func randomContent(rng *rand.Rand) map[string][]byte {
	content := map[string][]byte{}
	for range rng.IntN(30) {
		value := atproto.DigestOf([]byte{byte(rng.IntN(3))})
		content[fmt.Sprintf("com.example.c%d/%d", rng.IntN(6), rng.IntN(8))] = value.AppendCID(nil)
	}
	return content
}

func hasAny(content map[string][]byte, nsid string) bool {
	for path := range content {
		if strings.HasPrefix(path, nsid+"/") {
			return true
		}
	}
	return false
}

func viewOf(t *testing.T, content map[string][]byte) *mst.View {
	t.Helper()
	root, blocks := msttest.Build(content)
	_, view, err := mst.Load(root, blocks)
	must(t, err)
	return view
}
