package mst

import (
	"bytes"

	"railyard/internal/atproto"
)

// CollectionPath returns the fewest nodes that show whether the tree has keys of a
// collection: those from the root down to the first one with a key of it, or down to
// where nothing can stand between the keys on either side of its place. In the empty
// tree that is none. The path ends early before a node that is absent; what its nodes
// prove is for Load and View.Collection to say.
func (t *Tree) CollectionPath(nsid string) (path []atproto.Digest) {
	prefix := []byte(nsid + "/")
	for n := t.root; n != nil && !n.hidden; {
		path = append(path, t.digest(n))
		slot, _ := n.search(prefix)
		if slot < len(n.entries) && bytes.HasPrefix(n.entries[slot].key, prefix) {
			return path
		}
		n = n.kid(slot)
	}
	return path
}
