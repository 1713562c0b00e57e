package mst

import (
	"bytes"
	"encoding/binary"
	"slices"

	"railyard/internal/atproto"
)

// Source holds the blocks of a tree. The digest of every block that it returns
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
	return new(Loader).Load(root, src)
}

// Loader loads one tree after the other into the same memory. The zero Loader is
// ready.
type Loader struct {
	tree    Tree
	view    View
	src     Source
	raw     rawNode
	arena   []byte  // of the compressed keys
	nodes   []node  // to take nodes from
	entries []entry // to take entries from
	visited int
	hidden  []*node
}

// Load is like the function Load. The tree and the view that it returns are good
// until the next call.
func (l *Loader) Load(root atproto.Digest, src Source) (*Tree, *View, error) {
	l.reset(src)
	if root == atproto.EmptyTree {
		return &l.tree, &l.view, nil
	}
	l.tree.root = l.stub(&root, 0, unknownHeight)
	if err := l.root(l.tree.root); err != nil {
		return nil, nil, err
	}
	if err := l.checkGaps(); err != nil {
		return nil, nil, err
	}
	return &l.tree, &l.view, nil
}

// reset takes the memory back. At first it is what the tree of a usual commit
// needs: 40 keys and as many children.
func (l *Loader) reset(src Source) {
	if l.view.keys == nil {
		l.view = View{keys: make([]Key, 0, 64), gaps: make([]bool, 0, 65)}
		l.arena = make([]byte, 0, 2048)
	}
	l.src, l.visited = src, 0
	l.tree.root = nil
	l.view = View{keys: l.view.keys[:0], gaps: append(l.view.gaps[:0], false)}
	l.arena, l.nodes, l.entries = l.arena[:0], l.nodes[:0], l.entries[:0]
	l.hidden = l.hidden[:0]
}

func (l *Loader) root(n *node) error {
	present, err := l.parse(n)
	if err != nil || !present {
		return err
	}
	height, err := rootHeight(&l.raw, &l.tree.hash)
	if err != nil {
		return err
	}
	return l.fill(n, height, 1, nil, nil)
}

// parse reads the block of n into l.raw, or makes n a gap.
func (l *Loader) parse(n *node) (present bool, err error) {
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
	l.raw.entries = l.entries[len(l.entries):]
	l.arena, err = parse(block, &l.raw, l.arena)
	return true, err
}

// fill makes n from l.raw and loads its children in the order of the keys. The
// depths of the first keys, known of them, are known already.
func (l *Loader) fill(n *node, height, known int, lo, hi []byte) error {
	if err := check(&l.raw, &l.tree.hash, height, known, lo, hi); err != nil {
		return err
	}
	n.height, n.block = int8(height), l.raw.block
	n.left = l.child(l.raw.left, height-1)
	n.entries = l.take()
	for i := range n.entries {
		e := &n.entries[i]
		e.right = l.child(e.link, height-1)
	}
	kid, below := n.left, lo
	for i := range n.entries {
		e := &n.entries[i]
		if err := l.descend(kid, below, e.key); err != nil {
			return err
		}
		l.view.addKey(e.key, e.value)
		kid, below = e.right, e.key
	}
	return l.descend(kid, below, hi)
}

func (l *Loader) descend(n *node, lo, hi []byte) error {
	if n == nil {
		return nil
	}
	present, err := l.parse(n)
	if err != nil || !present {
		return err
	}
	return l.fill(n, int(n.height), 0, lo, hi)
}

// child makes the node of a link in l.raw, nil for null.
func (l *Loader) child(link, height int) *node {
	if link == 0 {
		return nil
	}
	return l.stub(l.raw.digest(link), link, height)
}

// stub makes a node of which little more than the digest and the level is known.
func (l *Loader) stub(digest *atproto.Digest, link, height int) *node {
	if len(l.nodes) == cap(l.nodes) {
		l.nodes = make([]node, 0, max(64, 2*cap(l.nodes)))
	}
	l.nodes = l.nodes[:len(l.nodes)+1]
	n := &l.nodes[len(l.nodes)-1]
	*n = node{digest: *digest, link: int32(link), height: int8(height)}
	return n
}

// take keeps the entries of l.raw, which stand behind those taken before. Where
// there was no room for them they have memory of their own, and the next ones get
// more.
func (l *Loader) take() []entry {
	n := len(l.raw.entries)
	if cap(l.entries)-len(l.entries) >= n {
		l.entries = l.entries[:len(l.entries)+n]
	} else {
		l.entries = make([]entry, 0, max(64, 2*cap(l.entries)))
	}
	return l.raw.entries[:n:n]
}

// checkGaps refuses a tree in which one absent node stands in two places: it
// holds at least one key, which cannot be in both.
func (l *Loader) checkGaps() error {
	if !l.gapsMayRepeat() {
		return nil
	}
	slices.SortFunc(l.hidden, func(a, b *node) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	for i := 1; i < len(l.hidden); i++ {
		if l.hidden[i].digest == l.hidden[i-1].digest {
			return invalid("a node is reached twice")
		}
	}
	return nil
}

// gapsMayRepeat is false, nearly always for the tree of a commit, if a few bits
// of the digests show that all are different.
func (l *Loader) gapsMayRepeat() bool {
	const words = 128
	var seen [words]uint64
	for _, n := range l.hidden {
		h := binary.NativeEndian.Uint16(n.digest[:])
		word, bit := &seen[h>>6%words], uint64(1)<<(h&63)
		if *word&bit != 0 {
			return true
		}
		*word |= bit
	}
	return false
}
