package establish

import (
	"strings"

	"railyard/internal/atproto"
)

// question is a legal path that is asked for. Most are of records that nobody
// has.
type question struct{ collection, rkey string }

func (q question) path() string { return q.collection + "/" + q.rkey }

var highRkey = strings.Repeat("~", 512) // the largest

// lowest stands below all keys that are seen in practice.
var lowest = question{"A.A.A", atproto.LowestRkey}

// question finds what to ask to see into a gap: a legal path whose place is
// inside. There is none only if no collection can be hidden there but those of
// the two keys beside it: a hidden collection would have a place for its own
// smallest record key there.
//
// The answer to any of them makes the unknown part of the tree smaller: either
// the path is a key, which shows no neighbours but divides the gap, or its
// neighbours on both sides are visible. Behind a collection stands the path with
// its largest record key; where that is a key itself, the gap is looked at from
// behind.
func (g gap) question() (question, bool) {
	if g.after == "" && g.holds(lowest.path()) {
		return lowest, true
	}
	if nsid, ok := collectionOf(g.after); ok {
		if q := (question{nsid, highRkey}); g.holds(q.path()) {
			return q, true
		}
	}
	end := g.before
	if end == "" {
		end = beyondAll
	}
	nsid, ok := nameBetween(g.after, end)
	return question{nsid, atproto.LowestRkey}, ok
}
