package identity

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"

	"railyard/internal/test/fixtures"
)

func TestBothFormsOfAKeyVerifyTheSameSignatures(t *testing.T) {
	var cases []struct {
		Comment, MessageBase64, DidDocSuite, PublicKeyDid, PublicKeyMultibase, SignatureBase64 string

		ValidSignature bool
	}
	if err := json.Unmarshal(fixtures.Read(t, "crypto", "signature-fixtures.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 4 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, tc := range cases {
		multikey, err := parseKey(typeMultikey, strings.TrimPrefix(tc.PublicKeyDid, "did:key:"))
		if err != nil {
			t.Fatalf("%s: %v", tc.Comment, err)
		}
		legacy, err := parseKey(tc.DidDocSuite, tc.PublicKeyMultibase)
		if err != nil || legacy != multikey {
			t.Errorf("%s: legacy key %s, multikey %s, %v", tc.Comment, legacy, multikey, err)
		}
		pub, err := legacy.Public()
		if err != nil {
			t.Fatal(err)
		}
		message, _ := base64.RawStdEncoding.DecodeString(tc.MessageBase64)
		sig, _ := base64.RawStdEncoding.DecodeString(tc.SignatureBase64)
		if valid := pub.HashAndVerify(message, sig) == nil; valid != tc.ValidSignature {
			t.Errorf("%s: valid %v", tc.Comment, valid)
		}
	}
}

func TestPrivateKeysGiveTheirPublishedMultikeys(t *testing.T) {
	var cases []struct{ PrivateKeyBytesHex, PublicDidKey string }
	if err := json.Unmarshal(fixtures.Read(t, "crypto", "w3c_didkey_K256.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 5 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, tc := range cases {
		secret, _ := hex.DecodeString(tc.PrivateKeyBytesHex)
		private, err := atcrypto.ParsePrivateBytesK256(secret)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := private.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		key, err := KeyOf(pub)
		if err != nil || "did:key:"+key.String() != tc.PublicDidKey {
			t.Errorf("got %s, %v, want %s", key, err, tc.PublicDidKey)
		}
		compressed, uncompressed := base58.Encode(pub.Bytes()), base58.Encode(pub.UncompressedBytes())
		for _, text := range []string{compressed, uncompressed} {
			if got, err := parseKey(typeLegacyK256, "z"+text); err != nil || got != key {
				t.Errorf("legacy %s: got %s, %v", text, got, err)
			}
		}
	}
}

// keys of both curves, made from fixed secrets.
func testKeys(t testing.TB) (k256, p256 atcrypto.PublicKey) {
	t.Helper()
	secret := []byte(strings.Repeat("k", 32))
	k, err := atcrypto.ParsePrivateBytesK256(secret)
	if err != nil {
		t.Fatal(err)
	}
	p, err := atcrypto.ParsePrivateBytesP256(secret)
	if err != nil {
		t.Fatal(err)
	}
	k256, _ = k.PublicKey()
	p256, _ = p.PublicKey()
	return k256, p256
}

func TestAKeyComesBackFromItsStoredForm(t *testing.T) {
	k256, p256 := testKeys(t)
	for _, pub := range []atcrypto.PublicKey{k256, p256} {
		key, err := KeyOf(pub)
		if err != nil || len(key) != 35 {
			t.Fatalf("%d bytes, %v", len(key), err)
		}
		back, err := key.Public()
		if err != nil || !back.Equal(pub) {
			t.Errorf("got %v, %v", back, err)
		}
		if key.String() != pub.Multibase() {
			t.Errorf("text %s, want %s", key, pub.Multibase())
		}
	}
}

func TestKeysThatCannotVerifyAnythingAreRefused(t *testing.T) {
	k256, p256 := testKeys(t)
	text := func(parts ...string) string { return "z" + base58.Encode([]byte(strings.Join(parts, ""))) }
	off := "\x02" + strings.Repeat("\xff", 32) // x is no coordinate on either curve
	long256 := string(k256.UncompressedBytes())
	offCurve := long256[:64] + string(long256[64]^1)
	cases := []struct{ name, methodType, multibase string }{
		{"nothing", typeMultikey, ""},
		{"no text", typeMultikey, "z"},
		{"another base", typeMultikey, "m" + base64.StdEncoding.EncodeToString([]byte(prefixK256+string(k256.Bytes())))},
		{"characters outside base58", typeMultikey, "z0OIl"},
		{"a did:key", typeMultikey, "did:key:" + k256.Multibase()},
		{"an unknown prefix", typeMultikey, text("\xed\x01", string(k256.Bytes()))},
		{"no prefix", typeMultikey, text(string(k256.Bytes()))},
		{"a long point in a multikey", typeMultikey, text(prefixK256, long256)},
		{"a short point in a multikey", typeMultikey, text(prefixK256, string(k256.Bytes()[:32]))},
		{"a prefix in a legacy key", typeLegacyK256, text(prefixK256, string(k256.Bytes()))},
		{"K-256 off the curve", typeMultikey, text(prefixK256, off)},
		{"P-256 off the curve", typeMultikey, text(prefixP256, off)},
		{"legacy K-256 off the curve", typeLegacyK256, text(off)},
		{"legacy P-256 off the curve", typeLegacyP256, text(off)},
		{"long K-256 off the curve", typeLegacyK256, text(offCurve)},
		{"long P-256 of K-256", typeLegacyP256, text(long256)},
		{"long K-256 of P-256", typeLegacyK256, text(string(p256.UncompressedBytes()))},
		{"a hybrid point", typeLegacyK256, text("\x06", long256[1:])},
		{"the point at infinity", typeLegacyK256, text("\x00")},
		{"zeros", typeLegacyK256, text(strings.Repeat("\x00", 33))},
		{"a point that is neither sign", typeMultikey, text(prefixK256, "\x04", string(k256.Bytes()[1:]))},
		{"an unknown type", "JsonWebKey2020", k256.Multibase()},
	}
	for _, tc := range cases {
		if key, err := parseKey(tc.methodType, tc.multibase); err == nil {
			t.Errorf("%s: got %s", tc.name, key)
		}
	}
}

func TestALongTextIsRefusedBeforeItIsDecoded(t *testing.T) {
	_, err := parseKey(typeMultikey, "z"+strings.Repeat("z", 1<<20))
	if err == nil || !strings.Contains(err.Error(), "1048577 characters") {
		t.Errorf("got %v", err)
	}
}

func TestStoredBytesThatAreNoKeyDoNotParse(t *testing.T) {
	for _, key := range []Key{"", prefixK256, Key(strings.Repeat("\x00", 35)), Key(prefixK256 + strings.Repeat("\xff", 33))} {
		if pub, err := key.Public(); err == nil || pub != nil {
			t.Errorf("%x: got %v, %v", string(key), pub, err)
		}
	}
}

func FuzzKey(f *testing.F) {
	k256, p256 := testKeys(f)
	f.Add(typeMultikey, k256.Multibase())
	f.Add(typeMultikey, p256.Multibase())
	f.Add(typeLegacyK256, "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR")
	f.Add(typeLegacyP256, "z"+base58.Encode(p256.UncompressedBytes()))
	f.Fuzz(func(t *testing.T, methodType, multibase string) {
		key, err := parseKey(methodType, multibase)
		if err != nil {
			return
		}
		pub, err := key.Public()
		if err != nil {
			t.Fatalf("accepted %x: %v", string(key), err)
		}
		if again, err := KeyOf(pub); err != nil || again != key {
			t.Fatalf("%x became %x, %v", string(key), string(again), err)
		}
	})
}
