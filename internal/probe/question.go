package probe

import "strings"

// question is a legal path that is asked for. Most are of records that nobody
// has.
type question struct{ collection, rkey string }

func (q question) path() string { return q.collection + "/" + q.rkey }

const lowRkey = "-" // the smallest record key there is (spec: record-key)

var highRkey = strings.Repeat("~", 512) // the largest

// lowest stands below all keys that are seen in practice.
var lowest = question{"A.A.A", lowRkey}

// question finds what to ask to see into a gap: a legal path whose place is
// inside. There is none only if no collection can be hidden there but those of
// the two keys beside it: a hidden collection would have a place for its own
// smallest record key there.
//
// The answer to any of them makes the unknown part of the tree smaller: either
// the path is a key, or its neighbours on both sides are visible.
func (g gap) question() (question, bool) {
	left, inLeft := collectionOf(g.after)
	right, inRight := collectionOf(g.before)
	var likely []question
	if g.after == "" {
		likely = append(likely, lowest)
	}
	if inLeft {
		likely = append(likely, question{left, highRkey})
		if next := left + "0"; isNSID(next) { // that largest record exists: look at it from behind
			likely = append(likely, question{next, lowRkey})
		}
	}
	if inRight {
		likely = append(likely, question{right, lowRkey})
	}
	for _, q := range likely {
		if g.holds(q.path()) {
			return q, true
		}
	}
	end := g.before
	switch {
	case end == "":
		end = beyondAll
	case inRight:
		end = right + "/"
	}
	nsid, ok := nameBetween(g.after, end)
	return question{nsid, lowRkey}, ok
}
