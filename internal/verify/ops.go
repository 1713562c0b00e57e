package verify

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"railyard/internal/event"
	"railyard/internal/refusal"
)

// settle removes ops that cancel out and gives the others in the order in which
// they are undone: deletes, updates, creates, each by path. In this order the
// undoing never needs a node that another order would not.
//
// A create followed by a delete of the same path cancels out: real servers send
// that for a record made and removed in one commit, mostly without prev. Any
// other repeated path is refused. Reason: BadOp.
func settle(ops []event.Op) ([]event.Op, error) {
	if len(ops) <= 1 {
		return ops, checkActions(ops)
	}
	if err := checkActions(ops); err != nil {
		return nil, err
	}
	sorted := slices.Clone(ops)
	slices.SortStableFunc(sorted, func(a, b event.Op) int { return strings.Compare(a.Path, b.Path) })
	kept := sorted[:0]
	for i := 0; i < len(sorted); {
		n := 1
		for i+n < len(sorted) && sorted[i+n].Path == sorted[i].Path {
			n++
		}
		switch {
		case n == 1:
			kept = append(kept, sorted[i])
		case n > 2 || !cancel(&sorted[i], &sorted[i+1]):
			return nil, refusal.New(refusal.BadOp, "%s comes %d times", sorted[i].Path, n)
		}
		i += n
	}
	slices.SortStableFunc(kept, func(a, b event.Op) int { return cmp.Compare(undoRank(a.Action), undoRank(b.Action)) })
	return kept, nil
}

// cancel tells whether b takes back a, two ops of one path in their order.
func cancel(a, b *event.Op) bool {
	return a.Action == event.Create && b.Action == event.Delete && (b.Prev == nil || bytes.Equal(a.CID, b.Prev))
}

func undoRank(a event.Action) int {
	switch a {
	case event.Delete:
		return 0
	case event.Update:
		return 1
	}
	return 2
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
	}
	return nil
}
