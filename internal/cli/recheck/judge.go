package recheck

import (
	"fmt"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/repostate"
)

// Verdict is how a repo compares with its row. The package comment says what each
// means.
type Verdict string

// The closed list of verdicts.
const (
	Equal       Verdict = "equal"
	Differs     Verdict = "differs"
	Behind      Verdict = "behind"
	Ahead       Verdict = "ahead"
	Moved       Verdict = "moved"
	Gone        Verdict = "gone"
	Unreachable Verdict = "unreachable"
	Refused     Verdict = "refused"
)

// Verdicts returns all, in the order in which they are printed.
func Verdicts() []Verdict {
	return []Verdict{Equal, Differs, Behind, Ahead, Gone, Unreachable, Refused, Moved}
}

// sure reports whether no later attempt can change the verdict.
func (v Verdict) sure() bool { return v == Equal || v == Differs }

// judge compares what was fetched with the rows of before and after the fetch, and
// returns the one that decided. A row that is not idle promises nothing: the
// service has found out by itself that somebody must ask.
func judge(before, after *row, f *establish.Found) (Verdict, *row) {
	for _, r := range []*row{after, before} {
		if r.of(f) && r.is(f) {
			return Equal, r
		}
	}
	for _, r := range []*row{after, before} {
		if r.of(f) && r.idle {
			return Differs, r
		}
	}
	switch {
	case before.of(f) || after.of(f) || !after.served():
		return Moved, after
	case f.Head.Rev < before.Floor():
		return Ahead, after
	case f.Head.Rev >= after.Floor():
		return Behind, after
	}
	return Moved, after // the file went by
}

// difference returns the collections that a row lacks and those that it has too many.
func difference(r *row, f *establish.Found) (missing, extra []string) {
	return without(f.Collections, r.set), without(r.set, f.Collections)
}

// without returns those of a that are not in b, both sorted.
func without(a, b []string) (rest []string) {
	for _, s := range a {
		if _, found := slices.BinarySearch(b, s); !found {
			rest = append(rest, s)
		}
	}
	return rest
}

// Finding is what was found out about one repo.
type Finding struct {
	DID     string
	Verdict Verdict
	// Host is the one that the DID document names, empty if it could not be read.
	Host string
	// FileRev and HostRev are those that were compared, 0 where there is none.
	FileRev, HostRev atproto.TID
	// Missing are collections that the host's tree has and the file lacks, Extra
	// those that the file has too many; of a repo that is equal or was not fetched
	// there are none.
	Missing, Extra []string
	// Detail says why, where that does not show.
	Detail string
	// Contradiction: the file lists a repo that is gone. That was said in more than one
	// attempt, under a document that was resolved for it and names the host that the file
	// has: of any other the word may be that of a host from before or after a move.
	Contradiction bool
	// StaleIdentity says what the document has otherwise than the identity row,
	// empty where they agree, where the row itself asks for another look-up, and where
	// no document could be read.
	StaleIdentity string
}

// Decided reports whether the repo says something about the rows: they were compared,
// or the host's word with the account's status. A repo that is behind counts if the
// rows are those of the later state too.
func (f *Finding) Decided() bool {
	switch f.Verdict {
	case Equal, Differs, Gone:
		return true
	case Behind:
		return len(f.Missing)+len(f.Extra) == 0
	}
	return false
}

// Wrong reports whether the file is wrong about the repo.
func (f *Finding) Wrong() bool { return f.Verdict == Differs || f.Contradiction }

// compared fills in what a comparison has shown.
func (f *Finding) compared(r *row, got *establish.Found) {
	f.FileRev, f.HostRev, f.Detail = r.rev(), got.Head.Rev, ""
	f.Missing, f.Extra = nil, nil
	switch f.Verdict {
	case Differs:
		f.Missing, f.Extra = difference(r, got)
		f.Detail = headDifference(*r.Head, repostate.Head(got.Head))
	case Behind, Ahead:
		f.Missing, f.Extra = difference(r, got)
	case Moved:
		f.Detail = movedText(r)
	}
}

// headDifference says in which way two heads of one rev differ.
func headDifference(file, host repostate.Head) string {
	switch {
	case file.Data != host.Data:
		return fmt.Sprintf("the file has data %s, the host %s", file.Data, host.Data)
	case file.CID != host.CID:
		return fmt.Sprintf("the file has commit %s, the host %s", file.CID, host.CID)
	}
	return ""
}

// movedText says what became of a row.
func movedText(r *row) string {
	switch {
	case !r.Active:
		return "the account is inactive in the file: " + r.Status
	case !r.served():
		return "out of service: " + r.State.String()
	case !r.idle:
		return "in service, and in the queue"
	}
	return "commits come faster than it can be fetched"
}
