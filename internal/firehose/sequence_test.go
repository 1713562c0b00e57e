package firehose

import "testing"

// Exactly the event of the cursor may be sent again, and once, at the beginning of a
// connection: what is dropped there is lost.
func TestOnlyTheEventOfTheCursorIsDropped(t *testing.T) {
	type step struct {
		n      int64
		place  place
		missed int64
	}
	for name, steps := range map[string][]step{
		"the cursor's own":              {{100, known, 0}, {101, onward, 0}},
		"the cursor's own, twice":       {{100, known, 0}, {100, repeated, 0}, {101, onward, 0}},
		"the one before it":             {{99, reset, 0}, {100, onward, 0}},
		"the first of all":              {{1, reset, 0}, {2, onward, 0}},
		"the next one":                  {{101, onward, 0}, {101, repeated, 0}, {100, repeated, 0}},
		"one after a gap":               {{111, onward, 10}, {200, onward, 0}},
		"the cursor's own before a gap": {{100, known, 0}, {200, onward, 0}},
	} {
		s, want := sequence{cursor: 100}, int64(100)
		for _, step := range steps {
			if place, missed := s.take(step.n); place != step.place || missed != step.missed {
				t.Errorf("%s: number %d has place %d, %d missed; want %d, %d", name, step.n, place, missed, step.place, step.missed)
			}
			if step.place == onward || step.place == reset {
				want = step.n
			}
			if s.cursor != want {
				t.Errorf("%s: cursor %d after %d, want %d", name, s.cursor, step.n, want)
			}
		}
	}
}
