package simnet

import (
	"maps"

	"railyard/internal/atproto"
)

// History is what happened to one account so far: what was sent about it, what
// went wrong with that, and what was asked about it. An index has no reason to ask about an
// account again about which nothing else happened than commits.
type History struct {
	Events  map[string]int64 // by type, as they are without faults
	PLCOps  int64            // of its DID document in the directory
	Moves   int64            // those that named another key or host
	Strange int64            // commits that were not signed by the key in that document
	// Fired counts the faults that acted on its events, on requests about it and on its
	// document. What befalls a connection counts for the account whose event comes next.
	Fired    map[FaultName]int64
	Requests map[string]int64 // by query, over all hosts; at the directory did and log
	Refused  int64            // requests that came while their host was away, or over its rate
	// Left counts the answers to getRepo that the client has left before their end: of
	// the repo it has seen no more than that it is served.
	Left int64
	// FirstRev and LastRev are the revs of the repo in the first and in the last answer
	// that was made of it, and not left; 0 without one.
	FirstRev, LastRev atproto.TID
	// Births returns, for each collection that the repo has, the rev of the commit that
	// brought its first record.
	Births map[string]atproto.TID
}

func newHistory() *History {
	return &History{
		Events: map[string]int64{}, Fired: map[FaultName]int64{}, Requests: map[string]int64{}, Births: map[string]atproto.TID{},
	}
}

// History returns those of an account, none for a DID that the network does not have.
func (n *Network) History(did string) History {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.histories[did]
	if d == nil {
		d = newHistory()
	}
	copied := *d
	copied.Events, copied.Fired = maps.Clone(d.Events), maps.Clone(d.Fired)
	copied.Requests, copied.Births = maps.Clone(d.Requests), maps.Clone(d.Births)
	return copied
}

// served records that an answer was made of the repo as of a rev.
func (d *History) served(rev atproto.TID) {
	if d.FirstRev == 0 {
		d.FirstRev = rev
	}
	d.LastRev = rev
}
