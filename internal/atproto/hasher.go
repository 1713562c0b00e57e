package atproto

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// Hasher computes many digests, one after the other, and is not safe for use by
// several goroutines. The zero Hasher is ready. It saves a third of what a short
// text costs with DigestOf, and tree keys and nodes are short: it pads the last
// block itself, after which the state of SHA-256 is the hash, so that nothing
// has to be copied to end it.
type Hasher struct {
	hash   hash.Hash
	stater encoding.BinaryAppender
	last   [2 * sha256.BlockSize]byte // the last block or two, padded
	state  [128]byte
}

// stateAt is where the state stands in the binary form of a hash.
const stateAt = 4

// readable is false under a Go release that writes states in another form. A
// Hasher is DigestOf then.
var readable = testStates()

func testStates() bool {
	var h Hasher
	for n := range 200 {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(i * n)
		}
		if d, ok := h.fast(text); !ok || *d != DigestOf(text) {
			return false
		}
	}
	return true
}

// Sum is DigestOf. The result is valid until the next call.
func (h *Hasher) Sum(b []byte) *Digest {
	if readable {
		if d, ok := h.fast(b); ok {
			return d
		}
	}
	d := DigestOf(b)
	return &d
}

// fast takes the fast path; ok is false if there is none.
func (h *Hasher) fast(b []byte) (d *Digest, ok bool) {
	if h.hash == nil {
		h.hash = sha256.New()
		h.stater, _ = h.hash.(encoding.BinaryAppender)
	}
	if h.stater == nil {
		return nil, false
	}
	h.hash.Reset()
	whole := len(b) &^ (sha256.BlockSize - 1)
	if whole > 0 {
		h.hash.Write(b[:whole])
	}
	h.hash.Write(h.pad(b[whole:], len(b)))
	state, err := h.stater.AppendBinary(h.state[:0])
	if err != nil || len(state) < stateAt+sha256.Size {
		return nil, false
	}
	return (*Digest)(state[stateAt:]), true
}

// pad returns the last block or two of a text of n bytes, of which rest is the end
// (FIPS 180-4, 5.1.1).
func (h *Hasher) pad(rest []byte, n int) []byte {
	size := sha256.BlockSize
	if len(rest) > sha256.BlockSize-9 {
		size = 2 * sha256.BlockSize
	}
	end := copy(h.last[:], rest)
	h.last[end] = 0x80
	clear(h.last[end+1 : size])
	binary.BigEndian.PutUint64(h.last[size-8:], uint64(n)*8)
	return h.last[:size]
}
