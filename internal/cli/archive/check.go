package archive

import (
	"errors"
	"fmt"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/verify"
)

// Outcome is the outcome of one check.
type Outcome string

// The outcomes of a Check.
const (
	Passed    Outcome = "ok"
	Refused   Outcome = "refused"
	Undecided Outcome = "unknown" // it could not be made
	Skipped   Outcome = "skipped" // the caller vouches for it
)

// Names of the checks of what is missing.
const (
	checkComplete = "complete"
	checkRecords  = "records"
)

// Check is one check of a repo. Reason is set where it is refused.
type Check struct {
	Name    string         `json:"name"`
	Outcome Outcome        `json:"outcome"`
	Reason  refusal.Reason `json:"reason,omitempty"`
	Detail  string         `json:"detail"`
}

// Report is what Verify found, one Check after the other, in the order in which
// a consumer makes them.
type Report struct {
	Checks []Check
	// KeysProven: the keys of the repo are exactly those of the tree, whatever is
	// the case with the records.
	KeysProven bool
}

// First returns the first check that is refused.
func (r *Report) First() (Check, bool) { return r.first(Refused) }

// Unmade returns the first check that could not be made.
func (r *Report) Unmade() (Check, bool) { return r.first(Undecided) }

// Signed returns the first check that is refused of those that concern what is
// there; a part of a repo that passes them is true. What is missing is not asked.
func (r *Report) Signed() (Check, bool) {
	for _, c := range r.Checks {
		if c.Outcome == Refused && c.Name != checkComplete && c.Name != checkRecords && c.Name != checkCollection {
			return c, true
		}
	}
	return Check{}, false
}

func (r *Report) first(o Outcome) (Check, bool) {
	for _, c := range r.Checks {
		if c.Outcome == o {
			return c, true
		}
	}
	return Check{}, false
}

// Valid reports whether this is a current, complete, signed repo.
func (r *Report) Valid() bool {
	_, refused := r.First()
	_, unmade := r.Unmade()
	return !refused && !unmade
}

// Verify makes every check that can be made. did is the account that was asked
// for, empty where anybody's repo will do.
func Verify(a *Archive, did string, auth Authority, now time.Time) *Report {
	v := &verifier{a: a, report: &Report{}}
	v.framing()
	v.commit(did, now)
	v.identity(auth)
	v.tree()
	v.complete()
	v.report.KeysProven = v.report.Valid()
	v.records()
	return v.report
}

type verifier struct {
	a      *Archive
	report *Report
}

func (v *verifier) add(name string, o Outcome, format string, args ...any) {
	v.report.Checks = append(v.report.Checks, Check{Name: name, Outcome: o, Detail: fmt.Sprintf(format, args...)})
}

// judge adds a check that err refuses; nil passes, and what is no refusal leaves
// it unknown.
func (v *verifier) judge(name string, err error, format string, args ...any) {
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		v.report.Checks = append(v.report.Checks, Check{Name: name, Outcome: Refused, Reason: e.Reason, Detail: e.Detail})
		return
	}
	if err != nil {
		v.add(name, Undecided, "%v", err)
		return
	}
	v.add(name, Passed, format, args...)
}

// framing checks the CAR and its hashes. Reading stops at the first block that is
// not sound.
func (v *verifier) framing() {
	reason, _ := refusal.ReasonOf(v.a.carErr)
	switch {
	case v.a.carErr == nil:
		v.add("car", Passed, "CAR v1, %d bytes, %d blocks", v.a.Bytes, v.a.CAR.Len())
		v.add("hashes", Passed, "every block hashes to its CID")
	case reason == refusal.BadBlock:
		v.add("car", Undecided, "read up to a block that is not sound")
		v.judge("hashes", v.a.carErr, "")
	default:
		v.judge("car", v.a.carErr, "")
		v.add("hashes", Undecided, "the CAR cannot be read")
	}
}

func (v *verifier) commit(did string, now time.Time) {
	c := v.a.Commit
	if c == nil {
		if v.a.commitErr == nil {
			v.add("commit", Undecided, "the CAR cannot be read")
		} else {
			v.judge("commit", v.a.commitErr, "")
		}
		return
	}
	v.judge("commit", c.Current(), "version %d", c.Version)
	if did != "" {
		v.judge("account", askedFor(c, did), "the repo of %s, as asked", did)
	}
	if c.Rev != nil {
		v.judge("rev", notAhead(*c.Rev, now), "%s", *c.Rev)
	}
}

func askedFor(c *Commit, did string) error {
	if c.DID != did {
		return refusal.New(refusal.AnswerWrongDID, "the repo of %s, asked for %s", c.DID, did)
	}
	return nil
}

// notAhead allows a rev to be ahead of our clock by a few minutes (spec: sync).
func notAhead(rev atproto.TID, now time.Time) error {
	if rev.Time().After(now.Add(verify.Tolerance)) {
		return refusal.New(refusal.FutureRev, "rev %s is of %s", rev, rev.Time().UTC().Format(time.RFC3339))
	}
	return nil
}

// identity checks who may sign, and the signature; also under a key that does not
// count, because people want to know.
func (v *verifier) identity(auth Authority) {
	switch {
	case v.a.Commit == nil:
		v.add("document", Undecided, "no commit says whose")
		v.add("signature", Undecided, "no commit")
		return
	case auth.Given:
		v.add("document", Skipped, "the key was given")
	case auth.Identity != nil:
		v.judge("document", sameDID(v.a.Commit, auth.Identity), "of %s, whose PDS is %s", auth.Identity.DID, auth.Identity.Host)
	case auth.Err != nil:
		v.judge("document", auth.Err, "")
	default:
		v.add("document", Undecided, "none")
	}
	if auth.Key == "" {
		v.add("signature", Undecided, "no key")
		return
	}
	pub, err := auth.Key.Public()
	if err == nil {
		err = v.a.Commit.Verify(pub)
	}
	note := ""
	if auth.Err != nil {
		note = ", which is not this account's"
	}
	v.judge("signature", err, "good under %s%s", auth.Key, note)
}

func sameDID(c *Commit, id *identity.Identity) error {
	if c.DID != id.DID {
		return refusal.New(refusal.IdentityInvalid, "document of %s for a repo of %s", id.DID, c.DID)
	}
	return nil
}

func (v *verifier) tree() {
	if v.a.View == nil {
		if v.a.treeErr == nil {
			v.add("tree", Undecided, "no commit names its root")
		} else {
			v.judge("tree", v.a.treeErr, "")
		}
		return
	}
	t := v.a.Tree
	if t.Nodes == 0 && t.AbsentSubtrees > 0 {
		v.add("tree", Undecided, "the root is absent")
		return
	}
	v.add("tree", Passed, "%s, height %d, every rule kept", many(t.Nodes, "node"), t.Height)
}

// complete wants every node of the tree.
func (v *verifier) complete() {
	t := v.a.Tree
	switch {
	case v.a.View == nil:
		v.add(checkComplete, Undecided, "the tree cannot be read")
		return
	case !v.a.Whole():
		v.judge(checkComplete, refusal.New(refusal.AnswerPartial, "%s absent: %s in sight, more are hidden",
			many(t.AbsentSubtrees, "subtree"), many(t.Keys, "key")), "")
		return
	}
	v.add(checkComplete, Passed, "no node is absent: exactly %s", many(t.Keys, "key"))
}

// records wants the record of each key, of a size that a record may have (spec:
// sync).
func (v *verifier) records() {
	if v.a.View == nil {
		v.add(checkRecords, Undecided, "the tree cannot be read")
		return
	}
	if n := v.a.Tree.AbsentRecords; n > 0 {
		v.judge(checkRecords, refusal.New(refusal.RecordMissing, "%d of %s absent", n, many(v.a.Tree.Keys, "record")), "")
		return
	}
	for _, key := range v.a.View.Keys() {
		if n := len(v.a.Record(key.Value)); n > event.MaxRecord {
			v.judge(checkRecords, refusal.New(refusal.RecordMissing, "the record of %q has %d bytes", key.Path, n), "")
			return
		}
	}
	v.add(checkRecords, Passed, "%s there", many(v.a.Tree.Keys, "record"))
}

// many counts things in words.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
