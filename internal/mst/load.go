package mst

import (
	"bytes"
	"slices"

	"railyard/internal/atproto"
)

// Source gives the blocks of a tree. The digest of every block that it gives
// must have been checked. Blocks must not change afterwards.
type Source interface {
	// Block finds a DAG-CBOR block.
	Block(atproto.Digest) ([]byte, bool)
	// Len is the number of blocks, which bounds the number of nodes.
	Len() int
}

// Load reads the part of a tree that is present and enforces every rule on it
// (spec: repository). The tree and its view keep slices of the blocks. An absent
// root is one gap.
func Load(root atproto.Digest, src Source) (*Tree, *View, error) {
	if root == atproto.EmptyTree {
		return New(), &View{gaps: make([]bool, 1)}, nil
	}
	l := newLoader(src)
	tree := &Tree{root: &node{digest: root, height: unknownHeight}}
	if err := l.root(tree.root); err != nil {
		return nil, nil, err
	}
	if err := l.checkGaps(); err != nil {
		return nil, nil, err
	}
	return tree, l.view, nil
}

type loader struct {
	src     Source
	view    *View
	raw     rawNode
	arena   []byte  // of the compressed keys
	nodes   []node  // to take nodes from
	entries []entry // to take entries from
	visited int
	hidden  []*node
}

// newLoader takes at once what the tree of a usual commit needs: 40 keys.
func newLoader(src Source) *loader {
	return &loader{
		src:    src,
		view:   &View{keys: make([]Key, 0, 64), gaps: make([]bool, 1, 65)},
		raw:    rawNode{entries: make([]rawEntry, 0, 16)},
		arena:  make([]byte, 0, 2048),
		hidden: make([]*node, 0, 48),
	}
}

func (l *loader) root(n *node) error {
	present, err := l.parse(n)
	if err != nil || !present {
		return err
	}
	height, err := rootHeight(&l.raw)
	if err != nil {
		return err
	}
	return l.fill(n, height, nil, nil)
}

// parse reads the block of n into l.raw, or makes n a gap.
func (l *loader) parse(n *node) (present bool, err error) {
	block, ok := l.src.Block(n.digest)
	if !ok {
		if n.digest == atproto.EmptyTree {
			return false, invalid("a child without keys")
		}
		n.hidden = true
		l.view.addGap()
		l.hidden = append(l.hidden, n)
		return false, nil
	}
	if l.visited++; l.visited > l.src.Len() {
		return false, invalid("a node is reached twice")
	}
	l.arena, err = parse(block, &l.raw, l.arena)
	return true, err
}

// fill makes n from l.raw and loads its children in the order of the keys.
func (l *loader) fill(n *node, height int, lo, hi []byte) error {
	if err := check(&l.raw, height, lo, hi); err != nil {
		return err
	}
	n.height = int8(height)
	n.left = l.stub(l.raw.left, height-1)
	n.entries = l.take(len(l.raw.entries))
	for i, e := range l.raw.entries {
		n.entries[i] = entry{key: e.key, value: e.value, right: l.stub(e.right, height-1)}
	}
	for slot := range len(n.entries) + 1 {
		below, above := lo, hi
		if slot > 0 {
			e := &n.entries[slot-1]
			l.view.addKey(e.key, e.value)
			below = e.key
		}
		if slot < len(n.entries) {
			above = n.entries[slot].key
		}
		if err := l.child(n.kid(slot), below, above); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) child(n *node, lo, hi []byte) error {
	if n == nil {
		return nil
	}
	present, err := l.parse(n)
	if err != nil || !present {
		return err
	}
	return l.fill(n, int(n.height), lo, hi)
}

// stub makes the node of a link, nil for null.
func (l *loader) stub(link []byte, height int) *node {
	if link == nil {
		return nil
	}
	if len(l.nodes) == cap(l.nodes) {
		l.nodes = make([]node, 0, 64)
	}
	l.nodes = append(l.nodes, node{digest: digestOf(link), height: int8(height)})
	return &l.nodes[len(l.nodes)-1]
}

func (l *loader) take(n int) []entry {
	if cap(l.entries)-len(l.entries) < n {
		l.entries = make([]entry, 0, max(64, n))
	}
	at := len(l.entries)
	l.entries = l.entries[:at+n]
	return l.entries[at : at+n : at+n]
}

// checkGaps refuses a tree in which one absent node stands in two places: it
// holds at least one key, which cannot be in both.
func (l *loader) checkGaps() error {
	slices.SortFunc(l.hidden, func(a, b *node) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	for i := 1; i < len(l.hidden); i++ {
		if l.hidden[i].digest == l.hidden[i-1].digest {
			return invalid("a node is reached twice")
		}
	}
	return nil
}
