package mst

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"railyard/internal/atproto"
)

// Outline is what a view shows of the collections of its tree: those of which a
// key is visible, and where between them something is hidden. It is small, and
// shares no memory with its view. The zero Outline knows nothing.
type Outline struct {
	// text has the visible collections in the order of the tree, each with its
	// slash, and hiddenHere wherever something is hidden before, between or
	// after them.
	text  string
	known bool // false in the zero Outline
}

// hiddenHere stands for what is hidden; no name begins with it.
const hiddenHere = 0

// Outline returns the outline of a view. Keys that belong to no valid collection
// are left out: what is hidden on either side of them counts as hidden between
// the collections around them. What is hidden among the keys of one collection
// belongs to it and does not count.
func (v *View) Outline() Outline {
	text := make([]byte, 0, 512) // on the stack
	var last []byte              // the last valid collection, with its slash
	hidden := false
	for i := range v.keys {
		key := v.keys[i].Path
		if last != nil && bytes.HasPrefix(key, last) {
			continue
		}
		hidden = hidden || v.gaps[i]
		slash := bytes.IndexByte(key, '/')
		if slash < 0 || !atproto.IsNSID(key[:slash]) {
			continue
		}
		last = key[:slash+1]
		text = append(appendHidden(text, hidden), last...)
		hidden = false
	}
	text = appendHidden(text, hidden || v.gaps[len(v.keys)])
	return Outline{string(text), true}
}

func appendHidden(text []byte, hidden bool) []byte {
	if hidden {
		return append(text, hiddenHere)
	}
	return text
}

// Names are the visible collections, each once, in the order of the tree.
func (o Outline) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := o.text; rest != ""; {
			var name string
			if _, name, rest = cutItem(rest); name != "" && !yield(name) {
				return
			}
		}
	}
}

// Presence returns what the outline proves about a collection: Present where a key
// of it is visible, Absent where nothing is hidden at its place, else Unknown. Of
// what is no valid NSID it knows nothing.
func (o Outline) Presence(nsid string) Presence {
	if !o.known || !atproto.IsNSID(nsid) {
		return Unknown
	}
	for rest := o.text; ; {
		hidden, name, next := cutItem(rest)
		order := compareNames(name, nsid)
		switch {
		case name != "" && order < 0:
			rest = next
			continue
		case name != "" && order == 0:
			return Present
		case hidden:
			return Unknown
		}
		return Absent
	}
}

// Contradicts returns a collection of which the outline proves that a list is wrong, none
// if it proves nothing of the kind: one of the list that is absent, or, if the list is
// whole, one that is visible and not in it. It sorts the list.
func (o Outline) Contradicts(list []string, whole bool) string {
	if !o.known {
		return ""
	}
	slices.SortFunc(list, compareNames)
	for rest := o.text; ; {
		hidden, name, next := cutItem(rest)
		before := len(list) // those that would stand before name
		if name != "" {
			before = slices.IndexFunc(list, func(nsid string) bool { return compareNames(nsid, name) >= 0 })
			if before < 0 {
				before = len(list)
			}
		}
		if before > 0 && !hidden {
			return list[0]
		}
		if list = list[before:]; name == "" {
			return ""
		}
		switch {
		case len(list) > 0 && list[0] == name:
			list = list[1:]
		case whole:
			return name
		}
		rest = next
	}
}

// cutItem takes the first place of an outline's text: whether something is
// hidden there, and the collection behind it, if there is one.
func cutItem(text string) (hidden bool, name, rest string) {
	if text != "" && text[0] == hiddenHere {
		hidden, text = true, text[1:]
	}
	name, rest, _ = strings.Cut(text, "/")
	return hidden, name, rest
}

// compareNames compares two collections in the order of the tree, in which the
// slash behind their names takes part.
func compareNames(a, b string) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	switch {
	case len(a) < len(b):
		return '/' - int(b[n])
	case len(a) > len(b):
		return int(a[n]) - '/'
	}
	return 0
}
