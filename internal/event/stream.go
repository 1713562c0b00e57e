package event

import (
	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// info reads an #info, a message about the stream itself. It has no sequence
// number.
func (d *decoder) info() Event {
	i := new(Info)
	var keys dagcbor.Keys
	var hasName bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		switch string(d.r.Key(&keys)) {
		case "name":
			hasName = true
			if d.is(dagcbor.Text, "name") {
				i.Name = atproto.ClipTo(d.r.Text(), maxName)
			}
		case "message":
			if d.optional(dagcbor.Text, "message") {
				i.Message = atproto.ClipTo(d.r.Text(), maxMessage)
			}
		default:
			d.r.Skip()
		}
	}
	d.require(hasName, "name")
	return i
}

// streamError reads the payload of an error frame. The stream ends after it
// whatever it says, so a missing or ill-typed name is an empty one.
func (d *decoder) streamError() Event {
	e := new(StreamError)
	var keys dagcbor.Keys
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		key := d.r.Key(&keys)
		if d.r.Peek() != dagcbor.Text {
			d.r.Skip()
			continue
		}
		text := d.r.Text()
		switch string(key) {
		case "error":
			e.Name = atproto.ClipTo(text, maxName)
		case "message":
			e.Message = atproto.ClipTo(text, maxMessage)
		}
	}
	return e
}
