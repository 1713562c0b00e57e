package simnet

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// value decodes one strict DAG-CBOR value into maps, slices, strings, int64,
// bool, nil, []byte and, for links, atproto.Digest.
func value(r *dagcbor.Reader) any {
	switch r.Peek() {
	case dagcbor.Int:
		return r.Int()
	case dagcbor.Bytes:
		return r.Bytes()
	case dagcbor.Text:
		return r.String()
	case dagcbor.CID:
		return r.Digest()
	case dagcbor.Bool:
		return r.Bool()
	case dagcbor.Array:
		items := []any{}
		for n := r.Array(); n > 0 && r.Err() == nil; n-- {
			items = append(items, value(r))
		}
		return items
	case dagcbor.Map:
		m := map[string]any{}
		var keys dagcbor.Keys
		for n := r.Map(); n > 0 && r.Err() == nil; n-- {
			key := string(r.Key(&keys))
			m[key] = value(r)
		}
		return m
	case dagcbor.Null:
		r.Null()
	default:
		r.Fail("unexpected value")
	}
	return nil
}

func decodeMap(t testing.TB, b []byte) map[string]any {
	t.Helper()
	r := dagcbor.NewReader(b)
	m, ok := value(&r).(map[string]any)
	if err := r.End(); err != nil || !ok {
		t.Fatalf("not a DAG-CBOR map: %v: %x", err, b)
	}
	return m
}

// decodeFrame reads header and payload.
func decodeFrame(t testing.TB, frame []byte) (kind string, op int64, body map[string]any) {
	t.Helper()
	r := dagcbor.NewReader(frame)
	header, _ := value(&r).(map[string]any)
	body, _ = value(&r).(map[string]any)
	if err := r.End(); err != nil || header == nil || body == nil {
		t.Fatalf("not a frame: %v: %x", err, frame)
	}
	kind, _ = header["t"].(string)
	op, _ = header["op"].(int64)
	return kind, op, body
}

// archive is a CAR as it was read: every hash checked.
type archive struct {
	root   atproto.Digest
	order  []atproto.Digest
	blocks map[atproto.Digest][]byte
}

func readCAR(t testing.TB, b []byte) *archive {
	t.Helper()
	section := func() []byte {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			t.Fatal("CAR: broken section")
		}
		s := b[n : n+int(size)]
		b = b[n+int(size):]
		return s
	}
	header := decodeMap(t, section())
	roots, _ := header["roots"].([]any)
	if header["version"] != int64(1) || len(roots) != 1 {
		t.Fatalf("CAR: header %v", header)
	}
	a := &archive{root: roots[0].(atproto.Digest), blocks: map[atproto.Digest][]byte{}}
	for len(b) > 0 {
		s := section()
		digest, err := atproto.DigestFromCID(s[:atproto.CIDLen])
		if err != nil || atproto.DigestOf(s[atproto.CIDLen:]) != digest {
			t.Fatalf("CAR: block %v does not hash to its CID (%v)", digest, err)
		}
		if a.blocks[digest] != nil {
			t.Fatalf("CAR: block %v comes twice", digest)
		}
		a.blocks[digest] = s[atproto.CIDLen:]
		a.order = append(a.order, digest)
	}
	return a
}

// kind returns what a block is.
func (a *archive) kind(t testing.TB, d atproto.Digest) string {
	t.Helper()
	m := decodeMap(t, a.blocks[d])
	switch {
	case m["sig"] != nil:
		return "commit"
	case m["e"] != nil:
		return "node"
	}
	return "record"
}

// commit reads the root block.
func (a *archive) commit(t testing.TB) map[string]any {
	t.Helper()
	if a.blocks[a.root] == nil {
		t.Fatal("CAR: no commit")
	}
	return decodeMap(t, a.blocks[a.root])
}

// values are the records that a walk found.
type values = map[string]atproto.Digest

// gap stands in a walk for a subtree that the archive lacks.
const gap = "(gap)"

// walk flattens the tree below a node, with the value of each key. It fails on
// keys that are out of order or at the wrong height.
func (a *archive) walk(t testing.TB, d atproto.Digest, values values) (keys []string, height int) {
	t.Helper()
	block := a.blocks[d]
	if block == nil {
		return []string{gap}, -1
	}
	m := decodeMap(t, block)
	height = -1
	child := func(link any) {
		if link == nil {
			return
		}
		below, h := a.walk(t, link.(atproto.Digest), values)
		keys = append(keys, below...)
		if height < 0 && h >= 0 {
			height = h + 1
		}
		if h >= 0 && h != height-1 {
			t.Fatalf("a child of height %d below a node of height %d", h, height)
		}
	}
	entries := m["e"].([]any)
	if len(entries) > 0 {
		first := entries[0].(map[string]any)
		height = keyHeight(string(first["k"].([]byte)))
	}
	child(m["l"])
	before := ""
	for _, e := range entries {
		e := e.(map[string]any)
		shared := int(e["p"].(int64))
		key := before[:shared] + string(e["k"].([]byte))
		if key <= before || commonPrefix(before, key) != shared || keyHeight(key) != height {
			t.Fatalf("key %q after %q: shared %d, height %d", key, before, shared, height)
		}
		before = key
		values[key] = e["v"].(atproto.Digest)
		keys = append(keys, key)
		child(e["t"])
	}
	return keys, height
}

// shows reports whether a walk has a key, or its place, between its neighbours in
// the sorted list of all keys of the repo, with no gap between.
func shows(walked, all []string, key string) bool {
	at, found := slices.BinarySearch(all, key)
	lo, hi := max(at-1, 0), min(at+1, len(all))
	if found {
		hi = min(at+2, len(all))
	}
	want := all[lo:hi]
	if len(want) == 0 {
		return len(walked) == 0
	}
	from := slices.Index(walked, want[0])
	if from < 0 || from+len(want) > len(walked) || !slices.Equal(walked[from:from+len(want)], want) {
		return false
	}
	leftEdge := at > 0 || from == 0
	rightEdge := hi < len(all) || (found && at+1 < len(all)) || from+len(want) == len(walked)
	return leftEdge && rightEdge
}

// describe puts a frame into the words of the tables of real servers.
func describe(t testing.TB, frame []byte) string {
	t.Helper()
	kind, _, m := decodeFrame(t, frame)
	switch kind {
	case "#identity":
		return "#identity (handle)"
	case "#account":
		if m["active"] == true {
			return "#account (active:true)"
		}
		return fmt.Sprintf("#account (active:false status:%s)", m["status"])
	case "#sync":
		a := readCAR(t, m["blocks"].([]byte))
		same := "="
		if a.commit(t)["rev"] != m["rev"] {
			same = "≠"
		}
		return fmt.Sprintf("#sync (rev %s commit.rev; %s)", same, counted(len(a.order)))
	}
	ops := ""
	for i, o := range m["ops"].([]any) {
		o := o.(map[string]any)
		if i > 0 {
			ops += ", "
		}
		ops += o["action"].(string)
		if o["cid"] == nil {
			ops += " cid:null"
		}
		if o["prev"] != nil {
			ops += " prev"
		}
	}
	if ops == "" {
		ops = "no ops"
	}
	since, prevData := "set", "set"
	if m["since"] == nil {
		since = "null"
	}
	if m["prevData"] == nil {
		prevData = "absent"
	}
	a := readCAR(t, m["blocks"].([]byte))
	return fmt.Sprintf("%s (%s; since:%s; prevData:%s; %s)", kind, ops, since, prevData, counted(len(a.order)))
}

func counted(blocks int) string {
	if blocks == 1 {
		return "1 block"
	}
	return fmt.Sprintf("%d blocks", blocks)
}
