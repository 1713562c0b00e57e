package mst

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/msttest"
)

// keyOf finds a key of a depth that begins with prefix.
func keyOf(prefix string, depth int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("%s%d", prefix, i); msttest.Depth(key) == depth {
			return key
		}
	}
}

func leafValue() []byte { return atproto.EmptyTree.AppendCID(nil) }

// refused checks that both readers call the tree invalid.
func refused(t *testing.T, root *atproto.Digest, blocks msttest.Blocks, attack string) {
	t.Helper()
	if _, _, err := Load(*root, blocks); !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: Load says %v", attack, err)
	}
	err := Walk(*root, blocks, func(_, _ []byte) error { return nil })
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: Walk says %v", attack, err)
	}
}

func TestTreesThatBreakARuleAreRefused(t *testing.T) {
	a0, b0 := keyOf("a", 0), keyOf("b", 0)
	m1, z0, z1 := keyOf("m", 1), keyOf("z", 0), keyOf("z", 1)
	m2 := keyOf("m", 2)
	e := func(key string, right *atproto.Digest) msttest.Entry {
		return msttest.Entry{Suffix: key, Value: leafValue(), Right: right}
	}
	cases := map[string]func(b msttest.Blocks) *atproto.Digest{
		"a root that only points down": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(nil, e(a0, nil)))
		},
		"an empty node as a child": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(nil), e(m1, nil))
		},
		"a key deeper than its node": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), e(m1, nil))
		},
		"a key less deep than its node": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(m1, nil), e(z0, nil))
		},
		"a child two levels down": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(nil, e(a0, nil)), e(m2, nil))
		},
		"a child of its parent's level": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(m1, b.Put(nil, e(z1, nil))))
		},
		"a child below depth 0": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(b.Put(nil, e(a0, nil))), e(b0, nil))
		},
		"a right child below depth 0": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, b.Put(nil, e(b0, nil))))
		},
		"a keyless chain below depth 0": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(b.Put(nil, e(a0, nil))), e(m1, nil))
		},
		"a left child above its bound": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(b.Put(nil, e(z0, nil)), e(m1, nil))
		},
		"a right child below its bound": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(m1, b.Put(nil, e(a0, nil))))
		},
		"a grandchild beyond its grandparent": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(m2, b.Put(b.Put(nil, e(a0, nil)), e(z1, nil))))
		},
		"one child on both sides": func(b msttest.Blocks) *atproto.Digest {
			child := b.Put(nil, e(a0, nil))
			return b.Put(child, e(m1, child))
		},
		"keys out of order": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(b0, nil), e(a0, nil))
		},
		"a key twice": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), msttest.Entry{Shared: len(a0), Value: leafValue()})
		},
		"an empty key": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e("", nil))
		},
		"a prefix of the first key": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, msttest.Entry{Shared: 1, Suffix: a0, Value: leafValue()})
		},
		"a prefix beyond the previous key": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), msttest.Entry{Shared: 200, Suffix: "x", Value: leafValue()})
		},
		"a negative prefix": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), msttest.Entry{Shared: -1, Suffix: b0, Value: leafValue()})
		},
		"a prefix beyond any machine's memory": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), msttest.Entry{Shared: 1<<63 - 1, Suffix: b0, Value: leafValue()})
		},
		"a prefix that is not used in full": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(a0, nil), e(keyOf(a0, 0), nil))
		},
		"a key over 1024 bytes": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, e(keyOf(strings.Repeat("k", MaxKey), 0), nil))
		},
		"a compressed key over 1024 bytes": func(b msttest.Blocks) *atproto.Digest {
			first := keyOf(strings.Repeat("k", 1000), 0)
			second := keyOf(first+strings.Repeat("l", 100), 0)
			return b.Put(nil, e(first, nil), msttest.Entry{Shared: len(first), Suffix: second[len(first):], Value: leafValue()})
		},
		"a leaf that is no CID": func(b msttest.Blocks) *atproto.Digest {
			return b.Put(nil, msttest.Entry{Suffix: a0, Value: make([]byte, 5000)})
		},
	}
	for attack, build := range cases {
		blocks := msttest.Blocks{}
		root := build(blocks)
		for i := range 100 { // so that no count of blocks refuses first
			blocks[atproto.Digest{byte(i)}] = nil
		}
		refused(t, root, blocks, attack)
	}
}

func TestANodeMayHoldTwoHundredAndFiftySixKeysAndNotMore(t *testing.T) {
	for _, n := range []int{MaxEntries, MaxEntries + 1} {
		content := map[string][]byte{}
		for i := 0; len(content) < n; i++ {
			if key := fmt.Sprintf("k%06d", i); msttest.Depth(key) == 0 {
				content[key] = leafValue()
			}
		}
		root, blocks := msttest.Build(content)
		if _, _, err := Load(root, blocks); errors.Is(err, ErrInvalid) != (n > MaxEntries) {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}

func TestAnAbsentNodeInTwoPlacesIsRefused(t *testing.T) {
	blocks := msttest.Blocks{}
	gone := atproto.DigestOf([]byte("gone"))
	m1 := keyOf("m", 1)
	root := blocks.Put(&gone, msttest.Entry{Suffix: m1, Value: leafValue(), Right: &gone})
	if _, _, err := Load(*root, blocks); !errors.Is(err, ErrInvalid) {
		t.Errorf("Load says %v", err)
	}
}

func TestAnAbsentEmptyTreeAsAChildIsRefused(t *testing.T) {
	blocks := msttest.Blocks{}
	empty := atproto.EmptyTree
	root := blocks.Put(&empty, msttest.Entry{Suffix: keyOf("m", 1), Value: leafValue()})
	if _, _, err := Load(*root, blocks); !errors.Is(err, ErrInvalid) {
		t.Errorf("Load says %v", err)
	}
}

// counter counts the nodes that a reader asks for.
type counter struct {
	msttest.Blocks
	n int
}

func (c *counter) Block(d atproto.Digest) ([]byte, bool) {
	c.n++
	return c.Blocks.Block(d)
}

// refusedWithin is refused for a tree that is cheap to send: neither reader may
// ask for many more nodes than there are.
func refusedWithin(t *testing.T, most int, root *atproto.Digest, blocks msttest.Blocks, attack string) {
	t.Helper()
	refused(t, root, blocks, attack)
	load, walk := counter{Blocks: blocks}, counter{Blocks: blocks}
	_, _, _ = Load(*root, &load)
	_ = Walk(*root, &walk, func(_, _ []byte) error { return nil })
	if load.n > most || walk.n > most {
		t.Errorf("%s: Load asks for %d nodes and Walk for %d, at most %d of %d", attack, load.n, walk.n, most, len(blocks))
	}
}

func keyed(key string, right *atproto.Digest) msttest.Entry {
	return msttest.Entry{Suffix: key, Value: leafValue(), Right: right}
}

// TestChildrenThatAreSharedCostNoMoreThanTheBlocks hangs each node below its
// parent in every place: all paths together are more than 2^height.
func TestChildrenThatAreSharedCostNoMoreThanTheBlocks(t *testing.T) {
	const height = 8
	for name, keyless := range map[string]bool{"nodes with keys": false, "every other node without keys": true} {
		blocks := msttest.Blocks{}
		node := blocks.Put(nil, keyed(keyOf("k", 0), nil))
		for level := 1; level <= height; level++ {
			if keyless && level%2 == 1 && level < height {
				node = blocks.Put(node)
			} else {
				node = blocks.Put(node, keyed(keyOf("m", level), node), keyed(keyOf("p", level), node), keyed(keyOf("s", level), node))
			}
		}
		refusedWithin(t, 2*(height+1), node, blocks, name)
	}
}

// TestSharedChainsOfNodesWithoutKeysCostNoMoreThanTheBlocks hangs one chain of
// keyless nodes below every child of a wide node: each visit alone is cheap and
// legal, all together would be the number of children times the height. The
// chain ends at an absent node, which Walk refuses at once, or at a key.
func TestSharedChainsOfNodesWithoutKeysCostNoMoreThanTheBlocks(t *testing.T) {
	const height = 5
	for _, end := range []string{"absent", "a key"} {
		blocks := msttest.Blocks{}
		chain := atproto.DigestOf([]byte("gone"))
		if end == "a key" {
			chain = *blocks.Put(nil, keyed(keyOf("aa", 0), nil))
		}
		for range height - 1 {
			chain = *blocks.Put(&chain)
		}
		var entries []msttest.Entry
		for _, c := range "abcdefgh" {
			entries = append(entries, keyed(keyOf(string(c), height), &chain))
		}
		root := blocks.Put(nil, entries...)
		if end == "a key" {
			refusedWithin(t, len(blocks)+height, root, blocks, end)
			continue
		}
		asked := counter{Blocks: blocks}
		if _, _, err := Load(*root, &asked); !errors.Is(err, ErrInvalid) {
			t.Errorf("Load says %v", err)
		}
		if asked.n > len(blocks)+2 {
			t.Errorf("asked for %d blocks of %d", asked.n, len(blocks))
		}
	}
}

// TestAChainIsNotLongerThanTheTreeIsHigh hangs a thousand keyless nodes below a
// root.
func TestAChainIsNotLongerThanTheTreeIsHigh(t *testing.T) {
	const height = 6
	blocks := msttest.Blocks{}
	chain := blocks.Put(nil, keyed(keyOf("a", 0), nil))
	for range 1000 {
		chain = blocks.Put(chain)
	}
	root := blocks.Put(chain, keyed(keyOf("m", height), nil))
	refusedWithin(t, height+1, root, blocks, "a long chain")
	refusedWithin(t, 1, chain, blocks, "a long chain as the root")
}

// TestACycleEnds uses a source that lies about digests, as none may: even then
// the walk is bounded.
func TestACycleEnds(t *testing.T) {
	self := atproto.DigestOf([]byte("self"))
	m3 := keyOf("m", 3)
	loop := msttest.Encode(&self, keyed(m3, nil))
	refusedWithin(t, 2, &self, msttest.Blocks{self: loop}, "a cycle")
	keyless := msttest.Encode(&self)
	other := atproto.DigestOf([]byte("other"))
	root := msttest.Encode(&self, keyed(m3, nil))
	refusedWithin(t, 3, &other, msttest.Blocks{self: keyless, other: root}, "a cycle of nodes without keys")
}

// TestTheTopMayBeTrimmedToAnAbsentNode removes the only visible keys above a
// node of which no more than the digest is known.
func TestTheTopMayBeTrimmedToAnAbsentNode(t *testing.T) {
	for _, height := range []int{1, 4} {
		blocks := msttest.Blocks{}
		gone := atproto.DigestOf([]byte("gone"))
		child := &gone
		for range height - 1 {
			child = blocks.Put(child)
		}
		key := keyOf("m", height)
		root := blocks.Put(child, keyed(key, nil))
		tree, view, err := Load(*root, blocks)
		must(t, err)
		if tree.RootHidden() || tree.Height() != height || view.Gaps() != 1 {
			t.Fatalf("height %d, %d gaps", tree.Height(), view.Gaps())
		}
		must(t, tree.Remove([]byte(key)))
		if !tree.RootHidden() || tree.Root() != gone || tree.Height() != 0 {
			t.Errorf("height %d: trimmed to %s at %d", height, tree.Root(), tree.Height())
		}
		if err := tree.Insert([]byte(key), leafValue()); !errors.Is(err, ErrHidden) {
			t.Errorf("inserting above what is absent: %v", err)
		}
	}
}

func TestATreeWithoutItsRootIsOneGap(t *testing.T) {
	tree, view, err := Load(atproto.DigestOf([]byte("gone")), msttest.Blocks{})
	must(t, err)
	if !tree.RootHidden() || tree.Height() != -1 || view.Complete() || view.Gaps() != 1 || len(view.Keys()) != 0 {
		t.Fatal("not one gap")
	}
	if _, p := view.Get("a.b.c/d"); p != Unknown {
		t.Errorf("a key in the gap is %s", p)
	}
	key := []byte("a.b.c/d")
	for _, err := range []error{tree.Insert(key, leafValue()), tree.Set(key, leafValue()), tree.Remove(key)} {
		if !errors.Is(err, ErrHidden) {
			t.Errorf("an operation on a gap: %v", err)
		}
	}
}

func TestTheEmptyTreeNeedsNoBlock(t *testing.T) {
	tree, view, err := Load(atproto.EmptyTree, msttest.Blocks{})
	must(t, err)
	if tree.Root() != atproto.EmptyTree || !view.Complete() {
		t.Error("the empty tree is not empty")
	}
	if err := Walk(atproto.EmptyTree, msttest.Blocks{}, nil); err != nil {
		t.Error(err)
	}
}
