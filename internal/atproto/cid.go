package atproto

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
)

// CIDLen is the length in bytes of every binary CID that atproto uses:
// version, codec, hash function, hash length, digest.
const CIDLen = 36

// Codecs of the two kinds of CID that atproto blesses (spec: data model).
const (
	CodecDAGCBOR = 0x71 // records, tree nodes, commits
	CodecRaw     = 0x55 // blobs
)

// ErrCID is wrapped by every refusal of a CID.
var ErrCID = errors.New("not a CID that atproto uses")

// Digest is the SHA-256 of a DAG-CBOR block: all that is variable in the CIDs
// of commits, tree nodes and repo data.
type Digest [32]byte

// EmptyTree is the digest of the one node of a repo without records.
var EmptyTree = Digest{
	0x9d, 0xfe, 0xfe, 0x61, 0xdd, 0x76, 0xea, 0x3d, 0xca, 0xe5, 0x02, 0x38, 0x80, 0xb0, 0x83, 0x79,
	0xd5, 0x7a, 0xdf, 0x20, 0x48, 0x2d, 0x6f, 0xdb, 0xe2, 0x75, 0x92, 0x89, 0xf6, 0x47, 0x67, 0x7b,
}

// DigestOf hashes a block.
func DigestOf(block []byte) Digest { return sha256.Sum256(block) }

// DigestFromCID reads the binary CID of a DAG-CBOR block: version 1, codec
// 0x71, SHA-256, 36 bytes, nothing else. Any other form makes the structure
// that holds the link invalid (spec: repository).
func DigestFromCID(b []byte) (Digest, error) {
	var d Digest
	if len(b) != CIDLen || b[0] != 1 || b[1] != CodecDAGCBOR || b[2] != 0x12 || b[3] != 32 {
		return d, fmt.Errorf("%w: %s", ErrCID, preview(b))
	}
	copy(d[:], b[4:])
	return d, nil
}

// CheckCID accepts the two binary CIDs of the data model, of DAG-CBOR blocks and
// of blobs.
func CheckCID(b []byte) error {
	if len(b) != CIDLen || b[0] != 1 || (b[1] != CodecDAGCBOR && b[1] != CodecRaw) || b[2] != 0x12 || b[3] != 32 {
		return fmt.Errorf("%w: %s", ErrCID, preview(b))
	}
	return nil
}

// AppendCID appends the binary CID of the block with this digest.
func (d Digest) AppendCID(b []byte) []byte {
	b = append(b, 1, CodecDAGCBOR, 0x12, 32)
	return append(b, d[:]...)
}

// lower is the base32 of the text form of a CID.
var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the CID in its text form, "bafyrei…".
func (d Digest) String() string {
	var binary [CIDLen]byte
	return "b" + lower.EncodeToString(d.AppendCID(binary[:0]))
}

func preview(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%x… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%x", b)
}
