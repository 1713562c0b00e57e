package mst

import (
	"encoding/binary"
	"slices"

	"railyard/internal/atproto"
)

// The shape of nearly every node: heads of one or two bytes, links of 41 bytes,
// values that are DAG-CBOR blocks.
const (
	nodeHead  = "\xa2\x61e"                              // a map of two, "e"
	entryHead = "\xa4\x61k"                              // a map of four, "k"
	linkHead  = "\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"   // tag 42, 37 bytes, zero, the CID's first four
	linkLen   = len(linkHead) + len(atproto.Digest{})    // as DAG-CBOR
	cidAt     = len(linkHead) - 4                        // where the CID begins in a link
	leastRest = len("\x61p\x00\x61t\xf6\x61v") + linkLen // of an entry, behind its "k"
	leastEnd  = len("\x61l\xf6")
)

// parseUsual is parseStrict for nodes of the usual shape. ok is false for any
// other node, be it sound or not, for which parseStrict has the word; out is of
// no use then.
func parseUsual(block []byte, out *rawNode, arena []byte) (_ []byte, ok bool) {
	out.block, out.left, out.entries = block, 0, out.entries[:0]
	if len(block) < len(nodeHead)+1+leastEnd || string(block[:len(nodeHead)]) != nodeHead {
		return arena, false
	}
	n, b, ok := usualHead(block[len(nodeHead):], 0x80)
	if !ok {
		return arena, false
	}
	out.entries = slices.Grow(out.entries, n)
	start := len(arena)
	var prev []byte
	for range n {
		var suffix []byte
		var shared int
		var right, value []byte
		if suffix, shared, b, ok = usualKey(b); !ok || !follows(prev, shared, suffix) {
			return arena[:start], false
		}
		if right, b, ok = usualChild(b, 't'); !ok {
			return arena[:start], false
		}
		link := len(block) - len(b) - len(atproto.Digest{})
		if right == nil {
			link = 0
		}
		if value, b, ok = usualChild(b, 'v'); !ok || value == nil {
			return arena[:start], false
		}
		key := suffix
		if shared > 0 {
			at := len(arena)
			arena = append(append(arena, prev[:shared]...), suffix...)
			key = arena[at:len(arena):len(arena)]
		}
		out.entries = append(out.entries, entry{key: key, value: value, link: link})
		prev = key
	}
	left, b, ok := usualChild(b, 'l')
	if !ok || len(b) != 0 {
		return arena[:start], false
	}
	if left != nil {
		out.left = len(block) - len(atproto.Digest{})
	}
	return arena, true
}

// usualKey reads the head of an entry, its "k" and its "p".
func usualKey(b []byte) (suffix []byte, shared int, rest []byte, ok bool) {
	if len(b) < len(entryHead)+1 || string(b[:len(entryHead)]) != entryHead {
		return nil, 0, nil, false
	}
	n, b, ok := usualHead(b[len(entryHead):], 0x40)
	if !ok || len(b) < n+leastRest || n == 0 {
		return nil, 0, nil, false
	}
	suffix, b = b[:n:n], b[n:]
	if b[0] != 0x61 || b[1] != 'p' {
		return nil, 0, nil, false
	}
	shared, b, ok = usualHead(b[2:], 0)
	return suffix, shared, b, ok
}

// usualHead reads a head of one or two bytes, of the major type whose initial
// byte is given, in its shortest form.
func usualHead(b []byte, initial byte) (arg int, rest []byte, ok bool) {
	switch {
	case len(b) < 2:
		return 0, nil, false
	case b[0]-initial < 24:
		return int(b[0] - initial), b[1:], true
	case b[0]-initial == 24 && b[1] >= 24:
		return int(b[1]), b[2:], true
	}
	return 0, nil, false
}

// usualChild reads a field and its link, nil for null.
func usualChild(b []byte, field byte) (cid, rest []byte, ok bool) {
	if len(b) < leastEnd || b[0] != 0x61 || b[1] != field {
		return nil, nil, false
	}
	if b[2] == 0xf6 {
		return nil, b[3:], true
	}
	b = b[2:]
	if len(b) < linkLen || binary.LittleEndian.Uint64(b) != linkWord || b[8] != linkHead[8] {
		return nil, nil, false
	}
	return b[cidAt:linkLen:linkLen], b[linkLen:], true
}

// linkWord is the first eight bytes of linkHead.
const linkWord = 0x12_71_01_00_25_58_2a_d8

// follows is checkSuffix without an error. What is shared and what follows have
// less than 256 bytes each, so that no key is too long.
func follows(prev []byte, shared int, suffix []byte) bool {
	return shared <= len(prev) && (shared == len(prev) || suffix[0] > prev[shared])
}
