package repo

import (
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
)

// sigLen is the length of a signature: r and s of 32 bytes each (spec:
// cryptography).
const sigLen = 64

// Commit is a signed commit of version 3 (spec: repository). It shares memory
// with its block.
type Commit struct {
	CID  atproto.Digest // of the block, with the signature
	Data atproto.Digest // root of the tree
	DID  string
	Rev  atproto.TID
	Prev *atproto.Digest // practically always nil; never needed
	Sig  []byte

	block    []byte
	message  []byte // memory of unsigned
	fields   int    // pairs in the block's map
	pairs    int    // offset of the first pair
	sigStart int    // offsets of the pair "sig"
	sigEnd   int
}

// field is one of a commit's required fields, as a bit.
type field uint8

const (
	fieldDID field = 1 << iota
	fieldRev
	fieldSig
	fieldData
	fieldPrev
	fieldVersion

	allFields = fieldDID | fieldRev | fieldSig | fieldData | fieldPrev | fieldVersion
)

// ParseCommit reads a commit block. Fields that it does not know are checked to
// be DAG-CBOR and stay part of the signed bytes. Reason: BadCommit.
func ParseCommit(block []byte) (*Commit, error) {
	c := new(Commit)
	if err := c.Parse(block, atproto.DigestOf(block), ""); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse is ParseCommit into c, of which it reuses the memory, for a block whose
// digest is known. A commit of the account that is expected, if one is, keeps
// that text as its DID instead of a copy of its own.
func (c *Commit) Parse(block []byte, digest atproto.Digest, expected string) error {
	*c = Commit{CID: digest, DID: expected, block: block, message: c.message}
	r := dagcbor.NewReader(block)
	seen, err := c.read(&r)
	if e := r.End(); e != nil {
		return refusal.New(refusal.BadCommit, "%w", e)
	}
	if err != nil {
		return refusal.New(refusal.BadCommit, "%w", err)
	}
	if seen != allFields {
		return refusal.New(refusal.BadCommit, "a field of version 3 is absent")
	}
	return nil
}

// read reads all pairs; what it returns as an error is well-formed but wrong.
func (c *Commit) read(r *dagcbor.Reader) (seen field, err error) {
	c.fields = r.Map()
	c.pairs = r.Offset()
	var keys dagcbor.Keys
	for i := 0; i < c.fields && r.Err() == nil; i++ {
		start := r.Offset()
		key := r.Key(&keys)
		f, e := c.readField(r, key)
		if e != nil && err == nil {
			err = e
		}
		if f == fieldSig {
			c.sigStart, c.sigEnd = start, r.Offset()
		}
		seen |= f
	}
	return seen, err
}

func (c *Commit) readField(r *dagcbor.Reader, key []byte) (field, error) {
	var err error
	switch string(key) {
	case "did":
		did := r.Text()
		if r.Err() == nil && (c.DID == "" || string(did) != c.DID) {
			c.DID, err = atproto.ParseDID(string(did))
		}
		return fieldDID, err
	case "rev":
		rev := r.Text()
		if r.Err() == nil {
			c.Rev, err = atproto.ParseTID(string(rev))
		}
		return fieldRev, err
	case "sig":
		c.Sig = r.Bytes()
		return fieldSig, nil
	case "data":
		c.Data = r.Digest()
		return fieldData, nil
	case "prev":
		if !r.Null() {
			prev := r.Digest()
			c.Prev = &prev
		}
		return fieldPrev, nil
	case "version":
		if v := r.Int(); r.Err() == nil && v != 3 {
			err = fmt.Errorf("version %d", v)
		}
		return fieldVersion, err
	}
	r.Skip()
	return 0, nil
}

// Verify checks the signature over the commit as it was given, without its
// "sig" (spec: repository, cryptography: 64 bytes, low-S). Reason: BadSignature.
func (c *Commit) Verify(key atcrypto.PublicKey) error {
	if key == nil {
		return refusal.New(refusal.BadSignature, "no key")
	}
	if len(c.Sig) != sigLen {
		return refusal.New(refusal.BadSignature, "a signature of %d bytes", len(c.Sig))
	}
	if err := key.HashAndVerify(c.unsigned(), c.Sig); err != nil {
		return refusal.New(refusal.BadSignature, "commit %s: %w", c.CID, err)
	}
	return nil
}

// unsigned is the block without the pair "sig". The block is canonical, so what
// remains is too.
func (c *Commit) unsigned() []byte {
	b := dagcbor.AppendMap(c.message[:0], c.fields-1)
	b = append(b, c.block[c.pairs:c.sigStart]...)
	c.message = append(b, c.block[c.sigEnd:]...)
	return c.message
}
