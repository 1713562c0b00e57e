package mst

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"railyard/internal/test/msttest"
)

// TestLongHistoriesAgreeWithTheNaiveTree lets trees of up to 100,000 keys live
// through thousands of operations, compares them with the naive reference on the
// way, and undoes everything again: in the reverse order, and in one that the tree
// has never seen. RAILYARD_HISTORIES is how many histories of each size are tried.
func TestLongHistoriesAgreeWithTheNaiveTree(t *testing.T) {
	histories, sizes := 1, []int{0, 1, 50, 2000}
	if text := os.Getenv("RAILYARD_HISTORIES"); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		histories, sizes = n, append(sizes, 10_000, 100_000)
	}
	for _, size := range sizes {
		for seed := range histories {
			t.Run(fmt.Sprintf("%d keys, seed %d", size, seed), func(t *testing.T) {
				longHistory(t, rand.New(rand.NewPCG(uint64(size), uint64(seed))), size)
			})
		}
	}
}

func longHistory(t *testing.T, rng *rand.Rand, size int) {
	const operations, looks = 4000, 8
	content := randomContent(rng, size)
	rootA, blocksA := msttest.Build(content)
	before := maps.Clone(content)
	tree, _, err := Load(rootA, blocksA)
	must(t, err)
	var done []change
	keys := slices.Sorted(maps.Keys(content))
	for n := range operations {
		c := nextChange(rng, content, &keys)
		must(t, redo(tree, []change{c}))
		done = append(done, c)
		if n%(operations/looks) == 0 {
			if root, _ := msttest.Build(content); tree.Root() != root {
				t.Fatalf("after %d operations: %s, want %s", n+1, tree.Root(), root)
			}
		}
	}
	rootB, blocksB := msttest.Build(content)
	if tree.Root() != rootB {
		t.Fatalf("forth to %s, want %s", tree.Root(), rootB)
	}

	backwards := slices.Clone(done)
	slices.Reverse(backwards)
	for _, c := range backwards {
		must(t, undo(tree, []change{c}))
	}
	if tree.Root() != rootA {
		t.Fatalf("back to %s, want %s", tree.Root(), rootA)
	}

	other, _, err := Load(rootB, blocksB)
	must(t, err)
	net := netChanges(before, content)
	rng.Shuffle(len(net), func(i, j int) { net[i], net[j] = net[j], net[i] })
	must(t, undo(other, net))
	if other.Root() != rootA {
		t.Fatalf("back in another order to %s, want %s", other.Root(), rootA)
	}
}

// nextChange changes content in place, and the keys with it: a third of the time at
// a path that may be new, else at one that is there.
func nextChange(rng *rand.Rand, content map[string][]byte, keys *[]string) change {
	path := randomPath(rng)
	at := rng.IntN(len(*keys) + 1)
	if at < len(*keys) && rng.IntN(3) > 0 {
		path = (*keys)[at]
	} else {
		at = slices.Index(*keys, path)
	}
	c := change{path: path, before: content[path]}
	switch {
	case c.before == nil:
		*keys = append(*keys, path)
	case rng.IntN(3) > 0:
		(*keys)[at] = (*keys)[len(*keys)-1]
		*keys = (*keys)[:len(*keys)-1]
		delete(content, path)
		return c
	}
	c.after = randomValue(rng)
	content[path] = c.after
	return c
}

// netChanges are what leads from one content to another, each path once.
func netChanges(before, after map[string][]byte) (changes []change) {
	for path, value := range after {
		if was := before[path]; string(was) != string(value) {
			changes = append(changes, change{path, was, value})
		}
	}
	for path, was := range before {
		if _, there := after[path]; !there {
			changes = append(changes, change{path, was, nil})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return changes
}
