package mst

// Outline is what a tree shows of its collections: those that are visible, and
// where others may hide. The zero value shows an unknown tree.
type Outline struct {
	view  *View
	names [][]byte
}

// Outline gives the outline of the tree.
func (v *View) Outline() Outline {
	var all Collections
	for _, key := range v.keys {
		all.Add(key.Path)
	}
	o := Outline{view: v}
	for _, nsid := range all.Sorted() {
		o.names = append(o.names, []byte(nsid))
	}
	return o
}

// Names are the visible collections, each once.
func (o *Outline) Names() [][]byte { return o.names }

// Presence is what the tree proves about a collection.
func (o *Outline) Presence(nsid string) Presence {
	if o.view == nil {
		return Unknown
	}
	return o.view.Collection(nsid).Presence()
}
