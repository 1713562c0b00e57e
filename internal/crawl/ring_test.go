package crawl

import (
	"fmt"
	"strconv"
	"testing"
)

func TestRingsOfAnyShapeAreFoundAndLongListingsAreNone(t *testing.T) {
	for lead := range 20 {
		for round := 1; round < 40; round++ {
			var met ring
			steps := 0
			for at := 1; !met.closes(strconv.Itoa(at)); steps++ {
				if at++; at > lead+round {
					at = lead + 1
				}
				if steps > 4*(lead+round)+4 {
					t.Fatalf("%d cursors and then a ring of %d: not found in %d steps", lead, round, steps)
				}
			}
			if steps < lead+round {
				t.Errorf("%d cursors and then a ring of %d: found after %d steps, before it closed", lead, round, steps)
			}
		}
	}
	var met ring
	for i := range 100_000 {
		if met.closes(fmt.Sprint("cursor ", i)) {
			t.Fatalf("cursor %d is new", i)
		}
	}
}
