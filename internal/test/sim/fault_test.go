package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/test/simnet"
)

// Everything goes wrong at once for a while: streams that drop, repeat, reorder and
// lie, hosts that fail, stall and lie, a directory that lags and lies, accounts that
// move and return. Once it is over, later crawls and retries find what was lost, and the
// rows are those of the truth.
func TestTheIndexHealsFromFaults(t *testing.T) {
	for _, pds := range []int{0, 3} {
		for seed := range seeds(t) {
			name := "through a relay"
			if pds > 0 {
				name = "from the PDSes"
			}
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { heals(t, seed, pds) })
			})
		}
	}
}

func heals(t *testing.T, seed uint64, pds int) {
	dice := rand.New(rand.NewPCG(seed, 77))
	s := newSim(t, simnet.Config{Seed: seed, PDS: 3, Accounts: 50, Records: 20, Relay: true, Churn: true, Start: time.Now()})
	names := []string{"relay"}
	if pds > 0 {
		names = []string{"pds1", "pds2", "pds3"}
	}
	s.configure = func(c *daemon.Config) {
		c.SweepEvery = time.Hour
		c.ResyncMethod = one(dice, everyMethod)
		if dice.IntN(2) == 0 {
			c.PLCExport = s.net.PLC()
		}
		s.net.SetDirectory(simnet.Directory{TimeOnly: seed%2 == 0})
		if pds == 0 && dice.IntN(2) == 0 {
			c.Crawl = daemon.Deep
		}
		t.Logf("method %s, crawl %s, PLC export %q", c.ResyncMethod, c.Crawl, c.PLCExport)
	}
	if dice.IntN(2) == 0 {
		s.net.SetAbilities("pds2", foreign(seed))
	}
	r := s.start("index.db", s.upstreams(pds)...)
	if err := s.net.Switch(simnet.Mixture(seed, 0.05, simnet.OnStream, simnet.OnHTTP, simnet.OnDirectory)...); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.live(100)
		time.Sleep(time.Duration(dice.IntN(600)) * time.Second)
		if dice.IntN(3) == 0 {
			r.end()
			s.live(50)
			r = s.start("index.db", s.upstreams(pds)...)
		}
	}
	fired := int64(0)
	for _, n := range s.net.FiredAll() {
		fired += n
	}
	if fired < 100 {
		t.Errorf("faults acted %d times", fired)
	}
	s.net.SwitchOff()
	time.Sleep(time.Minute) // connections are opened again
	s.live(50)
	time.Sleep(8 * time.Hour)
	r.settle(names...)
	r.same()
	r.end()
}

func one[T any](dice *rand.Rand, of []T) T { return of[dice.IntN(len(of))] }
