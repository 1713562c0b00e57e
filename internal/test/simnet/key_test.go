package simnet

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"
)

func TestSignaturesVerifyAndRepeat(t *testing.T) {
	for account := range 16 {
		key, err := newKey(1, account, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			message := fmt.Appendf(nil, "message %d", i)
			sig, err := key.sign(message)
			if err != nil {
				t.Fatal(err)
			}
			again, err := key.sign(message)
			if err != nil || !bytes.Equal(sig, again) {
				t.Fatalf("account %d: two signatures of one message differ (%v)", account, err)
			}
			if err := key.public.HashAndVerify(message, sig); err != nil {
				t.Fatalf("account %d, %s: %v", account, key.curve.name, err)
			}
		}
	}
}

func TestKeysDifferByAccountRotationAndSeed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range [][3]int{{1, 0, 0}, {1, 1, 0}, {1, 0, 1}, {2, 0, 0}, {1, 5, 0}} {
		key, err := newKey(uint64(c[0]), c[1], c[2])
		if err != nil {
			t.Fatal(err)
		}
		seen[key.public.DIDKey()] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d different keys, want 5", len(seen))
	}
}

// The vector is RFC 6979, A.2.5, SHA-256, message "sample"; its s is high and is
// turned over.
func TestNoncesAreThoseOfRFC6979(t *testing.T) {
	number := func(text string) *big.Int {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	key := &signingKey{curve: p256(), secret: number("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")}
	sig, err := key.sign([]byte("sample"))
	if err != nil {
		t.Fatal(err)
	}
	r := number("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")
	s := number("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")
	s.Sub(key.curve.order, s)
	if got := fmt.Sprintf("%x", sig); got != fmt.Sprintf("%064x%064x", r, s) {
		t.Errorf("signature %s, want %064x%064x", got, r, s)
	}
}

func TestP256SignaturesEqualThoseOfTheStandardLibrary(t *testing.T) {
	key, err := newKey(9, 5, 0)
	if err != nil {
		t.Fatal(err)
	}
	std, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), key.secret.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		message := fmt.Appendf(nil, "message %d", i)
		digest := sha256.Sum256(message)
		der, err := std.Sign(nil, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &want); err != nil {
			t.Fatal(err)
		}
		if want.S.Cmp(new(big.Int).Rsh(key.curve.order, 1)) > 0 {
			want.S.Sub(key.curve.order, want.S)
		}
		got, err := key.sign(message)
		if err != nil || fmt.Sprintf("%x", got) != fmt.Sprintf("%064x%064x", want.R, want.S) {
			t.Fatalf("message %d: %x, want %064x%064x (%v)", i, got, want.R, want.S, err)
		}
	}
}
