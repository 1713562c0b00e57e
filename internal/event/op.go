package event

import (
	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
)

// op reads the op with this index in its commit.
func (d *decoder) op(index int) Op {
	var op Op
	var keys dagcbor.Keys
	var path []byte
	var hasCID bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		switch string(d.r.Key(&keys)) {
		case "cid":
			hasCID = true
			op.CID = d.recordCID(index, "op cid")
		case "path":
			if d.is(dagcbor.Text, "op path") {
				path = d.r.Text()
			}
		case "prev":
			op.Prev = d.recordCID(index, "op prev")
		case "action":
			if d.is(dagcbor.Text, "op action") {
				op.Action = action(d.r.Text())
			}
		default:
			d.r.Skip()
		}
	}
	op.Path = d.path(index, path)
	d.judge(index, op, hasCID)
	return op
}

func action(text []byte) Action {
	switch string(text) {
	case "create":
		return Create
	case "update":
		return Update
	case "delete":
		return Delete
	}
	return 0
}

// recordCID reads the binary CID of a record, nil for null.
func (d *decoder) recordCID(index int, field string) []byte {
	if !d.optional(dagcbor.CID, field) {
		return nil
	}
	cid := d.r.CID()
	if err := atproto.CheckCID(cid); err != nil {
		d.refuse(refusal.BadOp, "%s of op %d: %w", field, index, err)
		return nil
	}
	return cid
}

// path checks a record's path.
func (d *decoder) path(index int, text []byte) string {
	if d.r.Err() != nil || d.refusal != nil {
		return ""
	}
	path := string(text)
	if _, _, err := atproto.ParsePath(path); err != nil {
		d.refuse(refusal.BadOp, "op %d: %w", index, err)
	}
	return path
}

// judge checks which CIDs the action asks for (lexicon: repoOp). A create and an
// update have cid, a delete has a null cid. Whether prev fits depends on the other
// ops of its path and is package verify's to say.
func (d *decoder) judge(index int, op Op, hasCID bool) {
	switch {
	case op.Action == 0:
		d.refuse(refusal.BadOp, "op %d: no known action", index)
	case !hasCID:
		d.refuse(refusal.BadOp, "op %d: no cid", index)
	case op.Action == Delete && op.CID != nil:
		d.refuse(refusal.BadOp, "op %d: a delete with a cid", index)
	case op.Action != Delete && op.CID == nil:
		d.refuse(refusal.BadOp, "op %d: cid is null", index)
	}
}
