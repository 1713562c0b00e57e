package establish

import (
	"sort"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/mst"
)

// gap is a part of the tree that no answer has shown: what stands between two
// keys. An empty text is the tree's edge.
type gap struct{ after, before string }

// within appends what an answer leaves hidden of a gap.
func (g gap) within(v *mst.View, out []gap) []gap {
	keys := v.Keys()
	i := sort.Search(len(keys), func(i int) bool { return string(keys[i].Path) > g.after })
	from := g.after
	for ; i < len(keys) && (g.before == "" || string(keys[i].Path) < g.before); i++ {
		to := string(keys[i].Path)
		out = gap{from, to}.ifHidden(v, out)
		from = to
	}
	return gap{from, g.before}.ifHidden(v, out)
}

// ifHidden appends a gap between two keys that nothing visible separates, if
// something hidden does.
func (g gap) ifHidden(v *mst.View, out []gap) []gap {
	if g.known() {
		return out
	}
	if _, right := v.Neighbours(g.after); right.Kind != mst.BesideGap {
		return out
	}
	return append(out, g)
}

// known reports whether both keys have the same words before the slash. Then
// all keys between them have too, and the collection is known (spec: repository,
// the keys of a collection stand together).
func (g gap) known() bool {
	slash := strings.IndexByte(g.after, '/')
	return slash >= 0 && strings.HasPrefix(g.before, g.after[:slash+1])
}

// holds reports whether a path has its place in the gap.
func (g gap) holds(path string) bool { return path > g.after && (g.before == "" || path < g.before) }

// collectionOf returns the collection of a key that has one.
func collectionOf(key string) (nsid string, ok bool) {
	nsid, ok = atproto.CollectionOf(key)
	return nsid, ok && isNSID(nsid)
}
