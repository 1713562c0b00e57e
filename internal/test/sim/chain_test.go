package sim

import (
	"fmt"
	"testing"
	"time"

	"railyard/internal/store"
)

// The process dies again while it recovers from a death: in its start, at its first
// batch, at its first claims. However often, what is left keeps the rules, and the
// first start that lives ends with the truth.
func TestTheProcessMayDieWhileItRecovers(t *testing.T) {
	of := []*story{firstStart, atWork, fromTheLog, deeply, crawling, onlyCommits}
	for seed := range seeds(t) {
		st := of[seed%uint64(len(of))]
		t.Run(fmt.Sprintf("%s, seed %d", st.name, seed), func(t *testing.T) {
			withScenario(t, seed, st, (*scenario).dieAgainAndAgain)
		})
	}
}

func (g *scenario) dieAgainAndAgain() {
	g.t.Helper()
	all := 0
	for _, n := range g.passes() {
		all += n
	}
	g.keep(baseFile, indexFile)
	var deaths []store.Point
	many := 2 + g.dice.IntN(4)
	for n := 1 + g.dice.IntN(all); len(deaths) < many; n = g.soon() {
		deaths = append(deaths, g.dieIn(n))
		g.left()
		g.label("the file that was left after the deaths at", deaths)
	}
	g.recover()
	g.label("after the deaths at", deaths)
}

// soon is how many points a process passes that dies again: few enough to be within
// the start, or some more.
func (g *scenario) soon() int {
	if g.dice.IntN(2) == 0 {
		return 1 + g.dice.IntN(8)
	}
	return 1 + g.dice.IntN(60)
}

// dieIn starts the process, goes on with the story, and kills it at its nth point
// of whatever kind, or at the end. It returns the point.
func (g *scenario) dieIn(n int) (at store.Point) {
	g.t.Helper()
	passed := 0
	r := g.run(func(p store.Point) bool {
		passed++
		if passed <= n {
			at = p
		}
		return passed == n
	})
	g.story.run(g)
	g.calm()
	if g.alive() {
		g.wait(time.Minute)
		r.crash()
		return store.Point{Step: "the end"}
	}
	r.bury()
	return at
}
