package resync_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/test/msttest"
)

// The loadHosts's repos. A repo is a number: its DID, its tree, its key and its rev
// follow from that, so that whoever knows the number knows the truth, and nothing
// is stored for each of them.

const (
	loadTrees   = 300 // distinct ones; repos share them
	loadKeys    = 4   // signing keys; repos share them
	leastRecord = 5
	mostRecords = 200
)

// loadRepos is the trees and keys that all repos of the load hosts are made of. The same
// one comes out in every process.
type loadRepos struct {
	trees []*plot
	keys  []*seal
}

func newLoadRepos() *loadRepos {
	rng := rand.New(rand.NewPCG(1, 2))
	e := &loadRepos{}
	for range loadTrees {
		e.trees = append(e.trees, newPlot(rng))
	}
	for i := range loadKeys {
		e.keys = append(e.keys, newSeal(i))
	}
	return e
}

// slim forgets the archives, for who only compares.
func (e *loadRepos) slim() *loadRepos {
	for _, p := range e.trees {
		p.archive = nil
		p.root = &branch{digest: p.root.digest}
	}
	return e
}

func (e *loadRepos) tree(repo int) *plot { return e.trees[uint32(repo)*2654435761%loadTrees] }
func (e *loadRepos) key(repo int) *seal  { return e.keys[repo%loadKeys] }

// loadRev is the rev of a repo's only commit.
func loadRev(repo int) atproto.TID {
	return atproto.TIDAt(time.Date(2025, 1, 1, 0, 0, repo, 0, time.UTC))
}

// The digits of a repo's number as letters and digits that a did:plc may have.
const didDigits = "ab234567ij"

func loadDID(repo int) string {
	text := []byte(fmt.Sprintf("did:plc:%024d", repo))
	for i := len("did:plc:"); i < len(text); i++ {
		text[i] = didDigits[text[i]-'0']
	}
	return string(text)
}

func loadRepo(did string) (repo int, ok bool) {
	digits, ok := strings.CutPrefix(did, "did:plc:")
	if !ok {
		return 0, false
	}
	for _, c := range []byte(digits) {
		at := strings.IndexByte(didDigits, c)
		if at < 0 {
			return 0, false
		}
		repo = repo*10 + at
	}
	return repo, true
}

// commit returns the signed commit of a repo.
func (e *loadRepos) commit(repo int) (block []byte, cid atproto.Digest) {
	var unsigned, signed [256]byte
	message := e.commitFields(unsigned[:0], repo, nil)
	block = e.commitFields(signed[:0], repo, e.key(repo).sign(atproto.DigestOf(message)))
	return slices.Clone(block), atproto.DigestOf(block)
}

func (e *loadRepos) commitFields(b []byte, repo int, sig []byte) []byte {
	fields := 5
	if sig != nil {
		fields = 6
	}
	b = dagcbor.AppendMap(b, fields)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), loadDID(repo))
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), loadRev(repo).String())
	if sig != nil {
		b = dagcbor.AppendBytes(dagcbor.AppendText(b, "sig"), sig)
	}
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "data"), e.tree(repo).root.digest)
	b = dagcbor.AppendNull(dagcbor.AppendText(b, "prev"))
	return dagcbor.AppendInt(dagcbor.AppendText(b, "version"), 3)
}

// seal is a K-256 key that uses one nonce for all its signatures: that gives its
// secret away, which is nobody's, and costs a hundredth of an honest signature.
type seal struct {
	public      string // as the file has it
	r, inv, sum *big.Int
	order, half *big.Int
}

func newSeal(number int) *seal {
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	secret, nonce := big.NewInt(int64(1001+number)), big.NewInt(int64(7001+number))
	s := &seal{order: order, half: new(big.Int).Rsh(order, 1), public: "\xe7\x01" + string(point(secret))}
	s.r = new(big.Int).SetBytes(point(nonce)[1:])
	s.inv = new(big.Int).ModInverse(nonce, order)
	s.sum = new(big.Int).Mul(s.r, secret)
	s.sum.Mul(s.sum, s.inv).Mod(s.sum, order)
	return s
}

// point returns the compressed public key of a secret.
func point(secret *big.Int) []byte {
	private, err := atcrypto.ParsePrivateBytesK256(secret.FillBytes(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	public, err := private.PublicKey()
	if err != nil {
		panic(err)
	}
	return public.Bytes()
}

// sign returns r and s = (digest + r·secret)/nonce, in its lower form.
func (k *seal) sign(digest atproto.Digest) []byte {
	s := new(big.Int).SetBytes(digest[:])
	s.Mul(s, k.inv).Add(s, k.sum).Mod(s, k.order)
	if s.Cmp(k.half) > 0 {
		s.Sub(k.order, s)
	}
	sig := make([]byte, 64)
	k.r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig
}

// plot is one tree with the answers that show it, ready to be sent behind a
// commit.
type plot struct {
	root        *branch
	collections []string // sorted
	describe    []byte   // the list as JSON
	archive     []byte   // CAR sections of all nodes and records
	proofs      sync.Map // path to the CAR sections ([]byte) of the nodes on the way to it
}

// branch is a node.
type branch struct {
	digest atproto.Digest
	block  []byte
	keys   []string
	kids   []*branch // one more than keys; nil where there is nothing between
}

func newPlot(rng *rand.Rand) *plot {
	records := int(leastRecord * math.Pow(mostRecords/leastRecord, rng.Float64()))
	var names []string
	for _, n := range rng.Perm(40)[:3+rng.IntN(6)] {
		names = append(names, fmt.Sprintf("com.example.part%02d.record", n))
	}
	p := &plot{}
	blocks := make(map[string][]byte)
	for i := range records {
		name := names[rng.IntN(len(names))]
		if i < len(names) {
			name = names[i]
		}
		blocks[name+"/"+atproto.TID(rng.Int64()>>1).String()] = newRecord(rng, name)
	}
	values := make(map[string][]byte)
	var keys []string
	top := 0
	for key, block := range blocks {
		values[key] = atproto.DigestOf(block).AppendCID(nil)
		keys, top = append(keys, key), max(top, msttest.Depth(key))
		name, _, _ := strings.Cut(key, "/")
		p.collections = append(p.collections, name)
	}
	slices.Sort(keys)
	slices.Sort(p.collections)
	p.collections = slices.Compact(p.collections)
	p.describe, _ = json.Marshal(p.collections)
	p.root = grow(values, keys, top)
	p.root.walk(func(n *branch) { p.archive = appendSection(p.archive, n.digest, n.block) })
	for _, key := range keys {
		p.archive = appendSection(p.archive, atproto.DigestOf(blocks[key]), blocks[key])
	}
	return p
}

// newRecord is of 100 to 900 bytes.
func newRecord(rng *rand.Rand, name string) []byte {
	text := make([]byte, 60+rng.IntN(800))
	for i := range text {
		text[i] = byte('a' + rng.IntN(26))
	}
	b := dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "text"), string(text))
	return dagcbor.AppendText(dagcbor.AppendText(b, "$type"), name)
}

// grow makes the node of one level over sorted neighbouring keys.
func grow(values map[string][]byte, keys []string, level int) *branch {
	if len(keys) == 0 {
		return nil
	}
	n := &branch{}
	var entries []msttest.Entry
	from, before := 0, ""
	for i, key := range keys {
		if msttest.Depth(key) < level {
			continue
		}
		n.kids = append(n.kids, grow(values, keys[from:i], level-1))
		shared := 0
		for shared < min(len(before), len(key)) && before[shared] == key[shared] {
			shared++
		}
		entries = append(entries, msttest.Entry{Shared: shared, Suffix: key[shared:], Value: values[key]})
		n.keys, before, from = append(n.keys, key), key, i+1
	}
	n.kids = append(n.kids, grow(values, keys[from:], level-1))
	for i := range entries {
		entries[i].Right = n.kids[i+1].link()
	}
	n.block = msttest.Encode(n.kids[0].link(), entries...)
	n.digest = atproto.DigestOf(n.block)
	return n
}

func (n *branch) link() *atproto.Digest {
	if n == nil {
		return nil
	}
	return &n.digest
}

func (n *branch) walk(visit func(*branch)) {
	if n == nil {
		return
	}
	visit(n)
	for _, kid := range n.kids {
		kid.walk(visit)
	}
}

// proof returns the sections of the nodes from the root towards a key, which no repo
// has.
func (p *plot) proof(key string) []byte {
	if sections, ok := p.proofs.Load(key); ok {
		return sections.([]byte)
	}
	var sections []byte
	for n := p.root; n != nil; {
		sections = appendSection(sections, n.digest, n.block)
		i, _ := slices.BinarySearch(n.keys, key)
		n = n.kids[i]
	}
	p.proofs.Store(key, sections)
	return sections
}

// appendSection writes one block of a CAR.
func appendSection(b []byte, d atproto.Digest, block []byte) []byte {
	b = binary.AppendUvarint(b, uint64(atproto.CIDLen+len(block)))
	return append(d.AppendCID(b), block...)
}

// appendArchive begins the CAR of a commit: header and commit.
func appendArchive(b []byte, commit []byte, cid atproto.Digest) []byte {
	header := dagcbor.AppendMap(make([]byte, 0, 64), 2)
	header = dagcbor.AppendArray(dagcbor.AppendText(header, "roots"), 1)
	header = dagcbor.AppendLink(header, cid)
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	b = append(binary.AppendUvarint(b, uint64(len(header))), header...)
	return appendSection(b, cid, commit)
}

// loadHost names the host of a repo, one of so many.
func loadHost(repo, hosts int) string { return "h" + strconv.Itoa(repo%hosts) + ".load.test" }
