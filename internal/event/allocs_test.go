//go:build !race

package event_test

import (
	"testing"

	"railyard/internal/event"
)

// The race detector makes pools forget, so this counts without it.
func TestASingleOpCommitCostsFewAllocations(t *testing.T) {
	b := message(t, "#commit", with(commit(create()), "since", rev, "prevData", link(0x71)))
	got := testing.AllocsPerRun(100, func() { event.Decode(b) })
	if got > 6 {
		t.Errorf("%.0f allocations, want at most 6", got)
	}
}
