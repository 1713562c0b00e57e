package mst

import (
	"bytes"
	"slices"

	"railyard/internal/atproto"
)

// Collections gathers the collections of keys that come in the tree's order.
// Keys that belong to none are passed over: without slash, or with something else
// than an NSID before it. A signed tree may hold such keys. The zero value is
// ready.
type Collections struct {
	last  []byte // what stands before the slash in the last key, with the slash
	names []string
}

// Add takes the next key.
func (c *Collections) Add(key []byte) {
	if len(c.last) == 0 || !bytes.HasPrefix(key, c.last) {
		c.begin(key)
	}
}

func (c *Collections) begin(key []byte) {
	c.last = c.last[:0]
	nsid, ok := atproto.CollectionOf(string(key))
	if !ok {
		return
	}
	c.last = append(append(c.last, nsid...), '/')
	if _, err := atproto.ParseNSID(nsid); err == nil {
		c.names = append(c.names, nsid)
	}
}

// Sorted are the collections, each once, in the order of their bytes (which is
// not the tree's: there the slash takes part).
func (c *Collections) Sorted() []string {
	slices.Sort(c.names)
	return c.names
}
