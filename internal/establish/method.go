package establish

import (
	"errors"
	"math"

	"railyard/internal/mst"
	"railyard/internal/pds"
	"railyard/internal/refusal"
)

// Method is how repos are established. One answer of getRecord that shows the whole
// tree is proof in any.
type Method string

// The methods.
const (
	// Auto chooses one of the others for each Request: what costs least and is good
	// enough.
	Auto Method = "auto"
	// Describe takes the host's word between two answers of getRecord, where that
	// is enough.
	Describe Method = "describe"
	// Probe has each set proven by getRecord, and fetches a repo only where that
	// is not possible.
	Probe Method = "probe"
	// WholeRepo fetches every repo.
	WholeRepo Method = "repo"
)

// Methods returns the names of all.
func Methods() []string {
	return []string{string(Auto), string(Describe), string(Probe), string(WholeRepo)}
}

const (
	// describeTries and probeTries are how many attempts at a repo may fail before
	// that is put down to the endpoint, and another one is asked.
	describeTries = 2
	probeTries    = 4
)

// choose returns the method for one request: Describe, Probe or WholeRepo.
func (m Method) choose(q *Request) Method {
	switch {
	case m == WholeRepo, q.NoAbsenceProofs, q.Attempts >= probeTries:
		return WholeRepo
	case m.believes(q) && !q.WrongDescription && q.Attempts < describeTries:
		return Describe
	}
	return Probe
}

// believes reports whether a description is good enough.
func (m Method) believes(q *Request) bool {
	switch {
	case q.MustProve, m == Probe:
		return false
	case m == Describe:
		return true
	}
	return q.New
}

// What requests cost, compared with what they bring. Hosts count requests and not
// bytes, so one is expensive.
const (
	// recordBytes is about what a repo's archive has for each record: a hundred
	// of tree nodes, the rest is the record.
	recordBytes  = 600
	requestBytes = 32 << 10
	// smallRepo is fetched whole, whatever it holds.
	smallRepo = 4 * requestBytes
	// maxProbes bounds the getRecord requests of one attempt, whatever the size of
	// the repo.
	maxProbes = 1000
	// maxRestarts is how often a repo may move while it is probed, before it is
	// fetched: its commits are buffered meanwhile.
	maxRestarts = 2
)

// budget returns how many requests may be spent on a repo of so many records
// before fetching it costs less; 0 if it is small.
func budget(records int64) int {
	if records <= smallRepo/recordBytes {
		return 0
	}
	return int(min(records/(requestBytes/recordBytes), maxProbes))
}

// records estimates how many records a tree has whose root is visible: half of all
// trees with such a root have more. One in twenty has less than a twelfth (a root
// of one key) to half of it (six keys), one in twenty more than four times to twice
// as many. Each key is four times as likely at one depth as at the next: k keys in
// the root stand for about k·4^height.
func (a *answer) records() int64 {
	keys := 0
	for _, key := range a.view.Keys() {
		if mst.Depth(key.Path) == a.height {
			keys++
		}
	}
	estimate := (float64(keys) - 0.3) * math.Pow(4, float64(a.height))
	return int64(min(estimate+0.5, math.MaxInt64/2))
}

// wantsRepo reports whether getRepo is the next thing to ask for after a cheaper
// request came to nothing. It never is where the host refused by rate, has said
// what the account is, or did not answer.
func wantsRepo(err error) bool {
	if errors.Is(err, errNoAbsenceProof) || errors.Is(err, errExpensive) || errors.Is(err, errMoved) {
		return true
	}
	if e, ok := errors.AsType[*pds.Error](err); ok {
		return e.Outcome == pds.Unsupported
	}
	reason, _ := refusal.ReasonOf(err)
	return isInvalid(reason)
}

// isInvalid reports whether the host has answered, and not what it should have. A
// signature under another key is a question for the directory.
func isInvalid(reason refusal.Reason) bool {
	switch reason {
	case refusal.BadCAR, refusal.BadBlock, refusal.BadCommit, refusal.BadTree, refusal.AnswerWrongDID,
		refusal.AnswerPartial, refusal.AnswerTooBig, refusal.AnswerInvalid:
		return true
	}
	return false
}
