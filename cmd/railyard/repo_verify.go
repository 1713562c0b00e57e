package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/cli/archive"
	"railyard/internal/refusal"
)

type verifyJSON struct {
	Source     string          `json:"source"`
	DID        *string         `json:"did"`
	Rev        *string         `json:"rev"`
	Verdict    string          `json:"verdict"` // valid, refused, undecided
	Refused    *refusedJSON    `json:"refused"` // the first refusal
	KeysProven bool            `json:"keys_proven"`
	Checks     []archive.Check `json:"checks"`
}

// verifyRepo makes every check of a whole repo, or of a proof of one collection.
func verifyRepo(ctx context.Context, c *repoConfig, args []string, w io.Writer) error {
	if len(args) == 3 {
		return c.verifyCollection(ctx, args[0], args[1], args[2], w)
	}
	s, collection, err := c.whole("repo verify", args[0])
	if err != nil {
		return err
	}
	if collection != "" {
		return usagef("repo verify: %q: only a whole repo can be verified", args[0])
	}
	if s.did != "" && (c.key != "" || c.didDoc != "") {
		return usagef("repo verify: --key and --did-doc are for files; %s is resolved", s.did)
	}
	if c.key != "" {
		if _, err := givenKey(c.key); err != nil {
			return err
		}
	}
	st, err := c.load(ctx, s)
	if err != nil {
		return err
	}
	if st.report == nil {
		authority, err := c.authority(ctx, st.archive, "")
		if err != nil {
			return err
		}
		st.report = archive.Verify(st.archive, "", authority, c.now())
	}
	return c.report(st, w)
}

// report prints the report; its verdict is the command's.
func (c *repoConfig) report(st *state, w io.Writer) error {
	commit := st.commitJSON()
	j := verifyJSON{
		Source: commit.Source, DID: commit.DID, Rev: commit.Rev, Verdict: "valid",
		KeysProven: st.report.KeysProven, Checks: st.report.Checks,
	}
	check, refused := st.report.First()
	var verdict error
	switch {
	case refused:
		j.Verdict, j.Refused, verdict = "refused", &refusedJSON{string(check.Reason), check.Detail}, &refusedError{check}
	case !st.report.Valid():
		j.Verdict, verdict = "undecided", errUndecided
	}
	var err error
	if c.asJSON {
		err = writeJSON(w, j)
	} else {
		err = j.print(w)
	}
	if err != nil {
		return err
	}
	return verdict
}

func (j *verifyJSON) print(w io.Writer) error {
	if err := j.printChecks(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", j.conclusion())
	return err
}

// printChecks names the repo and prints a line for each check.
func (j *verifyJSON) printChecks(w io.Writer) error {
	if j.DID != nil {
		if _, err := fmt.Fprintf(w, "%s, rev %s\n\n", *j.DID, cell(j.Rev)); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range j.Checks {
		detail := c.Detail
		if c.Reason != "" {
			detail = string(c.Reason) + ": " + detail
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, c.Outcome, printable(detail))
	}
	return t.Flush()
}

// conclusion is the last line, which also says what is good about a repo that is
// refused.
func (j *verifyJSON) conclusion() string {
	if j.Verdict == "valid" {
		return "valid: a current, complete, signed repo"
	}
	var failed []string
	for _, c := range j.Checks {
		if c.Outcome != archive.Passed && c.Outcome != archive.Skipped {
			failed = append(failed, c.Name)
		}
	}
	if j.Refused == nil {
		return "undecided: " + failed[0] + "; nothing is refused"
	}
	text := "refused: " + j.Refused.Reason
	if len(failed) == 1 {
		text += "; it passes every other check"
	}
	if j.KeysProven {
		text += "; its keys are proven"
	}
	if j.Refused.Reason == string(refusal.AnswerPartial) {
		text += "; with DID and NSID\nit is checked as a proof of one collection"
	}
	return text
}

// givenKey reads the key of the command line.
func givenKey(text string) (archive.Authority, error) {
	pub, err := atcrypto.ParsePublicDIDKey(text)
	if err != nil {
		return archive.Authority{}, usagef("repo verify: --key %q: %v", text, err)
	}
	return archive.Given(pub)
}
