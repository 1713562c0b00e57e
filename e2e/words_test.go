//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/event"
	"railyard/internal/mst"
	repopkg "railyard/internal/repo"
)

// drawn are the texts that differ from run to run or with the version of the
// software, and the words for them.
// Everything else of an answer is compared as it stands.
var drawn = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`^\d+::`), "<ms>::"},
	{regexp.MustCompile(`did:web:(localhost|127\.0\.0\.1)%3A\d+`), "<did:web of the host>"},
	{regexp.MustCompile(`^(\d+\.\d+\.\d+|simnet)$`), "<version>"},
	{regexp.MustCompile(`did:plc:[a-z2-7]{24}`), "<did>"},
	{regexp.MustCompile(`baf[a-z2-7]{56}`), "<cid>"},
	{regexp.MustCompile(`^[2-7a-j][2-7a-z]{12}$`), "<tid>"},
	{regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`), "<time>"},
	{regexp.MustCompile(`z(Q3s|Dna)[1-9A-HJ-NP-Za-km-z]{45}`), "<key>"},
	{regexp.MustCompile(`(secp256k1|ecdsa)-2019`), "<curve>"},
	{regexp.MustCompile(`^[A-Za-z0-9_-]{86}$`), "<signature>"},
}

// words returns a JSON or DAG-CBOR value as JSON with sorted fields.
func (s *side) words(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s.plain("", v)); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out.String())
}

// plain replaces what differs from run to run. CARs are put in words.
func (s *side) plain(field string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = s.plain(key, value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.plain("", v[i])
		}
		return out
	case string:
		text := s.unfill(v)
		for _, d := range drawn {
			text = d.pattern.ReplaceAllString(text, d.word)
		}
		return text
	case []byte:
		if field == "blocks" {
			return s.archive(v, "")
		}
		return fmt.Sprintf("<%d bytes>", len(v))
	case int64:
		if field == "seq" {
			return "<seq>"
		}
	}
	return v
}

// link is a CID in DAG-CBOR.
type link struct{}

func (link) MarshalText() ([]byte, error) { return []byte("<link>"), nil }

// decode reads one value of strict DAG-CBOR.
func decode(r *dagcbor.Reader) any {
	switch r.Peek() {
	case dagcbor.Int:
		return r.Int()
	case dagcbor.Bytes:
		return r.Bytes()
	case dagcbor.Text:
		return r.String()
	case dagcbor.Bool:
		return r.Bool()
	case dagcbor.CID:
		r.CID()
		return link{}
	case dagcbor.Array:
		items := []any{}
		for n := r.Array(); n > 0 && r.Err() == nil; n-- {
			items = append(items, decode(r))
		}
		return items
	case dagcbor.Map:
		m := map[string]any{}
		var keys dagcbor.Keys
		for n := r.Map(); n > 0 && r.Err() == nil; n-- {
			key := string(r.Key(&keys))
			m[key] = decode(r)
		}
		return m
	}
	if !r.Null() {
		r.Fail("not a value")
	}
	return nil
}

// frame describes a message of the firehose in words, and what package event refuses
// about it.
func (s *side) frame(b []byte) string {
	r := dagcbor.NewReader(b)
	header, body := decode(&r), decode(&r)
	if err := r.End(); err != nil {
		return fmt.Sprintf("not a frame: %v: %x", err, b)
	}
	text := s.words(header) + " " + s.words(body)
	f := event.Decode(b)
	if f.Refusal != nil {
		return text + " refused: " + f.Refusal.Error()
	}
	return text + s.relations(f)
}

// state is a repo after a commit.
type state struct {
	rev  atproto.TID
	data atproto.Digest
}

// relations says how a frame fits its commit block and the commit before.
func (s *side) relations(f event.Frame) string {
	var blocks []byte
	var rev atproto.TID
	commit, _ := f.Event.(*event.Commit)
	switch e := f.Event.(type) {
	case *event.Commit:
		blocks, rev = e.Blocks, e.Rev
	case *event.Sync:
		blocks, rev = e.Blocks, e.Rev
	default:
		return ""
	}
	car, err := repopkg.ParseCAR(blocks, repopkg.MessageLimits())
	if err != nil {
		return " " + err.Error()
	}
	block, _ := car.Block(car.Root())
	signed, err := repopkg.ParseCommit(block)
	if err != nil {
		return " " + err.Error()
	}
	text := fmt.Sprintf(" [rev of the commit block: %v]", rev == signed.Rev)
	if commit != nil {
		before, known := s.states[f.DID]
		text += fmt.Sprintf(" [commit is the root: %v, first: %v, since and prevData are of the commit before: %v]", commit.CID == car.Root(), !known,
			known && commit.Since != nil && *commit.Since == before.rev && commit.PrevData != nil && *commit.PrevData == before.data)
		s.states[f.DID] = state{signed.Rev, signed.Data}
	}
	return text
}

// archive describes a CAR in words: the roots, the blocks in their order, the commit.
// The question that it answers is empty for a CAR in a frame. The blocks of getRepo
// come in an order of their CIDs and are only counted. The answer of getRecord is
// walked for the record that was asked for.
func (s *side) archive(b []byte, question string) string {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "a CAR without a header"
	}
	header := dagcbor.NewReader(b[n : n+int(size)])
	text := "CAR " + s.words(decode(&header))
	car, err := repopkg.ParseCAR(b, repopkg.MessageLimits())
	if err != nil {
		return text + " " + err.Error()
	}
	text += " " + blockKinds(car, strings.Contains(question, "sync.getRepo?"))
	block, ok := car.Block(car.Root())
	if !ok {
		return text + ", root not sent"
	}
	root := dagcbor.NewReader(block)
	text += " commit " + s.words(decode(&root))
	_, query, _ := strings.Cut(question, "?")
	if asked, err := url.ParseQuery(query); err == nil && asked.Has("rkey") {
		text += " " + proof(car, block, asked)
	}
	return text
}

// blockKinds lists the kinds of the blocks. The root is the commit, the top is the
// highest node of the tree.
func blockKinds(car *repopkg.CAR, sorted bool) string {
	var kinds []string
	var top atproto.Digest // of the tree
	if root, ok := car.Block(car.Root()); ok {
		if commit, err := repopkg.ParseCommit(root); err == nil {
			top = commit.Data
		}
	}
	for _, block := range car.Blocks() {
		r := dagcbor.NewReader(block.Data)
		m, _ := decode(&r).(map[string]any)
		kind := "record"
		switch {
		case r.End() != nil:
			kind = "junk"
		case m["sig"] != nil && block.Digest == car.Root():
			kind = "root"
		case m["sig"] != nil:
			kind = "commit"
		case m["e"] != nil && block.Digest == top:
			kind = "top"
		case m["e"] != nil:
			kind = "node"
		}
		kinds = append(kinds, kind)
	}
	if sorted {
		slices.Sort(kinds)
	}
	return fmt.Sprint(kinds)
}

// proof says what the answer of getRecord proves.
func proof(car *repopkg.CAR, block []byte, asked url.Values) string {
	commit, err := repopkg.ParseCommit(block)
	if err != nil {
		return err.Error()
	}
	_, view, err := mst.Load(commit.Data, car)
	if err != nil {
		return err.Error()
	}
	value, presence := view.Get(asked.Get("collection") + "/" + asked.Get("rkey"))
	sent := false
	if value != nil {
		_, sent = car.BlockOf(value)
	}
	return fmt.Sprintf("proves %v, record sent %v", presence, sent)
}
