package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"railyard/internal/cli/archive"
)

// collectionsJSON is the list of a repo's collections in the tree's order.
type collectionsJSON struct {
	Source         string           `json:"source"`
	DID            string           `json:"did"`
	Rev            *string          `json:"rev"`
	Complete       bool             `json:"complete"`
	AbsentSubtrees int              `json:"absent_subtrees"`
	Collections    []collectionJSON `json:"collections"`
	Records        int              `json:"records"`
	OddKeys        int              `json:"odd_keys"`
}

type collectionJSON struct {
	Collection string `json:"collection"`
	Records    int    `json:"records"`
	AtLeast    bool   `json:"at_least"` // there may be more
}

// listCollections lists the collections of a repo.
func listCollections(ctx context.Context, c *repoConfig, args []string, w io.Writer) error {
	s, only, err := c.whole("repo collections", args[0])
	if err != nil {
		return err
	}
	st, err := c.load(ctx, s)
	if err != nil {
		return err
	}
	if err := st.shown(); err != nil {
		return err
	}
	report := newCollections(st, only)
	if c.asJSON {
		return writeJSON(w, report)
	}
	return report.print(w)
}

func newCollections(st *state, only string) *collectionsJSON {
	a := st.archive
	list, odd := archive.Collections(a.View)
	if only != "" {
		list = slices.DeleteFunc(list, func(c archive.Collection) bool { return c.NSID != only })
		odd = 0
	}
	j := &collectionsJSON{
		Source: st.source.text, DID: a.Commit.DID, Rev: st.commitJSON().Rev, Complete: a.Whole(),
		AbsentSubtrees: a.Tree.AbsentSubtrees, Collections: make([]collectionJSON, len(list)), OddKeys: odd,
	}
	for i, c := range list {
		j.Collections[i] = collectionJSON{c.NSID, c.Records, c.AtLeast}
		j.Records += c.Records
	}
	return j
}

func (j *collectionsJSON) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range j.Collections {
		more := ""
		if c.AtLeast {
			more = " or more"
		}
		_, _ = fmt.Fprintf(t, "%s\t%d%s\n", c.Collection, c.Records, more)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	total := fmt.Sprintf("%s, %s of %s", count(len(j.Collections), "collection"), count(j.Records, "record"), j.DID)
	if j.OddKeys > 0 {
		total += fmt.Sprintf("; besides %s of no collection", count(j.OddKeys, "key"))
	}
	if !j.Complete {
		total += fmt.Sprintf("\nthe tree is partial: %s absent, so there may be more records and more collections", count(j.AbsentSubtrees, "subtree"))
	}
	_, err := fmt.Fprintln(w, total)
	return err
}
