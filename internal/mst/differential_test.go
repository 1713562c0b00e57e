package mst

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/msttest"
)

// randomPath makes paths of collections whose names are prefixes of each other,
// which is where the order of the tree differs from that of the names.
func randomPath(rng *rand.Rand) string {
	nsids := []string{"com.ex.a", "com.ex.a.b", "com.ex.a-b.c", "com.ex.ab", "com.ex.a2", "com.exa.a", "app.ex.feed.post", "sh.t.repo", "sh.t.repo.issue", "sh.t.repo2"}
	return fmt.Sprintf("%s/%x", nsids[rng.IntN(len(nsids))], rng.Uint64N(1<<20))
}

func randomValue(rng *rand.Rand) []byte {
	var d atproto.Digest
	for i := range d {
		d[i] = byte(rng.Uint32())
	}
	return d.AppendCID(nil)
}

func randomContent(rng *rand.Rand, n int) map[string][]byte {
	content := map[string][]byte{}
	for len(content) < n {
		content[randomPath(rng)] = randomValue(rng)
	}
	return content
}

// change is one op: before nil for a create, after nil for a delete.
type change struct {
	path          string
	before, after []byte
}

// randomChanges changes content in place.
func randomChanges(rng *rand.Rand, content map[string][]byte, n int) []change {
	done := map[string]change{}
	for range n {
		path := randomPath(rng)
		if keys := slices.Sorted(maps.Keys(content)); len(keys) > 0 && rng.IntN(3) > 0 {
			path = keys[rng.IntN(len(keys))]
		}
		if _, twice := done[path]; twice {
			continue
		}
		c := change{path: path, before: content[path]}
		if c.before == nil || rng.IntN(3) == 0 {
			c.after = randomValue(rng)
			content[path] = c.after
		} else {
			delete(content, path)
		}
		done[path] = c
	}
	changes := slices.Collect(maps.Values(done))
	slices.SortFunc(changes, func(a, b change) int { return bytes.Compare([]byte(a.path), []byte(b.path)) })
	return changes
}

// undo applies the changes backwards: deletes, updates, creates.
func undo(tree *Tree, changes []change) error {
	for class := range 3 {
		for _, c := range changes {
			var err error
			switch {
			case class == 0 && c.after == nil:
				err = tree.Insert([]byte(c.path), c.before)
			case class == 1 && c.after != nil && c.before != nil:
				err = tree.Set([]byte(c.path), c.before)
			case class == 2 && c.before == nil:
				err = tree.Remove([]byte(c.path))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func redo(tree *Tree, changes []change) error {
	turned := make([]change, len(changes))
	for i, c := range changes {
		turned[i] = change{c.path, c.after, c.before}
	}
	return undo(tree, turned)
}

// recorder serves the blocks of a tree and remembers which were asked for.
type recorder struct {
	msttest.Blocks
	asked msttest.Blocks
}

func (r recorder) Block(d atproto.Digest) ([]byte, bool) {
	block, ok := r.Blocks.Block(d)
	if ok {
		r.asked[d] = block
	}
	return block, ok
}

// proofOf returns the nodes of the new tree that a real server sends: the new
// ones, and the paths to each changed key and to its neighbours.
func proofOf(before, after msttest.Blocks, root atproto.Digest, content map[string][]byte, changes []change) msttest.Blocks {
	proof := msttest.Blocks{}
	for d, block := range after {
		if before[d] == nil {
			proof[d] = block
		}
	}
	keys := slices.Sorted(maps.Keys(content))
	for _, c := range changes {
		i, found := slices.BinarySearch(keys, c.path)
		addPath(proof, after, root, c.path)
		if i > 0 {
			addPath(proof, after, root, keys[i-1])
		}
		if found {
			i++
		}
		if i < len(keys) {
			addPath(proof, after, root, keys[i])
		}
	}
	return proof
}

// addPath copies the nodes from the root towards a key.
func addPath(into, from msttest.Blocks, root atproto.Digest, path string) {
	var raw rawNode
	for d := root; ; {
		into[d] = from[d]
		if _, err := parse(from[d], &raw, nil); err != nil {
			panic(err)
		}
		link := raw.left
		for _, e := range raw.entries {
			if string(e.key) <= path {
				link = e.link
			}
			if string(e.key) == path {
				return
			}
		}
		if link == 0 {
			return
		}
		d = *raw.digest(link)
	}
}

func TestRandomHistoriesAgreeWithTheNaiveTree(t *testing.T) {
	rng := rand.New(rand.NewPCG(2026, 7))
	sizes := []int{0, 1, 2, 3, 5, 10, 30, 100, 300, 1000, 5000}
	var undone, blocked int
	for round := range 300 {
		size := sizes[round%len(sizes)]
		if size > 300 && round > 60 {
			size = rng.IntN(60)
		}
		content := randomContent(rng, size)
		rootA, blocksA := msttest.Build(content)
		changes := randomChanges(rng, content, 1+rng.IntN(12))
		rootB, blocksB := msttest.Build(content)

		forth, _, err := Load(rootA, blocksA)
		must(t, err)
		must(t, redo(forth, changes))
		if forth.Root() != rootB {
			t.Fatalf("round %d: forth to %s, want %s", round, forth.Root(), rootB)
		}
		if err := undo(forth, changes); err != nil || forth.Root() != rootA {
			t.Fatalf("round %d: back in the same tree to %s, %v", round, forth.Root(), err)
		}

		proof := proofOf(blocksA, blocksB, rootB, content, changes)
		back, view, err := Load(rootB, proof)
		must(t, err)
		checkView(t, rng, view, content)
		if err := undo(back, changes); err != nil || back.Root() != rootA {
			t.Fatalf("round %d: back to %s, want %s, %v", round, back.Root(), rootA, err)
		}
		undone++

		for d := range proof {
			if rng.IntN(4) == 0 {
				delete(proof, d)
			}
		}
		thin, view, err := Load(rootB, proof)
		must(t, err)
		checkView(t, rng, view, content)
		switch err := undo(thin, changes); {
		case errors.Is(err, ErrHidden):
			blocked++
		case err != nil:
			t.Fatalf("round %d: %v", round, err)
		case thin.Root() != rootA && !thin.RootHidden():
			t.Fatalf("round %d: a thinned proof undone to %s, want %s", round, thin.Root(), rootA)
		}
	}
	if undone < 300 || blocked < 30 {
		t.Fatalf("%d undone, %d blocked: too few", undone, blocked)
	}
}

// checkView compares what a view claims with the truth.
func checkView(t *testing.T, rng *rand.Rand, view *View, content map[string][]byte) {
	t.Helper()
	for _, key := range view.Keys() {
		if !bytes.Equal(content[string(key.Path)], key.Value) {
			t.Fatalf("shows %q", key.Path)
		}
	}
	if view.Complete() != (len(view.Keys()) == len(content)) {
		t.Fatalf("complete %v with %d of %d keys", view.Complete(), len(view.Keys()), len(content))
	}
	keys := slices.Sorted(maps.Keys(content))
	for range 20 {
		path := randomPath(rng)
		if len(keys) > 0 && rng.IntN(2) == 0 {
			path = keys[rng.IntN(len(keys))]
		}
		_, there := content[path]
		if _, p := view.Get(path); p != Unknown && (p == Present) != there {
			t.Fatalf("%q is %s, in truth %v", path, p, there)
		}
		checkNeighbours(t, view, keys, path)
		nsid, _ := atproto.CollectionOf(path)
		some := slices.ContainsFunc(keys, func(key string) bool {
			c, _ := atproto.CollectionOf(key)
			return c == nsid
		})
		if p := view.Collection(nsid).Presence(); p != Unknown && (p == Present) != some {
			t.Fatalf("%s is %s, in truth %v", nsid, p, some)
		}
	}
}

func checkNeighbours(t *testing.T, view *View, keys []string, path string) {
	t.Helper()
	i, found := slices.BinarySearch(keys, path)
	next := i
	if found {
		next++
	}
	left, right := view.Neighbours(path)
	for _, c := range []struct {
		side Side
		at   int
	}{{left, i - 1}, {right, next}} {
		edge := c.at < 0 || c.at >= len(keys)
		switch c.side.Kind {
		case BesideEdge:
			if !edge {
				t.Fatalf("%q is said to be at the edge", path)
			}
		case BesideKey:
			if edge || keys[c.at] != string(c.side.Path) {
				t.Fatalf("neighbour of %q is said to be %q", path, c.side.Path)
			}
		}
	}
}

func TestInsertingAndRemovingOneByOneKeepsTheNaiveRoot(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	tree, content := new(Tree), map[string][]byte{}
	for range 1500 {
		path := randomPath(rng)
		if keys := slices.Sorted(maps.Keys(content)); len(keys) > 0 && rng.IntN(2) == 0 {
			path = keys[rng.IntN(len(keys))]
		}
		if _, there := content[path]; there {
			must(t, tree.Remove([]byte(path)))
			delete(content, path)
		} else {
			content[path] = randomValue(rng)
			must(t, tree.Insert([]byte(path), content[path]))
		}
		if root, _ := msttest.Build(content); tree.Root() != root {
			t.Fatalf("after %q of %d: %s, want %s", path, len(content), tree.Root(), root)
		}
	}
}

func TestOperationsThatDoNotFitTheirKeyAreRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	content := randomContent(rng, 200)
	root, blocks := msttest.Build(content)
	for _, key := range slices.Sorted(maps.Keys(content)) {
		tree, _, err := Load(root, blocks)
		must(t, err)
		if err := tree.Insert([]byte(key), content[key]); !errors.Is(err, ErrKey) {
			t.Fatalf("insert of %q: %v", key, err)
		}
		absent := []byte(key + "x")
		if err := tree.Set(absent, content[key]); !errors.Is(err, ErrKey) {
			t.Fatalf("set: %v", err)
		}
		if err := tree.Remove(absent); !errors.Is(err, ErrKey) {
			t.Fatalf("remove: %v", err)
		}
	}
	if err := new(Tree).Remove([]byte("a/b")); !errors.Is(err, ErrKey) {
		t.Fatalf("remove from nothing: %v", err)
	}
	if err := new(Tree).Insert(nil, randomValue(rng)); !errors.Is(err, ErrInvalid) {
		t.Fatalf("an empty key: %v", err)
	}
}

func TestWalkSeesEveryKeyOnceAndMissesNoNode(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, size := range []int{0, 1, 2, 10, 100, 3000} {
		content := randomContent(rng, size)
		root, blocks := msttest.Build(content)
		var got []string
		asked := recorder{blocks, msttest.Blocks{}}
		err := Walk(root, asked, func(key, value []byte) error {
			if !bytes.Equal(content[string(key)], value) {
				t.Fatalf("value of %q", key)
			}
			got = append(got, string(key))
			return nil
		})
		must(t, err)
		if !slices.Equal(got, slices.Sorted(maps.Keys(content))) {
			t.Fatalf("%d keys: saw %d", size, len(got))
		}
		if size > 0 && len(asked.asked) != len(blocks) {
			t.Fatalf("%d nodes: asked for %d", len(blocks), len(asked.asked))
		}
		if size > 100 {
			continue
		}
		for d, block := range blocks {
			delete(blocks, d)
			err := Walk(root, blocks, func(_, _ []byte) error { return nil })
			if !errors.Is(err, ErrMissing) && d != atproto.EmptyTree {
				t.Fatalf("without %s: %v", d, err)
			}
			blocks[d] = block
		}
	}
}

func TestWalkStopsWhenTheVisitorFails(t *testing.T) {
	root, blocks := msttest.Build(randomContent(rand.New(rand.NewPCG(6, 6)), 50))
	stop, seen := errors.New("stop"), 0
	err := Walk(root, blocks, func(_, _ []byte) error {
		if seen++; seen == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen != 10 {
		t.Fatalf("%v after %d", err, seen)
	}
}
