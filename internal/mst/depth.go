package mst

import (
	"encoding/binary"
	"math/bits"

	"railyard/internal/atproto"
)

// Depth is the level at which a key stands: the leading zero bits of its
// SHA-256 divided by two, for a fan-out of four (spec: repository).
func Depth(key []byte) int {
	d := atproto.DigestOf(key)
	return depthOf(&d)
}

func depthOf(d *atproto.Digest) int {
	zeros := 0
	for i := 0; i < len(d); i += 8 {
		n := bits.LeadingZeros64(binary.BigEndian.Uint64(d[i:]))
		zeros += n
		if n < 64 {
			break
		}
	}
	return zeros / 2
}

// commonPrefix is the number of leading bytes that a and b share.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:])
		if x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for ; i < n; i++ {
		if a[i] != b[i] {
			break
		}
	}
	return i
}
