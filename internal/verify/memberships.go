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
		if run.Presence() != mst.Present || kinds.created == 0 && !kinds.updated {
			continue
		}
		p.Present = append(p.Present, nsid)
		if kinds.created == 0 || kinds.updated || kinds.deleted || showsOlder(run, kinds.created) {
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
type kinds struct {
	created          int // keys
	updated, deleted bool
}

// actionsIn returns the actions of ops in a collection.
func actionsIn(ops []event.Op, nsid string) kinds {
	var k kinds
	for i := range ops {
		if name, _ := atproto.CollectionOf(ops[i].Path); name != nsid {
			continue
		}
		switch ops[i].Action {
		case event.Create:
			k.created++
		case event.Update:
			k.updated = true
		default:
			k.deleted = true
		}
	}
	return k
}

// showsOlder reports whether a collection's run shows a key that is not among the
// created ones, all of which it shows: a visible one, or something hidden among its
// keys.
func showsOlder(run mst.Run, created int) bool {
	return run.Inside || len(run.Keys) > created
}
