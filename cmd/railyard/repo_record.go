package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"railyard/internal/cli/archive"
	"railyard/internal/mst"
)

// proofJSON is what a getRecord answer proves.
type proofJSON struct {
	commitJSON
	Collection string          `json:"collection"`
	Rkey       string          `json:"rkey"`
	Presence   string          `json:"presence"` // present, absent, unknown
	Left       string          `json:"left"`     // neighbour: a key, edge, or hidden
	Right      string          `json:"right"`
	Blocks     int             `json:"blocks"`
	CID        *string         `json:"cid"`
	Record     json.RawMessage `json:"record"`
}

// inspectRecord fetches a record with its proof, or the proof that there is none.
func (c *repoConfig) inspectRecord(ctx context.Context, s source, w io.Writer) error {
	st, err := c.load(ctx, s)
	if err != nil {
		return err
	}
	if err := st.shown(); err != nil {
		return err
	}
	proof, err := newProof(st)
	if err != nil {
		return err
	}
	if c.asJSON {
		return writeJSON(w, proof)
	}
	return proof.print(w)
}

func newProof(st *state) (*proofJSON, error) {
	s, a := st.source, st.archive
	path := s.collection + "/" + s.rkey
	value, presence := a.View.Get(path)
	left, right := a.View.Neighbours(path)
	p := &proofJSON{
		commitJSON: st.commitJSON(), Collection: s.collection, Rkey: s.rkey, Presence: presence.String(),
		Left: sideText(left), Right: sideText(right), Blocks: a.CAR.Len(), Record: json.RawMessage("null"),
	}
	switch presence {
	case mst.Unknown:
		return nil, fmt.Errorf("%s: the answer of the host proves neither the record nor its absence", s.text)
	case mst.Absent:
		return p, nil
	}
	text := archive.CIDText(value)
	p.CID = &text
	block := a.Record(value)
	if block == nil {
		return nil, fmt.Errorf("%s: the record is in the tree, and the answer of the host lacks its block", s.text)
	}
	p.Record = recordAsJSON(block)
	return p, nil
}

func sideText(side mst.Side) string {
	switch side.Kind {
	case mst.BesideKey:
		return string(side.Path)
	case mst.BesideGap:
		return "hidden"
	}
	return "edge"
}

func (p *proofJSON) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	p.commitJSON.print(line)
	line("proof", "%d blocks, signed by the key of the DID document", p.Blocks)
	line("record", "%s", p.Presence)
	if p.CID != nil {
		line("cid", "%s", *p.CID)
	}
	line("left", "%s", plain(p.Left))
	line("right", "%s", plain(p.Right))
	if err := t.Flush(); err != nil || p.CID == nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", escape(p.Record))
	return err
}
