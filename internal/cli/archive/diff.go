package archive

import (
	"bytes"
	"slices"

	"railyard/internal/mst"
)

// Action is what lies between two states of one path.
type Action string

// The actions of a Change. Unknown: one state has the record, and the other one
// hides the place where it would be.
const (
	Create  Action = "create"
	Update  Action = "update"
	Delete  Action = "delete"
	Unknown Action = "unknown"
)

// Change is one path that differs between two states. Old and New are the
// record's binary CIDs, nil where it was not seen.
type Change struct {
	Action   Action
	Path     string
	Old, New []byte
}

// Summary counts the changes between two states, and names the collections that
// began or ended between them. Of the Undecided ones a state hides whether it
// has any record.
type Summary struct {
	Creates, Updates, Deletes, Unknown, Same int
	Born, Died, Undecided                    []string
}

// Compare calls visit with what leads from one view to another, in the order of
// the tree; of one collection alone if nsid is not empty. It ends with an error
// of visit.
func Compare(from, to *mst.View, nsid string, visit func(Change) error) (Summary, error) {
	var s Summary
	old, now := Keys(from, nsid), Keys(to, nsid)
	for len(old) > 0 || len(now) > 0 {
		var c Change
		switch order(old, now) {
		case -1:
			c = alone(Delete, to, old[0].Path)
			c.Old, old = old[0].Value, old[1:]
		case 1:
			c = alone(Create, from, now[0].Path)
			c.New, now = now[0].Value, now[1:]
		default:
			c = Change{Action: Update, Path: string(now[0].Path), Old: old[0].Value, New: now[0].Value}
			old, now = old[1:], now[1:]
			if bytes.Equal(c.Old, c.New) {
				s.Same++
				continue
			}
		}
		s.count(c.Action)
		if err := visit(c); err != nil {
			return s, err
		}
	}
	s.collections(from, to, nsid)
	return s, nil
}

// order compares the first keys of two lists.
func order(a, b []mst.Key) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return bytes.Compare(a[0].Path, b[0].Path)
}

// alone is the change of a path that only one state shows.
func alone(action Action, other *mst.View, path []byte) Change {
	if _, p := other.Get(string(path)); p == mst.Unknown {
		action = Unknown
	}
	return Change{Action: action, Path: string(path)}
}

func (s *Summary) count(a Action) {
	switch a {
	case Create:
		s.Creates++
	case Update:
		s.Updates++
	case Delete:
		s.Deletes++
	default:
		s.Unknown++
	}
}

// collections decides which collections began and ended.
func (s *Summary) collections(from, to *mst.View, nsid string) {
	for _, name := range either(from, to) {
		if nsid != "" && name != nsid {
			continue
		}
		before, after := from.Collection(name).Presence(), to.Collection(name).Presence()
		switch {
		case before == mst.Unknown || after == mst.Unknown:
			s.Undecided = append(s.Undecided, name)
		case before == mst.Absent:
			s.Born = append(s.Born, name)
		case after == mst.Absent:
			s.Died = append(s.Died, name)
		}
	}
}

// either names the collections that one of two views shows, sorted by their
// bytes.
func either(a, b *mst.View) (names []string) {
	for _, view := range []*mst.View{a, b} {
		list, _ := Collections(view)
		for _, c := range list {
			names = append(names, c.NSID)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
