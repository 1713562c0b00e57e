package ingest

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// Sync11 is what is done with commits of Sync 1.0, which do not name the tree
// that they start from and so cannot be inverted (spec: sync; protocol of hosts
// that were not updated).
type Sync11 string

// The modes.
const (
	// Auto accepts them from hosts that have never sent a complete Sync 1.1 commit.
	Auto Sync11 = "auto"
	// Strict never does: each takes its repo out of service until it was fetched.
	Strict Sync11 = "strict"
	// Lenient accepts them from every host.
	Lenient Sync11 = "lenient"
)

// legacyProof is how long after a commit of Sync 1.0 its repo's set is proven by a
// fetch: the commits until then are covered by the same one.
const legacyProof = 10 * time.Minute

// lenient tells whether a refused event is a commit of Sync 1.0 that is accepted
// as far as it goes. A message that names prevData but not the prev of an op is
// none: it is a downgrade.
func (c *court) lenient(s *slot, r *store.Repo) bool {
	if s.refusal.Reason != refusal.NoPrevData || !s.proof.Legacy {
		return false
	}
	switch c.in.cfg.Sync11 {
	case Lenient:
		return true
	case Strict:
		return false
	default:
		return !r.Identity.Sync11
	}
}

// legacy judges a commit of Sync 1.0.
func (c *court) legacy(s *slot, r *store.Repo) (verdict, error) {
	c.tx.AfterCommit(c.in.cfg.Metrics.Legacy)
	switch {
	case !r.Active:
		return hidden, c.commitOfInactive(s, r)
	case r.State == store.Synchronized && s.proof.Inverted:
		return c.follow(s, r)
	case r.State == store.Synchronized:
		return c.followSince(s, r)
	case r.State == store.Resyncing && s.proof.Inverted:
		return c.keep(s, r)
	case r.State == store.Resyncing: // an answer older than this commit is stale
		return waits, c.tx.Saw(r, s.proof.Rev)
	default:
		return c.wait(s, r)
	}
}

// followSince chains a commit by the rev that it claims to follow. What it shows
// is applied; that it shows all is its host's claim, which a fetch proves later.
func (c *court) followSince(s *slot, r *store.Repo) (verdict, error) {
	p := s.proof
	if p.Rev == r.Head.Rev && p.Commit == r.Head.CID {
		return stale, nil
	}
	since := noSince
	if p.Since != nil {
		since = *p.Since
	}
	moved, err := c.tx.AdvanceSince(r, since, headOf(p))
	if err != nil {
		return rejected, err
	}
	if !moved {
		if err := c.tx.Saw(r, p.Rev); err != nil {
			return rejected, err
		}
		return desynchronized, c.tx.Desynchronize(r, store.Discontinuity)
	}
	if err := c.apply(s, r); err != nil {
		return rejected, err
	}
	after := legacyProof
	if len(p.Unsure) > 0 {
		after = 0
	}
	return applied, c.tx.Enqueue(r, store.Prove, c.tx.Now().Add(after))
}

// noSince stands for a commit that does not say which rev it follows: no head has
// it.
const noSince = atproto.TID(-1)
