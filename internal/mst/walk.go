package mst

import (
	"fmt"

	"railyard/internal/atproto"
)

// Walk visits all keys of a whole tree in order and enforces every rule on the
// way (spec: repository). It fails with ErrMissing on the first absent node and
// with what visit returns. The key is only good during the call.
//
// No node is visited twice in a tree that passes: one with keys breaks the order
// at its second place, and a chain of nodes without keys ends at one with keys
// after at most MaxHeight steps. So as soon as more are visited than there are
// blocks, the tree is refused.
func Walk(root atproto.Digest, src Source, visit func(key, value []byte) error) error {
	w := walker{src: src, visit: visit}
	if root == atproto.EmptyTree {
		return nil
	}
	return w.root(root)
}

type walker struct {
	src    Source
	visit  func(key, value []byte) error
	levels [MaxHeight + 2]level // of the nodes on the path, the root's last
	hash   atproto.Hasher
	nodes  int // visited so far
}

// level is the memory of the node at one height, reused by its next sibling.
type level struct {
	raw   rawNode
	arena []byte
}

func (w *walker) root(root atproto.Digest) error {
	top := &w.levels[MaxHeight+1]
	if err := w.parse(root, top); err != nil {
		return err
	}
	height, err := rootHeight(&top.raw, &w.hash)
	if err != nil {
		return err
	}
	return w.node(top, height, 1, nil, nil)
}

func (w *walker) parse(d atproto.Digest, into *level) (err error) {
	block, ok := w.src.Block(d)
	if !ok {
		return fmt.Errorf("%w: node %s is absent", ErrMissing, d)
	}
	if w.nodes++; w.nodes > w.src.Len() {
		return invalid("a node is reached twice")
	}
	into.arena, err = parse(block, &into.raw, into.arena[:0])
	return err
}

func (w *walker) node(l *level, height, known int, lo, hi []byte) error {
	if err := check(&l.raw, &w.hash, height, known, lo, hi); err != nil {
		return err
	}
	entries := l.raw.entries
	for slot := range len(entries) + 1 {
		link, below, above := l.raw.left, lo, hi
		if slot > 0 {
			e := &entries[slot-1]
			if err := w.visit(e.key, e.value); err != nil {
				return err
			}
			link, below = e.link, e.key
		}
		if slot < len(entries) {
			above = entries[slot].key
		}
		if err := w.child(l, link, height-1, below, above); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) child(of *level, link, height int, lo, hi []byte) error {
	if link == 0 {
		return nil
	}
	l := &w.levels[height]
	if err := w.parse(*of.raw.digest(link), l); err != nil {
		return err
	}
	return w.node(l, height, 0, lo, hi)
}
