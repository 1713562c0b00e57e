package mst

import (
	"bytes"
	"slices"

	"railyard/internal/atproto"
)

// Collections gathers the collections of keys that come in the tree's order.
// The zero value is ready.
type Collections struct {
	// Odd counts keys that belong to no collection: without slash, or with
	// something else than an NSID before it. A signed tree may hold such keys.
	Odd int64

	last  []byte // what stands before the slash in the last key, with the slash
	valid bool
	names []string
}

// Add takes the next key.
func (c *Collections) Add(key []byte) {
	if len(c.last) == 0 || !bytes.HasPrefix(key, c.last) {
		c.begin(key)
	}
	if !c.valid {
		c.Odd++
	}
}

func (c *Collections) begin(key []byte) {
	c.last, c.valid = c.last[:0], false
	nsid, ok := atproto.CollectionOf(string(key))
	if !ok {
		return
	}
	c.last = append(append(c.last, nsid...), '/')
	if _, err := atproto.ParseNSID(nsid); err != nil {
		return
	}
	c.valid = true
	c.names = append(c.names, nsid)
}

// Sorted are the collections, each once, in the order of their bytes (which is
// not the tree's: there the slash takes part).
func (c *Collections) Sorted() []string {
	slices.Sort(c.names)
	return c.names
}
