// Package listing packs the members of a collection into blocks of bytes, in the order of
// their birth numbers: a page of thousands of them is a few rows of the file.
//
// A block is a run of entries without gaps between them. An entry is
//
//	uvarint  the distance of its number from that of the entry before (from the block's
//	         first number, for the first entry), doubled, plus 1 if the DID is no did:plc
//	uvarint  the id of the repo
//	uvarint  its number less the repo's own (repo.seq)
//	bytes    the 15 bytes that a did:plc's 24 letters stand for, or the length of another
//	         DID as uvarint and its text
//
// A block's first number is that of the entry with which it was begun. It stays when that
// entry goes, because it is the key of the block's row.
package listing

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// MaxBlock is the size in bytes up to which a block is filled: with its key the row
	// fits into a page of the file (4,096 bytes), and such pages are 96 % full.
	MaxBlock = 4000
	// MinBlock is the size below which a block is joined with one beside it, if both
	// together are no longer than FullBlock.
	MinBlock  = MaxBlock / 4
	FullBlock = MaxBlock / 4 * 3
	// maxDID is the longest DID that an entry may have. (spec: did)
	maxDID = 2048

	plcPrefix = "did:plc:"
	plcBytes  = 15
)

// ErrMalformed is what reading a block returns that is none.
var ErrMalformed = errors.New("malformed block of a listing")

// Entry is a visible member of a collection.
type Entry struct {
	Seq    int64  // its birth number
	RepoID int64  // repo.id
	Listed int64  // repo.seq: the birth number of the repo's own listing, which none of its memberships precedes
	DID    string // of the repo
}

// Alphabet of did:plc. (spec: did-method-plc)
var base32PLC = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Append adds an entry to a block whose last entry has the number last; of a new block
// that is the entry's own.
func Append(block []byte, last int64, e Entry) []byte {
	var plc [plcBytes]byte
	packed := packPLC(plc[:], e.DID)
	block = appendDistance(block, e.Seq-last, !packed)
	block = binary.AppendUvarint(block, uint64(e.RepoID))
	block = binary.AppendUvarint(block, uint64(e.Seq-e.Listed))
	if packed {
		return append(block, plc[:]...)
	}
	block = binary.AppendUvarint(block, uint64(len(e.DID)))
	return append(block, e.DID...)
}

func appendDistance(block []byte, distance int64, other bool) []byte {
	n := uint64(distance) << 1
	if other {
		n |= 1
	}
	return binary.AppendUvarint(block, n)
}

// packPLC reports whether a DID is a did:plc of the usual form, and sets its bytes.
func packPLC(to []byte, did string) bool {
	if len(did) != len(plcPrefix)+24 || did[:len(plcPrefix)] != plcPrefix {
		return false
	}
	n, err := base32PLC.Decode(to, []byte(did[len(plcPrefix):]))
	return err == nil && n == plcBytes
}

// Reader reads the entries of a block, one after the other.
type Reader struct {
	Seq    int64
	RepoID int64
	Listed int64

	rest  []byte
	did   []byte // of the block: text, or the bytes of a did:plc
	plc   bool
	head  int // of the entry, and where what follows its distance begins
	body  int
	block []byte
	bad   bool
}

// Read begins to read a block.
func Read(first int64, block []byte) Reader { return Reader{Seq: first, rest: block, block: block} }

// Next moves to the next entry. It returns false behind the last one, and where the block
// is malformed.
func (r *Reader) Next() bool {
	if len(r.rest) == 0 || r.bad {
		return false
	}
	r.head = len(r.block) - len(r.rest)
	distance, n := binary.Uvarint(r.rest)
	if n <= 0 {
		return r.malformed()
	}
	r.body = r.head + n
	rest := r.rest[n:]
	repo, n := binary.Uvarint(rest)
	if n <= 0 {
		return r.malformed()
	}
	rest = rest[n:]
	since, n := binary.Uvarint(rest)
	if n <= 0 {
		return r.malformed()
	}
	rest = rest[n:]
	size := plcBytes
	if r.plc = distance&1 == 0; !r.plc {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > maxDID {
			return r.malformed()
		}
		rest, size = rest[n:], int(length)
	}
	seq := r.Seq + int64(distance>>1)
	if len(rest) < size || seq < r.Seq || int64(since) < 0 || int64(repo) <= 0 || int64(since) > seq {
		return r.malformed()
	}
	r.Seq, r.RepoID, r.Listed = seq, int64(repo), seq-int64(since)
	r.did, r.rest = rest[:size], rest[size:]
	return true
}

func (r *Reader) malformed() bool {
	r.bad = true
	return false
}

// Err returns ErrMalformed where Next has met something that is no entry.
func (r *Reader) Err() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}

// AppendDID adds the DID of the entry to b, as text.
func (r *Reader) AppendDID(b []byte) []byte {
	if !r.plc {
		return append(b, r.did...)
	}
	return base32PLC.AppendEncode(append(b, plcPrefix...), r.did)
}

// Remove takes entries out of a block, those with the numbers in seqs, which ascend. It
// returns how many it found.
func Remove(first int64, block []byte, seqs []int64) (out []byte, removed int, err error) {
	out = make([]byte, 0, len(block))
	last := first
	r := Read(first, block)
	for r.Next() {
		for len(seqs) > 0 && seqs[0] < r.Seq {
			seqs = seqs[1:]
		}
		if len(seqs) > 0 && seqs[0] == r.Seq {
			removed++
			continue
		}
		out = r.appendTo(out, last)
		last = r.Seq
	}
	return out, removed, r.Err()
}

// appendTo adds the entry as it is behind one with the number last.
func (r *Reader) appendTo(out []byte, last int64) []byte {
	out = appendDistance(out, r.Seq-last, !r.plc)
	return append(out, r.block[r.body:len(r.block)-len(r.rest)]...)
}

// Join adds a block to the one before it, whose last number is last.
func Join(before []byte, last, first int64, block []byte) ([]byte, error) {
	out := slices.Clone(before)
	r := Read(first, block)
	for r.Next() {
		out = r.appendTo(out, last)
		last = r.Seq
	}
	return out, r.Err()
}

// Last returns the number of a block's last entry, first if it has none.
func Last(first int64, block []byte) (int64, error) {
	r := Read(first, block)
	for r.Next() {
	}
	return r.Seq, r.Err()
}

// DigestBits is the size of a set's digest: two of them add up without overflow in the
// integers of SQL.
const DigestBits = 62

// Digest is a digest of a set of DIDs: the sum of what Hash returns for each of them, so
// that it can be kept as members come and go. Sets that differ by accident have different
// digests, but for one chance in 2^62. It is no proof against somebody who makes up DIDs
// for the purpose: such sums can be forged.
type Digest uint64

const digestMask = 1<<DigestBits - 1

// Hash is the digest of the set that has this DID alone: XXH64 of its text with seed 0,
// without the two lowest bits.
func Hash(did string) Digest { return Digest(xxhash.Sum64String(did) >> (64 - DigestBits)) }

// HashBytes is Hash of a DID's text.
func HashBytes(did []byte) Digest { return Digest(xxhash.Sum64(did) >> (64 - DigestBits)) }

// Plus is the digest of the union of two sets that have no DID in common.
func (d Digest) Plus(e Digest) Digest { return (d + e) & digestMask }

// Minus is the digest of a set without some of its DIDs.
func (d Digest) Minus(e Digest) Digest { return (d - e) & digestMask }

// Bucket returns in which of 2^bits parts of all DIDs one falls whose Hash this is: its
// leading bits. They are the bits of the very hash that is summed, so the sum of a part
// has DigestBits-bits of its own: parts that differ by accident have different digests,
// but for one chance in 2 to that power. What made the whole differ is in some part: DIDs
// of different parts have different hashes. bits is 0 to DigestBits.
func (d Digest) Bucket(bits int) int { return int(d >> (DigestBits - bits)) }
