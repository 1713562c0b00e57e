package ingest

import (
	"slices"

	"railyard/internal/mst"
	"railyard/internal/store"
)

// audit compares a repo's rows with what an applied commit shows of the whole
// tree: the nodes that it carries hold some forty keys, of other collections too.
// A collection that is seen and has no row, or one that has a row and cannot be
// where it would have to be, proves a row wrong; the repo is then fetched. It costs one
// query of the repo's rows and no request, so every commit is an audit of the index.
func (c *court) audit(s *slot, r *store.Repo) error {
	if c.in.cfg.NoAudit {
		return nil
	}
	set, err := c.tx.Set(r)
	if err != nil {
		return err
	}
	wrong := contradiction(s.proof.Shown, set)
	if wrong == "" {
		return nil
	}
	did, rev, claimed := r.DID, s.proof.Rev, r.Proof == store.ProofClaim
	c.tx.AfterCommit(func() {
		c.in.cfg.Metrics.AuditFailed()
		c.in.cfg.Log.Error("a row of the index is wrong; its repo is fetched", "did", did, "rev", rev, "collection", wrong, "claim", claimed)
	})
	if claimed {
		if err := c.tx.DistrustDescribe(r.Identity.HostID); err != nil {
			return err
		}
	}
	return c.tx.Desynchronize(r, store.Audit)
}

// contradiction finds a collection of which the stored set and the tree disagree,
// or none.
func contradiction(shown mst.Outline, set []string) string {
	for _, nsid := range set {
		if shown.Presence(nsid) == mst.Absent {
			return nsid
		}
	}
	for nsid := range shown.Names() {
		if !slices.Contains(set, nsid) {
			return nsid
		}
	}
	return ""
}
