package repo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
	"railyard/internal/test/msttest"
)

func read(car []byte) (*Snapshot, error) {
	return ReadSnapshot(bytes.NewReader(car), SnapshotLimits{})
}

// shape is what a tree looks like inside.
type shape struct{ records, nodes, height int }

// shapeOf walks a repo once more.
func shapeOf(t testing.TB, car []byte) (s shape) {
	t.Helper()
	store, err := readStream(bufio.NewReader(bytes.NewReader(car)), SnapshotLimits{}.withDefaults())
	must(t, err)
	commit, err := ParseCommit(store.commit)
	must(t, err)
	nodes := &counter{nodeStore: store}
	must(t, mst.Walk(commit.Data, nodes, func(key, _ []byte) error {
		s.records++
		s.height = max(s.height, msttest.Depth(string(key)))
		return nil
	}))
	s.nodes = nodes.asked
	return s
}

// counter counts the nodes that are asked for.
type counter struct {
	*nodeStore
	asked int
}

func (c *counter) Block(d atproto.Digest) ([]byte, bool) {
	c.asked++
	return c.nodeStore.Block(d)
}

func TestEmptyRepoHasNoCollection(t *testing.T) {
	s, err := read(fixtures.Read(t, "cars", "empty.car"))
	must(t, err)
	if s.Commit.DID != "did:plc:mhkgaud2jb4rypzt4ph2a3co" || s.Commit.Rev.String() != "3m5fo6xa2js2x" {
		t.Errorf("%s %s", s.Commit.DID, s.Commit.Rev)
	}
	if len(s.Collections) != 0 || s.Commit.Data != atproto.EmptyTree {
		t.Errorf("%+v", s)
	}
}

func TestLittleRepoHasTwentyFourCollections(t *testing.T) {
	var want []string
	for line := range strings.Lines(string(fixtures.Read(t, "cars", "little.collections.tsv"))) {
		want = append(want, strings.Fields(line)[0])
	}
	slices.Sort(want)
	car := fixtures.Read(t, "cars", "little.car")
	s, err := ReadSnapshot(iotest.OneByteReader(bytes.NewReader(car)), SnapshotLimits{})
	must(t, err)
	if s.Commit.DID != "did:plc:lulmyldiq4sb2ikags5sfb25" || s.Commit.Rev.String() != "3m2jradrsah2s" {
		t.Errorf("%s %s", s.Commit.DID, s.Commit.Rev)
	}
	if got := shapeOf(t, car); got != (shape{278, 96, 4}) {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(s.Collections, want) || len(want) != 24 {
		t.Errorf("%v", s.Collections)
	}
}

func TestJetstreamRepo(t *testing.T) {
	var want []string
	for line := range strings.Lines(string(fixtures.Read(t, "cars", "jetstream_repo.records.tsv"))) {
		nsid, _ := atproto.CollectionOf(line)
		want = append(want, nsid)
	}
	slices.Sort(want)
	car := fixtures.Read(t, "cars", "jetstream_repo.car")
	s, err := read(car)
	must(t, err)
	if got := shapeOf(t, car); got != (shape{23, 5, 1}) || !slices.Equal(s.Collections, slices.Compact(want)) {
		t.Errorf("%+v", s)
	}
	if s.Commit.Data.String() != "bafyreidigqr65jj2zsmitco3fcuag6pi7std6quxa2bcp2xrpin44ikzsy" {
		t.Errorf("data %s", s.Commit.Data)
	}
}

func TestGreengroundVerifiesUnderTheKeyOfAnotherAccount(t *testing.T) {
	car := fixtures.Read(t, "cars", "greenground.repo.car")
	s, err := read(car)
	must(t, err)
	var doc struct {
		ID                 string
		VerificationMethod []struct{ PublicKeyMultibase, Type string }
	}
	must(t, json.Unmarshal(fixtures.Read(t, "cars", "greenground.didDoc.json"), &doc))
	method := doc.VerificationMethod[0]
	key, err := legacyKey(method.Type, method.PublicKeyMultibase)
	if err != nil {
		t.Fatalf("%s: %v", method.Type, err)
	}
	if err := s.Commit.Verify(key); err != nil {
		t.Error(err)
	}
	if s.Commit.DID != "did:plc:kzcqyc3unb33eh5sxzsfs25z" || s.Commit.DID == doc.ID {
		t.Errorf("commit of %s, document of %s", s.Commit.DID, doc.ID)
	}
	if s.Commit.Prev == nil || shapeOf(t, car).records != 2 {
		t.Errorf("%+v", s)
	}
}

func TestReposOfVersionTwoAreRefused(t *testing.T) {
	for _, file := range []string{
		"paul_staging.repo.car", "repo_slice.car",
		"bafyreieovfuizojpw3zresz7sx3nk4trm2by23pt5rxbey3jme4uo5ogiu.car",
	} {
		_, err := read(fixtures.Read(t, "cars", file))
		wantReason(t, file, err, refusal.BadCommit)
	}
}

// TestACutRepoIsNeverTakenForAWhole cuts at every block boundary, where the
// framing stays perfect, and leaves out every single block.
func TestACutRepoIsNeverTakenForAWhole(t *testing.T) {
	car := fixtures.Read(t, "cars", "little.car")
	whole, err := read(car)
	must(t, err)
	parts := sections(t, car)
	var accepted, partial int
	check := func(name string, cut []byte) {
		s, err := read(cut)
		if err == nil {
			accepted++
			if s.Commit.CID != whole.Commit.CID || !slices.Equal(s.Collections, whole.Collections) {
				t.Errorf("%s: %+v", name, s)
			}
			return
		}
		if reason, _ := refusal.ReasonOf(err); reason == refusal.AnswerPartial {
			partial++
			return
		}
		wantReason(t, name, err, refusal.BadCommit)
	}
	for i := 1; i < len(parts); i++ {
		check(fmt.Sprintf("cut before block %d", i), bytes.Join(parts[:i], nil))
	}
	if accepted > len(parts)/2 || partial == 0 {
		t.Errorf("%d cuts accepted, %d partial", accepted, partial)
	}
	accepted, partial = 0, 0
	for i := 1; i < len(parts); i++ {
		check(fmt.Sprintf("without block %d", i), bytes.Join(slices.Delete(slices.Clone(parts), i, i+1), nil))
	}
	if accepted != 278 || partial != 96 {
		t.Errorf("without one block: %d accepted, %d partial; want 278 records and 96 nodes", accepted, partial)
	}
}

func TestOrderDuplicatesAndOrphansAreTolerated(t *testing.T) {
	car := fixtures.Read(t, "cars", "little.car")
	parts := sections(t, car)
	whole, err := read(car)
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		mixed := slices.Concat(parts[1:], parts[1:40], [][]byte{blockOf([]byte{0xa0})})
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		s, err := read(append(bytes.Clone(parts[0]), bytes.Join(mixed, nil)...))
		if err != nil || s.Commit.CID != whole.Commit.CID || !slices.Equal(s.Collections, whole.Collections) {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}

func TestStreamsThatAreNotSoundAreRefused(t *testing.T) {
	for name, c := range badCARs() {
		_, err := read(c.car)
		wantReason(t, name, err, c.reason)
	}
}

// carOf frames a repo with this tree.
func carOf(t testing.TB, data atproto.Digest, blocks msttest.Blocks) []byte {
	t.Helper()
	key, _ := newKey(t)
	commit := sign(t, key, with(commitPairs(), "data", dagcbor.AppendLink(nil, data)))
	car := append(header(1, atproto.DigestOf(commit).AppendCID(nil)), blockOf(commit)...)
	for _, block := range blocks {
		car = append(car, blockOf(block)...)
	}
	return car
}

func leaf() []byte { return atproto.EmptyTree.AppendCID(nil) }

func TestOddKeysGiveNoCollection(t *testing.T) {
	root, blocks := msttest.Build(map[string][]byte{
		"com.example.a/1": leaf(), "com.example.a/not a record key": leaf(),
		"no slash": leaf(), "/x": leaf(), "nodots/1": leaf(), "com.example.b/1": leaf(),
	})
	s, err := read(carOf(t, root, blocks))
	must(t, err)
	if !slices.Equal(s.Collections, []string{"com.example.a", "com.example.b"}) {
		t.Errorf("%+v", s)
	}
}

func TestANodeSentAsARawBlockIsAbsent(t *testing.T) {
	root, blocks := msttest.Build(map[string][]byte{"com.example.a/1": leaf()})
	car := carOf(t, root, nil)
	raw := append([]byte{1, atproto.CodecRaw}, root.AppendCID(nil)[2:]...)
	_, err := read(append(car, withLength(append(raw, blocks[root]...))...))
	wantReason(t, "a raw node", err, refusal.AnswerPartial)
}

func TestABrokenTreeIsRefused(t *testing.T) {
	blocks := msttest.Blocks{}
	inner := blocks.Put(nil, msttest.Entry{Suffix: "com.example.a/1", Value: leaf()})
	_, err := read(carOf(t, *blocks.Put(inner), blocks))
	wantReason(t, "an untrimmed root", err, refusal.BadTree)
}

func TestSnapshotLimits(t *testing.T) {
	car := fixtures.Read(t, "cars", "little.car")
	for name, lim := range map[string]SnapshotLimits{
		"bytes":      {Bytes: int64(len(car)) - 1},
		"node bytes": {NodeBytes: 10_000},
		"blocks":     {Blocks: 374},
	} {
		_, err := ReadSnapshot(bytes.NewReader(car), lim)
		wantReason(t, name, err, refusal.AnswerTooBig)
	}
	if _, err := ReadSnapshot(bytes.NewReader(car), SnapshotLimits{Bytes: int64(len(car)), Blocks: 375}); err != nil {
		t.Error(err)
	}
}

func TestANodeThatComesOftenIsKeptOnce(t *testing.T) {
	root, blocks := msttest.Build(map[string][]byte{"com.example.a/1": leaf(), "com.example.b/1": leaf()})
	car := carOf(t, root, blocks)
	for range 1000 {
		car = append(car, blockOf(blocks[root])...)
	}
	s, err := ReadSnapshot(bytes.NewReader(car), SnapshotLimits{NodeBytes: 1000})
	if err != nil || len(s.Collections) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Nearly all repos are small, and many are read at once.
func TestASmallRepoTakesLittleMemory(t *testing.T) {
	const runs, most = 100, 40 << 10
	root, blocks := msttest.Build(map[string][]byte{"com.example.a/1": leaf(), "com.example.b/1": leaf()})
	car := carOf(t, root, blocks)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if s, err := read(car); err != nil || len(s.Collections) != 2 {
			t.Fatal(s, err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > most {
		t.Errorf("%d bytes for a repo of %d", each, len(car))
	}
}

func TestAFailingReaderIsNoRefusal(t *testing.T) {
	car := fixtures.Read(t, "cars", "little.car")
	broken := errors.New("connection reset")
	for _, at := range []int{0, 10, 1000, len(car)} {
		for _, cause := range []error{broken, io.ErrUnexpectedEOF} {
			r := io.MultiReader(bytes.NewReader(car[:at]), iotest.ErrReader(cause))
			_, err := ReadSnapshot(r, SnapshotLimits{})
			if _, is := refusal.ReasonOf(err); is || !errors.Is(err, cause) {
				t.Errorf("after %d bytes: %v", at, err)
			}
		}
	}
}

func TestReadRoot(t *testing.T) {
	car := fixtures.Read(t, "cars", "little.car")
	whole, err := ReadSnapshot(bytes.NewReader(car), SnapshotLimits{})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection reset")
	root, err := ReadRoot(io.MultiReader(bytes.NewReader(car[:200]), iotest.ErrReader(broken)))
	if err != nil || root != whole.Commit.CID {
		t.Errorf("root %s, want %s: %v", root, whole.Commit.CID, err)
	}
	for _, answer := range []string{"", "{}", "<html><body>404 page not found</body></html>", `{"error":"NotFound","message":"Could not find repo"}`, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		_, err := ReadRoot(strings.NewReader(answer))
		wantReason(t, answer, err, refusal.BadCAR)
	}
	if _, err := ReadRoot(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAPanicOfTheReaderDoesNotEscape(t *testing.T) {
	_, err := ReadSnapshot(panicking{}, SnapshotLimits{})
	wantReason(t, "panic", err, refusal.Internal)
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("at the disco") }

func FuzzReadSnapshot(f *testing.F) {
	root, blocks := msttest.Build(map[string][]byte{"com.example.a/1": leaf(), "com.example.b/1": leaf(), "com.example.b/2": leaf()})
	f.Add(carOf(f, root, blocks))
	f.Add(carOf(f, atproto.EmptyTree, nil))
	for _, c := range badCARs() {
		f.Add(c.car)
	}
	f.Fuzz(func(t *testing.T, car []byte) {
		root, err := ReadRoot(bytes.NewReader(car))
		if err != nil {
			wantReason(t, "root", err, refusal.BadCAR)
		}
		s, err := ReadSnapshot(bytes.NewReader(car), SnapshotLimits{Bytes: 1 << 20, NodeBytes: 1 << 20, Blocks: 1000})
		if err != nil {
			wantReason(t, "snapshot", err, refusal.BadCAR, refusal.BadBlock, refusal.BadCommit, refusal.BadTree, refusal.AnswerPartial, refusal.AnswerTooBig)
			return
		}
		if root != s.Commit.CID {
			t.Fatalf("root %s, commit %s", root, s.Commit.CID)
		}
		if !slices.IsSorted(s.Collections) || len(slices.Compact(s.Collections)) != len(s.Collections) {
			t.Fatalf("%+v", s)
		}
	})
}
