package mst

import (
	"encoding/binary"

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
	out.left, out.entries = nil, out.entries[:0]
	if len(block) < len(nodeHead)+1+leastEnd || string(block[:len(nodeHead)]) != nodeHead {
		return arena, false
	}
	n, b, ok := usualHead(block[len(nodeHead):], 0x80)
	if !ok {
		return arena, false
	}
	start := len(arena)
	var prev []byte
	for range n {
		var e rawEntry
		var shared int
		if e, shared, b, ok = usualEntry(b); !ok || !follows(prev, shared, e.key) {
			return arena[:start], false
		}
		if shared > 0 {
			at := len(arena)
			arena = append(append(arena, prev[:shared]...), e.key...)
			e.key = arena[at:len(arena):len(arena)]
		}
		out.entries = append(out.entries, e)
		prev = e.key
	}
	if out.left, b, ok = usualChild(b, 'l'); !ok || len(b) != 0 {
		return arena[:start], false
	}
	return arena, true
}

// usualEntry reads an entry. The key is what follows the shared bytes.
func usualEntry(b []byte) (e rawEntry, shared int, rest []byte, ok bool) {
	if len(b) < len(entryHead)+1 || string(b[:len(entryHead)]) != entryHead {
		return e, 0, nil, false
	}
	n, b, ok := usualHead(b[len(entryHead):], 0x40)
	if !ok || len(b) < n+leastRest || n == 0 {
		return e, 0, nil, false
	}
	e.key, b = b[:n:n], b[n:]
	if b[0] != 0x61 || b[1] != 'p' {
		return e, 0, nil, false
	}
	if shared, b, ok = usualHead(b[2:], 0); !ok {
		return e, 0, nil, false
	}
	if e.right, b, ok = usualChild(b, 't'); !ok {
		return e, 0, nil, false
	}
	e.value, b, ok = usualChild(b, 'v')
	return e, shared, b, ok && e.value != nil
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

// follows is checkSuffix without an error.
func follows(prev []byte, shared int, suffix []byte) bool {
	return shared <= len(prev) && shared+len(suffix) <= MaxKey &&
		(shared == len(prev) || suffix[0] > prev[shared])
}
