package event_test

import (
	"testing"

	"railyard/internal/event"
	"railyard/internal/test/fixtures"
)

// BenchmarkDecodeFrame decodes the recorded frames of a relay in turn, or a made
// one where they are not there.
func BenchmarkDecodeFrame(b *testing.B) {
	frames := [][]byte{message(b, "#commit", with(commit(create()), "since", rev, "prevData", link(0x71),
		"blocks", make([]byte, 5200), "time", "2026-07-04T14:38:07.123Z"))}
	if _, ok := fixtures.Find(b); ok {
		frames = realFrames(b)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if f := event.Decode(frames[i%len(frames)]); f.Refusal != nil {
			b.Fatal(f.Refusal)
		}
		i++
	}
}
