package establish

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// signer checks that the account has signed what its host serves.
//
// An account that moved to another host and has not written there since has a head
// that an earlier key signed (spec: account migration). The caller says whether
// that counts.
type signer struct {
	key         atcrypto.PublicKey
	known       atproto.Digest
	earlierKeys func(context.Context, Head) ([]identity.EarlierKey, error)
	old         map[atproto.Digest]bool // good commits that key has not signed
}

// verify checks the signature of a commit. The error is BadSignature, that of
// earlierKeys or that of the context.
func (s *signer) verify(ctx context.Context, c *repo.Commit) error {
	err := c.Verify(s.key)
	if reason, _ := refusal.ReasonOf(err); reason != refusal.BadSignature {
		return err
	}
	if c.CID != s.known {
		signed, earlierErr := s.signedEarlier(ctx, c)
		switch {
		case earlierErr != nil:
			return earlierErr
		case !signed:
			return err
		}
	}
	if s.old == nil {
		s.old = make(map[atproto.Digest]bool)
	}
	s.old[c.CID] = true
	return nil
}

// signedEarlier reports whether an earlier key has signed the commit.
func (s *signer) signedEarlier(ctx context.Context, c *repo.Commit) (bool, error) {
	if s.earlierKeys == nil {
		return false, nil
	}
	keys, err := s.earlierKeys(ctx, headOf(c))
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	for _, k := range keys {
		if key, err := k.Key.Public(); err == nil && c.Verify(key) == nil {
			return true, nil
		}
	}
	return false, err
}

func headOf(c *repo.Commit) Head { return Head{Rev: c.Rev, Data: c.Data, CID: c.CID} }
