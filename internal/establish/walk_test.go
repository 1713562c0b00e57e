package establish

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/repo"
	"railyard/internal/test/fixtures"
)

// recorded answers as a server has answered once.
type recorded map[question][]byte

func (r recorded) GetRecord(_ context.Context, collection, rkey string) ([]byte, error) {
	if car, ok := r[question{collection, rkey}]; ok {
		return car, nil
	}
	return nil, fmt.Errorf("nobody has recorded the answer for %s/%s", collection, rkey)
}

func TestTheRecordedProofsGiveAllCollections(t *testing.T) {
	var set struct {
		Data, DID    string
		KeyMultibase string   `json:"key_multibase"`
		Collections  []string `json:"collections_in_tree_order"`
		Probes       []struct {
			Name, Collection, Rkey string
			CARBase64              string `json:"car_base64"`
		}
	}
	must(t, json.Unmarshal(fixtures.Read(t, "synthetic", "getrecord_probes.json"), &set))
	key, err := atcrypto.ParsePublicMultibase(set.KeyMultibase)
	must(t, err)
	answers := recorded{}
	var order []question
	for _, probe := range set.Probes {
		q := question{probe.Collection, probe.Rkey}
		answers[q], err = base64.StdEncoding.DecodeString(probe.CARBase64)
		must(t, err)
		order = append(order, q)
	}
	p := newProber(probeConfig{did: set.DID, source: answers, maxRequests: 100, maxCollections: 100, verify: func(c *repo.Commit) error { return c.Verify(key) }})
	r, err := p.collections(t.Context())
	must(t, err)
	want := slices.Sorted(slices.Values(set.Collections))
	if !slices.Equal(r.collections, want) || r.commit.Data.String() != set.Data || r.proof == ByTree || r.proof == ByDescription {
		t.Errorf("got %+v", r)
	}
	if p.requests > 9 {
		t.Errorf("%d requests", p.requests)
	}
	t.Logf("%d requests", p.requests)

	// Without what else comes into view, each answer shows the next collection.
	var seen []string
	q := order[0]
	for range 9 {
		a, err := p.ask(t.Context(), q)
		must(t, err)
		_, right := a.view.Neighbours(q.path())
		if right.Kind == mst.BesideEdge {
			break
		}
		nsid, _ := collectionOf(string(right.Path))
		seen = append(seen, nsid)
		q = question{nsid, highRkey}
	}
	if !slices.Equal(seen, set.Collections) {
		t.Errorf("step by step: %v", seen)
	}

	// Records that exist end the path: what is beside them is hidden.
	for _, q := range order[9:] {
		a, err := p.ask(t.Context(), q)
		must(t, err)
		if _, right := a.view.Neighbours(q.path()); right.Kind != mst.BesideGap {
			t.Errorf("%s: taken to show its neighbour %q", q.path(), right.Path)
		}
	}
}

// names whose order in the tree differs from that of their letters, or that stand
// at the ends of the grammar.
var names = []string{
	"a.b.c", "a.b.c.d", "a.b.cd", "a.b.c0", "a.b.c0.d", "a.b.c0-x.y", "a.b.C", "A.b.c", "a.b-c.d", "a.b.c-d.e",
	"A.A.A", "A.A.A.A", "A-b.c.d", "A--A.b.c", "zz.zz.zz", strings.Repeat("z", 63) + ".z.z",
	"app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.graph.follow", "sh.tangled.repo", "sh.tangled.repo.issue", "sh.tangled.repository",
}

// odd keys can stand in a signed tree but belong to no collection.
var odd = []string{
	"\x00", "noslash", "/", "/x", "nodots/1", "nodots/2", "a.b", "a.b/x", "a.b.c", "a.b.c-", "a.b.c.", "a.b.c0", "a.b.9/x", "a..b/x",
	"app.bsky.feed.likes", "sh.tangled.repo.", "zzz", "zzzz\xff", "\xff\xff", "a.b.c-d/x", "{", "-", "~/~", strings.Repeat("z", 1000),
}

// rkeys: usual ones, both ends, and some beyond the grammar.
func randomRkey(rng *rand.Rand) string {
	switch rng.IntN(40) {
	case 0:
		return atproto.LowestRkey
	case 1:
		return highRkey
	case 2:
		return "self"
	case 3:
		return []string{"", "!", "\x7f", "\xff", highRkey + "~", ".", "a/b"}[rng.IntN(7)]
	}
	return fmt.Sprintf("3l%x", rng.Uint64N(1<<40))
}

func randomKeys(rng *rand.Rand, n int) []string {
	some := slices.Clone(names)
	rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:1+rng.IntN(len(some))]
	oddity := rng.IntN(3) * rng.IntN(10)
	var keys []string
	for range n {
		if rng.IntN(100) < oddity {
			keys = append(keys, odd[rng.IntN(len(odd))])
			continue
		}
		i := min(rng.IntN(len(some)), rng.IntN(len(some))) // some have few records
		keys = append(keys, some[i]+"/"+randomRkey(rng))
	}
	return keys
}

func TestAWalkFindsExactlyTheCollectionsOfTheTree(t *testing.T) {
	whole, hits, total := 0, 0, 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rng.IntN(1 << rng.IntN(11))
		if seed%200 == 199 {
			n = 20_000
		}
		h := newHost(t, randomKeys(rng, n)...)
		r, err := h.prober().collections(t.Context())
		if err != nil {
			t.Fatalf("seed %d, %d keys: %v", seed, len(h.keys), err)
		}
		if want := truth(h.keys); !slices.Equal(r.collections, want) {
			t.Fatalf("seed %d: got %q, want %q", seed, r.collections, want)
		}
		if r.commit.Data != h.root.digest || r.proof == ByDescription {
			t.Fatalf("seed %d: %+v", seed, r)
		}
		if most := 2*len(r.collections) + len(odd) + 2; len(h.asked) > most {
			t.Errorf("seed %d: %d requests for %d collections", seed, len(h.asked), len(r.collections))
		}
		if r.proof == ByTree {
			whole++
		}
		for _, q := range h.asked {
			if _, found := slices.BinarySearch(h.keys, q.path()); found {
				hits++
			}
		}
		total += len(h.asked)
	}
	if whole < 20 || hits < 20 {
		t.Errorf("%d trees shown whole, %d questions that hit a record, of %d", whole, hits, total)
	}
	t.Logf("%d requests, %d trees shown whole, %d questions that hit a record", total, whole, hits)
}

func TestAWalkOfAnOrdinaryRepoNeedsAtMostOneRequestMoreThanItHasCollections(t *testing.T) {
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("app.bsky.feed.like/3l%06x", i), fmt.Sprintf("app.bsky.feed.post/3l%06x", i))
	}
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("com.example.n%d/3l%06x", i, i))
	}
	h := newHost(t, keys...)
	r, err := h.prober().collections(t.Context())
	must(t, err)
	if len(r.collections) != 42 || len(h.asked) > 43 {
		t.Errorf("%d requests for %d collections", len(h.asked), len(r.collections))
	}
	t.Logf("%d requests for %d collections", len(h.asked), len(r.collections))
	for i, q := range h.asked[1:] {
		if h.asked[i].path() >= q.path() {
			t.Errorf("after %s comes %s", h.asked[i].path(), q.path())
		}
	}
}

func TestASmallRepoNeedsOneRequest(t *testing.T) {
	for n := range 4 {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf("com.example.n%d/self", i))
		}
		h := newHost(t, keys...)
		h.blocks = func(_ question, b [][]byte) [][]byte { return append(b, h.root.all()...) }
		r, err := h.prober().collections(t.Context())
		must(t, err)
		if len(r.collections) != n || len(h.asked) != 1 || r.proof != ByTree {
			t.Errorf("%d: got %+v", n, r)
		}
	}
}

func (h *host) height() (top int) {
	for _, key := range h.keys {
		top = max(top, mst.Depth([]byte(key)))
	}
	return top
}

func TestTheEndsOfTheGrammarAreNoObstacle(t *testing.T) {
	many := func(collection string) (keys []string) {
		for i := range 300 {
			keys = append(keys, fmt.Sprintf("%s/3l%06x", collection, i))
		}
		return keys
	}
	low := strings.Repeat("A"+strings.Repeat("-", 61)+"0.", 4) + "A"
	cases := map[string][]string{
		"both ends of all":       {"a.b.c/-", "a.b.c/" + highRkey, "a.b.c0/-", "a.b.d/-", "a.b.d/" + highRkey, "a.b.e/-"},
		"what is asked first":    {"A.A.A/-"},
		"below what is asked":    {low + "/-", "A.A.A/-", "A-b.c.d/x"},
		"the last key":           {"zz.zz.zz/" + highRkey},
		"beyond the last key":    {"a.b.c/" + highRkey, "a.b.c/" + highRkey + "~", "a.b.c/\xff", "zz.zz.zz/\x7f"},
		"before the first key":   {"a.b.c/", "a.b.c/!", "a.b.c/ "},
		"a name with the most":   {strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "/" + highRkey},
		"between two odd keys":   {"a.b", "a.b.b/x", "a.b.c", "a.b.c0", "zzz"},
		"the next possible name": {"a.b.c/" + highRkey, "a.b.c0", "a.b.c0-d.e/x", "a.b.c0.d/-", "a.b.c0/-", "a.b.c00.d/x"},
	}
	for name, extra := range cases {
		for _, around := range [][]string{nil, many("a.b.c"), many("b.b.b"), append(many("A-A.a.a"), many("zzz.zz.zz")...)} {
			h := newHost(t, append(around, extra...)...)
			r, err := h.prober().collections(t.Context())
			if err != nil || !slices.Equal(r.collections, truth(h.keys)) {
				t.Errorf("%s with %d others: got %+v, %v", name, len(around), r, err)
			}
		}
	}
}

func TestABudgetGoesByTheSizeOfATreeThatIsNotShownWhole(t *testing.T) {
	h := newHost(t, randomKeys(rand.New(rand.NewPCG(7, 7)), 3000)...)
	cfg := h.config()
	for more, want := range map[int]int{0: 1, 1: 2, 2: 3} {
		h.asked = nil
		cfg.budget = func(records int64) int {
			if records < 100 || records > 100_000 {
				t.Errorf("%d keys, %d in the root: taken for %d", len(h.keys), len(h.root.keys), records)
			}
			return more
		}
		if _, err := newProber(cfg).collections(t.Context()); !errors.Is(err, errExpensive) || len(h.asked) != want {
			t.Errorf("%d more allowed: %v after %d questions", more, err, len(h.asked))
		}
	}
	cfg.budget = func(int64) int { return 1000 }
	if _, err := newProber(cfg).collections(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
	cfg.maxRequests, h.asked = 2, nil
	if _, err := newProber(cfg).collections(t.Context()); !errors.Is(err, errExpensive) || len(h.asked) != 2 {
		t.Errorf("got %v after %d questions", err, len(h.asked))
	}
	h.hold("a.b.c/-")
	cfg.budget = func(int64) int { return 0 }
	if r, err := newProber(cfg).collections(t.Context()); err != nil || r.proof != ByTree {
		t.Errorf("a whole tree: %+v, %v", r, err)
	}
}
