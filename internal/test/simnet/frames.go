package simnet

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// message is one event of a firehose without its sequence number, which each
// host returns anew: the frame is head, number, tail.
type message struct {
	did        string
	kind       string // "#commit"
	head, tail []byte
	raw        func(seq int64) []byte // instead of head and tail, for what is no frame
}

// frame returns the bytes of one websocket message.
func (m *message) frame(seq int64) []byte {
	if m.raw != nil {
		return m.raw(seq)
	}
	b := make([]byte, 0, len(m.head)+len(m.tail)+9)
	b = dagcbor.AppendInt(append(b, m.head...), seq)
	return append(b, m.tail...)
}

func appendFrameHeader(b []byte, kind string) []byte {
	b = dagcbor.AppendMap(b, 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "t"), kind)
	return dagcbor.AppendInt(dagcbor.AppendText(b, "op"), 1)
}

// stamp is the form in which the reference PDS writes times.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// commitEvent is a #commit before it is encoded: what hosts of other software say
// otherwise, and what faults alter.
type commitEvent struct {
	did      string
	rev      atproto.TID
	since    *atproto.TID   // null where nil
	commit   atproto.Digest // also the root of the CAR
	blocks   []block
	ops      []op
	prevData *atproto.Digest // left out where nil
	at       time.Time
}

func newCommitEvent(did string, c *change, at time.Time) *commitEvent {
	e := &commitEvent{did: did, rev: c.after.rev, commit: c.after.cid, blocks: c.blocks(), ops: c.ops, at: at}
	if c.before != nil {
		since, prevData := c.before.rev, c.before.data()
		e.since, e.prevData = &since, &prevData
	}
	return e
}

// message encodes a #commit (spec: sync), its fields in the order of DAG-CBOR.
func (e *commitEvent) message() *message {
	fields := 12
	if e.prevData == nil {
		fields--
	}
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#commit"), fields)
	b = appendOps(dagcbor.AppendText(b, "ops"), e.ops)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), e.rev.String())
	head := dagcbor.AppendText(b, "seq")

	b = dagcbor.AppendText(dagcbor.AppendText(nil, "repo"), e.did)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "time"), stamp(e.at))
	b = dagcbor.AppendArray(dagcbor.AppendText(b, "blobs"), 0)
	b = dagcbor.AppendText(b, "since")
	if e.since == nil {
		b = dagcbor.AppendNull(b)
	} else {
		b = dagcbor.AppendText(b, e.since.String())
	}
	b = dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), encodeCAR(e.commit, e.blocks))
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "commit"), e.commit)
	b = appendBool(dagcbor.AppendText(b, "rebase"), false)
	b = appendBool(dagcbor.AppendText(b, "tooBig"), false)
	if e.prevData != nil {
		b = dagcbor.AppendLink(dagcbor.AppendText(b, "prevData"), *e.prevData)
	}
	return &message{did: e.did, kind: "#commit", head: head, tail: b}
}

func appendOps(b []byte, ops []op) []byte {
	b = dagcbor.AppendArray(b, len(ops))
	for _, o := range ops {
		fields := 3
		if o.prev != nil {
			fields++
		}
		b = dagcbor.AppendMap(b, fields)
		b = appendOptionalLink(dagcbor.AppendText(b, "cid"), o.cid)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "path"), o.path)
		if o.prev != nil {
			b = dagcbor.AppendLink(dagcbor.AppendText(b, "prev"), *o.prev)
		}
		b = dagcbor.AppendText(dagcbor.AppendText(b, "action"), string(o.action))
	}
	return b
}

// syncMessage is a #sync: the commit block alone. After a migration its rev is not
// that of the commit.
func syncMessage(did string, r *repo, rev atproto.TID, at time.Time) *message {
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#sync"), 5)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), rev.String())
	head := dagcbor.AppendText(b, "seq")
	b = dagcbor.AppendText(dagcbor.AppendText(nil, "time"), stamp(at))
	b = dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), encodeCAR(r.cid, []block{{r.cid, r.commit}}))
	return &message{did: did, kind: "#sync", head: head, tail: b}
}

// identityMessage is an #identity with the account's handle.
func identityMessage(did, handle string, at time.Time) *message {
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#identity"), 4)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	head := dagcbor.AppendText(b, "seq")
	b = dagcbor.AppendText(dagcbor.AppendText(nil, "time"), stamp(at))
	b = dagcbor.AppendText(dagcbor.AppendText(b, "handle"), handle)
	return &message{did: did, kind: "#identity", head: head, tail: b}
}

// accountMessage is an #account; an active account has no status word.
func accountMessage(did, status string, at time.Time) *message {
	fields := 5
	if status == "" {
		fields--
	}
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#account"), fields)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	head := dagcbor.AppendText(b, "seq")
	b = dagcbor.AppendText(dagcbor.AppendText(nil, "time"), stamp(at))
	b = appendBool(dagcbor.AppendText(b, "active"), status == "")
	if status != "" {
		b = dagcbor.AppendText(dagcbor.AppendText(b, "status"), status)
	}
	return &message{did: did, kind: "#account", head: head, tail: b}
}

// infoFrame is an #info, which has no sequence number.
func infoFrame(name, text string) []byte {
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#info"), 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "name"), name)
	return dagcbor.AppendText(dagcbor.AppendText(b, "message"), text)
}

// errorFrame ends a stream (spec: event stream).
func errorFrame(name, text string) []byte {
	b := dagcbor.AppendMap(nil, 1)
	b = dagcbor.AppendInt(dagcbor.AppendText(b, "op"), -1)
	b = dagcbor.AppendMap(b, 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "error"), name)
	return dagcbor.AppendText(dagcbor.AppendText(b, "message"), text)
}

// appendBool writes one of the two simple values that package dagcbor has no
// word for.
func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xf5)
	}
	return append(b, 0xf4)
}
