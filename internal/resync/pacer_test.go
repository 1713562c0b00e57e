package resync

import (
	"testing"
	"time"
)

// A host that must wait by the pacer must not be ready by the file, which counts in
// microseconds: the workers' next row would be looked for without an end.
func TestThePaceIsCountedInTheFilesUnit(t *testing.T) {
	begin := time.UnixMicro(1_700_000_000_000_000)
	for ns := time.Duration(0); ns < 2*time.Microsecond; ns += 99 {
		a := newPacer(3).open(1, 0, time.Time{})
		first := begin.Add(ns)
		if !a.try(first) {
			t.Fatal("the first request has to wait")
		}
		for now := first; now.Before(first.Add(time.Second)); now = now.Add(33_333_100 + ns) {
			at := now
			if ready := a.next().UnixMicro() <= at.UnixMicro(); a.try(at) != ready {
				t.Fatalf("%v after the first request: ready by the file %v, by the pacer %v", at.Sub(first), ready, !ready)
			}
		}
		a.close()
	}
}
