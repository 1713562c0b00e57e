package mst

import (
	"fmt"
	"slices"

	"railyard/internal/atproto"
)

// Remove takes a key that is there out of the tree. It merges the subtrees on
// both sides of the key along their touching edge and trims the top; where that
// ends at a gap, the gap is the new root.
func (t *Tree) Remove(key []byte) error {
	depth := t.depth(key)
	if t.root == nil || !t.root.hidden && depth > int(t.root.height) {
		return fmt.Errorf("remove %q: %w", atproto.Clip(key), ErrKey)
	}
	root, err := remove(t.root, key, depth)
	if err != nil {
		return err
	}
	for root != nil && !root.hidden && len(root.entries) == 0 {
		root = root.left
	}
	t.root = root
	return nil
}

// remove returns what is left of n, nil for nothing.
func remove(n *node, key []byte, depth int) (*node, error) {
	if n == nil {
		return nil, fmt.Errorf("remove %q: %w", atproto.Clip(key), ErrKey)
	}
	if n.hidden {
		return nil, fmt.Errorf("remove %q: %w", atproto.Clip(key), ErrHidden)
	}
	slot, found := n.search(key)
	if found != (int(n.height) == depth) {
		return nil, fmt.Errorf("remove %q: %w", atproto.Clip(key), ErrKey)
	}
	var child *node
	var err error
	if found {
		child, err = merge(n.kid(slot), n.entries[slot].right)
		n.block = nil
		n.entries = slices.Delete(n.entries, slot, slot+1)
	} else {
		child, err = remove(n.kid(slot), key, depth)
	}
	if err != nil {
		return nil, err
	}
	n.setKid(slot, child)
	n.changed = true
	return n.orNil(), nil
}

// merge joins two subtrees of one height, all keys of a below those of b.
func merge(a, b *node) (*node, error) {
	if a == nil {
		return b, nil
	}
	if b == nil {
		return a, nil
	}
	if a.hidden || b.hidden {
		return nil, fmt.Errorf("merge: %w", ErrHidden)
	}
	last := len(a.entries)
	middle, err := merge(a.kid(last), b.left)
	if err != nil {
		return nil, err
	}
	a.setKid(last, middle)
	a.entries = append(slices.Clip(a.entries), b.entries...)
	a.block, a.changed = nil, true
	return a, nil
}

// Set replaces the value of a key that is there.
func (t *Tree) Set(key, value []byte) error {
	for n := t.root; n != nil; {
		if n.hidden {
			return fmt.Errorf("set %q: %w", atproto.Clip(key), ErrHidden)
		}
		n.changed = true
		slot, found := n.search(key)
		if found {
			n.block, n.entries[slot].value = nil, value
			return nil
		}
		n = n.kid(slot)
	}
	return fmt.Errorf("set %q: %w", atproto.Clip(key), ErrKey)
}
