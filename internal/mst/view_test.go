package mst

import (
	"slices"
	"testing"
)

// viewOf makes a view from a text: keys, and "…" for a gap.
func viewOf(items ...string) *View {
	v := &View{gaps: make([]bool, 1)}
	for _, item := range items {
		if item == "…" {
			v.addGap()
		} else {
			v.addKey([]byte(item), nil)
		}
	}
	return v
}

func TestViewProvesCollectionsByTheirSlash(t *testing.T) {
	v := viewOf("com.ex.a-b.c/1", "com.ex.a.b/1", "com.ex.a2/1", "…", "com.ex.c/1", "com.ex.c/2", "…", "com.ex.c/5")
	cases := []struct {
		nsid string
		want Presence
		keys int
	}{
		{"com.ex.a", Absent, 0}, // between com.ex.a.b/ and com.ex.a2/
		{"com.ex.a-b.c", Present, 1},
		{"com.ex.a.b", Present, 1},
		{"com.ex.a2", Present, 1},
		{"com.ex.a1", Absent, 0},
		{"com.ex.b", Unknown, 0},
		{"com.ex.c", Present, 3},
		{"com.ex.d", Absent, 0},
		{"com.ex", Absent, 0},
	}
	for _, c := range cases {
		run := v.Collection(c.nsid)
		if run.Presence() != c.want || len(run.Keys) != c.keys {
			t.Errorf("%s: %s with %d keys, want %s with %d", c.nsid, run.Presence(), len(run.Keys), c.want, c.keys)
		}
	}
	run := v.Collection("com.ex.c")
	if !run.Left || !run.Inside || run.Right {
		t.Errorf("gaps of the run: %+v", run)
	}
	if run := v.Collection("com.ex.a2"); run.Left || run.Inside || !run.Right {
		t.Errorf("gaps of the run: %+v", run)
	}
}

func TestViewNeighbours(t *testing.T) {
	v := viewOf("b/1", "…", "d/1", "e/1")
	text := func(s Side) string {
		return [...]string{string(s.Path), "gap", "edge"}[s.Kind]
	}
	cases := []struct{ path, left, right string }{
		{"a/1", "edge", "b/1"},
		{"b/1", "edge", "gap"},
		{"c/1", "gap", "gap"},
		{"d/1", "gap", "e/1"},
		{"d/2", "d/1", "e/1"},
		{"e/1", "d/1", "edge"},
		{"f/1", "e/1", "edge"},
	}
	for _, c := range cases {
		if l, r := v.Neighbours(c.path); text(l) != c.left || text(r) != c.right {
			t.Errorf("%s stands between %s and %s, want %s and %s", c.path, text(l), text(r), c.left, c.right)
		}
	}
}

func TestCollectionsAreSortedByBytesWithoutOddKeys(t *testing.T) {
	var c Collections
	for _, key := range []string{"/x", "com.ex.a.b/1", "com.ex.a.b/2", "com.ex.a/1", "com.ex.a/odd rkey", "com.ex.a2/1", "no slash", "nodots/1", "nodots/2"} {
		c.Add([]byte(key))
	}
	if got := c.Sorted(); !slices.Equal(got, []string{"com.ex.a", "com.ex.a.b", "com.ex.a2"}) {
		t.Errorf("%v", got)
	}
}
