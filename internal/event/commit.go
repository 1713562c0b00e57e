package event

import (
	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
)

// commitMemory is a Commit and what it points to, as one allocation: nearly
// every commit has since, prevData and a single op.
type commitMemory struct {
	Commit
	since    atproto.TID
	prevData atproto.Digest
	ops      [1]Op
}

// commit reads a #commit (lexicon: com.atproto.sync.subscribeRepos). The
// deprecated fields tooBig, rebase and blobs are passed over, whatever they say.
func (d *decoder) commit() Event {
	c := new(commitMemory)
	var keys dagcbor.Keys
	var hasRepo, hasRev, hasSince, hasCID, hasBlocks, hasOps bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		key := d.r.Key(&keys)
		switch string(key) {
		case "ops":
			hasOps = true
			d.ops(c)
		case "rev":
			hasRev = true
			c.Rev = d.readRev("rev")
		case "repo":
			hasRepo = true
			d.readDID("repo")
		case "since":
			hasSince = true
			d.since(c)
		case "blocks":
			hasBlocks = true
			c.Blocks = d.readBlocks(MaxBlocks)
		case "commit":
			hasCID = true
			if d.is(dagcbor.CID, "commit") {
				c.CID = d.readDigest("commit")
			}
		case "prevData":
			if d.optional(dagcbor.CID, "prevData") {
				c.prevData = d.readDigest("prevData")
				c.PrevData = &c.prevData
			}
		default:
			if !d.common(key) {
				d.r.Skip()
			}
		}
	}
	d.require(d.seq != 0, "seq")
	d.require(hasRepo, "repo")
	d.require(hasRev, "rev")
	d.require(hasSince, "since")
	d.require(hasCID, "commit")
	d.require(hasBlocks, "blocks")
	d.require(hasOps, "ops")
	c.DID = d.did
	return &c.Commit
}

// since reads the rev of the preceding commit. The field must be present; null
// means that there is none.
func (d *decoder) since(c *commitMemory) {
	if !d.optional(dagcbor.Text, "since") {
		return
	}
	c.since = d.tid(d.r.Text(), "since")
	c.Since = &c.since
}

// ops reads the list of ops. One over the limit is checked as DAG-CBOR only.
func (d *decoder) ops(c *commitMemory) {
	if !d.is(dagcbor.Array, "ops") {
		return
	}
	n := d.r.Array()
	if n > MaxOps {
		d.refuse(refusal.EventLimit, "%d ops, at most %d", n, MaxOps)
		for ; n > 0 && d.r.Err() == nil; n-- {
			d.r.Skip()
		}
		return
	}
	c.Ops = c.ops[:0]
	if n > 1 {
		c.Ops = make([]Op, 0, n)
	}
	for i := 0; i < n && d.r.Err() == nil; i++ {
		if d.is(dagcbor.Map, "op") {
			c.Ops = append(c.Ops, d.op(i))
		}
	}
}
