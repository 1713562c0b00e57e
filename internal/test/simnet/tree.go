package simnet

import (
	"crypto/sha256"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// entry is one record of a repo.
type entry struct {
	key    string // "collection/rkey"
	digest atproto.Digest
	height int         // depth of the key in the tree
	block  []byte      // the record itself
	rev    atproto.TID // of the commit that wrote it
}

func newEntry(key string, block []byte, rev atproto.TID) entry {
	return entry{key, atproto.DigestOf(block), keyHeight(key), block, rev}
}

// keyHeight is the number of leading zero bits of the key's SHA-256, halved
// (spec: repository, MST).
func keyHeight(key string) int {
	digest := sha256.Sum256([]byte(key))
	zeros := 0
	for _, b := range digest {
		zeros += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return zeros / 2
}

// node is one node of a tree; it never changes once made.
type node struct {
	digest atproto.Digest
	block  []byte
	rev    atproto.TID // of the commit that made it
	keys   []entry
	kids   []*node // one more than keys; nil where there is nothing between
}

// tree is a repo's content: the sorted records and the tree made of them.
type tree struct {
	entries []entry
	root    *node
	top     int // height of the root
}

// buildTree makes the tree of sorted entries. Where the old tree, which may be
// nil, has a subtree of the same entries, that subtree is used; changed holds
// every key, sorted, in which the two differ.
func buildTree(entries []entry, old *tree, changed []string, rev atproto.TID) (t *tree, made map[*node]bool) {
	b := builder{entries: entries, old: old, changed: changed, rev: rev, made: map[*node]bool{}}
	t = &tree{entries: entries}
	for _, e := range entries {
		t.top = max(t.top, e.height)
	}
	if t.root = b.build(0, len(entries), t.top); t.root == nil {
		t.root = b.finish(&node{kids: []*node{nil}}, "", 0)
	}
	return t, b.made
}

type builder struct {
	entries []entry
	old     *tree
	changed []string
	rev     atproto.TID
	made    map[*node]bool
}

// build makes the node of one height that holds entries[lo:hi], all of which
// are of that height or lower.
func (b *builder) build(lo, hi, height int) *node {
	if lo == hi {
		return nil
	}
	if b.untouched(lo, hi) {
		if n := b.old.at(height, b.entries[lo].key); n != nil {
			return n
		}
	}
	n := &node{}
	start := lo
	for i := lo; i < hi; i++ {
		if b.entries[i].height == height {
			n.kids = append(n.kids, b.build(start, i, height-1))
			n.keys = append(n.keys, b.entries[i])
			start = i + 1
		}
	}
	n.kids = append(n.kids, b.build(start, hi, height-1))
	return b.finish(n, b.entries[lo].key, height)
}

// untouched reports whether nothing changed from the key before entries[lo:hi] to the
// key behind them, both included: then the old tree has the node of that range.
func (b *builder) untouched(lo, hi int) bool {
	next := 0
	if lo > 0 {
		next = sort.SearchStrings(b.changed, b.entries[lo-1].key)
	}
	return next == len(b.changed) || hi < len(b.entries) && b.changed[next] > b.entries[hi].key
}

// finish encodes a node, or returns the node of the old tree that it turns out to
// be. key is any key of its range.
func (b *builder) finish(n *node, key string, height int) *node {
	n.block = encodeNode(n)
	n.digest = atproto.DigestOf(n.block)
	if old := b.old.at(height, key); old != nil && old.digest == n.digest {
		return old
	}
	n.rev = b.rev
	b.made[n] = true
	return n
}

// at returns the node of a height on the way to a key, nil if there is none.
func (t *tree) at(height int, key string) *node {
	if t == nil || height > t.top {
		return nil
	}
	if path := t.path(key); t.top-height < len(path) {
		return path[t.top-height]
	}
	return nil
}

// encodeNode writes the node's block (spec: repository, MST node).
func encodeNode(n *node) []byte {
	b := dagcbor.AppendMap(make([]byte, 0, 64+110*len(n.keys)), 2)
	b = dagcbor.AppendText(b, "e")
	b = dagcbor.AppendArray(b, len(n.keys))
	before := ""
	for i, e := range n.keys {
		shared := commonPrefix(before, e.key)
		b = dagcbor.AppendMap(b, 4)
		b = dagcbor.AppendBytes(dagcbor.AppendText(b, "k"), []byte(e.key[shared:]))
		b = dagcbor.AppendInt(dagcbor.AppendText(b, "p"), int64(shared))
		b = appendChild(dagcbor.AppendText(b, "t"), n.kids[i+1])
		b = dagcbor.AppendLink(dagcbor.AppendText(b, "v"), e.digest)
		before = e.key
	}
	return appendChild(dagcbor.AppendText(b, "l"), n.kids[0])
}

func appendChild(b []byte, n *node) []byte {
	if n == nil {
		return dagcbor.AppendNull(b)
	}
	return dagcbor.AppendLink(b, n.digest)
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// path returns the nodes from the root towards a key: to the node that holds it
// or, for a key that is not there, to the one where nothing is left between its
// neighbours.
func (t *tree) path(key string) []*node {
	var nodes []*node
	for n := t.root; n != nil; {
		nodes = append(nodes, n)
		i, found := searchEntries(n.keys, key)
		if found {
			break
		}
		n = n.kids[i]
	}
	return nodes
}

// find returns the place of a key among all entries.
func (t *tree) find(key string) (int, bool) { return searchEntries(t.entries, key) }

func searchEntries(entries []entry, key string) (int, bool) {
	return slices.BinarySearchFunc(entries, key, func(e entry, k string) int { return strings.Compare(e.key, k) })
}

// walk visits every node, each before its children and those in key order.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, kid := range n.kids {
		if kid != nil {
			kid.walk(visit)
		}
	}
}

// proof returns the nodes that show each key and both its neighbours: what a
// commit carries so that its operations can be undone (spec: sync).
func (t *tree) proof(keys []string) []*node {
	var nodes []*node
	seen := map[*node]bool{}
	add := func(key string) {
		for _, n := range t.path(key) {
			if !seen[n] {
				seen[n] = true
				nodes = append(nodes, n)
			}
		}
	}
	for _, key := range keys {
		add(key)
		at, found := t.find(key)
		if at > 0 {
			add(t.entries[at-1].key)
		}
		if found {
			at++
		}
		if at < len(t.entries) {
			add(t.entries[at].key)
		}
	}
	return nodes
}
