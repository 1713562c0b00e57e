package resync

import (
	"testing"
	"time"
)

// A walk of a host's listing asks the host beside the looks at its repos: one pace
// holds for both, and nobody remembers the host once it may be asked again.
func TestOnePaceHoldsForWalksAndLooks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ls := newLanes(4, 10)
	var last time.Duration
	for range 10 {
		last = ls.spend(7, now)
	}
	if last < 500*time.Millisecond || last > time.Second {
		t.Errorf("the tenth request at ten a second waits %s", last)
	}
	l := ls.byID[7]
	if l == nil {
		t.Fatal("the host is forgotten while it must be left alone")
	}
	if pause, ok := ls.again(l, now); !ok || pause <= last {
		t.Errorf("a look waits %s, behind a walk that waits %s", pause, last)
	}
	now = now.Add(10 * time.Second)
	ls.mu.Lock()
	ls.tick(now.UnixMicro())
	ls.mu.Unlock()
	if len(ls.byID) != 0 {
		t.Error("the host is remembered for ever")
	}
	if pause := ls.spend(7, now); pause > 0 {
		t.Errorf("after a rest a request waits %s", pause)
	}
}
