package sim

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/test/simnet"
)

// everyMethod are the ways to establish repos.
var everyMethod = []establish.Method{establish.Auto, establish.Describe, establish.Probe, establish.WholeRepo}

// methods runs a story for each way to establish repos and a few seeds.
func methods(t *testing.T, seeds uint64, story func(t *testing.T, method establish.Method, seed uint64)) {
	for _, method := range everyMethod {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s, seed %d", method, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { story(t, method, seed) })
			})
		}
	}
}

// proveClaims waits until no claim is left.
func (r *running) proveClaims() {
	r.t.Helper()
	for range 4 {
		time.Sleep(time.Hour)
	}
	r.settle("relay")
	if n := r.claims(); n != 0 {
		r.t.Errorf("%d claims were not proven", n)
	}
}

func TestServeEqualsTheLedgerByEachMethod(t *testing.T) {
	methods(t, (seeds(t)+1)/2, func(t *testing.T, method establish.Method, seed uint64) {
		s := newSim(t, simnet.Config{Seed: seed, PDS: 3, Accounts: 30, Records: 200, Relay: true, Start: time.Now()})
		s.configure = func(c *daemon.Config) { c.ResyncMethod = method }
		bridgy := simnet.BridgyAbilities()
		bridgy.YoungFor = 0
		s.net.SetAbilities("pds3", bridgy)
		r := s.start("index.db", s.net.Relay())
		r.settle("relay")
		s.live(200)
		r.settle("relay")
		r.same()
		claims := r.claims()
		if want := method == establish.Describe; claims > 0 != want && method != establish.Auto {
			t.Errorf("%d claims", claims)
		}
		r.end()
		s.live(200) // while it is down
		r = s.start("index.db", s.net.Relay())
		r.settle("relay")
		r.same()
		r.proveClaims()
		r.same()
		s.asked(method)
		r.end()
	})
}

// asked checks that each method has asked for what it is about.
func (s *sim) asked(method establish.Method) {
	s.t.Helper()
	asked := s.net.Traffic("pds1").Requests
	want := map[establish.Method][]string{
		establish.Auto: {"getRecord"}, establish.Describe: {"getRecord", "describeRepo"}, establish.Probe: {"getRecord"}, establish.WholeRepo: {"getRepo"},
	}[method]
	for _, endpoint := range []string{"getRecord", "describeRepo", "getRepo"} {
		if slices.Contains(want, endpoint) != (asked[endpoint] > 0) && method != establish.Auto {
			s.t.Errorf("%s was asked for %d times", endpoint, asked[endpoint])
		}
	}
	if asked[want[0]] == 0 {
		s.t.Errorf("%s was not asked for", want[0])
	}
}

// Hosts lie in their descriptions, cut their proofs off, serve old states and refuse
// by rate: the rows are right in the end.
func TestServeEqualsTheLedgerWhateverHostsAnswer(t *testing.T) {
	methods(t, (seeds(t)+1)/2, func(t *testing.T, method establish.Method, seed uint64) {
		s := newSim(t, simnet.Config{Seed: seed, PDS: 3, Accounts: 30, Records: 200, Relay: true, Start: time.Now()})
		s.configure = func(c *daemon.Config) { c.ResyncMethod = method }
		s.live(100)
		err := s.net.Switch(
			simnet.Rule{Fault: simnet.DescribesLess, Host: "pds1", Chance: 0.3},
			simnet.Rule{Fault: simnet.DescribesMore, Host: "pds2", Chance: 0.3},
			simnet.Rule{Fault: simnet.StaleReplica, Chance: 0.05},
			simnet.Rule{Fault: simnet.ShortArchive, Chance: 0.05},
			simnet.Rule{Fault: simnet.CorruptArchive, Chance: 0.05},
			simnet.Rule{Fault: simnet.RateLimited, Host: "pds3", Chance: 0.05},
			simnet.Rule{Fault: simnet.ServerError, Chance: 0.05},
		)
		if err != nil {
			t.Fatal(err)
		}
		r := s.start("index.db", s.net.Relay())
		s.live(200)
		time.Sleep(time.Hour)
		s.net.SwitchOff()
		s.live(50)
		time.Sleep(12 * time.Hour)
		r.settle("relay")
		r.same()
		if n := r.claims(); n != 0 {
			t.Errorf("%d claims were not proven", n)
		}
		r.end()
	})
}

// Accounts move between PDSes, return, and get other keys in unusual ways; an index that
// was there before and one that begins after it end with the truth.
func TestServeEqualsTheLedgerOverMigrations(t *testing.T) {
	old := 0 // repos whose head an earlier key has signed
	methods(t, (seeds(t)+1)/2, func(t *testing.T, method establish.Method, seed uint64) {
		s := newSim(t, simnet.Config{Seed: seed, PDS: 3, Accounts: 30, Records: 60, Relay: true, Churn: true, Start: time.Now()})
		s.configure = func(c *daemon.Config) { c.ResyncMethod = method }
		early := s.start("early.db", s.net.Relay())
		for range 4 {
			s.live(100)
			time.Sleep(time.Minute)
		}
		late := s.start("late.db", s.net.Relay())
		s.live(50)
		for _, r := range []*running{early, late} {
			time.Sleep(4 * time.Hour)
			r.settle("relay")
			r.same()
			old += r.proofs()["old-key"]
			r.end()
		}
	})
	if old == 0 {
		t.Error("nobody moved and has not written since")
	}
}
