package sim

import (
	"net/http"
	"testing"
	"testing/synctest"

	"railyard/internal/test/simnet"
)

// Operators reach their PDSes by names of a private network, and not at all by those that
// documents have. What the servers call themselves is theirs: commits are applied,
// listings count, and repos come from where the operator has the server.
func TestPDSesAreFollowedUnderAnAlias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: 1, PDS: 2, Accounts: 20, Records: 20})
		s.pipes.Rename("pds1", "pds1.internal")
		s.pipes.Rename("pds2", "pds2.internal")
		r := s.start("index.db", "ws://pds1.internal", "ws://pds2.internal")
		r.settle("pds1", "pds2")
		r.same()
		s.live(100)
		r.settle("pds1", "pds2")
		r.same()
		if status, kinds := r.health(); status != http.StatusOK || len(kinds) > 0 {
			t.Errorf("health %d with %q", status, kinds)
		}
		r.end()
	})
}
