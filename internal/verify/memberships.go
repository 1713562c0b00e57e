package verify

import (
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
)

// memberships fills in what the ops and the new tree prove about collections. The ops
// have been undone, so the tree shows the place of each.
func (pr *prover) memberships(p *Proof, ops []event.Op, view *mst.View) {
	for _, nsid := range pr.touched(ops) {
		run := view.Collection(nsid)
		kinds := actionsIn(ops, nsid)
		if run.Presence() == mst.Absent {
			p.Died = append(p.Died, nsid)
		}
		if run.Presence() != mst.Present || !kinds.created && !kinds.updated {
			continue
		}
		p.Present = append(p.Present, nsid)
		if !kinds.created || kinds.updated || kinds.deleted || showsOlder(run, ops) {
			continue
		}
		if run.Left || run.Right {
			p.BirthUnknown = append(p.BirthUnknown, nsid)
		} else {
			p.Born = append(p.Born, nsid)
		}
	}
	p.Shown = view.Outline()
}

// touched are the collections of the ops, sorted, each once.
func (pr *prover) touched(ops []event.Op) []string {
	pr.names = pr.names[:0]
	for i := range ops {
		nsid, _ := atproto.CollectionOf(ops[i].Path)
		pr.names = append(pr.names, nsid)
	}
	slices.Sort(pr.names)
	return slices.Compact(pr.names)
}

// kinds are the actions that a commit does in one collection.
type kinds struct{ created, updated, deleted bool }

// actionsIn returns the actions of ops in a collection.
func actionsIn(ops []event.Op, nsid string) kinds {
	var k kinds
	for i := range ops {
		if name, _ := atproto.CollectionOf(ops[i].Path); name != nsid {
			continue
		}
		switch ops[i].Action {
		case event.Create:
			k.created = true
		case event.Update:
			k.updated = true
		default:
			k.deleted = true
		}
	}
	return k
}

// showsOlder reports whether a collection's run shows a key that the commit did
// not create: a visible one, or something hidden among its keys.
func showsOlder(run mst.Run, ops []event.Op) bool {
	if run.Inside {
		return true
	}
	for _, key := range run.Keys {
		if !creates(ops, key.Path) {
			return true
		}
	}
	return false
}

// creates looks for the create of a path; creates come last, sorted by path.
func creates(ops []event.Op, path []byte) bool {
	from := slices.IndexFunc(ops, func(op event.Op) bool { return op.Action == event.Create })
	if from < 0 {
		return false
	}
	_, found := slices.BinarySearchFunc(ops[from:], path, func(op event.Op, path []byte) int {
		switch {
		case op.Path < string(path):
			return -1
		case op.Path > string(path):
			return 1
		}
		return 0
	})
	return found
}
