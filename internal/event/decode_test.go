package event_test

import (
	"bytes"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/refusal"

	"github.com/fxamacker/cbor/v2"
)

const (
	did = "did:plc:railyardtestktwofivesixa"
	rev = "3mptbyplud2ad"
)

type fields = map[string]any

// encode writes values as DAG-CBOR, one after the other.
func encode(t testing.TB, values ...any) []byte {
	t.Helper()
	mode, err := cbor.EncOptions{Sort: cbor.SortLengthFirst}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, v := range values {
		p, err := mode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, p...)
	}
	return b
}

func message(t testing.TB, typ string, payload any) []byte {
	t.Helper()
	return encode(t, fields{"op": 1, "t": typ}, payload)
}

// link is tag 42 around a CID of this codec.
func link(codec byte) cbor.Tag {
	cid := append([]byte{0, 1, codec, 0x12, 32}, bytes.Repeat([]byte{codec}, 32)...)
	return cbor.Tag{Number: 42, Content: cid}
}

func create() fields {
	return fields{"action": "create", "path": "app.bsky.feed.like/3mptbyplud2ad", "cid": link(0x71)}
}

func update() fields {
	return fields{"action": "update", "path": "app.bsky.feed.like/3mptbyplud2ad", "cid": link(0x71), "prev": link(0x55)}
}

func remove() fields {
	return fields{"action": "delete", "path": "app.bsky.feed.like/3mptbyplud2ad", "cid": nil, "prev": link(0x71)}
}

// with is a copy of a message with some fields changed.
func with(f fields, changes ...any) fields {
	f = maps.Clone(f)
	for i := 0; i < len(changes); i += 2 {
		f[changes[i].(string)] = changes[i+1]
	}
	return f
}

func without(f fields, keys ...string) fields {
	f = maps.Clone(f)
	for _, k := range keys {
		delete(f, k)
	}
	return f
}

func commit(ops ...any) fields {
	if ops == nil {
		ops = []any{}
	}
	return fields{
		"seq": 7, "repo": did, "rev": rev, "since": nil, "commit": link(0x71), "blocks": []byte("car"),
		"ops": ops, "time": "2026-07-04T14:38:07.000Z", "tooBig": false, "rebase": false, "blobs": []any{},
	}
}

func sync() fields {
	return fields{"seq": 8, "did": did, "rev": rev, "blocks": []byte("car"), "time": "2026-07-04T14:38:07.000Z"}
}

func account() fields {
	return fields{"seq": 9, "did": did, "active": true, "time": "2026-07-04T14:38:07.000Z"}
}

func identity() fields {
	return fields{"seq": 10, "did": did, "time": "2026-07-04T14:38:07.000Z"}
}

// repeated is a list of n equal values.
func repeated(n int, v any) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = v
	}
	return list
}

// schemaCases are messages in good DAG-CBOR; want is empty where an event must
// come out.
var schemaCases = []struct {
	name    string
	typ     string
	payload fields
	want    refusal.Reason
}{
	{"a commit without ops", "#commit", commit(), ""},
	{"a create", "#commit", commit(create()), ""},
	{"a create whose prev is null", "#commit", commit(with(create(), "prev", nil)), ""},
	{"an update", "#commit", commit(update()), ""},
	{"an update without prev, as Sync 1.0 sends it", "#commit", commit(without(update(), "prev")), ""},
	{"a delete", "#commit", commit(remove()), ""},
	{"a delete without prev", "#commit", commit(without(remove(), "prev")), ""},
	{"a record of codec raw", "#commit", commit(with(create(), "cid", link(0x55))), ""},
	{"a path with a colon", "#commit", commit(with(create(), "path", "app.bsky.feed.like/a:b")), ""},
	{"since and prevData", "#commit", with(commit(), "since", rev, "prevData", link(0x71)), ""},
	{"prevData null", "#commit", with(commit(), "prevData", nil), ""},
	{"tooBig and rebase", "#commit", with(commit(), "tooBig", true, "rebase", true), ""},
	{"deprecated fields of any type", "#commit", with(commit(), "tooBig", "x", "rebase", nil, "blobs", 3), ""},
	{"deprecated fields absent", "#commit", without(commit(), "tooBig", "rebase", "blobs"), ""},
	{"unknown fields", "#commit", with(commit(with(create(), "zz", []any{1})), "zz", fields{"a": nil}), ""},
	{"a time that is none", "#commit", with(commit(), "time", "yesterday"), ""},
	{"a time of another type", "#commit", with(commit(), "time", 5), ""},
	{"no time", "#commit", without(commit(), "time"), ""},
	{"two hundred ops", "#commit", commit(repeated(200, create())...), ""},
	{"blocks at their limit", "#commit", with(commit(), "blocks", make([]byte, event.MaxBlocks)), ""},
	{"the greatest sequence number", "#commit", with(commit(), "seq", event.MaxSeq), ""},
	{"a did:web", "#commit", with(commit(), "repo", "did:web:blog.example.com"), ""},

	{"no repo", "#commit", without(commit(), "repo"), refusal.EventSchema},
	{"no rev", "#commit", without(commit(), "rev"), refusal.EventSchema},
	{"no since", "#commit", without(commit(), "since"), refusal.EventSchema},
	{"no commit", "#commit", without(commit(), "commit"), refusal.EventSchema},
	{"no blocks", "#commit", without(commit(), "blocks"), refusal.EventSchema},
	{"no ops", "#commit", without(commit(), "ops"), refusal.EventSchema},
	{"no seq", "#commit", without(commit(), "seq"), refusal.EventSchema},
	{"seq 0", "#commit", with(commit(), "seq", 0), refusal.EventSchema},
	{"a negative seq", "#commit", with(commit(), "seq", -1), refusal.EventSchema},
	{"a seq beyond 63 bits", "#commit", with(commit(), "seq", uint64(1<<63)), refusal.EventSchema},
	{"the greatest integer for a seq", "#identity", with(identity(), "seq", uint64(math.MaxUint64)), refusal.EventSchema},
	{"a seq beyond 2^53-1", "#commit", with(commit(), "seq", event.MaxSeq+1), refusal.EventSchema},
	{"a repo that is bytes", "#commit", with(commit(), "repo", []byte(did)), refusal.EventSchema},
	{"a repo that is null", "#commit", with(commit(), "repo", nil), refusal.EventSchema},
	{"a rev that is an integer", "#commit", with(commit(), "rev", 5), refusal.EventSchema},
	{"a since that is an integer", "#commit", with(commit(), "since", 5), refusal.EventSchema},
	{"a commit that is a text", "#commit", with(commit(), "commit", "bafy"), refusal.EventSchema},
	{"a commit that is null", "#commit", with(commit(), "commit", nil), refusal.EventSchema},
	{"a commit of codec raw", "#commit", with(commit(), "commit", link(0x55)), refusal.EventSchema},
	{"prevData of codec raw", "#commit", with(commit(), "prevData", link(0x55)), refusal.EventSchema},
	{"prevData that is a text", "#commit", with(commit(), "prevData", "bafy"), refusal.EventSchema},
	{"blocks that are a text", "#commit", with(commit(), "blocks", "car"), refusal.EventSchema},
	{"ops that are null", "#commit", with(commit(), "ops", nil), refusal.EventSchema},
	{"an op that is a text", "#commit", commit("create"), refusal.EventSchema},
	{"an op's path that is bytes", "#commit", commit(with(create(), "path", []byte("a"))), refusal.EventSchema},
	{"an op's cid that is a text", "#commit", commit(with(create(), "cid", "bafy")), refusal.EventSchema},
	{"an op's action that is an integer", "#commit", commit(with(create(), "action", 1)), refusal.EventSchema},
	{"a DID of another method", "#commit", with(commit(), "repo", "did:key:abc"), refusal.BadDID},
	{"a DID that is longer than DIDs are", "#commit", with(commit(), "repo", "did:web:"+strings.Repeat("a", 3000)), refusal.BadDID},
	{"a rev that is no TID", "#commit", with(commit(), "rev", "zzzzzzzzzzzzz"), refusal.BadRev},
	{"a rev that is too short", "#commit", with(commit(), "rev", "3mptby"), refusal.BadRev},
	{"a since that is no TID", "#commit", with(commit(), "since", ""), refusal.BadRev},
	{"two hundred and one ops", "#commit", commit(repeated(201, create())...), refusal.EventLimit},
	{"blocks over their limit", "#commit", with(commit(), "blocks", make([]byte, event.MaxBlocks+1)), refusal.EventLimit},
	{"an unknown action", "#commit", commit(with(create(), "action", "move")), refusal.BadOp},
	{"no action", "#commit", commit(without(create(), "action")), refusal.BadOp},
	{"no path", "#commit", commit(without(create(), "path")), refusal.BadOp},
	{"a path without a record key", "#commit", commit(with(create(), "path", "app.bsky.feed.like/")), refusal.BadOp},
	{"a path with two slashes", "#commit", commit(with(create(), "path", "app.bsky.feed.like/a/b")), refusal.BadOp},
	{"a path whose collection is no NSID", "#commit", commit(with(create(), "path", "like/a")), refusal.BadOp},
	{"a path that is longer than paths are", "#commit", commit(with(create(), "path", "a.b.c/"+strings.Repeat("x", 900))), refusal.BadOp},
	{"a create without cid", "#commit", commit(without(create(), "cid")), refusal.BadOp},
	{"a create whose cid is null", "#commit", commit(with(create(), "cid", nil)), refusal.BadOp},
	{"an update whose cid is null", "#commit", commit(with(update(), "cid", nil)), refusal.BadOp},
	{"a delete without cid", "#commit", commit(without(remove(), "cid")), refusal.BadOp},
	{"a delete with a cid", "#commit", commit(with(remove(), "cid", link(0x71))), refusal.BadOp},
	{"a cid of an unblessed codec", "#commit", commit(with(create(), "cid", link(0x70))), refusal.BadOp},
	{"a prev of an unblessed codec", "#commit", commit(with(update(), "prev", link(0x70))), refusal.BadOp},
	{"a bad second op", "#commit", commit(create(), with(create(), "action", "move")), refusal.BadOp},

	{"a sync", "#sync", sync(), ""},
	{"a sync with its blocks at their limit", "#sync", with(sync(), "blocks", make([]byte, event.MaxSyncBlocks)), ""},
	{"a sync over its limit", "#sync", with(sync(), "blocks", make([]byte, event.MaxSyncBlocks+1)), refusal.EventLimit},
	{"a sync without did", "#sync", without(sync(), "did"), refusal.EventSchema},
	{"a sync without rev", "#sync", without(sync(), "rev"), refusal.EventSchema},
	{"a sync without blocks", "#sync", without(sync(), "blocks"), refusal.EventSchema},
	{"a sync without seq", "#sync", without(sync(), "seq"), refusal.EventSchema},

	{"an identity", "#identity", identity(), ""},
	{"an identity with a handle", "#identity", with(identity(), "handle", "handle.invalid"), ""},
	{"an identity whose handle is null", "#identity", with(identity(), "handle", nil), ""},
	{"an identity whose handle is an integer", "#identity", with(identity(), "handle", 1), refusal.EventSchema},
	{"an identity without did", "#identity", without(identity(), "did"), refusal.EventSchema},
	{"an identity without seq", "#identity", without(identity(), "seq"), refusal.EventSchema},

	{"an account", "#account", account(), ""},
	{"an account with a null status", "#account", with(account(), "status", nil), ""},
	{"an account without active", "#account", without(account(), "active"), refusal.EventSchema},
	{"an account whose active is null", "#account", with(account(), "active", nil), refusal.EventSchema},
	{"an account whose active is 1", "#account", with(account(), "active", 1), refusal.EventSchema},
	{"an account whose status is a boolean", "#account", with(account(), "status", true), refusal.EventSchema},
	{"an account without did", "#account", without(account(), "did"), refusal.EventSchema},
	{"an account without seq", "#account", without(account(), "seq"), refusal.EventSchema},

	{"an info", "#info", fields{"name": "OutdatedCursor"}, ""},
	{"an info without name", "#info", fields{"message": "hello"}, refusal.EventSchema},
	{"a type that nobody knows", "#brandNew", fields{"seq": 7}, refusal.FrameUnknown},
	{"a type without the sign", "commit", commit(), refusal.FrameUnknown},
}

func TestAMessageThatBreaksTheLexiconIsRefusedWithItsReason(t *testing.T) {
	for _, c := range schemaCases {
		t.Run(c.name, func(t *testing.T) {
			f := event.Decode(message(t, c.typ, c.payload))
			if f.Break || f.Type != c.typ {
				t.Fatalf("type %q, break %t: %v", f.Type, f.Break, f.Refusal)
			}
			var got refusal.Reason
			if f.Refusal != nil {
				got = f.Refusal.Reason
			}
			if got != c.want {
				t.Errorf("refusal %v, want %q", f.Refusal, c.want)
			}
			if (f.Event == nil) != (c.want != "") {
				t.Errorf("event %v beside refusal %v", f.Event, f.Refusal)
			}
		})
	}
}

func TestARefusedMessageStillHasSequenceNumberAndAccount(t *testing.T) {
	bad := with(commit("not an op"), "blocks", "text", "since", 5, "rev", []any{fields{"a": 1}})
	f := event.Decode(message(t, "#commit", bad))
	if f.Refusal == nil || f.Break || f.Seq != 7 || f.DID != did || f.Time.IsZero() {
		t.Errorf("%+v", f)
	}
	if f := event.Decode(message(t, "#tombstone", fields{"seq": 12, "did": did})); f.Seq != 12 {
		t.Errorf("unknown type: seq %d, want 12", f.Seq)
	}
}

func TestTheFieldsOfAnEventAreThoseOfItsMessage(t *testing.T) {
	wantRev, err := atproto.ParseTID(rev)
	if err != nil {
		t.Fatal(err)
	}
	f := event.Decode(message(t, "#commit", with(commit(update(), remove()), "since", rev, "prevData", link(0x71))))
	c, ok := f.Event.(*event.Commit)
	if !ok {
		t.Fatal(f.Refusal)
	}
	if c.Rev != wantRev || *c.Since != wantRev || c.CID != *c.PrevData || string(c.Blocks) != "car" || c.CID[0] != 0x71 {
		t.Errorf("%+v", c)
	}
	if len(c.Ops) != 2 || c.Ops[0].Action != event.Update || c.Ops[0].Prev[1] != 0x55 || c.Ops[1].CID != nil {
		t.Errorf("%+v", c.Ops)
	}
	if !f.Time.Equal(time.Date(2026, 7, 4, 14, 38, 7, 0, time.UTC)) {
		t.Errorf("time %v", f.Time)
	}
	f = event.Decode(message(t, "#sync", sync()))
	if s := f.Event.(*event.Sync); s.DID != did || s.Rev != wantRev || string(s.Blocks) != "car" || f.Seq != 8 {
		t.Errorf("%+v", s)
	}
	f = event.Decode(message(t, "#identity", identity()))
	if i := f.Event.(*event.Identity); i.DID != did || f.DID != did || f.Seq != 10 {
		t.Errorf("%+v", i)
	}
}

func TestAStatusIsClippedAndLosesUnusualCharacters(t *testing.T) {
	for status, want := range map[string]string{
		"takendown":               "takendown",
		"x-new_word.2":            "x-new_word.2",
		"<b>\x00 ü\n":             "b",
		strings.Repeat("a", 100):  strings.Repeat("a", 64),
		strings.Repeat("ü", 1000): "",
	} {
		f := event.Decode(message(t, "#account", with(account(), "status", status)))
		if a := f.Event.(*event.Account); a.Status != want {
			t.Errorf("%q became %q, want %q", status, a.Status, want)
		}
	}
}

func TestTextsOfAnUpstreamAboutItselfAreBounded(t *testing.T) {
	long := strings.Repeat("ü", 100_000)
	f := event.Decode(message(t, "#info", fields{"name": "x" + long, "message": "x" + long}))
	i := f.Event.(*event.Info)
	if len(i.Name) != 63 || len(i.Message) != 299 || !strings.HasSuffix(i.Name, "ü") {
		t.Errorf("name of %d bytes, message of %d", len(i.Name), len(i.Message))
	}
	f = event.Decode(encode(t, fields{"op": -1}, fields{"error": long, "message": long}))
	e := f.Event.(*event.StreamError)
	if len(e.Name) > 64 || len(e.Message) > 300 || f.Type != "error" {
		t.Errorf("name of %d bytes, message of %d, type %q", len(e.Name), len(e.Message), f.Type)
	}
	if f := event.Decode(message(t, long, fields{})); len(f.Type) > 64 || len(f.Refusal.Detail) > 500 {
		t.Errorf("type of %d bytes, detail of %d", len(f.Type), len(f.Refusal.Detail))
	}
}

func TestWhateverIsNoStrictFrameBreaksTheConnection(t *testing.T) {
	good := message(t, "#identity", identity())
	// 18 07 is 7 in two bytes; f9 0000 is a float.
	wide := bytes.Replace(encode(t, fields{"zz": 7}), []byte{7}, []byte{0x18, 7}, 1)
	cases := map[string][]byte{
		"nothing":                           nil,
		"a header alone":                    encode(t, fields{"op": 1, "t": "#identity"}),
		"a header without op":               encode(t, fields{"t": "#identity"}, identity()),
		"an op that is a text":              encode(t, fields{"op": "1", "t": "#identity"}, identity()),
		"a t that is an integer":            encode(t, fields{"op": 1, "t": 1}, identity()),
		"op 1 without t":                    encode(t, fields{"op": 1}, identity()),
		"a third value":                     append(good, 0xf6),
		"a payload that is an array":        message(t, "#identity", []any{}),
		"an unknown type without a map":     message(t, "#new", 5),
		"an unknown op without a map":       encode(t, fields{"op": 7}, 5),
		"an error without a map":            encode(t, fields{"op": -1}, "no"),
		"a wide integer in an unknown type": append(encode(t, fields{"op": 1, "t": "#new"}), wide...),
		"a wide integer in an unknown op":   append(encode(t, fields{"op": 9}), wide...),
		"a float in a field that is not used": message(t, "#identity",
			with(identity(), "zz", 1.5)),
		"a float in a refused message":  message(t, "#identity", with(identity(), "did", 1.5)),
		"a float in one op of too many": message(t, "#commit", commit(append(repeated(200, create()), 1.5)...)),
		"an undefined value":            append(encode(t, fields{"op": 1, "t": "#info"}), 0xa1, 0x64, 'n', 'a', 'm', 'e', 0xf7),
		"another tag":                   message(t, "#info", fields{"name": cbor.Tag{Number: 43, Content: []byte{0, 1}}}),
		"an error frame with a float":   encode(t, fields{"op": -1}, fields{"error": 1.5}),
	}
	for name, b := range cases {
		f := event.Decode(b)
		if !f.Break || f.Event != nil || f.Refusal == nil || f.Seq != 0 || f.DID != "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for n := range good {
		if f := event.Decode(good[:n]); !f.Break {
			t.Errorf("cut to %d bytes: %+v", n, f)
		}
	}
}

func TestAFrameOfFiveMillionBytesIsTheBiggest(t *testing.T) {
	empty := message(t, "#info", fields{"name": "x", "pad": make([]byte, 1<<16)})
	room := event.MaxFrame - len(empty) + 1<<16
	if f := event.Decode(message(t, "#info", fields{"name": "x", "pad": make([]byte, room)})); f.Refusal != nil {
		t.Errorf("at the limit: %v", f.Refusal)
	}
	f := event.Decode(message(t, "#info", fields{"name": "x", "pad": make([]byte, room+1)}))
	if f.Refusal == nil || f.Refusal.Reason != refusal.FrameTooBig || !f.Break {
		t.Errorf("over the limit: %+v", f)
	}
}
