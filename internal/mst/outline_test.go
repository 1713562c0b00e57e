package mst

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/msttest"
)

func TestTheZeroOutlineKnowsNothing(t *testing.T) {
	var o Outline
	if p := o.Presence("com.ex.a"); p != Unknown || len(slices.Collect(o.Names())) != 0 {
		t.Errorf("%s, %v", p, slices.Collect(o.Names()))
	}
}

func TestOutlines(t *testing.T) {
	cases := []struct {
		view                     []string
		present, absent, unknown string
	}{
		{[]string{}, "", "com.ex.a", "x nodots ."},
		{[]string{"…"}, "", "", "com.ex.a"},
		{[]string{"com.ex.b/1"}, "com.ex.b", "com.ex.a com.ex.c com.ex.b.c com.ex.bb com.ex.b-c.d", "com.ex"},
		{[]string{"…", "com.ex.b/1"}, "com.ex.b", "com.ex.c", "com.ex.a com.ex.b.c com.ex.b-c.d"},
		{[]string{"com.ex.b/1", "…"}, "com.ex.b", "com.ex.a com.ex.b.c com.ex.b-c.d", "com.ex.c com.ex.bb"},
		{[]string{"com.ex.b/1", "…", "com.ex.b/2"}, "com.ex.b", "com.ex.a com.ex.c", ""},
		{[]string{"com.ex.b/1", "…", "com.ex.d/2", "com.ex.f/1"}, "com.ex.b com.ex.d com.ex.f", "com.ex.a com.ex.e com.ex.g", "com.ex.c"},
		// What is odd is left out, with what is hidden on both its sides.
		{[]string{"com.ex.b/1", "com.ex.d", "com.ex.f/1"}, "com.ex.b com.ex.f", "com.ex.c com.ex.d com.ex.e", "nodots"},
		{[]string{"com.ex.b/1", "…", "com.ex.d", "com.ex.f/1"}, "com.ex.b com.ex.f", "com.ex.a com.ex.g", "com.ex.c com.ex.e"},
		{[]string{"com.ex.b/1", "com.ex.d", "…", "com.ex.f/1"}, "com.ex.b com.ex.f", "com.ex.a com.ex.g", "com.ex.c com.ex.e"},
		{[]string{"com.ex.b/1", "com/x", "…", "org/y"}, "com.ex.b", "com.ex.a", "com.ex.c zz.y.x"},
		{[]string{"/x", "…", "com.ex.b/1"}, "com.ex.b", "com.ex.c", "com.ex.a"},
		{[]string{"nodots/1"}, "", "com.ex.a", "nodots"},
		{[]string{"com.ex.b/a/b", "com.ex.b/odd key"}, "com.ex.b", "com.ex.a com.ex.c", ""},
	}
	for _, c := range cases {
		o := viewOf(c.view...).Outline()
		for want, names := range map[Presence]string{Present: c.present, Absent: c.absent, Unknown: c.unknown} {
			for _, nsid := range strings.Fields(names) {
				if got := o.Presence(nsid); got != want {
					t.Errorf("%q: %s is %s, want %s", c.view, nsid, got, want)
				}
			}
		}
		if got := strings.Join(slices.Collect(o.Names()), " "); got != c.present {
			t.Errorf("%q: names %q", c.view, got)
		}
	}
}

func TestNamesOfAnOutlineMayBeLeftEarly(t *testing.T) {
	for name := range viewOf("com.ex.a/1", "com.ex.b/1").Outline().Names() {
		if name != "com.ex.a" {
			t.Fatalf("%q after the loop was left", name)
		}
		break
	}
}

// oddPath makes a key without a valid collection, between or beside those of
// randomPath.
func oddPath(rng *rand.Rand) string {
	heads := []string{"com", "com.ex.a", "com.ex.a.b", "com.ex.a-/", "com.ex.a.1/", "sh.t/", "zz", "/", "app..x/"}
	return fmt.Sprintf("%s%x", heads[rng.IntN(len(heads))], rng.IntN(1<<20))
}

// TestOutlinesOfPartialTreesAreTrue hides random nodes of random trees. What an
// outline says must be true of the whole tree, and the same as what the view
// says, but for the places beside odd keys, of which it may know less.
func TestOutlinesOfPartialTreesAreTrue(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 84))
	asked := []string{"com.ex.a", "com.ex.a.b", "com.ex.a-b.c", "com.ex.ab", "com.ex.a2", "com.exa.a", "app.ex.feed.post", "sh.t.repo", "sh.t.repo.issue", "sh.t.repo2",
		"a.a.a", "com.ex.a1", "com.ex.a.a", "com.ex.a.c", "com.ex.b", "sh.t.repo.a", "sh.t.repo1", "sh.t.repo3", "zz.y.x"}
	count := map[Presence]int{}
	vague := 0
	for round := range 1500 {
		content := randomContent(rng, rng.IntN(60))
		odd := round%3 == 0
		for range rng.IntN(9) {
			if odd {
				content[oddPath(rng)] = leafValue()
			}
		}
		for nsid := range truth(content) { // fewer collections, so that some are absent
			if rng.IntN(2) == 0 {
				removeAll(content, nsid)
			}
		}
		root, blocks := msttest.Build(content)
		for d := range blocks {
			if rng.IntN(5) == 0 {
				delete(blocks, d)
			}
		}
		_, view, err := Load(root, blocks)
		must(t, err)
		o := view.Outline()
		held := truth(content)
		for _, nsid := range asked {
			got, exact := o.Presence(nsid), view.Collection(nsid).Presence()
			count[got]++
			if got != Unknown && (got == Present) != held[nsid] {
				t.Fatalf("%s is %s, in truth %t", nsid, got, held[nsid])
			}
			if got != exact && !(odd && got == Unknown && exact == Absent) {
				t.Fatalf("%s is %s, by the view %s", nsid, got, exact)
			}
			if got != exact {
				vague++
			}
		}
		checkContradictions(t, rng, o, asked, held)
		checkNames(t, o, view)
	}
	if count[Present] < 1000 || count[Absent] < 1000 || count[Unknown] < 1000 || vague == 0 {
		t.Errorf("%v, %d vague: too few", count, vague)
	}
}

// checkContradictions: a list is contradicted if, and only if, the outline proves one of
// its collections absent, or a collection present that a whole list lacks.
func checkContradictions(t *testing.T, rng *rand.Rand, o Outline, asked []string, held map[string]bool) {
	t.Helper()
	var list []string
	for _, nsid := range asked {
		if wrong := rng.IntN(20) == 0; held[nsid] != wrong {
			list = append(list, nsid)
		}
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	absent := slices.ContainsFunc(list, func(nsid string) bool { return o.Presence(nsid) == Absent })
	lacking := slices.ContainsFunc(slices.Collect(o.Names()), func(nsid string) bool { return !slices.Contains(list, nsid) })
	for _, whole := range []bool{false, true} {
		got := o.Contradicts(slices.Clone(list), whole)
		if want := absent || whole && lacking; got != "" != want {
			t.Fatalf("%v, whole %t: %q, absent %t, lacking %t", list, whole, got, absent, lacking)
		}
		if got != "" && slices.Contains(list, got) == held[got] {
			t.Fatalf("%v: %s is not wrong", list, got)
		}
	}
}

// truth returns which valid collections some content has.
func truth(content map[string][]byte) map[string]bool {
	held := map[string]bool{}
	for path := range content {
		nsid, _ := atproto.CollectionOf(path)
		if _, err := atproto.ParseNSID(nsid); err == nil {
			held[nsid] = true
		}
	}
	return held
}

func removeAll(content map[string][]byte, nsid string) {
	for path := range content {
		if strings.HasPrefix(path, nsid+"/") {
			delete(content, path)
		}
	}
}

// checkNames compares the names with those of the visible keys.
func checkNames(t *testing.T, o Outline, view *View) {
	t.Helper()
	var want Collections
	for _, key := range view.Keys() {
		want.Add(key.Path)
	}
	if got := slices.Sorted(o.Names()); !slices.Equal(got, want.Sorted()) {
		t.Fatalf("names %v, want %v", got, want.names)
	}
	inOrder := slices.IsSortedFunc(slices.Collect(o.Names()), func(a, b string) int { return strings.Compare(a+"/", b+"/") })
	if !inOrder {
		t.Fatalf("%v is not the order of the tree", slices.Collect(o.Names()))
	}
}

// TestAnOutlineSharesNoMemory loads another tree into the same memory.
func TestAnOutlineSharesNoMemory(t *testing.T) {
	var l Loader
	rootA, blocksA := msttest.Build(map[string][]byte{"com.ex.a/1": leafValue(), "com.ex.a/2": leafValue(), "com.ex.ab/1": leafValue()})
	_, view, err := l.Load(rootA, blocksA)
	must(t, err)
	o := view.Outline()
	rootB, blocksB := msttest.Build(map[string][]byte{"org.zz.x/1": leafValue(), "org.zz.x/2": leafValue(), "org.zz.xy/1": leafValue()})
	_, _, err = l.Load(rootB, blocksB)
	must(t, err)
	if got := strings.Join(slices.Collect(o.Names()), " "); got != "com.ex.a com.ex.ab" {
		t.Errorf("%q", got)
	}
}

// BenchmarkOutline is of 40 keys in seven collections.
func BenchmarkOutline(b *testing.B) {
	var items []string
	for _, nsid := range []string{"app.bsky.actor.profile", "app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.feed.repost", "app.bsky.graph.block", "app.bsky.graph.follow", "app.bsky.graph.list"} {
		for _, rkey := range []string{"3l2", "3l3", "3l4", "3l5", "3l6", "3l7"} {
			items = append(items, nsid+"/"+rkey)
		}
	}
	v := viewOf(items...)
	b.ReportAllocs()
	for b.Loop() {
		if o := v.Outline(); o.Presence("app.bsky.graph.verification") != Absent {
			b.Fatal("wrong")
		}
	}
}
