package simnet

import (
	"time"

	"railyard/internal/dagcbor"
)

// message is one event of a firehose without its sequence number, which each
// host gives anew: the frame is head, number, tail.
type message struct {
	did        string
	head, tail []byte
}

// frame gives the bytes of one websocket message.
func (m *message) frame(seq int64) []byte {
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

// commitMessage is a #commit (spec: sync), its fields in the order of DAG-CBOR.
func commitMessage(did string, c *change, at time.Time) *message {
	first := c.before == nil
	fields := 12
	if first {
		fields--
	}
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#commit"), fields)
	b = appendOps(dagcbor.AppendText(b, "ops"), c.ops)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), c.after.rev.String())
	b = dagcbor.AppendText(b, "seq")
	head := b

	b = dagcbor.AppendText(dagcbor.AppendText(nil, "repo"), did)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "time"), stamp(at))
	b = dagcbor.AppendArray(dagcbor.AppendText(b, "blobs"), 0)
	b = dagcbor.AppendText(b, "since")
	if first {
		b = dagcbor.AppendNull(b)
	} else {
		b = dagcbor.AppendText(b, c.before.rev.String())
	}
	b = dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), encodeCAR(c.after.cid, c.blocks()))
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "commit"), c.after.cid)
	b = appendBool(dagcbor.AppendText(b, "rebase"), false)
	b = appendBool(dagcbor.AppendText(b, "tooBig"), false)
	if !first {
		b = dagcbor.AppendLink(dagcbor.AppendText(b, "prevData"), c.before.data())
	}
	return &message{did, head, b}
}

func appendOps(b []byte, ops []op) []byte {
	b = dagcbor.AppendArray(b, len(ops))
	for _, o := range ops {
		fields := 3
		if o.prev != nil {
			fields++
		}
		b = dagcbor.AppendMap(b, fields)
		b = dagcbor.AppendText(b, "cid")
		if o.cid == nil {
			b = dagcbor.AppendNull(b)
		} else {
			b = dagcbor.AppendLink(b, *o.cid)
		}
		b = dagcbor.AppendText(dagcbor.AppendText(b, "path"), o.path)
		if o.prev != nil {
			b = dagcbor.AppendLink(dagcbor.AppendText(b, "prev"), *o.prev)
		}
		b = dagcbor.AppendText(dagcbor.AppendText(b, "action"), string(o.action))
	}
	return b
}

// syncMessage is a #sync: the commit block alone.
func syncMessage(did string, r *repo, at time.Time) *message {
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#sync"), 5)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), r.rev.String())
	head := dagcbor.AppendText(b, "seq")
	b = dagcbor.AppendText(dagcbor.AppendText(nil, "time"), stamp(at))
	b = dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), encodeCAR(r.cid, []block{{r.cid, r.commit}}))
	return &message{did, head, b}
}

// identityMessage is an #identity with the account's handle.
func identityMessage(did, handle string, at time.Time) *message {
	b := dagcbor.AppendMap(appendFrameHeader(nil, "#identity"), 4)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	head := dagcbor.AppendText(b, "seq")
	b = dagcbor.AppendText(dagcbor.AppendText(nil, "time"), stamp(at))
	b = dagcbor.AppendText(dagcbor.AppendText(b, "handle"), handle)
	return &message{did, head, b}
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
	return &message{did, head, b}
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
