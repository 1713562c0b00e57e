package verify

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
	"railyard/internal/test/msttest"
)

// anySignature is a key under which everything verifies, so that the fuzzer
// gets behind the signature.
type anySignature struct{ atcrypto.PublicKey }

func (anySignature) HashAndVerify(_, _ []byte) error { return nil }

// fuzzFrames returns a few small real and synthetic frames where the fixtures are.
func fuzzFrames(f *testing.F) (frames [][]byte) {
	if _, ok := fixtures.Find(f); !ok {
		return nil
	}
	var cases []syntheticCase
	must(f, json.Unmarshal(fixtures.Read(f, "synthetic", "commit_cases.json"), &cases))
	for _, c := range cases {
		frame, err := base64.StdEncoding.DecodeString(c.FrameBase64)
		if err != nil {
			frame, err = base64.RawStdEncoding.DecodeString(c.FrameBase64)
		}
		must(f, err)
		if len(frame) < 20_000 {
			frames = append(frames, frame)
		}
	}
	return frames
}

// FuzzCommit mutates frames. To get behind the hashes it also tries the ops of
// the mutated frame on the untouched blocks of its seed.
func FuzzCommit(f *testing.F) {
	frames := fuzzFrames(f)
	a := newAccount(f).fill("com.ex.a/1", "com.ex.a/2", "com.ex.b/1")
	a.key = nil
	prev := a.data()
	own := a.commit(&prev, a.delete("com.ex.a/1"), a.create("com.ex.c/1"), a.update("com.ex.b/1"))
	for i, frame := range frames {
		f.Add(frame, uint8(i), int16(-1), byte(0))
	}
	f.Add([]byte{0xa0}, uint8(0), int16(3), byte(1))
	f.Fuzz(func(t *testing.T, frame []byte, seed uint8, at int16, flip byte) {
		c, ok := event.Decode(frame).Event.(*event.Commit)
		if !ok {
			broken := *own
			broken.Blocks = slices.Clone(own.Blocks)
			if at >= 0 && int(at) < len(broken.Blocks) {
				broken.Blocks[at] ^= flip
			}
			checkFuzzed(t, &broken)
			return
		}
		checkFuzzed(t, c)
		if len(frames) == 0 {
			return
		}
		if sound, ok := event.Decode(frames[int(seed)%len(frames)]).Event.(*event.Commit); ok {
			sound.Ops, sound.PrevData, sound.Since = c.Ops, c.PrevData, c.Since
			checkFuzzed(t, sound)
		}
	})
}

func checkFuzzed(t *testing.T, c *event.Commit) {
	t.Helper()
	p, err := Commit(c, anySignature{}, fixtureNow)
	if err == nil {
		for _, nsid := range p.Died {
			if slices.Contains(p.Present, nsid) || p.Shown.Presence(nsid) == mst.Present {
				t.Fatalf("%s is dead and present", nsid)
			}
		}
		return
	}
	if reason := reasonOf(err); reason == "" || reason == refusal.Internal {
		t.Fatalf("%v", err)
	}
	checkRefused(t, p, err)
}

// FuzzTree gives the nodes of the new tree as they are, under right hashes and a
// commit that points to the first, so that only the tree and the ops decide.
func FuzzTree(f *testing.F) {
	a := newAccount(f).fill("com.ex.a/1", "com.ex.a/2", "com.ex.b/1", "com.ex.b/2", "com.ex.b/3", "com.ex.b/4", "com.ex.d/1")
	a.key = nil
	prev := a.data()
	ops := []event.Op{a.delete("com.ex.a/1"), a.create("com.ex.c/1"), a.update("com.ex.b/1"), a.delete("com.ex.d/1"), a.create("com.ex.c/2")}
	root, nodes := msttest.Build(a.content)
	whole := appendNode(nil, nodes[root])
	for _, d := range sortedDigests(nodes) {
		if d != root {
			whole = appendNode(whole, nodes[d])
		}
	}
	f.Add(whole, uint8(0xff))
	f.Add(appendNode(nil, nodes[root]), uint8(1))
	f.Add(appendNode(nil, msttest.Encode(nil)), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, which uint8) {
		blocks := splitNodes(in)
		if len(blocks) == 0 {
			return
		}
		var some []event.Op
		for i, op := range ops {
			if which&(1<<i) != 0 {
				some = append(some, op)
			}
		}
		mine := *a
		mine.t = t
		checkFuzzed(t, mine.commitOf(&prev, atproto.DigestOf(blocks[0]), blocks, some))
	})
}

func appendNode(b, node []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(node))), node...)
}

func splitNodes(in []byte) (blocks [][]byte) {
	for len(in) > 0 && len(blocks) < 50 {
		n, width := binary.Uvarint(in)
		if width <= 0 || n == 0 || n > uint64(len(in)-width) {
			return blocks
		}
		blocks = append(blocks, in[width:width+int(n)])
		in = in[width+int(n):]
	}
	return blocks
}
