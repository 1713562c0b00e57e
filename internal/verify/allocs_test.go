//go:build !race

package verify

import "testing"

// The race detector makes pools forget, so this counts without it.
func TestASingleOpProofCostsFewAllocations(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1")
	prev := a.data()
	c := a.commit(&prev, a.create("com.ex.a/2"))
	got := testing.AllocsPerRun(100, func() {
		if _, err := Commit(c, anySignature{}, fixtureNow); err != nil {
			t.Fatal(err)
		}
	})
	if got > 15 {
		t.Errorf("%.0f allocations, want at most 15", got)
	}
}
