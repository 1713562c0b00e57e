package mst

import (
	"bytes"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// Limits on a tree. Keys can be mined to be deep or to crowd one node; nothing
// honest comes near these.
const (
	MaxEntries = 256  // keys of one node
	MaxHeight  = 40   // depth of the root
	MaxKey     = 1024 // bytes of a key
	maxValue   = 100  // bytes of a leaf's CID
)

// rawNode is a node as it is encoded. Links are the offsets of their digests in
// the block, 0 where the node has null; their form is checked.
type rawNode struct {
	block   []byte
	left    int
	entries []entry
}

// entry is a key of a node, its value and the child that follows it.
type entry struct {
	key   []byte // whole: in the block where nothing is shared, else in the arena
	value []byte // the leaf's CID, exactly as given
	link  int    // to the child, in the rawNode that the entry was read with
	right *node  // the child, in a Tree
}

// parse reads a node strictly into out, of which it reuses the entries. Keys that are
// compressed are put together at the end of arena, which is returned: keys stay
// good for as long as the arena is not reset.
//
// It enforces the rules that one node shows by itself: exact fields, full
// compression, keys not empty and strictly increasing, the limits.
func parse(block []byte, out *rawNode, arena []byte) ([]byte, error) {
	if arena, ok := parseUsual(block, out, arena); ok {
		return arena, nil
	}
	return parseStrict(block, out, arena)
}

// parseStrict is parse for nodes of any shape, and knows what is wrong.
func parseStrict(block []byte, out *rawNode, arena []byte) ([]byte, error) {
	out.block, out.left, out.entries = block, 0, out.entries[:0]
	r := dagcbor.NewReader(block)
	if n := r.Map(); n != 2 {
		r.Fail("a node of %d fields", n)
	}
	expect(&r, 'e')
	n := r.Array()
	if n > MaxEntries {
		return arena, invalid("a node of %d keys", n)
	}
	out.entries = slices.Grow(out.entries, n)
	var prev []byte
	for i := 0; i < n && r.Err() == nil; i++ {
		var e entry
		var err error
		if e, arena, err = parseEntry(&r, prev, arena); err != nil {
			return arena, err
		}
		out.entries = append(out.entries, e)
		prev = e.key
	}
	expect(&r, 'l')
	out.left = link(&r)
	if err := r.End(); err != nil {
		return arena, invalid("node: %v", err)
	}
	return arena, nil
}

func parseEntry(r *dagcbor.Reader, prev, arena []byte) (entry, []byte, error) {
	var e entry
	if n := r.Map(); n != 4 {
		r.Fail("an entry of %d fields", n)
	}
	expect(r, 'k')
	suffix := r.Bytes()
	expect(r, 'p')
	shared := r.Int()
	expect(r, 't')
	e.link = link(r)
	expect(r, 'v')
	e.value = r.CID()
	if err := r.Err(); err != nil {
		return e, arena, invalid("node: %v", err)
	}
	if len(e.value) > maxValue {
		return e, arena, invalid("a leaf's CID of %d bytes", len(e.value))
	}
	if err := checkSuffix(prev, shared, suffix); err != nil {
		return e, arena, err
	}
	e.key = suffix
	if shared > 0 {
		start := len(arena)
		arena = append(append(arena, prev[:shared]...), suffix...)
		e.key = arena[start:len(arena):len(arena)]
	}
	return e, arena, nil
}

// checkSuffix reports whether a key of shared bytes of prev and then suffix is
// fully compressed, greater than prev and within bounds. With those bytes in
// common, the first byte that differs decides all of it.
func checkSuffix(prev []byte, shared int64, suffix []byte) error {
	switch {
	case shared < 0 || shared > int64(len(prev)):
		return invalid("a prefix of %d bytes of a key of %d", shared, len(prev))
	case int(shared)+len(suffix) > MaxKey:
		return invalid("a key of %d bytes", int(shared)+len(suffix))
	case len(suffix) == 0:
		return invalid("a key that is empty or repeats the one before")
	case int(shared) == len(prev):
		return nil
	case suffix[0] == prev[shared]:
		return invalid("key after %q is not fully compressed", atproto.Clip(prev))
	case suffix[0] < prev[shared]:
		return invalid("key after %q is out of order", atproto.Clip(prev))
	}
	return nil
}

// expect reads the key of the field that must come next; all are one letter.
func expect(r *dagcbor.Reader, field byte) {
	if k := r.Text(); r.Err() == nil && (len(k) != 1 || k[0] != field) {
		r.Fail("field %q instead of %q", atproto.Clip(k), field)
	}
}

// link reads a link to a child, or null, and returns the offset of its digest.
func link(r *dagcbor.Reader) int {
	if r.Null() {
		return 0
	}
	p := r.CID()
	if r.Err() != nil {
		return 0
	}
	if _, err := atproto.DigestFromCID(p); err != nil {
		r.Fail("%v", err)
	}
	return r.Offset() - len(atproto.Digest{})
}

// digest is the digest of a link, in the block.
func (n *rawNode) digest(link int) *atproto.Digest {
	return (*atproto.Digest)(n.block[link : link+len(atproto.Digest{})])
}

// rootHeight is the height of a root, the depth of its first key. A root without
// keys is only legal as the empty tree's, which is known by its digest.
func rootHeight(n *rawNode, hash *atproto.Hasher) (int, error) {
	if len(n.entries) == 0 {
		return 0, invalid("a root without keys")
	}
	h := depthOf(hash.Sum(n.entries[0].key))
	if h > MaxHeight {
		return 0, invalid("a root at depth %d", h)
	}
	return h, nil
}

// check enforces the rules that a node obeys in its place: all keys of its
// height and strictly between the bounds of its parents (nil: none), no child
// below the bottom, not empty. The depths of the first keys, known of them, are
// known already.
func check(n *rawNode, hash *atproto.Hasher, height, known int, lo, hi []byte) error {
	if len(n.entries) == 0 && n.left == 0 {
		return invalid("a node without key and child")
	}
	if height == 0 && n.left != 0 {
		return invalid("a child below depth 0")
	}
	for i := range n.entries {
		e := &n.entries[i]
		if height == 0 && e.link != 0 {
			return invalid("a child below depth 0")
		}
		if i < known {
			continue
		}
		if depth := depthOf(hash.Sum(e.key)); depth != height {
			return invalid("key %q of depth %d in a node of depth %d", atproto.Clip(e.key), depth, height)
		}
	}
	return checkBounds(n.entries, lo, hi)
}

func checkBounds(entries []entry, lo, hi []byte) error {
	if len(entries) == 0 {
		return nil
	}
	if first := entries[0].key; lo != nil && bytes.Compare(first, lo) <= 0 {
		return invalid("key %q is not above its parent's %q", atproto.Clip(first), atproto.Clip(lo))
	}
	if last := entries[len(entries)-1].key; hi != nil && bytes.Compare(last, hi) >= 0 {
		return invalid("key %q is not below its parent's %q", atproto.Clip(last), atproto.Clip(hi))
	}
	return nil
}
