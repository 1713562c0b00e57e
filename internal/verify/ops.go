package verify

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
)

// netOps folds the ops of one path into the one that leads from before the commit
// to after it, and returns them in the order in which they are undone: deletes,
// updates, then creates from the bottom of the tree to its top. No other order gets
// by with fewer nodes. What is put back first keeps subtrees apart that removing a
// key would else have to merge; and a key is removed when nothing new is left below
// it, so that two subtrees are merged only where the tree before had them in one.
// Reason: BadOp.
func netOps(ops []event.Op) ([]event.Op, error) {
	if err := checkActions(ops); err != nil {
		return nil, err
	}
	if len(ops) == 1 {
		_, _, err := fold(ops) // which leaves a single op as it is
		return ops, err
	}
	sorted := slices.Clone(ops)
	slices.SortStableFunc(sorted, func(a, b event.Op) int { return strings.Compare(a.Path, b.Path) })
	kept := make([]ranked, 0, len(sorted))
	for i := 0; i < len(sorted); {
		n := 1
		for i+n < len(sorted) && sorted[i+n].Path == sorted[i].Path {
			n++
		}
		op, changes, err := fold(sorted[i : i+n])
		if err != nil {
			return nil, err
		}
		if changes {
			kept = append(kept, ranked{op, undoRank(&op)})
		}
		i += n
	}
	slices.SortStableFunc(kept, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	net := sorted[:len(kept)]
	for i := range kept {
		net[i] = kept[i].op
	}
	return net, nil
}

// ranked is an op with its place in the undoing.
type ranked struct {
	op   event.Op
	rank int
}

// fold makes one op of those of one path, in their order. Real servers send all
// the writes of a path in one commit: prev is then the record before the commit,
// whatever the action, and absent if there was none. The record that an op of the
// commit itself has made is accepted as prev too. changes is false when they
// cancel out.
func fold(ops []event.Op) (op event.Op, changes bool, err error) {
	op = ops[0]
	if op.Action == event.Create && op.Prev != nil {
		return op, false, refusal.New(refusal.BadOp, "%s is created, and has a prev", op.Path)
	}
	existed := op.Action != event.Create
	now := op.CID
	for _, next := range ops[1:] {
		if (next.Action == event.Create) == (now != nil) {
			return op, false, refusal.New(refusal.BadOp, "%s comes %d times, in an order that cannot be", op.Path, len(ops))
		}
		if next.Prev != nil && !bytes.Equal(next.Prev, op.Prev) && !bytes.Equal(next.Prev, now) {
			return op, false, refusal.New(refusal.BadOp, "%s comes %d times, and they disagree about prev", op.Path, len(ops))
		}
		now = next.CID
	}
	op.CID = now
	switch {
	case existed && now != nil:
		op.Action = event.Update
	case existed:
		op.Action = event.Delete
	case now == nil:
		return op, false, nil
	}
	return op, true, nil
}

// undoRank is lower for an op that is undone earlier. Creates are ranked by the
// level at which their key stands.
func undoRank(op *event.Op) int {
	switch op.Action {
	case event.Delete:
		return -2
	case event.Update:
		return -1
	}
	return mst.Depth([]byte(op.Path))
}

// checkActions refuses what package event never lets through, because the rest
// of the proof relies on it.
func checkActions(ops []event.Op) error {
	for i := range ops {
		op := &ops[i]
		switch op.Action {
		case event.Create, event.Update, event.Delete:
		default:
			return refusal.New(refusal.BadOp, "action %d", op.Action)
		}
		if strings.IndexByte(op.Path, '/') <= 0 {
			return refusal.New(refusal.BadOp, "a path without collection")
		}
		if (op.Action == event.Delete) != (op.CID == nil) {
			return refusal.New(refusal.BadOp, "%s: cid missing or superfluous", op.Path)
		}
	}
	return nil
}
