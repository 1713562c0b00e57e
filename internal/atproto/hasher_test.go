package atproto

import (
	"crypto/sha256"
	"hash"
	"math/rand/v2"
	"testing"
)

func TestHasherAgreesWithTheStandardLibrary(t *testing.T) {
	if !readable {
		t.Error("this Go release writes states in another form: the hasher saves nothing")
	}
	rng := rand.New(rand.NewPCG(2, 56))
	var h Hasher
	for n := range 1000 {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(rng.Uint32())
		}
		if got := h.Sum(text); *got != sha256.Sum256(text) {
			t.Fatalf("%d bytes: %s", n, got)
		}
	}
}

func TestHasherNeedsNoReadableState(t *testing.T) {
	h := Hasher{hash: struct{ hash.Hash }{sha256.New()}}
	if got := h.Sum([]byte("abc")); *got != sha256.Sum256([]byte("abc")) {
		t.Fatal(got)
	}
}

func FuzzHasher(f *testing.F) {
	f.Add([]byte("abc"), []byte(""))
	var h Hasher
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, text := range [][]byte{a, b, a} {
			if got := h.Sum(text); *got != sha256.Sum256(text) {
				t.Fatalf("%x: %s", text, got)
			}
		}
	})
}

func BenchmarkHashKey(b *testing.B) {
	key := []byte("app.bsky.feed.like/3mptbypqos22u")
	b.Run("hasher", func(b *testing.B) {
		b.ReportAllocs()
		var h Hasher
		for b.Loop() {
			h.Sum(key)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			DigestOf(key)
		}
	})
}
