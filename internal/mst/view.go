package mst

import "sort"

// View is a tree as the flat sequence of its visible keys and of the gaps
// between them. It stays as it was loaded when the tree is changed.
type View struct {
	keys []Key
	gaps []bool // gaps[i]: something is hidden between key i-1 and key i
}

// Key is a visible key and the CID of its record, exactly as in the tree.
type Key struct{ Path, Value []byte }

func (v *View) addKey(path, value []byte) {
	v.keys = append(v.keys, Key{path, value})
	v.gaps = append(v.gaps, false)
}

func (v *View) addGap() { v.gaps[len(v.gaps)-1] = true }

// Keys are the visible keys in order.
func (v *View) Keys() []Key { return v.keys }

// Gaps is the number of absent subtrees.
func (v *View) Gaps() int {
	n := 0
	for _, gap := range v.gaps {
		if gap {
			n++
		}
	}
	return n
}

// Complete reports whether the whole tree is visible.
func (v *View) Complete() bool { return v.Gaps() == 0 }

// Presence is what a view proves about a key or a collection.
type Presence byte

// The three answers.
const (
	Unknown Presence = iota // its place is hidden
	Present
	Absent
)

func (p Presence) String() string { return [...]string{"unknown", "present", "absent"}[p] }

// place is the number of visible keys below path, and whether path follows.
func (v *View) place(path string) (i int, found bool) {
	i = sort.Search(len(v.keys), func(i int) bool { return string(v.keys[i].Path) >= path })
	return i, i < len(v.keys) && string(v.keys[i].Path) == path
}

// Get looks for a key; value is only set where it is present.
func (v *View) Get(path string) (value []byte, p Presence) {
	i, found := v.place(path)
	switch {
	case found:
		return v.keys[i].Value, Present
	case v.gaps[i]:
		return nil, Unknown
	}
	return nil, Absent
}

// Side is what stands next to a place.
type Side struct {
	Kind SideKind
	Path []byte // of a BesideKey
}

// SideKind is the kind of a Side.
type SideKind byte

// A neighbour is a visible key, a gap, or the edge of the tree.
const (
	BesideKey SideKind = iota
	BesideGap
	BesideEdge
)

// Neighbours returns what stands directly left and right of a path, be the path
// itself there or not.
func (v *View) Neighbours(path string) (left, right Side) {
	i, found := v.place(path)
	next := i
	if found {
		next = i + 1
	}
	return v.side(i, i-1), v.side(next, next)
}

// side is the neighbour behind gaps[gap], which may be key number key.
func (v *View) side(gap, key int) Side {
	switch {
	case v.gaps[gap]:
		return Side{Kind: BesideGap}
	case key < 0 || key >= len(v.keys):
		return Side{Kind: BesideEdge}
	}
	return Side{Kind: BesideKey, Path: v.keys[key].Path}
}

// Run are the visible keys of one collection, which stand together.
type Run struct {
	Keys []Key
	// Left, Inside, Right: something is hidden directly before, among, after
	// the keys. What is inside belongs to the collection. Of a run without keys
	// Left and Right are the same gap.
	Left, Inside, Right bool
}

// Collection finds a collection's run (spec: repository; keys of one collection
// begin with its name and a slash).
func (v *View) Collection(nsid string) Run {
	from := sort.Search(len(v.keys), func(i int) bool { return compare(v.keys[i].Path, nsid) >= 0 })
	n := sort.Search(len(v.keys)-from, func(i int) bool { return compare(v.keys[from+i].Path, nsid) > 0 })
	run := Run{Keys: v.keys[from : from+n], Left: v.gaps[from], Right: v.gaps[from+n]}
	for i := 1; i < n; i++ {
		run.Inside = run.Inside || v.gaps[from+i]
	}
	return run
}

// Presence is what the run proves about its collection.
func (r Run) Presence() Presence {
	switch {
	case len(r.Keys) > 0:
		return Present
	case r.Left:
		return Unknown
	}
	return Absent
}

// compare reports whether a key stands before, in or after a collection.
func compare(key []byte, nsid string) int {
	n := min(len(key), len(nsid))
	switch {
	case string(key[:n]) < nsid[:n]:
		return -1
	case string(key[:n]) > nsid[:n]:
		return 1
	case len(key) <= len(nsid):
		return -1
	}
	return int(key[len(nsid)]) - '/'
}
