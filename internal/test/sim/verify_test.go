package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/test/simnet"
)

// Hosts of Sync 1.0, of mixed habits, and of other software: the rows are those of
// the truth, and nothing is believed that was not proven.
func TestServeEqualsTheLedgerOverOldHosts(t *testing.T) {
	for seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, simnet.Config{Seed: seed, PDS: 5, Accounts: 40, Records: 30, Relay: true, Start: time.Now()})
				s.configure = func(c *daemon.Config) { c.ResyncMethod = establish.WholeRepo }
				s.net.SetAbilities("pds1", simnet.LegacyAbilities())
				sometimes := simnet.LegacyAbilities()
				sometimes.Sometimes = true
				s.net.SetAbilities("pds2", sometimes)
				bridgy := simnet.BridgyAbilities()
				bridgy.YoungFor = 0
				s.net.SetAbilities("pds3", bridgy)
				s.net.SetAbilities("pds4", foreign(seed))
				r := s.start("index.db", s.net.Relay())
				for range 3 {
					s.live(150)
					r.settle("relay")
					r.same()
				}
				if n := r.claims(); n > 0 {
					t.Errorf("%d sets are claims", n)
				}
				r.end()
			})
		})
	}
}

// foreign has words of its own for what its accounts are.
func foreign(seed uint64) simnet.Abilities {
	gone, status := simnet.GoneWords(), simnet.StatusWords()
	return simnet.Abilities{Gone: &gone[seed%uint64(len(gone))], RepoStatus: &status[seed%uint64(len(status))]}
}

// claims counts the repos of active accounts whose set is a claim.
func (r *running) claims() int { return r.proofs()["claim"] }

// proofs counts the repos of active accounts by the proof of their set.
func (r *running) proofs() map[string]int {
	r.t.Helper()
	count := make(map[string]int)
	for did := range r.net.Truth() {
		var repo struct {
			Proof string `json:"proof"`
		}
		r.get("/v1/repo?did="+did, &repo)
		count[repo.Proof]++
	}
	return count
}

// Somebody forges commits, births and syncs, and sends them ahead of the account's
// own: none of them moves a row.
func TestAForgedStreamMovesNoRow(t *testing.T) {
	for seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 30, Records: 30, Relay: true, Start: time.Now()})
				r := s.start("index.db", s.net.Relay())
				s.live(100)
				r.settle("relay")
				err := s.net.Switch(
					simnet.Rule{Fault: simnet.ForgedCommit, Host: "relay", Chance: 0.15, Also: true},
					simnet.Rule{Fault: simnet.ForgedBirth, Host: "relay", Chance: 0.05, Also: true},
					simnet.Rule{Fault: simnet.ForgedSync, Host: "relay", Chance: 0.05, Also: true},
				)
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					s.live(150)
					r.settle("relay")
					r.same()
				}
				if n := s.net.Fired(simnet.ForgedCommit); n < 10 {
					t.Errorf("%d commits were forged", n)
				}
				r.end()
			})
		})
	}
}
