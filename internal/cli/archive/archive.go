package archive

import (
	"bytes"
	"fmt"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// maxBlocks bounds what finding the blocks of one CAR takes: 64 bytes for each.
// The largest repos known have a few million.
const maxBlocks = 16 << 20

// Archive is a CAR in memory with what it shows of a repo. It shares memory with
// the bytes that it was read from.
type Archive struct {
	Bytes int
	// CAR, Commit and View are nil from the first one on that cannot be read; Err
	// says why.
	CAR    *repo.CAR
	Commit *Commit
	View   *mst.View

	Tree   Tree
	Blocks Blocks

	tree *mst.Tree // that of View

	carErr, commitErr, treeErr error
}

// Read reads a CAR, its commit and as much of the tree as it has. It never
// fails: what cannot be read is nil, and Err has the first reason.
func Read(b []byte) (a *Archive) {
	a = &Archive{Bytes: len(b)}
	defer func() {
		if p := recover(); p != nil {
			a = &Archive{Bytes: len(b), carErr: refusal.New(refusal.Internal, "panic while reading a CAR: %v", p)}
		}
	}()
	if a.CAR, a.carErr = repo.ParseCAR(b, repo.CARLimits{Bytes: len(b), Blocks: maxBlocks}); a.carErr != nil {
		a.CAR = nil
		if what := otherThanCAR(b); what != "" {
			a.carErr = refusal.New(refusal.BadCAR, "this is no CAR v1: %s", what)
		}
		return a
	}
	uses := newUses(a.CAR)
	a.readCommit(uses)
	if a.Commit != nil {
		a.readTree(uses)
	}
	a.Blocks = uses.count(a.CAR)
	return a
}

// otherThanCAR says what bytes are that people take for a CAR v1, empty for all else.
func otherThanCAR(b []byte) string {
	text := strings.TrimSpace(string(b[:min(len(b), 200)]))
	switch {
	case len(b) == 0:
		return "it is empty"
	case isJSON(text):
		return fmt.Sprintf("it is JSON, %q", atproto.ClipTo(text, 100))
	case strings.HasPrefix(text, "<!"), strings.HasPrefix(text, "<html"), strings.HasPrefix(text, "<?"):
		return "it is HTML or XML"
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return "it is compressed with gzip"
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return "it is compressed with zstd"
	case bytes.HasPrefix(b, []byte("\x0a\xa1\x67version\x02")):
		return "it is a CAR of version 2"
	}
	return ""
}

// isJSON reports whether a text begins as the JSON of an object, or of a list of texts,
// objects or lists does.
func isJSON(text string) bool {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return false
	}
	rest := strings.TrimSpace(text[1:])
	return rest != "" && strings.Contains("\"{}[]", rest[:1])
}

func (a *Archive) readCommit(uses uses) {
	block, ok := a.CAR.Block(a.CAR.Root())
	if !ok {
		a.commitErr = refusal.New(refusal.BadCommit, "the commit block %s is absent", a.CAR.Root())
		return
	}
	if a.Commit, a.commitErr = ParseCommit(block); a.commitErr != nil {
		a.Commit = nil
		return
	}
	uses.mark(a.CAR.Root(), usedAsCommit)
}

// readTree loads the tree and looks for the record of each key.
func (a *Archive) readTree(uses uses) {
	nodes := &watchedNodes{car: a.CAR, uses: uses, tree: &a.Tree}
	tree, view, err := mst.Load(a.Commit.Data, nodes)
	if err != nil {
		a.treeErr = refusal.New(refusal.BadTree, "%w", err)
		return
	}
	a.tree, a.View, a.Tree.Height = tree, view, tree.Height()
	if a.Commit.Data == atproto.EmptyTree {
		nodes.Block(atproto.EmptyTree) // which the loader knows without looking
		a.Tree.AbsentSubtrees = 0
	}
	a.Tree.Keys = len(view.Keys())
	for _, key := range view.Keys() {
		if _, ok := a.CAR.BlockOf(key.Value); !ok {
			a.Tree.AbsentRecords++
			continue
		}
		uses.markCID(key.Value, usedAsRecord)
	}
}

// Err is the first thing that keeps the repo from being shown: nil where commit
// and tree were read, be the tree whole or not.
func (a *Archive) Err() error {
	for _, err := range []error{a.carErr, a.commitErr, a.treeErr} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Whole reports whether the tree was read and lacks no node, so that its keys are
// all keys of the repo.
func (a *Archive) Whole() bool { return a.View != nil && a.View.Complete() }

// Record returns the record of a key of View, nil where its block is absent.
func (a *Archive) Record(value []byte) []byte {
	block, _ := a.CAR.BlockOf(value)
	return block
}
