package verify

import (
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/event"
)

// BenchmarkProveReal proves the recorded commits of a relay in turn: all checks,
// and all but the signature.
func BenchmarkProveReal(b *testing.B) {
	frames, keys := realFrames(b)
	var commits []*event.Commit
	for _, frame := range frames {
		if c, ok := event.Decode(frame).Event.(*event.Commit); ok {
			commits = append(commits, c)
		}
	}
	for _, bench := range []struct {
		name string
		key  func(did string) atcrypto.PublicKey
	}{
		{"all", func(did string) atcrypto.PublicKey { return keys[did] }},
		{"nosig", func(string) atcrypto.PublicKey { return anySignature{} }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c := commits[i%len(commits)]
				if _, err := Commit(c, bench.key(c.DID), fixtureNow); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
