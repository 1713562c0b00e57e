package mst

import (
	"fmt"
	"slices"

	"railyard/internal/atproto"
)

// Insert puts a key that is not there into the tree. It splits the nodes along
// the key's place and adds levels on top where the key is deeper than the root.
// The tree keeps key and value.
func (t *Tree) Insert(key, value []byte) error {
	depth := t.depth(key)
	switch {
	case len(key) == 0 || len(key) > MaxKey || depth > MaxHeight:
		return invalid("a key of %d bytes and depth %d", len(key), depth)
	case t.root == nil:
		t.root = single(key, value, depth)
		return nil
	case t.root.hidden:
		return fmt.Errorf("insert %q: %w", atproto.Clip(key), ErrHidden)
	case depth > int(t.root.height):
		return t.insertAbove(key, value, depth)
	}
	return insert(t.root, key, value, depth)
}

func single(key, value []byte, depth int) *node {
	return &node{height: int8(depth), changed: true, entries: []entry{{key: key, value: value}}}
}

// raise puts nodes without keys on top of n until it has the height: levels are
// never skipped (spec: repository).
func raise(n *node, height int) *node {
	for n != nil && int(n.height) < height {
		n = &node{height: n.height + 1, changed: true, left: n}
	}
	return n
}

func (t *Tree) insertAbove(key, value []byte, depth int) error {
	left, right, err := split(t.root, key)
	if err != nil {
		return err
	}
	root := single(key, value, depth)
	root.left = raise(left, depth-1)
	root.entries[0].right = raise(right, depth-1)
	t.root = root
	return nil
}

func insert(n *node, key, value []byte, depth int) error {
	if n.hidden {
		return fmt.Errorf("insert %q: %w", atproto.Clip(key), ErrHidden)
	}
	slot, found := n.search(key)
	if found {
		return fmt.Errorf("insert %q: %w", atproto.Clip(key), ErrKey)
	}
	n.changed = true
	child := n.kid(slot)
	if int(n.height) > depth {
		if child == nil {
			n.setKid(slot, raise(single(key, value, depth), int(n.height)-1))
			return nil
		}
		return insert(child, key, value, depth)
	}
	left, right, err := split(child, key)
	if err != nil {
		return err
	}
	n.block = nil
	n.entries = slices.Insert(n.entries, slot, entry{key: key, value: value, right: right})
	n.setKid(slot, left)
	return nil
}

// split divides a subtree into what is below and above the key. A side without
// keys is nil; a subtree that lies on one side comes back as it is.
func split(n *node, key []byte) (left, right *node, err error) {
	if n == nil {
		return nil, nil, nil
	}
	if n.hidden {
		return nil, nil, fmt.Errorf("split at %q: %w", atproto.Clip(key), ErrHidden)
	}
	slot, found := n.search(key)
	if found {
		return nil, nil, fmt.Errorf("split at %q: %w", atproto.Clip(key), ErrKey)
	}
	child := n.kid(slot)
	below, above, err := split(child, key)
	if err != nil {
		return nil, nil, err
	}
	if slot == len(n.entries) && below == child && above == nil {
		return n, nil, nil
	}
	if slot == 0 && below == nil && above == child {
		return nil, n, nil
	}
	right = &node{height: n.height, changed: true, left: above, entries: slices.Clone(n.entries[slot:])}
	n.entries = n.entries[:slot:slot]
	n.setKid(slot, below)
	n.block, n.changed = nil, true
	return n.orNil(), right.orNil(), nil
}
