package event

import (
	"bytes"

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
				i.Name = clipText(d.r.Text(), maxName)
			}
		case "message":
			if d.optional(dagcbor.Text, "message") {
				i.Message = clipText(d.r.Text(), maxMessage)
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
			e.Name = clipText(text, maxName)
		case "message":
			e.Message = clipText(text, maxMessage)
		}
	}
	return e
}

// clipText keeps at most limit bytes of a text, whole characters only.
func clipText(text []byte, limit int) string {
	if len(text) <= limit {
		return string(text)
	}
	return string(bytes.ToValidUTF8(text[:limit], nil))
}
