package resync

import (
	"errors"

	"railyard/internal/pds"
	"railyard/internal/probe"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// Method is how repos are established.
type Method string

// The methods.
const (
	// Auto takes what costs least and is good enough: proofs for what was in
	// service, the host's word for a large repo that is new.
	Auto Method = "auto"
	// Describe takes the host's word wherever that may be believed for a while.
	Describe Method = "describe"
	// Probe has each set proven by getRecord, and fetches a repo only where that
	// is not possible.
	Probe Method = "probe"
	// WholeRepo fetches every repo.
	WholeRepo Method = "repo"
)

// Methods lists them.
func Methods() []string {
	return []string{string(Auto), string(Describe), string(Probe), string(WholeRepo)}
}

// way is how one look establishes a repo. Whole trees that one answer of getRecord
// shows are proof in any way.
type way byte

const (
	byRepo        way = iota // getRepo
	byProbe                  // getRecord beside each collection; getRepo where that is better
	byDescription            // describeRepo between two getRecord; the same
)

const (
	// describeTries and probeTries are how many failures of a repo's looks go by
	// before they are put down to the endpoint, and another one is asked.
	describeTries = 2
	probeTries    = 4
)

// way chooses for one task. The host's word is not taken for what was in service,
// after an audit, or where it was wrong before.
func (m Method) way(t *store.Task) way {
	host := t.Repo.Identity
	switch {
	case m == WholeRepo, host.AbsentProofs == store.Unable, t.Attempts >= probeTries:
		return byRepo
	case m.believes(t) && host.DescribeTrusted && t.Attempts < describeTries:
		return byDescription
	}
	return byProbe
}

// believes tells whether a claim is good enough for a task. A repo in service is
// looked at to prove it.
func (m Method) believes(t *store.Task) bool {
	switch {
	case t.InService, t.Reason == store.Audit, t.Reason == store.Prove, m == Probe:
		return false
	case m == Describe:
		return true
	}
	return bulk(t.Reason) && (t.Repo.Proof == 0 || t.Repo.Proof == store.ProofClaim)
}

// bulk: the repo is new to the index.
func bulk(why store.Reason) bool { return why == store.FirstSight || why == store.Backfill }

// What requests cost, compared with what they bring. Hosts count requests and not
// bytes, so one is dear.
const (
	// recordBytes is about what a repo's archive has for each record: a hundred
	// of tree nodes, the rest is the record.
	recordBytes  = 600
	requestBytes = 32 << 10
	// smallRepo is fetched whole, whatever it holds.
	smallRepo = 4 * requestBytes
	// maxProbes bounds the requests of one look, whatever the size of the repo.
	maxProbes = 1000
)

// worth tells how many requests may be spent on a repo before fetching it costs
// less; 0 if it is small.
func worth(s probe.Size) int {
	if s.Records <= smallRepo/recordBytes {
		return 0
	}
	return int(min(s.Records/(requestBytes/recordBytes), maxProbes))
}

// errDear: fetching the repo costs less than going on.
var errDear = errors.New("the repo costs less than its proofs")

// wantsRepo tells whether getRepo is the next thing to ask for after a lighter
// request came to nothing. It never is where the host refused by rate, has said
// what the account is, or did not answer.
func wantsRepo(err error) bool {
	if errors.Is(err, probe.ErrNoAbsenceProof) {
		return true
	}
	if e, ok := errors.AsType[*pds.Error](err); ok {
		return e.Outcome == pds.Unsupported
	}
	if reason, ok := refusal.ReasonOf(err); ok {
		return oddAnswer(reason)
	}
	if errors.Is(err, errDear) || errors.Is(err, probe.ErrRequests) {
		return true
	}
	if _, moved := errors.AsType[*probe.Moved](err); moved {
		return true
	}
	_, unsuited := errors.AsType[*probe.Unsuited](err)
	return unsuited
}

// oddAnswer: the host has answered, and not what it should have. A signature under
// another key is a question for the directory.
func oddAnswer(reason refusal.Reason) bool {
	switch reason {
	case refusal.BadCAR, refusal.BadBlock, refusal.BadCommit, refusal.BadTree, refusal.AnswerWrongDID,
		refusal.AnswerPartial, refusal.AnswerTooBig, refusal.AnswerInvalid:
		return true
	}
	return false
}
