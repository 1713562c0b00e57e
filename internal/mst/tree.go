package mst

import (
	"bytes"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// Tree is a tree in memory, whole or partial. The zero Tree is the empty tree. Nodes that are absent are gaps.
// After an error of Insert, Set or Remove it is of no further use.
type Tree struct {
	root    *node // nil: the empty tree
	scratch []byte
	hash    atproto.Hasher
}

// node is a node of a tree, or a gap.
type node struct {
	digest  atproto.Digest // not good while changed
	left    *node
	entries []entry
	block   []byte // as loaded, nil once more has changed than children's digests
	link    int32  // offset of digest in the block of the parent, if that has one
	height  int8
	hidden  bool // a gap: only digest and height are known
	changed bool // digest has to be computed again
}

// unknownHeight is the height of a root that is itself absent.
const unknownHeight = -1

// kid is the child in slot i: left of key i, or right of the last one.
func (n *node) kid(i int) *node {
	if i == 0 {
		return n.left
	}
	return n.entries[i-1].right
}

func (n *node) setKid(i int, child *node) {
	if n.kid(i) == child {
		return
	}
	n.block = nil
	if i == 0 {
		n.left = child
	} else {
		n.entries[i-1].right = child
	}
}

// search returns the slot of a key, and whether the key stands right of it.
func (n *node) search(key []byte) (slot int, found bool) {
	return slices.BinarySearchFunc(n.entries, key, func(e entry, key []byte) int {
		return bytes.Compare(e.key, key)
	})
}

// depth is Depth.
func (t *Tree) depth(key []byte) int { return depthOf(t.hash.Sum(key)) }

// orNil drops a node that has become empty.
func (n *node) orNil() *node {
	if len(n.entries) == 0 && n.left == nil {
		return nil
	}
	return n
}

// Root is the digest of the root. Only changed nodes are encoded again.
func (t *Tree) Root() atproto.Digest {
	if t.root == nil {
		return atproto.EmptyTree
	}
	return t.digest(t.root)
}

// RootHidden reports whether the root itself is a gap: it was absent, or
// everything above it was removed.
func (t *Tree) RootHidden() bool { return t.root != nil && t.root.hidden }

// Height is the depth of the root: 0 for the empty tree, -1 where the root is
// absent and so unknown. Of a gap that became the root it is the gap's level.
func (t *Tree) Height() int {
	if t.root == nil {
		return 0
	}
	return int(t.root.height)
}

func (t *Tree) digest(n *node) atproto.Digest {
	if !n.changed {
		return n.digest
	}
	for i := range len(n.entries) + 1 {
		if c := n.kid(i); c != nil && c.changed {
			t.digest(c)
		}
	}
	if t.scratch == nil {
		t.scratch = make([]byte, 0, 1024)
	}
	t.scratch = n.encode(t.scratch[:0])
	n.digest, n.changed = *t.hash.Sum(t.scratch), false
	return n.digest
}

// encode appends the node's block. The digests of its children must be good.
func (n *node) encode(b []byte) []byte {
	if n.block == nil {
		return n.encodeAnew(b)
	}
	start := len(b)
	b = append(b, n.block...)
	for i := range len(n.entries) + 1 {
		if c := n.kid(i); c != nil {
			copy(b[start+int(c.link):], c.digest[:])
		}
	}
	return b
}

func (n *node) encodeAnew(b []byte) []byte {
	b = dagcbor.AppendArray(append(b, nodeHead...), len(n.entries))
	var prev []byte
	for i := range n.entries {
		e := &n.entries[i]
		shared := commonPrefix(prev, e.key)
		b = dagcbor.AppendBytes(append(b, entryHead...), e.key[shared:])
		b = dagcbor.AppendInt(append(b, "\x61p"...), int64(shared))
		b = appendChild(append(b, "\x61t"...), e.right)
		b = dagcbor.AppendCID(append(b, "\x61v"...), e.value)
		prev = e.key
	}
	return appendChild(append(b, "\x61l"...), n.left)
}

func appendChild(b []byte, n *node) []byte {
	if n == nil {
		return dagcbor.AppendNull(b)
	}
	return append(append(b, linkHead...), n.digest[:]...)
}
