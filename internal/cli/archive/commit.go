package archive

import (
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Commit is a signed commit of version 3, or of version 2, which is gone from the
// network and still found in old files.
type Commit struct {
	CID     atproto.Digest // of the block, with the signature
	Data    atproto.Digest // root of the tree
	DID     string
	Version int64
	Rev     *atproto.TID // nil where a commit of version 2 has none
	Prev    *atproto.Digest
	Sig     []byte

	current *repo.Commit // of version 3
	old     oldCommit    // of version 2
}

// ParseCommit reads a commit block of either version. Reason: BadCommit.
func ParseCommit(block []byte) (*Commit, error) {
	c, err := repo.ParseCommit(block)
	if err == nil {
		rev := c.Rev
		return &Commit{
			CID: c.CID, Data: c.Data, DID: c.DID, Version: 3, Rev: &rev, Prev: c.Prev, Sig: c.Sig, current: c,
		}, nil
	}
	if old := parseOld(block); old != nil {
		return old, nil
	}
	return nil, err
}

// Current says why a consumer of today refuses the commit, nil if it does not.
func (c *Commit) Current() error {
	if c.Version != 3 {
		return refusal.New(refusal.BadCommit, "version %d, which the network has left; only version 3 counts", c.Version)
	}
	return nil
}

// Verify checks the signature, and says so if it would be good but for its S, which is
// not the low one of two (spec: cryptography). Reason: BadSignature.
func (c *Commit) Verify(key atcrypto.PublicKey) error {
	err := c.verify(key)
	if err != nil && key != nil && c.verify(lenient{key}) == nil {
		return refusal.New(refusal.BadSignature, "commit %s: the S of the signature is high, where only the low one counts", c.CID)
	}
	return err
}

func (c *Commit) verify(key atcrypto.PublicKey) error {
	if c.current != nil {
		return c.current.Verify(key)
	}
	if key == nil {
		return refusal.New(refusal.BadSignature, "no key")
	}
	if err := key.HashAndVerify(c.old.unsigned(), c.Sig); err != nil {
		return refusal.New(refusal.BadSignature, "commit %s: %w", c.CID, err)
	}
	return nil
}

// lenient also takes signatures with a high S.
type lenient struct{ atcrypto.PublicKey }

func (k lenient) HashAndVerify(content, sig []byte) error {
	return k.HashAndVerifyLenient(content, sig)
}

// oldCommit is where the parts of a block of version 2 stand.
type oldCommit struct {
	block            []byte
	fields           int // pairs of the map
	pairs            int // offset of the first pair
	sigStart, sigEnd int // offsets of the pair "sig"
	hasDID, hasData  bool
}

// unsigned is the block without its signature: as in version 3, that is what was
// signed.
func (o *oldCommit) unsigned() []byte {
	b := dagcbor.AppendMap(make([]byte, 0, len(o.block)), o.fields-1)
	b = append(b, o.block[o.pairs:o.sigStart]...)
	return append(b, o.block[o.sigEnd:]...)
}

// parseOld reads a commit of version 2; nil for anything else.
func parseOld(block []byte) *Commit {
	c := &Commit{CID: atproto.DigestOf(block), old: oldCommit{block: block}}
	r := dagcbor.NewReader(block)
	c.old.fields = r.Map()
	c.old.pairs = r.Offset()
	var keys dagcbor.Keys
	for i := 0; i < c.old.fields && r.Err() == nil; i++ {
		start := r.Offset()
		key := string(r.Key(&keys))
		if err := c.readOld(&r, key); err != nil {
			return nil
		}
		if key == "sig" {
			c.old.sigStart, c.old.sigEnd = start, r.Offset()
		}
	}
	if r.End() != nil || c.Version != 2 || !c.old.hasDID || !c.old.hasData || c.old.sigEnd == 0 {
		return nil
	}
	return c
}

func (c *Commit) readOld(r *dagcbor.Reader, key string) (err error) {
	switch key {
	case "did":
		c.old.hasDID = true
		c.DID, err = atproto.ParseDID(r.String())
	case "data":
		c.old.hasData = true
		c.Data = r.Digest()
	case "sig":
		c.Sig = r.Bytes()
	case "version":
		c.Version = r.Int()
	case "prev":
		if !r.Null() {
			prev := r.Digest()
			c.Prev = &prev
		}
	case "rev":
		var rev atproto.TID
		if rev, err = atproto.ParseTID(r.String()); err == nil {
			c.Rev = &rev
		}
	default:
		r.Skip()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
