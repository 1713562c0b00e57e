package simnet

import (
	"encoding/base32"
	"encoding/binary"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// block is one block of a CAR.
type block struct {
	digest atproto.Digest
	data   []byte
}

// appendCARHeader begins a CAR v1 with one root.
func appendCARHeader(b []byte, root atproto.Digest) []byte {
	header := dagcbor.AppendMap(nil, 2)
	header = dagcbor.AppendArray(dagcbor.AppendText(header, "roots"), 1)
	header = dagcbor.AppendLink(header, root)
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	b = binary.AppendUvarint(b, uint64(len(header)))
	return append(b, header...)
}

func appendCARBlock(b []byte, blk block) []byte {
	b = binary.AppendUvarint(b, uint64(atproto.CIDLen+len(blk.data)))
	return append(blk.digest.AppendCID(b), blk.data...)
}

// encodeCAR writes a CAR v1 of the blocks in their order, each once.
func encodeCAR(root atproto.Digest, blocks []block) []byte {
	size := 64
	for _, blk := range blocks {
		size += len(blk.data) + atproto.CIDLen + 3
	}
	b := appendCARHeader(make([]byte, 0, size), root)
	seen := make(map[atproto.Digest]bool, len(blocks))
	for _, blk := range blocks {
		if !seen[blk.digest] {
			seen[blk.digest] = true
			b = appendCARBlock(b, blk)
		}
	}
	return b
}

// cidText is the text of a CID, as sorted by the reference PDS's database.
func cidText(d atproto.Digest) string {
	b := d.AppendCID(make([]byte, 0, atproto.CIDLen))
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
