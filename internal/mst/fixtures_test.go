package mst

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/fixtures"
	"railyard/internal/test/msttest"
)

func decodeJSON(t *testing.T, into any, name ...string) {
	t.Helper()
	if err := json.Unmarshal(fixtures.Read(t, name...), into); err != nil {
		t.Fatal(err)
	}
}

func digest(t *testing.T, text string) atproto.Digest {
	t.Helper()
	d, err := atproto.DigestFromCID(fixtures.CID(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDepthOfPublicKeys(t *testing.T) {
	var cases []struct {
		Key    string
		Height int
	}
	decodeJSON(t, &cases, "mst", "key_heights.json")
	if len(cases) != 9 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		if got := Depth([]byte(c.Key)); got != c.Height {
			t.Errorf("depth of %q is %d, want %d", c.Key, got, c.Height)
		}
	}
}

func TestDepthAgreesWithCountingBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		key := randomPath(rng)
		if got, want := Depth([]byte(key)), msttest.Depth(key); got != want {
			t.Fatalf("depth of %q is %d, want %d", key, got, want)
		}
	}
}

func TestCommonPrefixOfPublicCases(t *testing.T) {
	var cases []struct {
		Left, Right string
		Len         int
	}
	decodeJSON(t, &cases, "mst", "common_prefix.json")
	if len(cases) != 13 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		if got := commonPrefix([]byte(c.Left), []byte(c.Right)); got != c.Len {
			t.Errorf("%q and %q share %d, want %d", c.Left, c.Right, got, c.Len)
		}
	}
}

func TestExampleKeysGiveTheirRootInAnyOrder(t *testing.T) {
	keys := strings.Fields(string(fixtures.Read(t, "mst", "example_keys.txt")))
	if len(keys) != 156 {
		t.Fatalf("%d keys", len(keys))
	}
	leaf := fixtures.CID(t, "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")
	want := digest(t, "bafyreicp3ghg3qdepi7bx3letryyerzfoky5htzymzljibxhd3m3z3xfb4")
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		tree := new(Tree)
		if tree.Root() != atproto.EmptyTree {
			t.Fatalf("empty tree is %s", tree.Root())
		}
		for _, key := range keys {
			if d := int(key[1] - '0'); Depth([]byte(key)) != d {
				t.Fatalf("depth of %s", key)
			}
			if err := tree.Insert([]byte(key), leaf); err != nil {
				t.Fatal(err)
			}
		}
		if got := tree.Root(); got != want || tree.root.height != 5 {
			t.Fatalf("root %s at height %d, want %s", got, tree.root.height, want)
		}
		rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
}

func TestCommitProofFixturesInvertWithTheirBlocks(t *testing.T) {
	var cases []struct {
		Comment, LeafValue                string
		Keys, Adds, Dels, BlocksInProof   []string
		RootBeforeCommit, RootAfterCommit string
	}
	decodeJSON(t, &cases, "firehose", "commit-proof-fixtures.json")
	if len(cases) != 4 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Comment, func(t *testing.T) {
			leaf := fixtures.CID(t, c.LeafValue)
			content := map[string][]byte{}
			tree := new(Tree)
			for _, key := range c.Keys {
				content[key] = leaf
				must(t, tree.Insert([]byte(key), leaf))
			}
			if got := tree.Root(); got != digest(t, c.RootBeforeCommit) {
				t.Fatalf("root before is %s", got)
			}
			for _, key := range c.Adds {
				content[key] = leaf
				must(t, tree.Insert([]byte(key), leaf))
			}
			for _, key := range c.Dels {
				delete(content, key)
				must(t, tree.Remove([]byte(key)))
			}
			if got := tree.Root(); got != digest(t, c.RootAfterCommit) {
				t.Fatalf("root after is %s", got)
			}
			root, all := msttest.Build(content)
			proof := msttest.Blocks{}
			for _, text := range c.BlocksInProof {
				d := digest(t, text)
				if all[d] == nil {
					t.Fatalf("%s is no node of the new tree", text)
				}
				proof[d] = all[d]
			}
			partial, _, err := Load(root, proof)
			must(t, err)
			for _, key := range c.Dels {
				must(t, partial.Insert([]byte(key), leaf))
			}
			for _, key := range c.Adds {
				must(t, partial.Remove([]byte(key)))
			}
			if got := partial.Root(); got != digest(t, c.RootBeforeCommit) {
				t.Fatalf("inverted to %s", got)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
