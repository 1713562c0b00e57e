//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// write is one write of a commit.
type write struct {
	Action     string `json:"action"`
	Collection string `json:"collection"`
	Rkey       string `json:"rkey"`
}

func create(collection string, rkeys ...string) []write { return writes("create", collection, rkeys) }
func remove(collection string, rkeys ...string) []write { return writes("delete", collection, rkeys) }

func writes(action, collection string, rkeys []string) []write {
	var out []write
	for _, rkey := range rkeys {
		out = append(out, write{action, collection, rkey})
	}
	return out
}

// commit makes one commit of all the writes.
func (n *network) commit(t *testing.T, did string, groups ...[]write) {
	t.Helper()
	var all []write
	for _, g := range groups {
		all = append(all, g...)
	}
	n.call(t, "applyWrites", map[string]any{"did": did, "writes": all}, nil)
}

// record makes one record, and a commit, by createRecord.
func (n *network) record(t *testing.T, did, collection, rkey string) {
	t.Helper()
	n.call(t, "record", map[string]string{"did": did, "collection": collection, "rkey": rkey}, nil)
}

// erase deletes one record, with a commit, by deleteRecord.
func (n *network) erase(t *testing.T, did, collection, rkey string) {
	t.Helper()
	n.call(t, "delete", map[string]string{"did": did, "collection": collection, "rkey": rkey}, nil)
}

// account makes an account with an empty repo.
func (n *network) account(t *testing.T, handle string, pds int) string {
	t.Helper()
	var made struct {
		DID string `json:"did"`
	}
	n.call(t, "account", map[string]any{"handle": handle, "pds": pds}, &made)
	if made.DID == "" {
		t.Fatalf("account %s has no DID", handle)
	}
	return made.DID
}

// set asks for a verb that needs nothing but the account: deactivate, activate,
// takedown, untakedown, deleteAccount.
func (n *network) set(t *testing.T, verb, did string) {
	t.Helper()
	n.call(t, verb, map[string]any{"did": did}, nil)
}

// seeding is how far a seeding is.
type seeding struct {
	Running  bool `json:"running"`
	Accounts int  `json:"accounts"`
	Commits  int  `json:"commits"`
}

// startSeed begins to make accounts by the plan of the seed.
func (n *network) startSeed(t *testing.T, accounts, seed int) {
	t.Helper()
	n.call(t, "seed", map[string]any{"accounts": accounts, "seed": seed}, nil)
}

// waitCommits waits until a running seeding has made that many commits.
func (n *network) waitCommits(t *testing.T, commits int) {
	t.Helper()
	err := poll(t.Context(), settleWithin, func() (bool, error) {
		var s seeding
		if err := n.try(t, "seeding", nil, &s); err != nil {
			return false, err
		}
		if s.Commits < commits && !s.Running {
			return false, fmt.Errorf("the seeding ended after %d commits", s.Commits)
		}
		return s.Commits >= commits, nil
	})
	if err != nil {
		t.Fatalf("wait for %d commits: %v", commits, err)
	}
}

// requireSeeding fails the test unless a seeding is still under way.
func (n *network) requireSeeding(t *testing.T) {
	t.Helper()
	var s seeding
	n.call(t, "seeding", nil, &s)
	if !s.Running {
		t.Fatalf("the seeding was over too early, after %d commits: seed more accounts", s.Commits)
	}
}

// waitSeed waits for the end of a seeding and returns what its plan says.
func (n *network) waitSeed(t *testing.T) []account {
	t.Helper()
	var end struct {
		Accounts []account `json:"accounts"`
	}
	n.call(t, "waitForSeed", nil, &end)
	return end.Accounts
}
