package sim

import (
	"sync"
	"testing"

	"railyard/internal/test/simnet"
)

// liveTally counts what happened over all seeds.
type liveTally struct {
	mu     sync.Mutex
	trials int
	events int64
	deaths int // of the service
	alone  int // accounts about which nothing happened but commits
	births int // of theirs, by commits
	fired  map[simnet.FaultName]int64
}

func (a *liveTally) add(b *liveTally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trials += b.trials
	a.events += b.events
	a.deaths += b.deaths
	a.alone += b.alone
	a.births += b.births
	if a.fired == nil {
		a.fired = make(map[simnet.FaultName]int64)
	}
	for name, n := range b.fired {
		a.fired[name] += n
	}
}

func (a *liveTally) print(t *testing.T) {
	t.Logf("%d seeds, %d events, %d deaths of the service; %d accounts were left alone and got %d rows by commits",
		a.trials, a.events, a.deaths, a.alone, a.births)
	for _, f := range simnet.Faults() {
		t.Logf("%8d  %s: %s", a.fired[f.Name], f.Name, f.Doc)
	}
	if a.trials == 1 { // it may be one in which everybody loses events
		return
	}
	if a.alone < 2*a.trials || a.births < 5*a.trials {
		t.Error("too few accounts were left alone to say something about")
	}
}
