package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// Clients page through listings for as long as everything goes wrong: faults of
// every kind, accounts that move, leave and return, processes that are killed, files
// that are put back from older copies. The promise of the cursor holds throughout.
func TestPagingClientsKeepTheirPromise(t *testing.T) {
	var sum tally
	for seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := pagingClients(t, seed)
				t.Logf("%+v", w.tally)
				sum.add(w.tally)
			})
		})
	}
	n := int(seeds(t))
	if sum.ends < 20*n || n > 3 && (sum.returns < 2*n || sum.restores < 2) || sum.forgotten > 2+sum.known/100 {
		t.Errorf("over %d histories: %+v", n, sum)
	}
}

// paging is the story of a history with clients.
type paging struct {
	*sim
	*running
	dice   *rand.Rand
	w      *walkers
	copied bool // there is an older copy
}

func pagingClients(t *testing.T, seed uint64) *walkers {
	dice := rand.New(rand.NewPCG(seed, 1999))
	s := newSim(t, simnet.Config{Seed: seed, PDS: 3, Accounts: 40, Records: 6, Relay: true, Churn: true, Start: time.Now()})
	s.configure = func(c *daemon.Config) { c.SweepEvery = time.Hour }
	p := &paging{sim: s, dice: dice, w: newWalkers(t, dice, 8)}
	p.begin()
	if err := s.net.Switch(simnet.Mixture(seed, 0.03, simnet.OnStream, simnet.OnHTTP, simnet.OnDirectory)...); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		p.live()
		p.upset()
	}
	s.net.SwitchOff()
	time.Sleep(time.Minute) // connections are opened again
	p.live()
	p.ensure()
	time.Sleep(8 * time.Hour)
	if t.Failed() { // pages that repeat themselves have no end
		t.FailNow()
	}
	p.settle("relay")
	p.same()
	p.w.finish(p.running)
	p.running.end()
	return p.w
}

// begin starts a run, which is doomed for one in three.
func (p *paging) begin() {
	var dies func(store.Point) bool
	if p.dice.IntN(3) == 0 {
		left := 1 + p.dice.IntN(400)
		dies = func(store.Point) bool { left--; return left < 0 }
	}
	p.running = p.startDoomed("index.db", dies, p.upstreams(0)...)
}

// ensure puts a run into the place of one that has died, and takes its doom from one
// that has not.
func (p *paging) ensure() {
	for synctest.Wait(); p.death.isDead(); synctest.Wait() {
		p.bury()
		p.running = p.start("index.db", p.upstreams(0)...)
		time.Sleep(time.Minute)
	}
	p.death.mu.Lock()
	defer p.death.mu.Unlock()
	p.death.dies = nil
}

// live lets the network live for a while, with moments for the clients.
func (p *paging) live() {
	for range 3 {
		p.sim.live(25)
		p.w.step(p.running)
		time.Sleep(time.Duration(1+p.dice.IntN(300)) * time.Second)
		p.w.step(p.running)
	}
}

// upset ends a run in one way or another, and begins the next.
func (p *paging) upset() {
	p.ensure()
	switch p.dice.IntN(6) {
	case 0:
		return
	case 1:
		p.end()
	case 2, 3:
		p.crash()
	default:
		if p.copied {
			p.crash()
			if err := p.restore(p.file + ".old"); err != nil {
				p.sim.t.Fatal(err)
			}
			p.w.restored()
			break
		}
		p.backup(p.file + ".old")
		p.copied = true
		return
	}
	p.begin()
}
