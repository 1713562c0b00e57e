package establish

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/test/msttest"
)

const (
	testDID  = "did:plc:railyardtestktwofivesixa"
	otherDID = "did:plc:railyardtestktwofivesixb"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// leaf is a node of a whole tree that is easy to walk along.
type leaf struct {
	digest atproto.Digest
	block  []byte
	keys   []string
	kids   []*leaf // one more than keys; nil where nothing is between
}

func recordOf(key string) []byte { return dagcbor.AppendText(nil, key) }

// grow makes the node of one level over sorted neighbouring keys.
func grow(keys []string, depth map[string]int, level int) *leaf {
	if len(keys) == 0 {
		return nil
	}
	n := &leaf{}
	from := 0
	for i, key := range keys {
		if depth[key] == level {
			n.kids = append(n.kids, grow(keys[from:i], depth, level-1))
			n.keys = append(n.keys, key)
			from = i + 1
		}
	}
	n.kids = append(n.kids, grow(keys[from:], depth, level-1))
	return n.seal()
}

func (n *leaf) seal() *leaf {
	var entries []msttest.Entry
	prev := ""
	for i, key := range n.keys {
		shared := 0
		for shared < min(len(prev), len(key)) && prev[shared] == key[shared] {
			shared++
		}
		value := atproto.DigestOf(recordOf(key)).AppendCID(nil)
		entries = append(entries, msttest.Entry{Shared: shared, Suffix: key[shared:], Value: value, Right: n.kids[i+1].link()})
		prev = key
	}
	n.block = msttest.Encode(n.kids[0].link(), entries...)
	n.digest = atproto.DigestOf(n.block)
	return n
}

func (n *leaf) link() *atproto.Digest {
	if n == nil {
		return nil
	}
	return &n.digest
}

// path returns the blocks that the reference PDS sends for a key: the nodes down to
// the one that holds it, or to the end of its place, and its record.
func (n *leaf) path(key string) (blocks [][]byte) {
	for n != nil {
		blocks = append(blocks, n.block)
		i, found := slices.BinarySearch(n.keys, key)
		if found {
			return append(blocks, recordOf(key))
		}
		n = n.kids[i]
	}
	return blocks
}

// all returns every node.
func (n *leaf) all() (blocks [][]byte) {
	if n == nil {
		return nil
	}
	blocks = append(blocks, n.block)
	for _, kid := range n.kids {
		blocks = append(blocks, kid.all()...)
	}
	return blocks
}

// host is a PDS with one repo. Its fields are changed by tests that let it lie.
type host struct {
	t      testing.TB
	key    atcrypto.PrivateKey
	signer atcrypto.PrivateKey // other than key: signs wrongly
	did    string
	rev    atproto.TID
	keys   []string // sorted
	root   *leaf
	commit []byte
	asked  []question
	listed []string // nil: the truth

	before func(q question)                             // called with every question
	blocks func(q question, b [][]byte) [][]byte        // changes an answer's blocks, the commit first
	answer func(q question, car []byte) ([]byte, error) // changes the answer
}

func newHost(t testing.TB, keys ...string) *host {
	key, err := atcrypto.GeneratePrivateKeyK256()
	must(t, err)
	h := &host{t: t, key: key, signer: key, did: testDID, rev: 1 << 40}
	h.hold(keys...)
	return h
}

// hold makes a new commit whose tree has exactly these keys.
func (h *host) hold(keys ...string) {
	h.keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	depth := make(map[string]int, len(keys))
	top := 0
	for _, key := range h.keys {
		depth[key] = msttest.Depth(key)
		top = max(top, depth[key])
	}
	if h.root = grow(h.keys, depth, top); h.root == nil {
		h.root = (&leaf{kids: []*leaf{nil}}).seal()
	}
	h.sign()
}

// sign makes a commit of a newer rev with the tree as it is.
func (h *host) sign() {
	h.rev += 1 << 10
	h.commit = h.signed(h.did, h.rev, h.root.digest)
}

func (h *host) signed(did string, rev atproto.TID, data atproto.Digest) []byte {
	fields := func(n int) []byte {
		b := dagcbor.AppendMap(nil, n)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
		return dagcbor.AppendText(dagcbor.AppendText(b, "rev"), rev.String())
	}
	rest := dagcbor.AppendLink(dagcbor.AppendText(nil, "data"), data)
	rest = dagcbor.AppendNull(dagcbor.AppendText(rest, "prev"))
	rest = dagcbor.AppendInt(dagcbor.AppendText(rest, "version"), 3)
	sig, err := h.signer.HashAndSign(append(fields(5), rest...))
	must(h.t, err)
	return append(dagcbor.AppendBytes(dagcbor.AppendText(fields(6), "sig"), sig), rest...)
}

func (h *host) verify(c *repo.Commit) error {
	public, err := h.key.PublicKey()
	must(h.t, err)
	return c.Verify(public)
}

// GetRecord answers as the reference PDS does. It refuses paths that the lexicon
// does not allow.
func (h *host) GetRecord(_ context.Context, collection, rkey string) ([]byte, error) {
	q := question{collection, rkey}
	if _, _, err := atproto.ParsePath(q.path()); err != nil {
		h.t.Errorf("asked for a path that no server takes: %v", err)
	}
	h.asked = append(h.asked, q)
	if h.before != nil {
		h.before(q)
	}
	blocks := append([][]byte{h.commit}, h.root.path(q.path())...)
	if h.blocks != nil {
		blocks = h.blocks(q, blocks)
	}
	car := carOf(atproto.DigestOf(h.commit), blocks...)
	if h.answer != nil {
		return h.answer(q, car)
	}
	return car, nil
}

// DescribeRepo lists what the repo holds now.
func (h *host) DescribeRepo(context.Context) ([]string, error) {
	if h.listed != nil {
		return h.listed, nil
	}
	return truth(h.keys), nil
}

func carOf(root atproto.Digest, blocks ...[]byte) []byte {
	header := dagcbor.AppendArray(dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots"), 1)
	header = dagcbor.AppendLink(header, root)
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	b := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	for _, block := range blocks {
		b = binary.AppendUvarint(b, uint64(atproto.CIDLen+len(block)))
		b = append(atproto.DigestOf(block).AppendCID(b), block...)
	}
	return b
}

// truth is what the keys of a tree mean, found in the plainest way.
func truth(keys []string) []string {
	names := map[string]bool{}
	for _, key := range keys {
		nsid, _, slash := strings.Cut(key, "/")
		if _, err := atproto.ParseNSID(nsid); err == nil && slash {
			names[nsid] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (h *host) config() probeConfig {
	return probeConfig{did: testDID, source: h, verify: h.verify, maxRequests: 2000, maxCollections: refusal.MaxCollections}
}

func (h *host) prober() *prober { return newProber(h.config()) }
