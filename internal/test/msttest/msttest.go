// Package msttest is a naive reference of the Merkle search tree for tests: it
// builds the whole tree from the sorted keys and shares no code with package
// mst. It is meant to be obviously right, not fast.
package msttest

import (
	"crypto/sha256"
	"maps"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// Blocks are the nodes of a tree by digest.
type Blocks map[atproto.Digest][]byte

// Block finds a node.
func (b Blocks) Block(d atproto.Digest) ([]byte, bool) {
	block, ok := b[d]
	return block, ok
}

// Len is the number of nodes.
func (b Blocks) Len() int { return len(b) }

// Entry is an entry of a node to be encoded. Left is the child before it.
type Entry struct {
	Shared int
	Suffix string
	Value  []byte
	Right  *atproto.Digest
}

// Encode encodes a node as it is given, legal or not.
func Encode(left *atproto.Digest, entries ...Entry) []byte {
	b := dagcbor.AppendMap(nil, 2)
	b = dagcbor.AppendText(b, "e")
	b = dagcbor.AppendArray(b, len(entries))
	for _, e := range entries {
		b = dagcbor.AppendMap(b, 4)
		b = dagcbor.AppendText(b, "k")
		b = dagcbor.AppendBytes(b, []byte(e.Suffix))
		b = dagcbor.AppendText(b, "p")
		b = dagcbor.AppendInt(b, int64(e.Shared))
		b = dagcbor.AppendText(b, "t")
		b = appendLink(b, e.Right)
		b = dagcbor.AppendText(b, "v")
		b = dagcbor.AppendCID(b, e.Value)
	}
	return appendLink(dagcbor.AppendText(b, "l"), left)
}

func appendLink(b []byte, d *atproto.Digest) []byte {
	if d == nil {
		return dagcbor.AppendNull(b)
	}
	return dagcbor.AppendLink(b, *d)
}

// Put encodes a node into b and returns its digest.
func (b Blocks) Put(left *atproto.Digest, entries ...Entry) *atproto.Digest {
	block := Encode(left, entries...)
	d := atproto.DigestOf(block)
	b[d] = block
	return &d
}

// Depth counts the leading zero bits of a key's hash one by one.
func Depth(key string) int {
	sum := sha256.Sum256([]byte(key))
	bits := 0
	for bits < 256 && sum[bits/8]&(0x80>>(bits%8)) == 0 {
		bits++
	}
	return bits / 2
}

// Build makes the whole tree of some keys with their values.
func Build(content map[string][]byte) (atproto.Digest, Blocks) {
	b := Blocks{}
	keys := slices.Sorted(maps.Keys(content))
	top := 0
	for _, key := range keys {
		top = max(top, Depth(key))
	}
	if len(keys) == 0 {
		return *b.Put(nil), b
	}
	return *b.build(content, keys, top), b
}

// build makes the node of one level over some neighbouring keys.
func (b Blocks) build(content map[string][]byte, keys []string, level int) *atproto.Digest {
	if len(keys) == 0 {
		return nil
	}
	var entries []Entry
	var left *atproto.Digest
	prev, from := "", 0
	child := func(to int) {
		d := b.build(content, keys[from:to], level-1)
		if len(entries) == 0 {
			left = d
		} else {
			entries[len(entries)-1].Right = d
		}
	}
	for i, key := range keys {
		if Depth(key) < level {
			continue
		}
		child(i)
		shared := 0
		for shared < min(len(prev), len(key)) && prev[shared] == key[shared] {
			shared++
		}
		entries = append(entries, Entry{Shared: shared, Suffix: key[shared:], Value: content[key]})
		prev, from = key, i+1
	}
	child(len(keys))
	return b.Put(left, entries...)
}
