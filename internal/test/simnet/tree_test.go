package simnet

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/fixtures"
)

// plant makes the tree of some keys that all have one value.
func plant(t testing.TB, keys []string, value atproto.Digest) *tree {
	t.Helper()
	keys = slices.Clone(keys)
	slices.Sort(keys)
	entries := make([]entry, len(keys))
	for i, key := range keys {
		entries[i] = entry{key: key, digest: value, height: keyHeight(key)}
	}
	grown, _ := buildTree(entries, nil, nil, 1)
	return grown
}

func mustCID(t testing.TB, text string) atproto.Digest {
	t.Helper()
	d, err := atproto.DigestFromCID(fixtures.CID(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const leafValue = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"

func TestEmptyTreeHasTheKnownRoot(t *testing.T) {
	if got := plant(t, nil, atproto.Digest{}).root.digest; got != atproto.EmptyTree {
		t.Errorf("root %v, want %v", got, atproto.EmptyTree)
	}
}

func TestKeyHeightsAgreeWithTheFixtures(t *testing.T) {
	var cases []struct {
		Key    string `json:"key"`
		Height int    `json:"height"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "mst", "key_heights.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if got := keyHeight(c.Key); got != c.Height {
			t.Errorf("height of %q is %d, want %d", c.Key, got, c.Height)
		}
	}
}

func TestExampleKeysHaveTheKnownRoot(t *testing.T) {
	var keys []string
	for line := range strings.Lines(string(fixtures.Read(t, "mst", "example_keys.txt"))) {
		if key := strings.TrimSpace(line); key != "" {
			keys = append(keys, key)
		}
	}
	grown := plant(t, keys, mustCID(t, leafValue))
	want := mustCID(t, "bafyreicp3ghg3qdepi7bx3letryyerzfoky5htzymzljibxhd3m3z3xfb4")
	if grown.root.digest != want || len(keys) != 156 || grown.top != 5 {
		t.Errorf("root %v of height %d over %d keys, want %v, 5 and 156", grown.root.digest, grown.top, len(keys), want)
	}
}

func TestCommitProofsHoldTheBlocksOfTheFixtures(t *testing.T) {
	var cases []struct {
		Comment          string
		LeafValue        string
		Keys, Adds, Dels []string
		RootBeforeCommit string
		RootAfterCommit  string
		BlocksInProof    []string
	}
	if err := json.Unmarshal(fixtures.Read(t, "firehose", "commit-proof-fixtures.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Comment, func(t *testing.T) {
			value := mustCID(t, c.LeafValue)
			before := plant(t, c.Keys, value)
			if got := before.root.digest.String(); got != c.RootBeforeCommit {
				t.Errorf("before: root %s, want %s", got, c.RootBeforeCommit)
			}
			next := map[string]*entry{}
			for _, key := range c.Adds {
				next[key] = &entry{key: key, digest: value, height: keyHeight(key)}
			}
			for _, key := range c.Dels {
				next[key] = nil
			}
			entries, changed := mergeEntries(before.entries, next)
			after, _ := buildTree(entries, before, changed, 2)
			if got := after.root.digest.String(); got != c.RootAfterCommit {
				t.Errorf("after: root %s, want %s", got, c.RootAfterCommit)
			}
			sent := map[string]bool{}
			for _, n := range after.proof(changed) {
				sent[n.digest.String()] = true
			}
			for _, cid := range c.BlocksInProof {
				if !sent[cid] {
					t.Errorf("the proof lacks %s", cid)
				}
			}
		})
	}
}

// A tree that grew commit by commit, with its old nodes used again, is the tree
// that is built at once; and each node that is new is on the way to a changed
// key or to a neighbour of one.
func TestGrownTreeEqualsTheTreeBuiltAtOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 30 {
		grown := plant(t, nil, atproto.Digest{})
		reused := 0
		for step := range 60 {
			next := map[string]*entry{}
			for range 1 + rng.IntN(5) {
				key := fmt.Sprintf("net.rails.c%d/%d", rng.IntN(4), rng.IntN(200))
				e := newEntry(key, []byte{byte(rng.IntN(256)), byte(step)}, 1)
				next[key] = &e
				if _, found := grown.find(key); found && rng.IntN(3) > 0 {
					next[key] = nil
				}
			}
			entries, changed := mergeEntries(grown.entries, next)
			after, made := buildTree(entries, grown, changed, 1)
			fresh, all := buildTree(entries, nil, nil, 1)
			if after.root.digest != fresh.root.digest {
				t.Fatalf("round %d, step %d: root %v, want %v", round, step, after.root.digest, fresh.root.digest)
			}
			old := map[atproto.Digest]bool{}
			grown.root.walk(func(n *node) { old[n.digest] = true })
			shown := map[atproto.Digest]bool{}
			for _, n := range after.proof(changed) {
				shown[n.digest] = true
			}
			after.root.walk(func(n *node) {
				if !old[n.digest] && !shown[n.digest] {
					t.Fatalf("round %d, step %d: a new node is not in the proof", round, step)
				}
			})
			reused += len(all) - len(made)
			grown = after
		}
		if reused == 0 {
			t.Error("no node was ever used again")
		}
	}
}

func TestPathOfAnAbsentKeyShowsBothNeighbours(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	keys := map[string]bool{}
	for len(keys) < 300 {
		keys[fmt.Sprintf("net.rails.yard/%05d", rng.IntN(100_000))] = true
	}
	all := slices.Sorted(maps.Keys(keys))
	grown := plant(t, all, mustCID(t, leafValue))
	for range 500 {
		key := fmt.Sprintf("net.rails.yard/%05d", rng.IntN(100_000))
		if keys[key] {
			continue
		}
		a := &archive{blocks: map[atproto.Digest][]byte{}}
		for _, n := range grown.path(key) {
			a.blocks[n.digest] = n.block
		}
		walked, _ := a.walk(t, grown.root.digest, map[string]atproto.Digest{})
		if !shows(walked, all, key) {
			t.Fatalf("the path to %s hides a neighbour", key)
		}
	}
}
