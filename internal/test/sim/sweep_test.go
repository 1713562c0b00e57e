package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// TestSim is the sweep: in each seed a network of fifty accounts lives through two
// thousand events and more, while every fault of the table acts, the service is
// stopped, killed at any point of its work and set back to older copies of its file.
// Once the faults are over, the rows are those of the truth.
//
// RAILYARD_SEEDS=1000 go test -run 'TestSim$' -timeout 1h ./internal/test/sim -v prints how
// often each fault acted.
func TestSim(t *testing.T) {
	var all toll
	list, quiet := sweep(t)
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range list {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				defer repeatable(t, "TestSim", seed)
				synctest.Test(t, func(t *testing.T) { all.add(newTrial(t, seed, quiet).run()) })
			})
		}
	})
	if testing.Verbose() {
		all.print(t)
	}
	if len(list) >= 100 && all.told.forgotten > all.told.known/100 { // the one case that the README names
		t.Errorf("of %d members %d were never told", all.told.known, all.told.forgotten)
	}
	if len(list) >= 1000 {
		all.enough(t, 100)
	}
}

// toll counts what happened over all seeds.
type toll struct {
	mu     sync.Mutex
	trials int
	events int64
	deaths int
	fired  map[simnet.FaultName]int64
	told   tally // to paging clients
}

func (a *toll) add(b *toll) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trials += b.trials
	a.events += b.events
	a.deaths += b.deaths
	a.told.add(b.told)
	if a.fired == nil {
		a.fired = make(map[simnet.FaultName]int64)
	}
	for name, n := range b.fired {
		a.fired[name] += n
	}
}

func (a *toll) print(t *testing.T) {
	t.Logf("%d seeds, %d events, %d deaths of the service; clients: %+v", a.trials, a.events, a.deaths, a.told)
	for _, f := range simnet.Faults() {
		t.Logf("%8d  %s: %s", a.fired[f.Name], f.Name, f.Doc)
	}
}

// enough demands that each fault of the table has acted so often.
func (a *toll) enough(t *testing.T, least int64) {
	for _, f := range simnet.Faults() {
		if a.fired[f.Name] < least {
			t.Errorf("%s acted %d times, want %d", f.Name, a.fired[f.Name], least)
		}
	}
}

// trial is the life of one index through one history.
type trial struct {
	*sim
	dice   *rand.Rand
	seed   uint64
	ups    []string // names of the hosts that are followed
	copies []string // of the file, oldest first
	r      *running
	deaths int
	paging *walkers
	secret bool // an older copy came back, and the file was not told
}

func newTrial(t *testing.T, seed uint64, quiet bool) *trial {
	dice := rand.New(rand.NewPCG(seed, 77))
	y := &trial{dice: dice, seed: seed}
	y.sim = newSim(t, simnet.Config{
		Seed: seed, PDS: 3, Accounts: 50, Records: 20, Relay: true, Churn: true, Start: time.Now(),
		ReplayWindow: one(dice, []int{0, 0, 300}), RelayWindow: one(dice, []int{0, 0, 300}),
	})
	y.paging = newWalkers(t, dice, 5)
	y.quiet = quiet
	y.ups = one(dice, [][]string{{"relay"}, {"relay"}, {"pds1", "pds2", "pds3"}, {"relay", "pds2"}})
	cfg := daemon.Config{
		SweepEvery:   time.Hour,
		ResyncMethod: one(dice, everyMethod), ResyncWorkers: one(dice, []int{1, 8, 128}),
		Crawl: daemon.Relay, Provers: one(dice, []int{1, 2, 8}), Batch: one(dice, []int{1, 20, 1000}),
	}
	if dice.IntN(2) == 0 {
		cfg.PLCExport = y.net.PLC()
	}
	y.net.SetDirectory(simnet.Directory{TimeOnly: seed%2 == 0})
	if y.ups[0] == "relay" && dice.IntN(2) == 0 {
		cfg.Crawl = daemon.Deep
	}
	y.configure = func(c *daemon.Config) {
		c.SweepEvery, c.ResyncMethod, c.ResyncWorkers, c.PLCExport, c.Crawl = cfg.SweepEvery, cfg.ResyncMethod, cfg.ResyncWorkers, cfg.PLCExport, cfg.Crawl
		c.Provers, c.Batch = cfg.Provers, cfg.Batch
	}
	t.Logf("seed %d follows %s: %+v", seed, strings.Join(y.ups, ", "), cfg)
	return y
}

// begin starts the service, with a point at which it will die unless it is stopped
// first. Who starts it waits a moment after a death, as supervisors do.
func (y *trial) begin() {
	time.Sleep(40 * time.Second)
	var urls []string
	for _, name := range y.ups {
		urls = append(urls, y.pipes.URL(name))
	}
	left := 1 + y.dice.IntN(1<<(4+y.dice.IntN(10)))
	y.r = y.startDoomed("index.db", func(store.Point) bool { left--; return left == 0 }, urls...)
}

func (y *trial) run() *toll {
	y.begin()
	if err := y.net.Switch(simnet.Mixture(y.seed, 0.05, simnet.OnStream, simnet.OnHTTP, simnet.OnDirectory)...); err != nil {
		y.t.Fatal(err)
	}
	for range 10 {
		for range 4 {
			y.live(50)
			time.Sleep(time.Duration(y.dice.IntN(1<<y.dice.IntN(10))) * time.Second)
			y.mourn()
			y.paging.step(y.r)
		}
		y.fate()
	}
	y.net.SwitchOff()
	y.survive()
	time.Sleep(time.Minute) // connections are opened again
	y.live(50)
	time.Sleep(8 * time.Hour)
	// A connection that began live with the last events has no cursor of its own. (What
	// else may happen to accounts takes longer than a minute to settle.)
	y.commits(5)
	y.wait()
	if y.t.Failed() { // pages that repeat themselves have no end
		y.t.FailNow()
	}
	y.r.settle(y.ups...)
	y.r.same()
	y.paging.finish(y.r)
	if n := y.paging.forgotten; n > 0 && !y.secret {
		y.t.Errorf("%d members were never told, although the file knew of every rollback", n)
	}
	y.r.end()
	return &toll{trials: 1, events: y.net.Events(), deaths: y.deaths, fired: y.net.FiredAll(), told: y.paging.tally}
}

// wait waits for the few repos that failed so often that their next attempt is to come
// more than eight hours later. The longest pause is a day.
func (y *trial) wait() {
	for range 30 {
		time.Sleep(time.Minute)
		synctest.Wait()
		if y.r.settled(y.ups) {
			return
		}
		time.Sleep(time.Hour)
	}
}

// mourn starts the service again if it has died.
func (y *trial) mourn() {
	for y.r.death.isDead() {
		y.r.bury()
		y.deaths++
		y.begin()
	}
}

// fate does something to the service, or nothing.
func (y *trial) fate() {
	switch y.dice.IntN(8) {
	case 0: // an operator restarts it
		y.r.stop()
		y.begin()
	case 1: // it is killed while it is idle
		y.r.crash()
		y.deaths++
		y.begin()
	case 2, 3:
		y.copies = append(y.copies, fmt.Sprintf("%s.copy%d", y.r.file, len(y.copies)))
		y.r.backup(y.copies[len(y.copies)-1])
	case 4: // an older file comes back
		if len(y.copies) > 0 {
			y.r.crash()
			y.deaths++
			if err := y.r.restore(one(y.dice, y.copies)); err != nil {
				y.t.Fatal(err)
			}
			y.paging.restored()
			if y.dice.IntN(2) == 0 {
				y.r.renew()
			} else {
				y.secret = true
			}
			y.begin()
		}
	}
	y.mourn()
}

// survive lets the service die no more.
func (y *trial) survive() {
	for y.mourn(); !y.r.death.off(); y.mourn() {
	}
}
