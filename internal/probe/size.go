package probe

import (
	"math"

	"railyard/internal/mst"
)

// Size is what the root tells of a tree.
type Size struct {
	Height   int // depth of the root
	RootKeys int // keys in the root

	// Records is an estimate of the number of keys: half of all trees with such a
	// root have more. One in twenty has less than a twelfth (a root of one key) to
	// half of it (six keys), one in twenty more than four times to twice as many.
	Records int64
}

// Advice is what a policy makes of a Size.
type Advice string

// The closed list of advice.
const (
	GoOn     Advice = ""          // probe
	TooSmall Advice = "too small" // the whole repo costs less
	TooLarge Advice = "too large"
)

// ByHeight is the policy to probe trees whose root stands at a depth from least
// to most. Trees up to depth 1 rarely have more than thirty records.
func ByHeight(least, most int) func(Size) Advice {
	return func(s Size) Advice {
		switch {
		case s.Height < least:
			return TooSmall
		case s.Height > most:
			return TooLarge
		}
		return GoOn
	}
}

// size measures a tree whose root is visible. Each key is four times as likely
// at one depth as at the next: k keys in the root stand for about k·4^height.
func (a *answer) size() Size {
	s := Size{Height: a.height}
	for _, key := range a.view.Keys() {
		if mst.Depth(key.Path) == a.height {
			s.RootKeys++
		}
	}
	estimate := (float64(s.RootKeys) - 0.3) * math.Pow(4, float64(s.Height))
	s.Records = int64(min(estimate+0.5, math.MaxInt64/2))
	return s
}
