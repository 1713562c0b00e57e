package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/cli/archive"
)

type changeJSON struct {
	Action    archive.Action  `json:"action"`
	Path      string          `json:"path"`
	Old       *string         `json:"old"` // CIDs
	New       *string         `json:"new"`
	OldRecord json.RawMessage `json:"old_record,omitempty"`
	NewRecord json.RawMessage `json:"new_record,omitempty"`
}

// diffJSON is what stands before the changes, and diffTotals what follows them.
type diffJSON struct {
	A        commitJSON `json:"a"`
	B        commitJSON `json:"b"`
	Complete bool       `json:"complete"` // both trees are whole
}

type diffTotals struct {
	Creates   int      `json:"creates"`
	Updates   int      `json:"updates"`
	Deletes   int      `json:"deletes"`
	Unknown   int      `json:"unknown"` // one tree hides the place
	Unchanged int      `json:"unchanged"`
	Born      []string `json:"born"` // collections
	Died      []string `json:"died"`
	Undecided []string `json:"undecided"`
}

// diffRepos returns the difference between two states.
func diffRepos(ctx context.Context, c *repoConfig, args []string, w io.Writer) error {
	var states [2]*state
	collections := [2]string{}
	for i, text := range args {
		s, collection, err := c.whole("repo diff", text)
		if err != nil {
			return err
		}
		states[i], collections[i] = &state{source: s}, collection
	}
	collection, err := oneCollection(collections)
	if err != nil {
		return err
	}
	for i, st := range states {
		if states[i], err = c.load(ctx, st.source); err != nil {
			return err
		}
		if err := states[i].shown(); err != nil {
			return err
		}
	}
	if c.asJSON {
		return c.diffAsJSON(states[0], states[1], collection, w)
	}
	return c.printDiff(states[0], states[1], collection, w)
}

// oneCollection is what the two sides ask for, where one may leave it open.
func oneCollection(c [2]string) (string, error) {
	switch {
	case c[0] == "" || c[0] == c[1]:
		return c[1], nil
	case c[1] == "":
		return c[0], nil
	}
	return "", usagef("repo diff: two collections, %s and %s", c[0], c[1])
}

func (c *repoConfig) change(a, b *state, change archive.Change) changeJSON {
	j := changeJSON{Action: change.Action, Path: change.Path}
	if change.Old != nil {
		text := archive.CIDText(change.Old)
		j.Old = &text
		if c.records {
			j.OldRecord = recordAsJSON(a.archive.Record(change.Old))
		}
	}
	if change.New != nil {
		text := archive.CIDText(change.New)
		j.New = &text
		if c.records {
			j.NewRecord = recordAsJSON(b.archive.Record(change.New))
		}
	}
	return j
}

func (c *repoConfig) diffAsJSON(a, b *state, collection string, w io.Writer) error {
	head := diffJSON{A: a.commitJSON(), B: b.commitJSON(), Complete: a.archive.Whole() && b.archive.Whole()}
	return writeJSONList(w, head, "changes", func(add func(item any) error) (any, error) {
		s, err := archive.Compare(a.archive.View, b.archive.View, collection, func(change archive.Change) error {
			return add(c.change(a, b, change))
		})
		return diffTotals{
			s.Creates, s.Updates, s.Deletes, s.Unknown, s.Same, orEmpty(s.Born), orEmpty(s.Died), orEmpty(s.Undecided),
		}, err
	})
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (c *repoConfig) printDiff(a, b *state, collection string, w io.Writer) error {
	for _, side := range []struct {
		name string
		st   *state
	}{{"A", a}, {"B", b}} {
		commit := side.st.archive.Commit
		if _, err := fmt.Fprintf(w, "%s  %s: %s, %s\n", side.name, plain(side.st.source.text), commit.DID, revText(commit.Rev)); err != nil {
			return err
		}
	}
	for _, note := range diffNotes(a.archive, b.archive) {
		if _, err := fmt.Fprintf(w, "note: %s\n", note); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	s, err := archive.Compare(a.archive.View, b.archive.View, collection, func(change archive.Change) error {
		return c.change(a, b, change).print(w)
	})
	if err != nil {
		return err
	}
	return printSummary(w, s)
}

// diffNotes are what a reader of the changes should know.
func diffNotes(a, b *archive.Archive) (notes []string) {
	if a.Commit.DID != b.Commit.DID {
		notes = append(notes, "A and B are repos of two accounts")
	}
	if a.Commit.Rev != nil && b.Commit.Rev != nil && *b.Commit.Rev < *a.Commit.Rev {
		notes = append(notes, "B is older than A")
	}
	for i, archive := range []*archive.Archive{a, b} {
		if !archive.Whole() {
			notes = append(notes, fmt.Sprintf("%c is partial: %s absent; ? marks what it may hide", 'A'+i, count(archive.Tree.AbsentSubtrees, "subtree")))
		}
	}
	return notes
}

func (j changeJSON) print(w io.Writer) error {
	mark := map[archive.Action]string{archive.Create: "+", archive.Update: "~", archive.Delete: "-", archive.Unknown: "?"}[j.Action]
	cids := make([]string, 0, 2)
	for _, cid := range []*string{j.Old, j.New} {
		if cid != nil {
			cids = append(cids, *cid)
		}
	}
	if _, err := fmt.Fprintf(w, "%s %s  %s\n", mark, plain(j.Path), strings.Join(cids, " -> ")); err != nil {
		return err
	}
	if err := printRecord(w, "- ", j.OldRecord); err != nil {
		return err
	}
	return printRecord(w, "+ ", j.NewRecord)
}

func printSummary(w io.Writer, s archive.Summary) error {
	if s.Creates+s.Updates+s.Deletes+s.Unknown > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	total := fmt.Sprintf("%s, %s, %s", count(s.Creates, "create"), count(s.Updates, "update"), count(s.Deletes, "delete"))
	if s.Unknown > 0 {
		total += fmt.Sprintf(", %d unknown", s.Unknown)
	}
	if _, err := fmt.Fprintf(w, "%s; %d unchanged\n", total, s.Same); err != nil {
		return err
	}
	for _, list := range []struct {
		name  string
		nsids []string
	}{{"born", s.Born}, {"died", s.Died}, {"undecided", s.Undecided}} {
		if len(list.nsids) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", list.name, strings.Join(list.nsids, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// revText is a rev in a line of text.
func revText(rev *atproto.TID) string {
	if rev == nil {
		return "without rev"
	}
	return "rev " + rev.String() + ", which claims " + rev.Time().UTC().Format(time.RFC3339)
}
