package event_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"railyard/internal/dagcbor"
	"railyard/internal/event"

	"github.com/fxamacker/cbor/v2"
)

// FuzzDecode compares Decode with a general CBOR library: what is accepted has
// the same fields there, and what breaks the connection is no strict frame.
func FuzzDecode(f *testing.F) {
	for _, c := range schemaCases {
		if b := message(f, c.typ, c.payload); len(b) < 20_000 {
			f.Add(b)
		}
	}
	f.Add(encode(f, fields{"op": -1}, fields{"error": "FutureCursor"}))
	f.Add(encode(f, fields{"op": 2}, fields{"seq": 5}))
	for _, text := range []string{"", "a2", "a1626f7001a0", "a261746523696e666f626f70019b7fffffffffffffff"} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	mode, err := cbor.DecOptions{
		DefaultMapType:  reflect.TypeFor[map[string]any](),
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		IndefLength:     cbor.IndefLengthForbidden,
		IntDec:          cbor.IntDecConvertSignedOrFail,
		MaxNestedLevels: 64,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := event.Decode(b)
		if (frame.Event == nil) == (frame.Refusal == nil) {
			t.Fatalf("event %v and refusal %v", frame.Event, frame.Refusal)
		}
		header, payload, fault := reference(mode, b)
		if frame.Break != (fault != "") && !strings.Contains(fault, "nested deeper") && !strings.Contains(fault, "beyond 64 bits") { // of a seq or op that costs the message
			t.Fatalf("break %t (%v), reference: %q", frame.Break, frame.Refusal, fault)
		}
		if !frame.Break && fault == "" {
			compareFields(t, frame, header, payload)
		}
	})
}

// reference reads a frame with the library, after a strict pass over both of
// its values. The fault is empty for a frame that must not break the
// connection.
func reference(mode cbor.DecMode, b []byte) (header, payload fields, fault string) {
	r := dagcbor.NewReader(b)
	if r.Peek() != dagcbor.Map {
		return nil, nil, "the header is no map"
	}
	r.Skip()
	if r.Peek() != dagcbor.Map {
		return nil, nil, "the payload is no map"
	}
	r.Skip()
	if err := r.End(); err != nil {
		return nil, nil, err.Error()
	}
	rest, err := mode.UnmarshalFirst(b, &header)
	if err != nil {
		return nil, nil, "header: " + err.Error()
	}
	if err := mode.Unmarshal(rest, &payload); err != nil {
		return nil, nil, "payload: " + err.Error()
	}
	op, ok := header["op"].(int64)
	typ, hasType := header["t"]
	if _, isText := typ.(string); !ok || hasType && !isText || !hasType && op == 1 {
		return nil, nil, "header fields"
	}
	return header, payload, ""
}

func compareFields(t *testing.T, f event.Frame, header, payload fields) {
	t.Helper()
	if f.Seq != 0 && payload["seq"] != f.Seq {
		t.Errorf("seq %d, reference %v", f.Seq, payload["seq"])
	}
	if f.DID != "" && payload["did"] != f.DID && payload["repo"] != f.DID {
		t.Errorf("did %s, reference %v %v", f.DID, payload["did"], payload["repo"])
	}
	if f.Event == nil {
		return
	}
	if _, isError := f.Event.(*event.StreamError); !isError && header["t"] != f.Type {
		t.Errorf("type %s, reference %v", f.Type, header["t"])
	}
	switch e := f.Event.(type) {
	case *event.Commit:
		compareCommitFields(t, e, payload)
	case *event.Sync:
		if payload["rev"] != e.Rev.String() || !bytes.Equal(payload["blocks"].([]byte), e.Blocks) || payload["did"] != e.DID {
			t.Errorf("%+v, reference %v", e, payload)
		}
	case *event.Identity:
		if payload["did"] != e.DID {
			t.Errorf("%+v, reference %v", e, payload)
		}
	case *event.Account:
		if payload["did"] != e.DID || payload["active"] != e.Active || len(e.Status) > 64 {
			t.Errorf("%+v, reference %v", e, payload)
		}
	case *event.Info:
		if name, ok := payload["name"].(string); !ok || !strings.HasPrefix(name, e.Name) {
			t.Errorf("%+v, reference %v", e, payload)
		}
	case *event.StreamError:
		if name, ok := payload["error"].(string); ok && !strings.HasPrefix(name, e.Name) {
			t.Errorf("%+v, reference %v", e, payload)
		}
	}
}

func compareCommitFields(t *testing.T, c *event.Commit, payload fields) {
	t.Helper()
	if payload["repo"] != c.DID || payload["rev"] != c.Rev.String() || !bytes.Equal(payload["blocks"].([]byte), c.Blocks) {
		t.Errorf("%+v, reference %v", c, payload)
	}
	var since any
	if c.Since != nil {
		since = c.Since.String()
	}
	if payload["since"] != since || !sameLink(payload["commit"], c.CID.AppendCID(nil)) {
		t.Errorf("%+v, reference %v", c, payload)
	}
	var prevData []byte
	if c.PrevData != nil {
		prevData = c.PrevData.AppendCID(nil)
	}
	if !sameLink(payload["prevData"], prevData) {
		t.Errorf("prevData %x, reference %v", prevData, payload["prevData"])
	}
	ops := payload["ops"].([]any)
	if len(ops) != len(c.Ops) {
		t.Fatalf("%d ops, reference %d", len(c.Ops), len(ops))
	}
	for i, op := range c.Ops {
		want := ops[i].(fields)
		if want["action"] != actionName(op.Action) || want["path"] != op.Path || !sameLink(want["cid"], op.CID) || !sameLink(want["prev"], op.Prev) {
			t.Errorf("op %d: %+v, reference %v", i, op, want)
		}
	}
}

// sameLink compares the library's tag 42, or its absence, with a binary CID.
func sameLink(v any, cid []byte) bool {
	tag, ok := v.(cbor.Tag)
	if !ok {
		return v == nil && cid == nil
	}
	content, ok := tag.Content.([]byte)
	return ok && tag.Number == 42 && len(content) > 0 && bytes.Equal(content[1:], cid)
}
