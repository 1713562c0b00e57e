package repo

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// ErrTreeTooBig is in the chain of the refusal AnswerTooBig where the nodes of the
// tree were too many for SnapshotLimits.NodeBytes, and not the answer too long.
var ErrTreeTooBig = errors.New("the tree is too big")

const (
	firstChunk   = 4 << 10 // each is twice as large as the one before: most repos are small
	chunkSize    = 256 << 10
	nodeOverhead = 112 // bytes that finding a node costs beside its block, at most
)

// readStream reads a CAR from a stream and keeps what a tree may need.
func readStream(r *bufio.Reader, lim SnapshotLimits) (*nodeStore, error) {
	var scratch []byte
	header, err := readSection(r, &scratch, maxHeader)
	if errors.Is(err, io.EOF) {
		return nil, refusal.New(refusal.BadCAR, "empty")
	}
	if err != nil {
		return nil, err
	}
	s := &nodeStore{places: make(map[atproto.Digest]place)}
	var hash atproto.Hasher
	if s.root, err = parseHeader(header); err != nil {
		return nil, err
	}
	for n := int64(0); ; n++ {
		data, err := readSection(r, &scratch, MaxBlock)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		if n == lim.Blocks {
			return nil, refusal.New(refusal.AnswerTooBig, "more than %d blocks", lim.Blocks)
		}
		block, err := checkBlock(data, &hash)
		if err != nil {
			return nil, err
		}
		if err := s.keep(block, lim); err != nil {
			return nil, err
		}
	}
}

// ReadRoot reads the header of a CAR and returns its root: the repo's commit.
//
// Reasons: BadCAR. An error of r's own comes back wrapped.
func ReadRoot(r io.Reader) (atproto.Digest, error) {
	source := &cappedReader{r: r, left: maxHeader + binary.MaxVarintLen64}
	var scratch []byte
	header, err := readSection(bufio.NewReaderSize(source, 0), &scratch, maxHeader)
	switch {
	case source.err != nil && source.left >= 0:
		return atproto.Digest{}, source.err
	case err != nil:
		return atproto.Digest{}, refusal.New(refusal.BadCAR, "header: %w", err)
	}
	return parseHeader(header)
}

// readSection reads one length-prefixed part into scratch. It returns io.EOF only
// where the stream ends before the part begins.
func readSection(r *bufio.Reader, scratch *[]byte, most uint64) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, refusal.New(refusal.BadCAR, "a block of %d bytes, at most %d", n, most)
	}
	*scratch = slices.Grow((*scratch)[:0], int(n))[:n]
	if _, err := io.ReadFull(r, *scratch); err != nil {
		return nil, refusal.New(refusal.BadCAR, "the stream ends inside a block")
	}
	return *scratch, nil
}

// readLength reads a uvarint in its shortest form, of at most nine bytes.
func readLength(r *bufio.Reader) (uint64, error) {
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			if shift == 0 && errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, refusal.New(refusal.BadCAR, "the stream ends inside a length")
		}
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if c == 0 && shift > 0 {
				return 0, refusal.New(refusal.BadCAR, "a length that is not in its shortest form")
			}
			return n, nil
		}
	}
	return 0, refusal.New(refusal.BadCAR, "a length of more than nine bytes")
}

// keep copies the commit and what looks like a node.
func (s *nodeStore) keep(b Block, lim SnapshotLimits) error {
	if b.Codec != atproto.CodecDAGCBOR {
		return nil
	}
	if b.Digest == s.root {
		s.commit = bytes.Clone(b.Data)
	}
	if !looksLikeNode(b.Data) {
		return nil
	}
	if _, twice := s.places[b.Digest]; twice {
		return nil
	}
	s.used += int64(len(b.Data)) + nodeOverhead
	if s.used > lim.NodeBytes {
		return refusal.New(refusal.AnswerTooBig, "%w: more than %d bytes", ErrTreeTooBig, lim.NodeBytes)
	}
	s.places[b.Digest] = s.copy(b.Data)
	return nil
}

func (s *nodeStore) copy(data []byte) place {
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < len(data) {
		size := min(firstChunk<<min(len(s.chunks), 16), chunkSize)
		s.chunks = append(s.chunks, make([]byte, 0, max(size, len(data))))
		last++
	}
	at := place{uint32(last), uint32(len(s.chunks[last])), uint32(len(data))}
	s.chunks[last] = append(s.chunks[last], data...)
	return at
}

// linkLen is the length of a link as DAG-CBOR: tag, length, zero, binary CID.
const linkLen = 2 + 2 + 1 + atproto.CIDLen

// looksLikeNode reports whether a block can be a node: a map of two whose first
// field is "e" and whose last is "l", a link or null. Every node is so encoded.
func looksLikeNode(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("\xa2\x61e")) {
		return false
	}
	if bytes.HasSuffix(b, []byte("\x61l\xf6")) {
		return true
	}
	at := len(b) - linkLen
	return at >= 2 && bytes.HasPrefix(b[at-2:], []byte("\x61l\xd8\x2a"))
}

// Block finds a node.
func (s *nodeStore) Block(d atproto.Digest) ([]byte, bool) {
	at, found := s.places[d]
	if !found {
		return nil, false
	}
	end := at.offset + at.length
	return s.chunks[at.chunk][at.offset:end:end], true
}

// Len is the number of nodes kept.
func (s *nodeStore) Len() int { return len(s.places) }
