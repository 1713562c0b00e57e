package archive

import (
	"bytes"

	"railyard/internal/atproto"
	"railyard/internal/mst"
)

// Collection is a collection of a repo and the number of its visible records.
type Collection struct {
	NSID    string
	Records int
	// AtLeast: something is hidden beside or among the records, so that there may
	// be more.
	AtLeast bool
}

// Collections returns the collections of a view in the tree's order, that of their
// names with the slash. odd counts the keys that belong to none: without slash,
// or with something else than an NSID before it.
func Collections(view *mst.View) (list []Collection, odd int) {
	keys := view.Keys()
	for at := 0; at < len(keys); {
		nsid, ok := atproto.CollectionOf(string(keys[at].Path))
		if !ok {
			at, odd = at+1, odd+1
			continue
		}
		n := sameCollection(keys[at:], nsid+"/")
		at += n
		if _, err := atproto.ParseNSID(nsid); err != nil {
			odd += n
			continue
		}
		run := view.Collection(nsid)
		list = append(list, Collection{NSID: nsid, Records: n, AtLeast: run.Left || run.Inside || run.Right})
	}
	return list, odd
}

// sameCollection is how many of the first keys have a prefix.
func sameCollection(keys []mst.Key, prefix string) int {
	for i, key := range keys {
		if !bytes.HasPrefix(key.Path, []byte(prefix)) {
			return i
		}
	}
	return len(keys)
}

// Keys returns the keys of one collection, or all where nsid is empty.
func Keys(view *mst.View, nsid string) []mst.Key {
	if nsid == "" {
		return view.Keys()
	}
	return view.Collection(nsid).Keys
}
