package event

import (
	"bytes"

	"railyard/internal/dagcbor"
)

// sync reads a #sync.
func (d *decoder) sync() Event {
	s := new(Sync)
	var keys dagcbor.Keys
	var hasDID, hasRev, hasBlocks bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		key := d.r.Key(&keys)
		switch string(key) {
		case "did":
			hasDID = true
			d.readDID("did")
		case "rev":
			hasRev = true
			s.Rev = d.readRev("rev")
		case "blocks":
			hasBlocks = true
			s.Blocks = d.readBlocks(MaxSyncBlocks)
		default:
			if !d.common(key) {
				d.r.Skip()
			}
		}
	}
	d.require(d.seq != 0, "seq")
	d.require(hasDID, "did")
	d.require(hasRev, "rev")
	d.require(hasBlocks, "blocks")
	s.DID = d.did
	return s
}

// identity reads an #identity. The handle is checked for its type alone: the
// message says only that the identity is to be resolved again.
func (d *decoder) identity() Event {
	var keys dagcbor.Keys
	var hasDID bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		key := d.r.Key(&keys)
		switch string(key) {
		case "did":
			hasDID = true
			d.readDID("did")
		case "handle":
			if d.optional(dagcbor.Text, "handle") {
				d.r.Text()
			}
		default:
			if !d.common(key) {
				d.r.Skip()
			}
		}
	}
	d.require(d.seq != 0, "seq")
	d.require(hasDID, "did")
	return &Identity{DID: d.did}
}

// account reads an #account.
func (d *decoder) account() Event {
	a := new(Account)
	var keys dagcbor.Keys
	var hasDID, hasActive bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		key := d.r.Key(&keys)
		switch string(key) {
		case "did":
			hasDID = true
			d.readDID("did")
		case "active":
			hasActive = true
			if d.is(dagcbor.Bool, "active") {
				a.Active = d.r.Bool()
			}
		case "status":
			if d.optional(dagcbor.Text, "status") {
				a.Status = statusWord(d.r.Text())
			}
		default:
			if !d.common(key) {
				d.r.Skip()
			}
		}
	}
	d.require(d.seq != 0, "seq")
	d.require(hasDID, "did")
	d.require(hasActive, "active")
	a.DID = d.did
	return a
}

// statusWord keeps a status that can be stored and shown: at most 64 bytes of
// letters, digits, '-', '_' and '.'. Words that nobody knows yet are legal
// (spec: account), so nothing is refused here.
func statusWord(text []byte) string {
	text = text[:min(len(text), maxName)]
	return string(bytes.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return -1
	}, text))
}
