package verify

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/test/msttest"
)

// BenchmarkProveReal proves the recorded commits of a relay in turn: all checks,
// and all but the signature.
func BenchmarkProveReal(b *testing.B) {
	frames, keys := realFrames(b)
	var commits []*event.Commit
	for _, frame := range frames {
		if c, ok := event.Decode(frame).Event.(*event.Commit); ok {
			commits = append(commits, c)
		}
	}
	for _, bench := range []struct {
		name string
		key  func(did string) atcrypto.PublicKey
	}{
		{"all", func(did string) atcrypto.PublicKey { return keys[did] }},
		{"nosig", func(string) atcrypto.PublicKey { return anySignature{} }},
	} {
		b.Run(bench.name, func(b *testing.B) { proveInTurn(b, commits, bench.key) })
	}
}

// BenchmarkSocketToProof is ProveReal from the bytes of the frame.
func BenchmarkSocketToProof(b *testing.B) {
	frames, keys := realFrames(b)
	frames = slices.DeleteFunc(frames, func(frame []byte) bool {
		_, ok := event.Decode(frame).Event.(*event.Commit)
		return !ok
	})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c := event.Decode(frames[i%len(frames)]).Event.(*event.Commit)
		if _, err := Commit(c, keys[c.DID], fixtureNow); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkProve proves made commits of the shape of real ones: from the decoded
// event, under a key that was parsed before.
func BenchmarkProve(b *testing.B) {
	big := makeBigRepo(b)
	for _, curve := range curves {
		key, public := curve.generate(b)
		commits := big.commits(b, key)
		b.Run(curve.name, func(b *testing.B) {
			proveInTurn(b, commits, func(string) atcrypto.PublicKey { return public })
		})
	}
	commits := big.commits(b, nil)
	b.Run("nosig", func(b *testing.B) {
		proveInTurn(b, commits, func(string) atcrypto.PublicKey { return anySignature{} })
	})
}

// BenchmarkSignature verifies the signatures of the commits of BenchmarkProve by
// the call that the proof makes, and does nothing else.
func BenchmarkSignature(b *testing.B) {
	for _, curve := range curves {
		key, public := curve.generate(b)
		var unsigned, sigs [][]byte
		for i := range 32 {
			unsigned = append(unsigned, encodeCommit(atproto.TID(i), atproto.EmptyTree, nil))
			sig, err := key.HashAndSign(unsigned[i])
			must(b, err)
			sigs = append(sigs, sig)
		}
		b.Run(curve.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := public.HashAndVerify(unsigned[i%len(sigs)], sigs[i%len(sigs)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func proveInTurn(b *testing.B, commits []*event.Commit, key func(did string) atcrypto.PublicKey) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c := commits[i%len(commits)]
		if _, err := Commit(c, key(c.DID), fixtureNow); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

var curves = []struct {
	name     string
	generate func(testing.TB) (atcrypto.PrivateKey, atcrypto.PublicKey)
}{
	{"k256", func(t testing.TB) (atcrypto.PrivateKey, atcrypto.PublicKey) {
		key, err := atcrypto.GeneratePrivateKeyK256()
		return withPublic(t, key, err)
	}},
	{"p256", func(t testing.TB) (atcrypto.PrivateKey, atcrypto.PublicKey) {
		key, err := atcrypto.GeneratePrivateKeyP256()
		return withPublic(t, key, err)
	}},
}

func withPublic(t testing.TB, key atcrypto.PrivateKey, err error) (atcrypto.PrivateKey, atcrypto.PublicKey) {
	t.Helper()
	must(t, err)
	public, err := key.PublicKey()
	must(t, err)
	return key, public
}

// bigRepo is a repo of 100,000 records in seven collections, with names and
// proportions like those of an active account.
type bigRepo struct {
	root  atproto.Digest
	nodes msttest.Blocks
	keys  []string
	value map[string][]byte
	made  map[string]int // the number of a record, by its CID
	rng   *rand.Rand
}

func makeBigRepo(t testing.TB) *bigRepo {
	t.Helper()
	mix := []struct {
		nsid string
		n    int
	}{
		{"app.bsky.feed.like", 60_000}, {"app.bsky.feed.post", 20_000}, {"app.bsky.feed.repost", 12_000},
		{"app.bsky.graph.follow", 7_000}, {"app.bsky.graph.block", 900}, {"app.bsky.feed.threadgate", 99},
	}
	r := &bigRepo{value: map[string][]byte{}, made: map[string]int{}, rng: rand.New(rand.NewPCG(11, 20))}
	r.add("app.bsky.actor.profile/self")
	at := fixtureNow.UnixMicro() - 1<<40
	for _, m := range mix {
		for range m.n {
			rev := atproto.TID((at + r.rng.Int64N(1<<40)) << 10)
			r.add(m.nsid + "/" + rev.String())
		}
	}
	r.root, r.nodes = msttest.Build(r.value)
	r.keys = slices.Sorted(maps.Keys(r.value))
	return r
}

func (r *bigRepo) add(path string) {
	cid := recordCID(len(r.made))
	r.value[path], r.made[string(cid)] = cid, len(r.made)
}

// recordOf makes a record of a usual size.
func recordOf(i int) []byte {
	b := dagcbor.AppendMap(nil, 2)
	b = dagcbor.AppendInt(dagcbor.AppendText(b, "n"), int64(i))
	return dagcbor.AppendBytes(dagcbor.AppendText(b, "text"), make([]byte, 60+i%120))
}

func recordCID(i int) []byte { return atproto.DigestOf(recordOf(i)).AppendCID(nil) }

// commits makes messages of one op, each of which leads from another tree to the
// repo's: nine creates, then a delete. Without a key the signatures are zeros.
func (r *bigRepo) commits(t testing.TB, key atcrypto.PrivateKey) []*event.Commit {
	t.Helper()
	var commits []*event.Commit
	for i := range 64 {
		at := r.rng.IntN(len(r.keys))
		op := event.Op{Action: event.Create, Path: r.keys[at], CID: r.value[r.keys[at]]}
		left, right := at-1, at+1
		if i%10 == 9 {
			op = event.Op{Action: event.Delete, Path: r.keys[at] + "2", Prev: recordCID(i)}
			left = at
		}
		blocks := r.proof(t, at, left, right)
		if op.Action == event.Create {
			blocks = append(blocks, recordOf(r.made[string(op.CID)]))
		}
		commits = append(commits, r.commit(t, key, op, blocks))
	}
	return commits
}

// proof returns the nodes from the root to each of the keys with these numbers.
func (r *bigRepo) proof(t testing.TB, keys ...int) (blocks [][]byte) {
	t.Helper()
	asked := msttest.Blocks{}
	for _, at := range keys {
		if at < 0 || at >= len(r.keys) {
			continue
		}
		for d := r.root; ; {
			asked[d] = r.nodes[d]
			_, view, err := mst.Load(r.root, asked)
			must(t, err)
			if _, p := view.Get(r.keys[at]); p == mst.Present {
				break
			}
			d = r.next(t, d, r.keys[at])
		}
	}
	for _, block := range asked {
		blocks = append(blocks, block)
	}
	slices.SortFunc(blocks, func(a, b []byte) int { return len(b) - len(a) })
	return blocks
}

// next returns the child of a node that is on the way to a key.
func (r *bigRepo) next(t testing.TB, d atproto.Digest, key string) (child atproto.Digest) {
	t.Helper()
	rd := dagcbor.NewReader(r.nodes[d])
	rd.Map()
	rd.Text()
	var last []byte
	right := []byte(nil)
	passed := true
	for range rd.Array() {
		rd.Map()
		rd.Text()
		suffix := rd.Bytes()
		rd.Text()
		last = append(last[:rd.Int()], suffix...)
		rd.Text()
		var link []byte
		if !rd.Null() {
			link = rd.CID()
		}
		rd.Text()
		rd.CID()
		if passed = passed && string(last) <= key; passed {
			right = link
		}
	}
	rd.Text()
	if left := rd.CID(); right == nil && left != nil {
		right = left
	}
	child, err := atproto.DigestFromCID(right)
	must(t, err)
	return child
}

func (r *bigRepo) commit(t testing.TB, key atcrypto.PrivateKey, op event.Op, blocks [][]byte) *event.Commit {
	t.Helper()
	tree, _, err := mst.Load(r.root, blocksOf(blocks))
	must(t, err)
	must(t, new(prover).undo([]event.Op{op}, tree))
	prev := tree.Root()
	since := atproto.TIDAt(fixtureNow) - 2
	sig := make([]byte, 64)
	if key != nil {
		sig, err = key.HashAndSign(encodeCommit(since+1, r.root, nil))
		must(t, err)
	}
	commit := encodeCommit(since+1, r.root, sig)
	c := &event.Commit{
		DID: testDID, Rev: since + 1, Since: &since, PrevData: &prev,
		CID: atproto.DigestOf(commit), Ops: []event.Op{op},
	}
	c.Blocks = carOf(c.CID, append(blocks, commit)...)
	return c
}

func blocksOf(blocks [][]byte) msttest.Blocks {
	b := msttest.Blocks{}
	for _, block := range blocks {
		b[atproto.DigestOf(block)] = block
	}
	return b
}

// TestMadeCommitsHaveTheShapeOfRealOnes holds the benchmark to what was measured
// on the recorded frames: 5.5 KB, ten blocks, forty visible keys.
func TestMadeCommitsHaveTheShapeOfRealOnes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a tree of 100,000 records")
	}
	var bytes, blocks, keys int
	commits := makeBigRepo(t).commits(t, nil)
	for _, c := range commits {
		var pr prover
		must(t, pr.open(c.Blocks, c.DID))
		_, view, err := mst.Load(pr.commit.Data, &pr.car)
		must(t, err)
		bytes, blocks, keys = bytes+len(c.Blocks), blocks+pr.car.Len(), keys+len(view.Keys())
		if pr.car.Blocks()[0].Digest == c.CID {
			t.Error("the commit is the first block")
		}
		if _, err := Commit(c, anySignature{}, fixtureNow); err != nil {
			t.Error(err)
		}
	}
	n := len(commits)
	got := fmt.Sprintf("%d bytes, %d blocks, %d keys", bytes/n, blocks/n, keys/n)
	if bytes/n < 4500 || bytes/n > 6500 || blocks/n < 8 || blocks/n > 13 || keys/n < 30 || keys/n > 55 {
		t.Error(got)
	}
	t.Log(got)
}
