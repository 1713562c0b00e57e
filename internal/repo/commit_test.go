package repo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
)

// pair is a field of a commit with its encoded value.
type pair struct {
	key   string
	value []byte
}

func text(s string) []byte { return dagcbor.AppendText(nil, s) }

// encodePairs encodes a map in the order of DAG-CBOR.
func encodePairs(pairs []pair) []byte {
	sorted := slices.Clone(pairs)
	slices.SortFunc(sorted, func(a, b pair) int {
		if len(a.key) != len(b.key) {
			return len(a.key) - len(b.key)
		}
		return strings.Compare(a.key, b.key)
	})
	b := dagcbor.AppendMap(nil, len(sorted))
	for _, p := range sorted {
		b = append(dagcbor.AppendText(b, p.key), p.value...)
	}
	return b
}

const testDID = "did:plc:railyardtestktwofivesixa"

func commitPairs() []pair {
	return []pair{
		{"did", text(testDID)},
		{"rev", text("3mptbyq2p222b")},
		{"data", dagcbor.AppendLink(nil, atproto.EmptyTree)},
		{"prev", dagcbor.AppendNull(nil)},
		{"version", dagcbor.AppendInt(nil, 3)},
	}
}

func with(pairs []pair, key string, value []byte) []pair {
	out := slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.key == key })
	if value == nil {
		return out
	}
	return append(out, pair{key, value})
}

func sign(t testing.TB, key atcrypto.PrivateKey, pairs []pair) []byte {
	t.Helper()
	sig, err := key.HashAndSign(encodePairs(pairs))
	must(t, err)
	return encodePairs(with(pairs, "sig", dagcbor.AppendBytes(nil, sig)))
}

func newKey(t testing.TB) (atcrypto.PrivateKey, atcrypto.PublicKey) {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	must(t, err)
	public, err := key.PublicKey()
	must(t, err)
	return key, public
}

func TestCommitIsVerifiedOverTheBytesThatWereSigned(t *testing.T) {
	key, public := newKey(t)
	_, otherPublic := newKey(t)
	prev := atproto.DigestOf([]byte("earlier"))
	cases := map[string][]pair{
		"plain":              commitPairs(),
		"with a prev":        with(commitPairs(), "prev", dagcbor.AppendLink(nil, prev)),
		"with unknown field": append(commitPairs(), pair{"a", text("first")}, pair{"seal", text("next to sig")}, pair{"zzzzzzzzzz", text("last")}),
		"twenty-four fields": append(commitPairs(), many(18)...),
	}
	for name, pairs := range cases {
		block := sign(t, key, pairs)
		c, err := ParseCommit(block)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.CID != atproto.DigestOf(block) || c.Data != atproto.EmptyTree || c.DID != testDID || c.Rev.String() != "3mptbyq2p222b" {
			t.Errorf("%s: %+v", name, c)
		}
		if (c.Prev != nil) != (name == "with a prev") {
			t.Errorf("%s: prev %v", name, c.Prev)
		}
		if err := c.Verify(public); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantReason(t, name, c.Verify(otherPublic), refusal.BadSignature)
		wantReason(t, name, c.Verify(nil), refusal.BadSignature)
	}
}

// many are n fields, so that the head of the map gets longer with "sig".
func many(n int) []pair {
	var pairs []pair
	for i := range n {
		pairs = append(pairs, pair{"field" + string(rune('a'+i)), text("x")})
	}
	return pairs
}

func TestCommitsThatAreNotVersionThreeAreRefused(t *testing.T) {
	key, _ := newKey(t)
	good := sign(t, key, commitPairs())
	raw := append([]byte{1, atproto.CodecRaw}, atproto.EmptyTree.AppendCID(nil)[2:]...)
	cases := map[string][]byte{
		"nothing":          nil,
		"an array":         {0x80},
		"a byte behind":    append(bytes.Clone(good), 0),
		"cut":              good[:len(good)-1],
		"version 2":        sign(t, key, with(commitPairs(), "version", dagcbor.AppendInt(nil, 2))),
		"version text":     sign(t, key, with(commitPairs(), "version", text("3"))),
		"a raw data":       sign(t, key, with(commitPairs(), "data", dagcbor.AppendCID(nil, raw))),
		"a null data":      sign(t, key, with(commitPairs(), "data", dagcbor.AppendNull(nil))),
		"a rev of a text":  sign(t, key, with(commitPairs(), "rev", text("yesterday"))),
		"a did:key":        sign(t, key, with(commitPairs(), "did", text("did:key:zabc"))),
		"a broken unknown": sign(t, key, append(commitPairs(), pair{"x", []byte{0xf7}})),
		"no sig":           encodePairs(commitPairs()),
		"a null sig":       encodePairs(with(commitPairs(), "sig", dagcbor.AppendNull(nil))),
	}
	for _, field := range []string{"did", "rev", "data", "prev", "version"} {
		cases["no "+field] = sign(t, key, with(commitPairs(), field, nil))
	}
	for name, block := range cases {
		_, err := ParseCommit(block)
		wantReason(t, name, err, refusal.BadCommit)
	}
}

func TestSignaturesOfAnotherLengthAreRefused(t *testing.T) {
	_, public := newKey(t)
	for _, n := range []int{0, 63, 65, 72} {
		c, err := ParseCommit(encodePairs(with(commitPairs(), "sig", dagcbor.AppendBytes(nil, make([]byte, n)))))
		must(t, err)
		wantReason(t, "sig", c.Verify(public), refusal.BadSignature)
	}
}

// legacyKey reads the key of an old DID document: a point without its codec.
func legacyKey(suite, multibase string) (atcrypto.PublicKey, error) {
	point, err := base58.Decode(multibase[1:])
	if err != nil {
		return nil, err
	}
	if suite == "EcdsaSecp256r1VerificationKey2019" {
		return atcrypto.ParsePublicBytesP256(point)
	}
	if len(point) == 65 {
		return atcrypto.ParsePublicUncompressedBytesK256(point)
	}
	return atcrypto.ParsePublicBytesK256(point)
}

func TestPublicSignatureFixtures(t *testing.T) {
	var cases []struct {
		Comment, MessageBase64, SignatureBase64       string
		PublicKeyDid, PublicKeyMultibase, DidDocSuite string
		ValidSignature                                bool
	}
	must(t, json.Unmarshal(fixtures.Read(t, "crypto", "signature-fixtures.json"), &cases))
	if len(cases) != 4 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		message, err := base64.RawStdEncoding.DecodeString(c.MessageBase64)
		must(t, err)
		sig, err := base64.RawStdEncoding.DecodeString(c.SignatureBase64)
		must(t, err)
		modern, err := atcrypto.ParsePublicDIDKey(c.PublicKeyDid)
		must(t, err)
		legacy, err := legacyKey(c.DidDocSuite, c.PublicKeyMultibase)
		must(t, err)
		for _, key := range []atcrypto.PublicKey{modern, legacy} {
			if valid := key.HashAndVerify(message, sig) == nil; valid != c.ValidSignature {
				t.Errorf("%s: %v", c.Comment, valid)
			}
		}
	}
}

func FuzzParseCommit(f *testing.F) {
	key, public := newKey(f)
	f.Add(sign(f, key, commitPairs()))
	f.Add(sign(f, key, append(commitPairs(), pair{"x", text("y")})))
	f.Fuzz(func(t *testing.T, block []byte) {
		c, err := ParseCommit(block)
		if err != nil {
			wantReason(t, "commit", err, refusal.BadCommit)
			return
		}
		if err := dagcbor.Valid(block); err != nil {
			t.Fatalf("accepted %x: %v", block, err)
		}
		if err := dagcbor.Valid(c.unsigned()); err != nil {
			t.Fatalf("signed bytes of %x: %v", block, err)
		}
		if err := c.Verify(public); err != nil {
			wantReason(t, "signature", err, refusal.BadSignature)
		}
	})
}
