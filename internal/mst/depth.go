package mst

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"math/bits"
)

// Depth is the level at which a key stands: the leading zero bits of its
// SHA-256 divided by two, which gives a fan-out of four (spec: repository).
func Depth(key []byte) int {
	sum := sha256.Sum256(key)
	return depthOf(&sum)
}

func depthOf(sum *[sha256.Size]byte) int {
	zeros := 0
	for i := 0; i < len(sum); i += 8 {
		n := bits.LeadingZeros64(binary.BigEndian.Uint64(sum[i:]))
		zeros += n
		if n < 64 {
			break
		}
	}
	return zeros / 2
}

// depths computes the depths of many keys. The zero value is ready. It saves a
// third of each short key's cost, which is the larger part of what a tree costs:
// the key is padded to one block here, and after one block the state of SHA-256
// is the hash, so that nothing has to be copied to end it.
type depths struct {
	hash  hash.Hash
	block [sha256.BlockSize]byte
	state [128]byte
}

// Where the state stands in the binary form of a hash, and the longest key that
// fits one block with its padding.
const (
	stateAt  = 4
	shortKey = sha256.BlockSize - 9
)

// statesAreHashes is false under a Go release that writes a state in another
// form. Then nothing is saved.
var statesAreHashes = testStates()

func testStates() bool {
	var d depths
	for _, key := range []string{"", "com.example.a/1", "0123456789012345678901234567890123456789012345678901234"} {
		sum := sha256.Sum256([]byte(key))
		if got := d.short([]byte(key)); got == nil || *got != sum {
			return false
		}
	}
	return true
}

// of is Depth.
func (d *depths) of(key []byte) int {
	if statesAreHashes && len(key) <= shortKey {
		if sum := d.short(key); sum != nil {
			return depthOf(sum)
		}
	}
	return Depth(key)
}

// short hashes a key of one block; it gives nil if it cannot. What it gives is
// good until the next call.
func (d *depths) short(key []byte) *[sha256.Size]byte {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	end := copy(d.block[:], key)
	clear(d.block[end:])
	d.block[end] = 0x80
	binary.BigEndian.PutUint64(d.block[sha256.BlockSize-8:], uint64(end)*8)
	d.hash.Reset()
	d.hash.Write(d.block[:])
	appender, ok := d.hash.(encoding.BinaryAppender)
	if !ok {
		return nil
	}
	state, err := appender.AppendBinary(d.state[:0])
	if err != nil || len(state) < stateAt+sha256.Size {
		return nil
	}
	return (*[sha256.Size]byte)(state[stateAt:])
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
