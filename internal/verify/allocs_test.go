//go:build !race

package verify

import (
	"fmt"
	"testing"
)

// The race detector makes pools forget, so this counts without it.
func TestASingleOpProofCostsFewAllocations(t *testing.T) {
	for _, records := range []int{2, 100, 400} { // few blocks, and many that must be found
		a := newAccount(t)
		for i := range records {
			a.create(fmt.Sprintf("com.ex.c%d/%d", i%5, i))
		}
		prev := a.data()
		c := a.commit(&prev, a.create("com.ex.c1/new"))
		got := testing.AllocsPerRun(100, func() {
			if _, err := Commit(c, anySignature{}, fixtureNow); err != nil {
				t.Fatal(err)
			}
		})
		if got > 15 {
			t.Errorf("%.0f allocations in a tree of %d records, want at most 15", got, records)
		}
	}
}
