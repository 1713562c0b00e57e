package simnet

import (
	"slices"
	"time"

	"railyard/internal/atproto"
)

// Abilities are what a PDS does otherwise than the reference one; the zero value is
// the reference PDS.
type Abilities struct {
	// NoAbsentProofs refuses getRecord of an absent key with RecordNotFound instead
	// of proving the absence.
	NoAbsentProofs bool
	// Collections is what describeRepo says of every repo, where it is not nil.
	Collections []string
	// NullSince leaves the rev before out of every #commit.
	NullSince bool
	// PrevLinks names the commit before in every commit block.
	PrevLinks bool
	// YoungFor refuses getRepo of an account with 501 NotImplemented for that long
	// after it was made.
	YoungFor time.Duration
	// NoPrevData leaves prevData out of every #commit (Sync 1.0).
	NoPrevData bool
	// NoOpPrev leaves prev out of updates and deletes (Sync 1.0).
	NoOpPrev bool
	// Sometimes does NoPrevData and NoOpPrev in two of three commits only, and then
	// not always both.
	Sometimes bool
	// NewNodesOnly leaves the older nodes, which show the neighbours of what was
	// written, out of every #commit.
	NewNodesOnly bool
	// CommitFirst sends the commit as the first block of every CAR.
	CommitFirst bool
	// Gone is how it says that it has no such repo, of every method, where it is not nil.
	Gone *Words
	// RepoStatus is its answer to every getRepoStatus, where it is not nil.
	RepoStatus *Words
}

// BridgyAbilities are those of a bridge from other networks.
func BridgyAbilities() Abilities {
	return Abilities{
		NoAbsentProofs: true, NullSince: true, PrevLinks: true, CommitFirst: true, YoungFor: 12 * time.Hour,
		Collections: []string{"app.bsky.actor.profile", "app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.feed.repost", "app.bsky.graph.follow"},
	}
}

// LegacyAbilities are those of a host that has not heard of Sync 1.1.
func LegacyAbilities() Abilities {
	return Abilities{NoPrevData: true, NoOpPrev: true, NewNodesOnly: true}
}

// SetAbilities changes those of a PDS, by its name, for answers and events from now
// on.
func (n *Network) SetAbilities(name string, to Abilities) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		h.abilities = to
	}
}

// word puts the host's number-th event into the words of its software.
func (ab Abilities) word(e *commitEvent, c *change, number int64) {
	noPrevData, noOpPrev := ab.NoPrevData, ab.NoOpPrev
	if ab.Sometimes {
		which := uint64(number) * 0x9e3779b97f4a7c15 >> 40 % 3 // a mixture, so that habits of writing do not meet it
		noPrevData, noOpPrev = noPrevData && which != 0, noOpPrev && which != 1
	}
	if noPrevData {
		e.prevData = nil
	}
	if noOpPrev {
		e.ops = withoutPrev(e.ops)
	}
	if ab.NullSince {
		e.since = nil
	}
	if ab.NewNodesOnly {
		e.blocks = c.newBlocks()
	}
	if ab.CommitFirst {
		e.blocks = commitFirst(e.blocks, c.after.cid)
	}
}

func withoutPrev(ops []op) []op {
	ops = slices.Clone(ops)
	for i := range ops {
		ops[i].prev = nil
	}
	return ops
}

// commitFirst moves the commit's block to the front.
func commitFirst(blocks []block, commit atproto.Digest) []block {
	at := slices.IndexFunc(blocks, func(b block) bool { return b.digest == commit })
	if at < 0 {
		return blocks
	}
	return slices.Concat(blocks[at:at+1], blocks[:at], blocks[at+1:])
}

// tooYoung reports whether a repo is not served as a whole yet.
func (ab Abilities) tooYoung(created, now time.Time) bool {
	return ab.YoungFor > 0 && now.Sub(created) < ab.YoungFor
}
