package event

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
)

// Operations of a frame's header (spec: event stream).
const (
	opMessage = 1
	opError   = -1
)

// Longest texts that are kept of what an upstream says about itself, in bytes.
const (
	maxName    = 64
	maxMessage = 300
)

// Decode reads one message of a firehose: a header map, a payload map, nothing
// else (spec: event stream). The whole frame must be strict DAG-CBOR, also in
// the fields that are not used. It never fails: what is wrong stands in the
// Frame. The event shares memory with b, which must not change afterwards.
func Decode(b []byte) Frame {
	if len(b) > MaxFrame {
		return broken("", refusal.New(refusal.FrameTooBig, "%d bytes", len(b)))
	}
	d := decoder{r: dagcbor.NewReader(b)}
	op := d.header()
	if d.r.Err() != nil {
		return broken("", refusal.New(refusal.FrameMalformed, "header: %w", d.r.Err()))
	}
	e := d.payload(op)
	if err := d.r.End(); err != nil {
		return broken(d.typ, refusal.New(refusal.FrameMalformed, "%s: %w", d.typ, err))
	}
	f := Frame{Type: d.typ, Seq: d.seq, DID: d.did, Time: d.time, Refusal: d.refusal}
	if d.refusal == nil {
		f.Event = e
	}
	return f
}

func broken(typ string, err *refusal.Error) Frame {
	return Frame{Type: typ, Refusal: err, Break: true}
}

// decoder reads one frame. The reader keeps the first fault that breaks the
// connection, refusal the first that costs only this message.
type decoder struct {
	r       dagcbor.Reader
	refusal *refusal.Error

	typ  string
	seq  int64
	did  string
	time time.Time
}

// header reads {t, op} and sets typ.
func (d *decoder) header() (op int64) {
	var keys dagcbor.Keys
	var hasOp, hasType bool
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		switch string(d.r.Key(&keys)) {
		case "t":
			d.typ, hasType = typeName(d.r.Text()), true
		case "op":
			var fits bool
			if op, fits = d.r.AnyInt(); !fits {
				op = 0 // none that is known
			}
			hasOp = true
		default:
			d.r.Skip()
		}
	}
	switch {
	case !hasOp:
		d.r.Fail("no op")
	case op == opMessage && !hasType:
		d.r.Fail("op 1 without t")
	case op == opError:
		d.typ = "error"
	}
	return op
}

// typeName makes a text of a header's t. The known ones cost no allocation.
func typeName(t []byte) string {
	switch string(t) {
	case "#commit":
		return "#commit"
	case "#sync":
		return "#sync"
	case "#identity":
		return "#identity"
	case "#account":
		return "#account"
	case "#info":
		return "#info"
	}
	return atproto.ClipTo(t, maxName)
}

func (d *decoder) payload(op int64) Event {
	if d.r.Peek() != dagcbor.Map {
		d.r.Map() // fails with what stands there instead
		return nil
	}
	if op == opError {
		return d.streamError()
	}
	if op != opMessage {
		d.refuse(refusal.FrameUnknown, "op %d", op)
		d.unknown()
		return nil
	}
	switch d.typ {
	case "#commit":
		return d.commit()
	case "#sync":
		return d.sync()
	case "#identity":
		return d.identity()
	case "#account":
		return d.account()
	case "#info":
		return d.info()
	}
	d.refuse(refusal.FrameUnknown, "type %q", d.typ)
	d.unknown()
	return nil
}

// unknown reads a payload of which only the sequence number means something,
// because the cursor can move past it.
func (d *decoder) unknown() {
	var keys dagcbor.Keys
	for n := d.r.Map(); n > 0 && d.r.Err() == nil; n-- {
		if string(d.r.Key(&keys)) == "seq" && d.r.Peek() == dagcbor.Int {
			if n, fits := d.r.AnyInt(); fits {
				d.setSeq(n)
			}
			continue
		}
		d.r.Skip()
	}
}

// refuse keeps the first refusal of this message.
func (d *decoder) refuse(reason refusal.Reason, format string, args ...any) {
	if d.refusal == nil && d.r.Err() == nil {
		d.refusal = refusal.New(reason, format, args...)
	}
}

// is reports whether the next value is of the kind that the lexicon has for the
// field. If not, the message is refused and the value is passed over.
func (d *decoder) is(kind dagcbor.Kind, field string) bool {
	got := d.r.Peek()
	if got == kind {
		return true
	}
	d.r.Skip()
	d.refuse(refusal.EventSchema, "%s %s: %s instead of %s", d.typ, field, got, kind)
	return false
}

// optional is like is for a field that may be absent. A null counts as absent:
// many encoders write one.
func (d *decoder) optional(kind dagcbor.Kind, field string) bool {
	return !d.r.Null() && d.is(kind, field)
}

// require refuses a message that lacks a field.
func (d *decoder) require(present bool, field string) {
	if !present {
		d.refuse(refusal.EventSchema, "%s: no %s", d.typ, field)
	}
}

// common reads the fields that all messages of accounts have. It reports whether
// the key was one of them.
func (d *decoder) common(key []byte) bool {
	switch string(key) {
	case "seq":
		if d.is(dagcbor.Int, "seq") {
			d.readSeq()
		}
	case "time":
		d.readTime()
	default:
		return false
	}
	return true
}

func (d *decoder) readSeq() {
	n, fits := d.r.AnyInt()
	switch {
	case !fits:
		d.refuse(refusal.EventSchema, "%s: seq beyond 64 bits", d.typ)
	case !d.setSeq(n):
		d.refuse(refusal.EventSchema, "%s: seq %d", d.typ, n)
	}
}

func (d *decoder) setSeq(n int64) bool {
	if n < 1 || n > MaxSeq {
		return false
	}
	d.seq = n
	return true
}

// readTime reads the arrival time, which is informal: whatever it is, the
// message stays good.
func (d *decoder) readTime() {
	if d.r.Peek() != dagcbor.Text {
		d.r.Skip()
		return
	}
	text := d.r.Text()
	if len(text) > maxName {
		return
	}
	var t time.Time
	if t.UnmarshalText(text) == nil {
		d.time = t.UTC()
	}
}

// readDID reads the account.
func (d *decoder) readDID(field string) {
	if !d.is(dagcbor.Text, field) {
		return
	}
	did, err := atproto.ParseDID(d.r.String())
	if err != nil {
		d.refuse(refusal.BadDID, "%s %s: %w", d.typ, field, err)
		return
	}
	d.did = did
}

func (d *decoder) readRev(field string) atproto.TID {
	if !d.is(dagcbor.Text, field) {
		return 0
	}
	return d.tid(d.r.Text(), field)
}

func (d *decoder) tid(text []byte, field string) atproto.TID {
	if len(text) != 13 {
		d.refuse(refusal.BadRev, "%s %s: %d bytes, not a TID", d.typ, field, len(text))
		return 0
	}
	rev, err := atproto.ParseTID(string(text))
	if err != nil {
		d.refuse(refusal.BadRev, "%s %s: %w", d.typ, field, err)
	}
	return rev
}

// readDigest reads the link to a commit or a tree node.
func (d *decoder) readDigest(field string) atproto.Digest {
	digest, err := atproto.DigestFromCID(d.r.CID())
	if err != nil {
		d.refuse(refusal.EventSchema, "%s %s: %w", d.typ, field, err)
	}
	return digest
}

// readBlocks reads a CAR of bounded size, as a slice of the frame.
func (d *decoder) readBlocks(limit int) []byte {
	if !d.is(dagcbor.Bytes, "blocks") {
		return nil
	}
	blocks := d.r.Bytes()
	if len(blocks) > limit {
		d.refuse(refusal.EventLimit, "%s: %d bytes of blocks, at most %d", d.typ, len(blocks), limit)
	}
	return blocks
}
