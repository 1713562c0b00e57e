package mst

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"railyard/internal/test/msttest"
)

// TestALoaderForgetsTheTreeBefore loads random partial trees into one memory and
// into new memory, and undoes changes in both.
func TestALoaderForgetsTheTreeBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 26))
	var reused Loader
	for range 600 {
		content := randomContent(rng, rng.IntN(120))
		changes := randomChanges(rng, content, 3)
		root, blocks := msttest.Build(content)
		for d := range blocks {
			if rng.IntN(8) == 0 {
				delete(blocks, d)
			}
		}
		want, wantView, err := Load(root, blocks)
		must(t, err)
		got, gotView, err := reused.Load(root, blocks)
		must(t, err)
		if !reflect.DeepEqual(keysOf(gotView), keysOf(wantView)) || !reflect.DeepEqual(gotView.gaps, wantView.gaps) {
			t.Fatal("the views differ")
		}
		if (undo(want, changes) == nil) != (undo(got, changes) == nil) {
			t.Fatal("one tree can be undone, the other not")
		}
		if want.Root() != got.Root() || want.Height() != got.Height() {
			t.Fatalf("undone to %s, want %s", got.Root(), want.Root())
		}
	}
	if n := cap(reused.entries) + cap(reused.nodes) + cap(reused.hidden); n > 2000 {
		t.Errorf("memory for %d things after small trees", n)
	}
}

func keysOf(v *View) (keys []string) {
	for _, key := range v.Keys() {
		keys = append(keys, string(key.Path)+" "+string(key.Value))
	}
	return keys
}
