//go:build e2e

package e2e

import (
	"slices"
	"testing"
)

// truth is what the PDSes say of their accounts, walked out of getRepo.
type truth struct {
	Accounts []account `json:"accounts"`
	// Written names every collection that was ever written to, emptied or not.
	Written []string `json:"written"`
}

// account is one account. Only a public one counts for the index, and one whose
// DID is tombstoned counts neither way: its PDS serves it, and its document, by
// which an index would find the PDS, is gone.
type account struct {
	DID         string   `json:"did"`
	Public      bool     `json:"public"`
	Tombstoned  bool     `json:"tombstoned"`
	Refusal     string   `json:"refusal"`
	Collections []string `json:"collections"`
}

func (n *network) truth(t *testing.T) truth {
	t.Helper()
	var out truth
	n.call(t, "truth", nil, &out)
	return out
}

// members returns the sorted DIDs of the public repos that have a key in one of
// the collections, and without collections those of all public repos.
func (w truth) members(collections ...string) []string {
	var out []string
	for _, a := range w.Accounts {
		if a.counts() && (len(collections) == 0 || slices.ContainsFunc(collections, a.has)) {
			out = append(out, a.DID)
		}
	}
	slices.Sort(out)
	return out
}

// memberships counts the visible pairs of repo and collection.
func (w truth) memberships() int {
	n := 0
	for _, a := range w.Accounts {
		if a.counts() {
			n += len(a.Collections)
		}
	}
	return n
}

// find returns an account, or one that is not public.
func (w truth) find(did string) account {
	for _, a := range w.Accounts {
		if a.DID == did {
			return a
		}
	}
	return account{DID: did}
}

// withoutTombstones leaves out of a walk the DIDs that count neither way.
func (w truth) withoutTombstones(dids []string) []string {
	return slices.DeleteFunc(dids, func(did string) bool { return w.find(did).Tombstoned })
}

func (a account) counts() bool { return a.Public && !a.Tombstoned }

func (a account) has(collection string) bool { return slices.Contains(a.Collections, collection) }
