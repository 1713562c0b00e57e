package dagcbor

import (
	"encoding/binary"

	"railyard/internal/atproto"
)

func appendHead(b []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(b, major|byte(arg))
	case arg < 1<<8:
		return append(b, major|24, byte(arg))
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(arg))
	case arg < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(arg))
	default:
		return binary.BigEndian.AppendUint64(append(b, major|27), arg)
	}
}

// AppendInt writes an integer.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, 1, uint64(-1-v))
	}
	return appendHead(b, 0, uint64(v))
}

// AppendBytes writes a byte string.
func AppendBytes(b, v []byte) []byte { return append(appendHead(b, 2, uint64(len(v))), v...) }

// AppendText writes a text.
func AppendText(b []byte, v string) []byte { return append(appendHead(b, 3, uint64(len(v))), v...) }

// AppendArray writes the head of an array of n items.
func AppendArray(b []byte, n int) []byte { return appendHead(b, 4, uint64(n)) }

// AppendMap writes the head of a map of n pairs. The caller writes the pairs in
// order of key length, then key bytes.
func AppendMap(b []byte, n int) []byte { return appendHead(b, 5, uint64(n)) }

// AppendNull writes null.
func AppendNull(b []byte) []byte { return append(b, 0xf6) }

// AppendCID writes a link given as a binary CID.
func AppendCID(b, cid []byte) []byte {
	b = append(b, 0xd8, 42)
	b = appendHead(b, 2, uint64(len(cid)+1))
	return append(append(b, 0), cid...)
}

// AppendLink writes a link to a DAG-CBOR block.
func AppendLink(b []byte, d atproto.Digest) []byte {
	b = append(b, 0xd8, 42, 0x58, atproto.CIDLen+1, 0)
	return d.AppendCID(b)
}
