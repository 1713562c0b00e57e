package resync

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/store"
)

// signer tells whether the account has signed what its host serves, for one look.
//
// An account that moved to another host and has not written there since has a head
// that an earlier key signed (spec: account migration). That is accepted only of
// the host that the document names, and only as long as nothing was seen that the
// present key signed: from then on, whoever holds an earlier key is a stranger.
type signer struct {
	rs      *Resyncer
	task    *store.Task
	key     atcrypto.PublicKey
	asked   bool // the directory, for earlier keys
	earlier []identity.EarlierKey
	old     map[atproto.Digest]bool // commits that an earlier key has signed
}

func (rs *Resyncer) signer(t *store.Task) (*signer, error) {
	key, err := identity.Key(t.Repo.Identity.Key).Public()
	if err != nil {
		return nil, fmt.Errorf("stored key: %w", err)
	}
	return &signer{rs: rs, task: t, key: key, old: make(map[atproto.Digest]bool)}, nil
}

func (s *signer) verifier(ctx context.Context) func(*repo.Commit) error {
	return func(c *repo.Commit) error { return s.verify(ctx, c) }
}

// verify checks the signature of a commit. The error is BadSignature, or that of
// the context.
func (s *signer) verify(ctx context.Context, c *repo.Commit) error {
	err := c.Verify(s.key)
	if reason, _ := refusal.ReasonOf(err); reason != refusal.BadSignature || !s.task.Repo.OldKeysCount() {
		return err
	}
	if !s.held(c) && !s.signedEarlier(ctx, c) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	s.old[c.CID] = true
	return nil
}

// held: the commit is our head, whose signature was good when we took it.
func (s *signer) held(c *repo.Commit) bool {
	r := s.task.Repo
	return r.Head != nil && c.CID == r.Head.CID
}

// signedEarlier asks the directory for the keys of before, once for a look and not
// in the retries that wait for a rotation to arrive.
func (s *signer) signedEarlier(ctx context.Context, c *repo.Commit) bool {
	t := s.task
	if t.Attempts > 1 && t.Attempts < rotationRetries || t.ClaimedAt.Sub(t.Repo.Identity.FetchedAt) > identityFresh {
		return false
	}
	if !s.asked {
		s.asked = true
		var err error
		if s.earlier, err = s.rs.cfg.Resolver.EarlierKeys(ctx, t.Repo.DID); err != nil {
			s.rs.cfg.Log.Debug("earlier keys", "did", t.Repo.DID, "err", err)
		}
	}
	for _, k := range s.earlier {
		if key, err := k.Key.Public(); err == nil && c.Verify(key) == nil {
			return true
		}
	}
	return false
}

// fetched is what an answer whose commit was verified has shown.
func (s *signer) fetched(c *repo.Commit, collections []string, proof store.Proof) (*fetched, error) {
	if err := s.rs.checkRev(c.Rev); err != nil {
		return nil, err
	}
	f := &fetched{
		head: store.Head{Rev: c.Rev, Data: c.Data, CID: c.CID}, collections: collections, proof: proof, oldKey: s.old[c.CID],
	}
	if f.oldKey && proof != store.ProofClaim {
		f.proof = store.ProofOldKey
	}
	return f, nil
}

// overtaken: an earlier key has signed the head, and something was seen that the
// present one signed and that does not lead on from there. checked is the newest
// rev that does.
func (f *fetched) overtaken(r *store.Repo, checked atproto.TID) bool {
	return f.oldKey && !r.OldKeysCount() && (checked == f.head.Rev || checked < r.Floor())
}

// earlierRev is the rev up to which earlier keys count from now on.
func (f *fetched) earlierRev() atproto.TID {
	if f.oldKey {
		return f.head.Rev
	}
	return 0
}
