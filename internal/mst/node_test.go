package mst

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/msttest"
)

// cidHex is a leaf link as DAG-CBOR in hex.
func cidHex() string {
	return "d82a582500" + hex.EncodeToString(leafValue())
}

func TestNodesThatAreNotEncodedExactlyAreRefused(t *testing.T) {
	v := cidHex()
	entry := "a4616b4161617000" + "6174f6" + "6176" + v
	good := "a2616581" + entry + "616cf6"
	raw := strings.Replace(v, "0171", "0155", 1)
	cases := map[string]string{
		"nothing":                   "",
		"null":                      "f6",
		"an empty map":              "a0",
		"no l":                      "a1616580",
		"a field too many":          "a3616580616cf6616df6",
		"fields in another order":   "a2616cf6616580",
		"l twice":                   "a2616cf6616cf6",
		"a byte behind":             good + "00",
		"cut":                       good[:len(good)-2],
		"e null":                    "a26165f6616cf6",
		"l missing its value":       "a2616580616c",
		"l an integer":              "a2616580616c00",
		"l a raw link":              "a2616580616c" + raw,
		"l a CIDv0":                 "a2616580616cd82a582300" + strings.Repeat("12", 34),
		"k a text":                  strings.Replace(good, "616b4161", "616b6161", 1),
		"p a text":                  strings.Replace(good, "617000", "617060", 1),
		"p not in its shortest":     strings.Replace(good, "617000", "61701800", 1),
		"t absent":                  "a2616581a3616b41616170006176" + v + "616cf6",
		"t undefined":               strings.Replace(good, "6174f6", "6174f7", 1),
		"t a raw link":              strings.Replace(good, "6174f6", "6174"+raw, 1),
		"v null":                    "a2616581a4616b41616170006174f66176f6616cf6",
		"entries of wrong kind":     "a261658101616cf6",
		"more entries than bytes":   "a265659affffffff616cf6",
		"indefinite entries":        "a261659f" + entry + "ff616cf6",
		"entry with another letter": strings.Replace(good, "6174f6", "6175f6", 1),
	}
	var node rawNode
	for name, text := range cases {
		block, err := hex.DecodeString(text)
		must(t, err)
		if _, err := parse(block, &node, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	block, _ := hex.DecodeString(good)
	if _, err := parse(block, &node, nil); err != nil || string(node.entries[0].key) != "a" {
		t.Errorf("the pattern itself: %v", err)
	}
	block, _ = hex.DecodeString(strings.Replace(good, v, raw, 1))
	if _, err := parse(block, &node, nil); err != nil || node.entries[0].value[1] != atproto.CodecRaw {
		t.Errorf("a leaf of a raw block: %v", err)
	}
}

func TestLongChainsOfSharedPrefixesAreBounded(t *testing.T) {
	if err := checkSuffix(make([]byte, MaxKey), MaxKey, []byte("x")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key of %d bytes: %v", MaxKey+1, err)
	}
	if err := checkSuffix(make([]byte, MaxKey-1), MaxKey-1, []byte("x")); err != nil {
		t.Errorf("a key of %d bytes: %v", MaxKey, err)
	}
}

// FuzzParseNode: what is accepted is canonical, so encoding it again returns the
// same bytes.
func FuzzParseNode(f *testing.F) {
	_, blocks := msttest.Build(randomContent(rand.New(rand.NewPCG(8, 8)), 40))
	for _, block := range blocks {
		f.Add(block)
	}
	f.Add(msttest.Encode(nil))
	f.Fuzz(func(t *testing.T, block []byte) {
		var raw rawNode
		if _, err := parse(block, &raw, nil); err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		l := Loader{raw: raw}
		n := node{left: l.child(raw.left, 0)}
		for _, e := range raw.entries {
			n.entries = append(n.entries, entry{key: e.key, value: e.value, right: l.child(e.link, 0)})
		}
		if again := n.encode(nil); !bytes.Equal(again, block) {
			t.Fatalf("%x encodes to %x", block, again)
		}
		var keys [][]byte
		for _, e := range raw.entries {
			keys = append(keys, e.key)
		}
		for i := 1; i < len(keys); i++ {
			if bytes.Compare(keys[i-1], keys[i]) >= 0 {
				t.Fatalf("%q before %q", keys[i-1], keys[i])
			}
		}
	})
}
