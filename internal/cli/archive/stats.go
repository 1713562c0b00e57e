package archive

import (
	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/repo"
)

// Tree is what was seen of a tree. After an error of the tree it ends where the
// error was found.
type Tree struct {
	Keys           int
	Nodes          int
	Height         int // depth of the root, 0 for the empty tree, -1 if the root is absent
	AbsentSubtrees int
	AbsentRecords  int // keys whose record has no block
	LeastKeys      int // of one node
	MostKeys       int
}

// Blocks counts the blocks of a CAR; all but Total count each only once. A block
// that is used is the commit, or was reached from it.
type Blocks struct {
	Total, Different            int
	Nodes, Records, Unused      int
	NodeBytes, RecordBytes      int64
	UnusedBytes, DuplicateBytes int64
}

// Duplicates is how many blocks repeat an earlier one.
func (b Blocks) Duplicates() int { return b.Total - b.Different }

// block names a block: the same bytes may be there under two codecs.
type block struct {
	digest atproto.Digest
	codec  byte
}

type use byte

const (
	unused use = iota
	usedAsCommit
	usedAsNode
	usedAsRecord
	counted // by uses.count
)

// uses maps each block of a CAR to what it is there for.
type uses map[block]use

func newUses(car *repo.CAR) uses {
	u := make(uses, car.Len())
	for _, b := range car.Blocks() {
		u[block{b.Digest, b.Codec}] = unused
	}
	return u
}

func (u uses) mark(d atproto.Digest, as use) { u[block{d, atproto.CodecDAGCBOR}] = as }

// markCID marks the block of a CID that the CAR has.
func (u uses) markCID(cid []byte, as use) {
	if b := (block{atproto.Digest(cid[4:]), cid[1]}); u[b] == unused {
		u[b] = as
	}
}

// count returns the figures, at the end: uses is of no further use.
func (u uses) count(car *repo.CAR) Blocks {
	total := Blocks{Total: car.Len(), Different: len(u)}
	for _, b := range car.Blocks() {
		id, n := block{b.Digest, b.Codec}, int64(len(b.Data))
		switch u[id] {
		case unused:
			total.Unused++
			total.UnusedBytes += n
		case usedAsNode:
			total.Nodes++
			total.NodeBytes += n
		case usedAsRecord:
			total.Records++
			total.RecordBytes += n
		case counted:
			total.DuplicateBytes += n
		}
		u[id] = counted
	}
	return total
}

// watchedNodes returns the nodes of a CAR and notes which were asked for.
type watchedNodes struct {
	car  *repo.CAR
	uses uses
	tree *Tree
}

// Len is the number of blocks.
func (w *watchedNodes) Len() int { return w.car.Len() }

// Block finds a node.
func (w *watchedNodes) Block(d atproto.Digest) ([]byte, bool) {
	data, ok := w.car.Block(d)
	if !ok {
		w.tree.AbsentSubtrees++
		return nil, false
	}
	w.uses.mark(d, usedAsNode)
	n := keysOf(data)
	if w.tree.Nodes == 0 || n < w.tree.LeastKeys {
		w.tree.LeastKeys = n
	}
	w.tree.MostKeys = max(w.tree.MostKeys, n)
	w.tree.Nodes++
	return data, true
}

// keysOf counts the keys of one node, 0 for what is no node.
func keysOf(node []byte) int {
	r := dagcbor.NewReader(node)
	r.Map()
	r.Text()
	return r.Array()
}
