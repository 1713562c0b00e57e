package repo

import (
	"bytes"
	"encoding/binary"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
)

// MaxBlock is the most bytes that one block of a CAR may have, CID included
// (spec: sync; records have at most 1,000,000).
const MaxBlock = 2 << 20

// maxHeader bounds the header of a CAR, where further roots may stand.
const maxHeader = 64 << 10

// minBlock is the least length of a block with its CID: no value has no bytes.
const minBlock = atproto.CIDLen + 1

// CARLimits bounds a CAR in memory.
type CARLimits struct {
	Bytes  int // of the whole CAR
	Blocks int
}

// MessageLimits are the limits on the CAR of a #commit (spec: lexicon of
// com.atproto.sync.subscribeRepos). Two hundred ops with a record, a path and
// the paths of both neighbours each stay below the number of blocks.
func MessageLimits() CARLimits { return CARLimits{Bytes: 2_000_000, Blocks: 16_384} }

// CAR is a CAR v1 in memory, every block of which hashes to its CID. It shares
// memory with its input.
type CAR struct {
	root   atproto.Digest
	blocks []Block
	tags   []uint64 // the first eight bytes of each block's digest
	some   uint64   // a bit of each tag, which nearly always rules a block out
	hash   atproto.Hasher
	sorted []int32 // indexes of blocks by digest, once there are many
}

// Block is one block of a CAR.
type Block struct {
	Digest atproto.Digest
	Codec  byte // atproto.CodecDAGCBOR or atproto.CodecRaw
	Data   []byte
}

// fewBlocks is the number up to which a scan finds a block fastest.
const fewBlocks = 24

// ParseCAR reads a CAR v1. Order is free, duplicates, orphans and further roots
// are tolerated (spec: repository). Reasons: BadCAR, BadBlock.
func ParseCAR(b []byte, lim CARLimits) (*CAR, error) {
	car := new(CAR)
	if err := car.Parse(b, lim); err != nil {
		return nil, err
	}
	return car, nil
}

// Parse is ParseCAR into c, of which it reuses the memory.
func (c *CAR) Parse(b []byte, lim CARLimits) error {
	if len(b) > lim.Bytes {
		return refusal.New(refusal.BadCAR, "%d bytes, at most %d", len(b), lim.Bytes)
	}
	header, rest, err := section(b, maxHeader)
	if err != nil {
		return err
	}
	c.blocks, c.tags, c.some = c.blocks[:0], c.tags[:0], 0
	if c.root, err = parseHeader(header); err != nil {
		return err
	}
	if c.blocks == nil {
		n := min(lim.Blocks, len(rest)/400+8)
		c.blocks, c.tags = make([]Block, 0, n), make([]uint64, 0, n)
	}
	for len(rest) > 0 {
		var data []byte
		if data, rest, err = section(rest, MaxBlock); err != nil {
			return err
		}
		if len(c.blocks) == lim.Blocks {
			return refusal.New(refusal.BadCAR, "more than %d blocks", lim.Blocks)
		}
		block, err := checkBlock(data, &c.hash)
		if err != nil {
			return err
		}
		tag := tagOf(&block.Digest)
		c.blocks, c.tags, c.some = append(c.blocks, block), append(c.tags, tag), c.some|bitOf(tag)
	}
	c.index()
	return nil
}

// tagOf is what a scan compares first.
func tagOf(d *atproto.Digest) uint64 { return binary.NativeEndian.Uint64(d[:]) }

func bitOf(tag uint64) uint64 { return 1 << (tag & 63) }

// section takes one length-prefixed part from the front of b.
func section(b []byte, most int) (data, rest []byte, err error) {
	n, width := binary.Uvarint(b)
	if width <= 0 || width > 1 && n < 1<<(7*(width-1)) {
		return nil, nil, refusal.New(refusal.BadCAR, "a length that is cut off or not in its shortest form")
	}
	b = b[width:]
	if n > uint64(most) {
		return nil, nil, refusal.New(refusal.BadCAR, "a block of %d bytes, at most %d", n, most)
	}
	if n > uint64(len(b)) {
		return nil, nil, refusal.New(refusal.BadCAR, "a block of %d bytes where %d are left", n, len(b))
	}
	return b[:n:n], b[n:], nil
}

// The header of nearly every CAR, around its one root.
const (
	usualHeader    = "\xa2\x65roots\x81\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"
	usualHeaderEnd = "\x67version\x01"
)

// parseHeader returns the first root; others have no meaning (spec: repository).
func parseHeader(header []byte) (atproto.Digest, error) {
	const end = len(usualHeader) + len(atproto.Digest{})
	if len(header) == end+len(usualHeaderEnd) &&
		string(header[:len(usualHeader)]) == usualHeader && string(header[end:]) == usualHeaderEnd {
		return atproto.Digest(header[len(usualHeader):end]), nil
	}
	return parseAnyHeader(header)
}

func parseAnyHeader(header []byte) (atproto.Digest, error) {
	var root atproto.Digest
	r := dagcbor.NewReader(header)
	if n := r.Map(); n != 2 {
		r.Fail("a header of %d fields", n)
	}
	if k := r.Text(); string(k) != "roots" {
		r.Fail("a header without roots")
	}
	n := r.Array()
	if n == 0 {
		r.Fail("no root")
	}
	for i := range n {
		switch {
		case r.Err() != nil:
		case i == 0:
			root = r.Digest()
		default:
			r.CID()
		}
	}
	if k := r.Text(); string(k) != "version" {
		r.Fail("a header without version")
	}
	if v := r.Int(); v != 1 {
		r.Fail("version %d", v)
	}
	if err := r.End(); err != nil {
		return root, refusal.New(refusal.BadCAR, "header: %w", err)
	}
	return root, nil
}

// checkBlock splits a section into CID and data and compares the hash.
func checkBlock(section []byte, hash *atproto.Hasher) (Block, error) {
	if len(section) < minBlock {
		return Block{}, refusal.New(refusal.BadCAR, "a block of %d bytes", len(section))
	}
	id, data := section[:atproto.CIDLen], section[atproto.CIDLen:]
	if err := atproto.CheckCID(id); err != nil {
		return Block{}, refusal.New(refusal.BadCAR, "block: %w", err)
	}
	block := Block{Digest: atproto.Digest(id[4:]), Codec: id[1], Data: data}
	if got := hash.Sum(data); *got != block.Digest {
		return Block{}, refusal.New(refusal.BadBlock, "block %s hashes to %s", block.Digest, got)
	}
	return block, nil
}

func (c *CAR) index() {
	c.sorted = c.sorted[:0]
	if len(c.blocks) <= fewBlocks {
		return
	}
	for i := range c.blocks {
		c.sorted = append(c.sorted, int32(i))
	}
	slices.SortFunc(c.sorted, func(a, b int32) int {
		return c.blocks[a].compare(&c.blocks[b].Digest, c.blocks[b].Codec)
	})
}

func (b *Block) compare(d *atproto.Digest, codec byte) int {
	if c := bytes.Compare(b.Digest[:], d[:]); c != 0 {
		return c
	}
	return int(b.Codec) - int(codec)
}

// Root is the first root of the header.
func (c *CAR) Root() atproto.Digest { return c.root }

// Len is the number of blocks, duplicates counted.
func (c *CAR) Len() int { return len(c.blocks) }

// Blocks are all blocks in their order.
func (c *CAR) Blocks() []Block { return c.blocks }

// Block finds a DAG-CBOR block.
func (c *CAR) Block(d atproto.Digest) ([]byte, bool) { return c.find(&d, atproto.CodecDAGCBOR) }

// BlockOf finds the block of a binary CID.
func (c *CAR) BlockOf(cid []byte) ([]byte, bool) {
	if atproto.CheckCID(cid) != nil {
		return nil, false
	}
	return c.find((*atproto.Digest)(cid[4:]), cid[1])
}

func (c *CAR) find(d *atproto.Digest, codec byte) ([]byte, bool) {
	want := tagOf(d)
	if c.some&bitOf(want) == 0 {
		return nil, false
	}
	if len(c.blocks) > fewBlocks {
		return c.search(d, codec)
	}
	for i, tag := range c.tags {
		if b := &c.blocks[i]; tag == want && b.Digest == *d && b.Codec == codec {
			return b.Data, true
		}
	}
	return nil, false
}

func (c *CAR) search(d *atproto.Digest, codec byte) ([]byte, bool) {
	// By value: a pointer that goes through a function value would put the digest of
	// every look-up on the heap.
	at, found := slices.BinarySearchFunc(c.sorted, *d, func(i int32, d atproto.Digest) int {
		return c.blocks[i].compare(&d, codec)
	})
	if !found {
		return nil, false
	}
	return c.blocks[c.sorted[at]].Data, true
}
