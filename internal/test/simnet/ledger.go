package simnet

import (
	"fmt"
	"strings"

	"railyard/internal/atproto"
)

// Ledger counts what the network did and what it holds.
type Ledger struct {
	Accounts    int   // ever made
	Active      int   // of which active now
	Collections int   // that some active repo has a record of
	Memberships int   // pairs of an active repo and a collection that it has
	Commits     int64 // #commit events
	Births      int64 // commits gave a repo the first record of a collection, each counted
	Deaths      int64 // commits took the last record of a collection, each counted
}

// RepoState is the truth about one repo.
type RepoState struct {
	DID         string
	Handle      string
	PDS         string // host that serves it, as the DID document's URL has it
	Status      string // empty for an active account
	Rev         atproto.TID
	Commit      atproto.Digest
	Data        atproto.Digest
	Records     int
	Collections []string
}

// Ledger returns the counts as of now.
func (n *Network) Ledger() Ledger {
	truth := n.Truth()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.ledger
	l.Accounts, l.Active = len(n.accounts), len(truth)
	names := map[string]bool{}
	for _, collections := range truth {
		l.Memberships += len(collections)
		for _, name := range collections {
			names[name] = true
		}
	}
	l.Collections = len(names)
	return l
}

// Truth returns the collections, in byte order, of every repo whose account is
// active; an empty repo has none. A tombstoned DID has no host that could speak
// for it and is left out.
func (n *Network) Truth() map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	truth := make(map[string][]string, len(n.living))
	for _, a := range n.living {
		if a.active() && !a.tombstoned {
			truth[a.did] = a.repo.collections()
		}
	}
	return truth
}

// DIDs lists every account ever made, in order of creation.
func (n *Network) DIDs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	dids := make([]string, len(n.accounts))
	for i, a := range n.accounts {
		dids[i] = a.did
	}
	return dids
}

// Repo returns the state of one repo. A deleted account has a Status and no more.
func (n *Network) Repo(did string) (RepoState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	if a == nil {
		return RepoState{}, fmt.Errorf("%s: %w", did, ErrNoAccount)
	}
	s := RepoState{DID: did, Handle: a.handle, PDS: a.pds.addr, Status: a.status()}
	if a.repo != nil {
		s.Rev, s.Commit, s.Data = a.repo.rev, a.repo.cid, a.repo.data()
		s.Records, s.Collections = len(a.repo.entries), a.repo.collections()
	}
	return s, nil
}

// Paths lists the paths of a repo's records in tree order; none for an account
// that is unknown or deleted.
func (n *Network) Paths(did string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	if a == nil || a.repo == nil {
		return nil
	}
	paths := make([]string, len(a.repo.entries))
	for i, e := range a.repo.entries {
		paths[i] = e.key
	}
	return paths
}

// LastSeq returns the last sequence number of a host's firehose, by the host's
// name (relay, pds1 and on); 0 before the first event and for a host without
// one.
func (n *Network) LastSeq(name string) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.stream != nil {
		return h.stream.last
	}
	return 0
}

// book counts what a commit did to the repo's collections.
func (n *Network) book(a *account, c *change) {
	n.ledger.Commits++
	births := n.histories[a.did].Births
	seen := map[string]bool{}
	for _, o := range c.ops {
		name, _, _ := strings.Cut(o.path, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		before, after := c.before.hasCollection(name), c.after.hasCollection(name)
		switch {
		case !before && after:
			n.ledger.Births++
			births[name] = c.after.rev
		case before && !after:
			n.ledger.Deaths++
			delete(births, name)
		}
	}
}
