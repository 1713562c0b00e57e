package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// A process that is killed while it is idle, at some point of its work, or after
// an older copy of its file was put back, ends with the rows of the truth.
func TestAKilledServiceEndsWithTheTruth(t *testing.T) {
	for seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 20, Records: 20, Relay: true, Start: time.Now()})
				points := 0
				r := s.startDoomed("index.db", func(store.Point) bool { points++; return points > 30+int(seed)*7 }, s.net.Relay())
				s.live(100)
				<-r.death.gone
				r.bury()

				r = s.start("index.db", s.net.Relay())
				time.Sleep(time.Minute)
				s.live(10)
				time.Sleep(time.Minute)
				r.backup(r.file + ".old")
				s.live(100)
				r.crash()

				r = s.start("index.db", s.net.Relay())
				s.live(100)
				r.settle("relay")
				r.same()
				r.crash()
				if err := r.restore(r.file + ".old"); err != nil {
					t.Fatal(err)
				}
				r = s.start("index.db", s.net.Relay())
				r.settle("relay")
				r.same()
				r.end()
			})
		})
	}
}
