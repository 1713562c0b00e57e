package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/cli/archive"
	"railyard/internal/identity"
	"railyard/internal/mst"
	"railyard/internal/pds"
	"railyard/internal/refusal"
)

// collectionProofJSON is what a CAR proves of one collection. Where the verdict is
// another than proven, HasRecords is null and nothing follows from the rest.
type collectionProofJSON struct {
	commitJSON
	Collection string          `json:"collection"`
	Verdict    string          `json:"verdict"` // proven, refused, undecided
	HasRecords *bool           `json:"has_records"`
	Key        *string         `json:"key"`  // a key of the collection, if it has records
	Left       *string         `json:"left"` // beside its place, if it has none: a key or edge
	Right      *string         `json:"right"`
	SignedBy   *string         `json:"signed_by"` // did:key
	KeyFrom    *string         `json:"key_from"`
	Bytes      int             `json:"bytes"` // of the CAR
	Blocks     int             `json:"blocks"`
	Refused    *refusedJSON    `json:"refused"` // the first refusal
	Checks     []archive.Check `json:"checks"`
}

// proveCollection fetches the proof that a repo has records of a collection or none,
// cuts it down to what is needed, and writes it once it has passed the checks that
// repo verify makes.
func proveCollection(ctx context.Context, c *repoConfig, args []string, w io.Writer) error {
	did, nsid, err := didAndCollection("repo prove", args[0], args[1])
	switch {
	case err != nil:
		return err
	case c.out == "":
		return usagef("repo prove: --out: an empty file name")
	case c.out == "-" && c.asJSON:
		return usagef("repo prove: --json: the CAR goes to standard output, name a file with --out")
	}
	out, resolver, hosts, err := c.clients()
	if err != nil {
		return err
	}
	defer out.Close()
	hosts.RepoMaxBytes = c.maxBytes
	id, err := resolver.Resolve(ctx, did)
	if err != nil {
		return err
	}
	b, err := c.fetchProof(ctx, hosts, id, nsid)
	if err != nil {
		return err
	}
	p := c.checkProof(b, did, nsid, archive.Resolved(id, nil))
	if err := p.verdict(); err != nil {
		return err
	}
	if c.out == "-" {
		_, err := w.Write(b)
		return err
	}
	if err := os.WriteFile(c.out, b, 0o644); err != nil {
		return err
	}
	p.source.text = c.out
	return c.printProof(p, w)
}

func didAndCollection(command, did, nsid string) (string, string, error) {
	if _, err := atproto.ParseDID(did); err != nil {
		return "", "", usagef("%s: %v", command, err)
	}
	if _, err := atproto.ParseNSID(nsid); err != nil {
		return "", "", usagef("%s: %v", command, err)
	}
	return did, nsid, nil
}

// fetchProof returns the smallest CAR that proves the collection. The path of its
// smallest record key, which is there or not, shows its place. Hosts that do not prove
// the absence of keys are asked for the repo.
func (c *repoConfig) fetchProof(ctx context.Context, hosts *pds.Client, id identity.Identity, nsid string) ([]byte, error) {
	base := id.URL()
	if c.host != "" {
		base = c.host
	}
	b, err := hosts.GetRecord(ctx, base, id.DID, nsid, atproto.LowestRkey)
	if refused, ok := errors.AsType[*pds.Error](err); !ok || refused.Outcome != pds.NoRecord {
		if err != nil {
			return nil, err
		}
		p := c.checkProof(b, id.DID, nsid, archive.Resolved(id, nil))
		if !p.report.Hidden() {
			return p.smallest()
		}
	}
	if b, err = fetchAll(hosts.GetRepo(ctx, base, id.DID)); err != nil {
		return nil, err
	}
	return c.checkProof(b, id.DID, nsid, archive.Resolved(id, nil)).smallest()
}

// collectionProof is a CAR that was checked.
type collectionProof struct {
	*state
	nsid string
	auth archive.Authority
}

func (c *repoConfig) checkProof(b []byte, did, nsid string, auth archive.Authority) *collectionProof {
	return c.judgeProof(&state{source: source{text: c.out}, archive: archive.Read(b)}, did, nsid, auth)
}

func (c *repoConfig) judgeProof(st *state, did, nsid string, auth archive.Authority) *collectionProof {
	st.report = archive.VerifyCollection(st.archive, did, nsid, auth, c.now())
	return &collectionProof{st, nsid, auth}
}

// smallest cuts a good proof down.
func (p *collectionProof) smallest() ([]byte, error) {
	if err := p.verdict(); err != nil {
		return nil, err
	}
	return p.archive.ProofOf(p.nsid), nil
}

// verdict is nil for a good proof.
func (p *collectionProof) verdict() error {
	if check, refused := p.report.First(); refused {
		return &refusedError{check}
	}
	if !p.report.Valid() {
		return errUndecided
	}
	return nil
}

// verifyCollection checks a file that is to prove something of a collection.
func (c *repoConfig) verifyCollection(ctx context.Context, x, did, nsid string, w io.Writer) error {
	did, nsid, err := didAndCollection("repo verify", did, nsid)
	if err != nil {
		return err
	}
	s, err := parseSource("repo verify", x)
	switch {
	case err != nil:
		return err
	case s.did != "":
		return usagef("repo verify: %q: a proof is a file; railyard repo prove fetches one", x)
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
	auth, err := c.authority(ctx, st.archive, did)
	if err != nil {
		return err
	}
	p := c.judgeProof(st, did, nsid, auth)
	if err := c.printProof(p, w); err != nil {
		return err
	}
	return p.verdict()
}

func (c *repoConfig) printProof(p *collectionProof, w io.Writer) error {
	if c.asJSON {
		return writeJSON(w, p.json())
	}
	return p.json().print(w)
}

func (p *collectionProof) json() *collectionProofJSON {
	a := p.archive
	j := &collectionProofJSON{
		commitJSON: p.commitJSON(), Collection: p.nsid, Verdict: "proven", Bytes: a.Bytes, Blocks: a.Blocks.Total,
		Checks: p.report.Checks,
	}
	if check, refused := p.report.First(); refused {
		j.Verdict, j.Refused = "refused", &refusedJSON{string(check.Reason), check.Detail}
		return j
	}
	if !p.report.Valid() {
		j.Verdict = "undecided"
		return j
	}
	has, key, from := a.HasRecords(p.nsid) == mst.Present, "did:key:"+p.auth.Key.String(), "--key"
	if p.auth.Identity != nil {
		from = "the DID document, whose PDS is " + p.auth.Identity.Host
	}
	j.HasRecords, j.SignedBy, j.KeyFrom = &has, &key, &from
	if has {
		first := string(a.View.Collection(p.nsid).Keys[0].Path)
		j.Key = &first
		return j
	}
	l, r := a.View.Neighbours(p.nsid + "/")
	left, right := sideText(l), sideText(r)
	j.Left, j.Right = &left, &right
	return j
}

func (j *collectionProofJSON) print(w io.Writer) error {
	if j.HasRecords == nil {
		return j.printChecks(w)
	}
	says := "has no records"
	if *j.HasRecords {
		says = "has records"
	}
	if _, err := fmt.Fprintf(w, "proven: the repo %s of the collection\n\n", says); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("did", "%s", plain(*j.DID))
	line("collection", "%s", j.Collection)
	if *j.HasRecords {
		line("has", "%s", plain(*j.Key))
	} else {
		line("left", "%s", plain(*j.Left))
		line("right", "%s", plain(*j.Right))
	}
	line("rev", "%s, which claims %s", *j.Rev, j.RevTime.Format(time.RFC3339))
	line("commit", "%s", *j.Commit)
	line("signed by", "%s", *j.SignedBy)
	line("key from", "%s", plain(*j.KeyFrom))
	line("car", "%s, %d bytes, %s", plain(j.Source), j.Bytes, count(j.Blocks, "block"))
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
So it was at that rev. There may be later commits, which a host can withhold,
and whether the account is active the repo does not say.
`)
	return err
}

// printChecks prints each check of a CAR that proves nothing.
func (j *collectionProofJSON) printChecks(w io.Writer) error {
	v := verifyJSON{DID: j.DID, Rev: j.Rev, Checks: j.Checks}
	if err := v.printChecks(w); err != nil {
		return err
	}
	text := "not proven"
	if j.Refused != nil {
		text += ": " + j.Refused.Reason
		if j.Refused.Reason == string(refusal.BadSignature) {
			text += "; if the account has another key since,\n--did-doc or --key give the one of then"
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", text)
	return err
}
