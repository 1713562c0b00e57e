package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"railyard/internal/cli/archive"
	"railyard/internal/mst"
)

// commitJSON names a state by its source and its commit; null where the CAR has
// no commit that can be read.
type commitJSON struct {
	Source    string     `json:"source"`
	DID       *string    `json:"did"`
	Rev       *string    `json:"rev"`
	RevTime   *time.Time `json:"rev_time"` // as the rev states
	Version   *int64     `json:"version"`
	Commit    *string    `json:"commit"`
	Data      *string    `json:"data"`
	Prev      *string    `json:"prev"`
	Signature *string    `json:"signature"`
}

func (st *state) commitJSON() commitJSON {
	j := commitJSON{Source: st.source.text}
	c := st.archive.Commit
	if c == nil {
		return j
	}
	commit, data, sig := c.CID.String(), c.Data.String(), hex.EncodeToString(c.Sig)
	j.DID, j.Version, j.Commit, j.Data, j.Signature = &c.DID, &c.Version, &commit, &data, &sig
	if c.Prev != nil {
		prev := c.Prev.String()
		j.Prev = &prev
	}
	if c.Rev != nil {
		rev, at := c.Rev.String(), c.Rev.Time().UTC()
		j.Rev, j.RevTime = &rev, &at
	}
	return j
}

type treeJSON struct {
	Complete       bool    `json:"complete"`
	Records        int     `json:"records"`
	Collections    int     `json:"collections"`
	OddKeys        int     `json:"odd_keys"` // of no collection
	Nodes          int     `json:"nodes"`
	Height         int     `json:"height"`
	LeastKeys      int     `json:"least_keys_per_node"`
	MeanKeys       float64 `json:"mean_keys_per_node"`
	MostKeys       int     `json:"most_keys_per_node"`
	AbsentSubtrees int     `json:"absent_subtrees"`
	AbsentRecords  int     `json:"absent_records"`
}

type blocksJSON struct {
	Bytes          int   `json:"bytes"` // of the CAR
	Total          int   `json:"total"`
	Different      int   `json:"different"`
	Duplicates     int   `json:"duplicates"`
	DuplicateBytes int64 `json:"duplicate_bytes"`
	Nodes          int   `json:"nodes"`
	NodeBytes      int64 `json:"node_bytes"`
	Records        int   `json:"records"`
	RecordBytes    int64 `json:"record_bytes"`
	Unlinked       int   `json:"unlinked"`
	UnlinkedBytes  int64 `json:"unlinked_bytes"`
}

// recordJSON is a key of the tree and, if asked for, its record.
type recordJSON struct {
	Path   string          `json:"path"`
	CID    string          `json:"cid"`
	Record json.RawMessage `json:"record,omitempty"`
}

type inspectJSON struct {
	verdictJSON
	figuresJSON
}

// verdictJSON names the repo and says whether it is good.
type verdictJSON struct {
	commitJSON
	Verified *bool        `json:"verified"` // null: not asked, see repo verify
	Refused  *refusedJSON `json:"refused"`
}

// figuresJSON stands behind the records, if these are asked for.
type figuresJSON struct {
	Tree   *treeJSON   `json:"tree"`
	Blocks *blocksJSON `json:"blocks"`
}

// inspectRepo shows what a CAR or a repo holds, or one record of it.
func inspectRepo(ctx context.Context, c *repoConfig, args []string, w io.Writer) error {
	s, err := parseSource("repo inspect", args[0])
	if err != nil {
		return err
	}
	if s.rkey != "" {
		return c.inspectRecord(ctx, s, w)
	}
	s, collection, err := c.whole("repo inspect", args[0])
	if err != nil {
		return err
	}
	st, err := c.load(ctx, s)
	if err != nil {
		return err
	}
	if err := c.printInspection(st, collection, w); err != nil {
		return err
	}
	return st.shown()
}

// printInspection prints what there is, and the keys if they are asked for.
func (c *repoConfig) printInspection(st *state, collection string, w io.Writer) error {
	report := newInspection(st)
	var keys []mst.Key
	listed := st.archive.View != nil && (collection != "" || c.records)
	if listed {
		keys = archive.Keys(st.archive.View, collection)
	}
	switch {
	case !c.asJSON:
		if err := report.print(w); err != nil {
			return err
		}
		return c.printRecords(w, st.archive, keys)
	case !listed:
		return writeJSON(w, report)
	}
	return writeJSONList(w, report.verdictJSON, "records", func(add func(item any) error) (any, error) {
		for _, key := range keys {
			if err := add(c.record(st.archive, key)); err != nil {
				return nil, err
			}
		}
		return report.figuresJSON, nil
	})
}

func newInspection(st *state) *inspectJSON {
	a := st.archive
	report := &inspectJSON{verdictJSON: verdictJSON{commitJSON: st.commitJSON(), Refused: reasonOf(a.Err())}}
	if st.report != nil {
		check, refused := st.report.Signed()
		verified := !refused
		report.Verified = &verified
		if refused && report.Refused == nil {
			report.Refused = &refusedJSON{string(check.Reason), check.Detail}
		}
	}
	if a.CAR != nil {
		b := a.Blocks
		report.Blocks = &blocksJSON{a.Bytes, b.Total, b.Different, b.Duplicates(), b.DuplicateBytes,
			b.Nodes, b.NodeBytes, b.Records, b.RecordBytes, b.Unused, b.UnusedBytes}
	}
	if a.View != nil {
		list, odd := archive.Collections(a.View)
		t := a.Tree
		report.Tree = &treeJSON{a.Whole(), t.Keys, len(list), odd, t.Nodes, t.Height, t.LeastKeys,
			float64(t.Keys) / float64(max(t.Nodes, 1)), t.MostKeys, t.AbsentSubtrees, t.AbsentRecords}
	}
	return report
}

func (c *repoConfig) record(a *archive.Archive, key mst.Key) recordJSON {
	r := recordJSON{Path: string(key.Path), CID: archive.CIDText(key.Value)}
	if c.records {
		r.Record = recordAsJSON(a.Record(key.Value))
	}
	return r
}

// recordAsJSON is null for a record that is absent, and says so of a block that
// is no DAG-CBOR.
func recordAsJSON(block []byte) json.RawMessage {
	if block == nil {
		return json.RawMessage("null")
	}
	text, err := archive.AppendJSON(nil, block)
	if err != nil {
		text, err = json.Marshal(map[string]string{"$invalid": err.Error()})
	}
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// print is the form for people.
func (r *inspectJSON) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	r.commitJSON.print(line)
	switch {
	case r.Refused != nil:
		line("refused", "%s: %s", r.Refused.Reason, printable(r.Refused.Detail))
	case r.Verified != nil:
		line("verified", "signed by the key of the DID document")
	default:
		line("verified", "not looked at; railyard repo verify does")
	}
	if b := r.Blocks; b != nil {
		b.print(line)
	}
	if tree := r.Tree; tree != nil {
		tree.print(line)
	}
	return t.Flush()
}

func (j *commitJSON) print(line func(name, format string, args ...any)) {
	line("source", "%s", plain(j.Source))
	if j.Commit == nil {
		return
	}
	line("did", "%s", plain(*j.DID))
	if j.Rev != nil {
		line("rev", "%s, which claims %s", *j.Rev, j.RevTime.Format(time.RFC3339Nano))
	} else {
		line("rev", "-")
	}
	line("version", "%d", *j.Version)
	line("commit", "%s", *j.Commit)
	line("data", "%s", *j.Data)
	line("prev", "%s", cell(j.Prev))
	line("signature", "%s", *j.Signature)
}

func (b *blocksJSON) print(line func(name, format string, args ...any)) {
	line("car", "%d bytes, %s: %d of nodes (%d bytes), %d of records (%d bytes)",
		b.Bytes, count(b.Total, "block"), b.Nodes, b.NodeBytes, b.Records, b.RecordBytes)
	line("", "%s (%d bytes), %d that nothing links to (%d bytes)",
		count(b.Duplicates, "duplicate"), b.DuplicateBytes, b.Unlinked, b.UnlinkedBytes)
}

func (t *treeJSON) print(line func(name, format string, args ...any)) {
	line("tree", "%s in %s", count(t.Records, "record"), count(t.Collections, "collection"))
	line("", "%s, height %d, %d to %d keys in a node, %.1f on average", count(t.Nodes, "node"), t.Height, t.LeastKeys, t.MostKeys, t.MeanKeys)
	if t.OddKeys > 0 {
		line("", "%s of no collection", count(t.OddKeys, "key"))
	}
	switch {
	case !t.Complete:
		line("absent", "%s, so there are more keys; %s", count(t.AbsentSubtrees, "subtree"), count(t.AbsentRecords, "record"))
	case t.AbsentRecords > 0:
		line("absent", "%s; the keys are all there", count(t.AbsentRecords, "record"))
	default:
		line("absent", "nothing")
	}
}

func (c *repoConfig) printRecords(w io.Writer, a *archive.Archive, keys []mst.Key) error {
	if len(keys) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	for _, key := range keys {
		r := c.record(a, key)
		if _, err := fmt.Fprintf(w, "%s  %s\n", plain(r.Path), r.CID); err != nil {
			return err
		}
		if err := printRecord(w, "", r.Record); err != nil {
			return err
		}
	}
	return nil
}

// printRecord prints a record's JSON below its path, if there is one.
func printRecord(w io.Writer, mark string, record json.RawMessage) error {
	if record == nil {
		return nil
	}
	text := escape(record)
	if string(text) == "null" {
		text = []byte("(the record is absent)")
	}
	_, err := fmt.Fprintf(w, "    %s%s\n", mark, text)
	return err
}
