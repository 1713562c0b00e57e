package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/test/simnet"
)

const (
	// killRate is the commits per second of the network while processes die.
	killRate = 200
	// killsOfOne is how often one file dies at most, so that long runs see many
	// backfills too.
	killsOfOne = 25
	// moreKills is how many more times one file dies that never was while connected.
	moreKills = 6
)

// fromEnviron reads a number, for runs that are longer than the usual one.
func fromEnviron(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// The real program, on a network that lives fast and lies, is killed with SIGKILL at
// random moments and started again on the same file with other arguments. The file is
// sound after every death, clients that kept their cursors see each lasting member
// once, and in the end the rows are those of the truth.
//
// RAILYARD_KILLS is the number of deaths, RAILYARD_SEED what everything but the clock
// is drawn from. A file dies at most killsOfOne times; then another one begins, with
// the next seed. Networks of odd seeds lie, and later crawls mend what was lost by that;
// those of even seeds are honest, and no crawl hides what a death has lost.
func TestKilledAtAnyMomentTheIndexIsThatOfTheNetwork(t *testing.T) {
	t.Parallel()
	kills, seed := fromEnviron(t, "RAILYARD_KILLS", 6), fromEnviron(t, "RAILYARD_SEED", 1)
	program := buildProgram(t)
	each := min(killsOfOne, (kills+1)/2)
	for i := uint64(0); i*each < kills; i++ {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			t.Parallel()
			newKilled(t, program, seed+i).history(min(each, kills-i*each))
		})
	}
}

// history is the life of one file.
func (k *killed) history(kills uint64) {
	live, rest := context.WithCancel(k.t.Context())
	var load sync.WaitGroup
	load.Go(func() { k.load(live) })
	// An upstream that lies may refuse every process that was to be killed at work.
	for k.deaths < kills || k.connected == 0 && k.deaths < kills+moreKills {
		if k.t.Failed() {
			break
		}
		k.dieOnce()
	}
	rest()
	load.Wait()
	k.net.SwitchOff()
	k.settle()
	k.didSomething()
}

// killed is a network with a program on it that dies again and again.
type killed struct {
	t         *testing.T
	seed      uint64
	honest    bool
	dice      *rand.Rand
	program   string
	net       *simnet.Network
	follow    map[string]string // the upstreams: name in the network by URL
	dir       string
	file      deadFile
	walks     []*walk
	deaths    uint64
	connected uint64 // deaths of those that were connected
	args      []string
}

func newKilled(t *testing.T, program string, seed uint64) *killed {
	dir, err := os.MkdirTemp("", "railyard-killed-")
	if err != nil {
		t.Fatal(err)
	}
	k := &killed{t: t, seed: seed, honest: seed%2 == 0, dice: rand.New(rand.NewPCG(seed, 9)), program: program, dir: dir,
		file: deadFile{path: filepath.Join(dir, "index.db"), known: make(map[row]bool)}}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	// Some hours ago: that a listed rev is no longer on its way to a host is believed
	// only then.
	accounts, records := 100, 40
	if seed%4 == 0 {
		accounts, records = 1200, 4 // two pages of a listing
	}
	k.net, err = simnet.New(simnet.Config{
		Seed: seed, PDS: 3, Accounts: accounts, Records: records, Relay: true, Churn: true, Start: time.Now().Add(-3 * time.Hour),
		Listen: func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.net.Close(); err != nil {
			t.Error(err)
		}
	})
	if !k.honest {
		if err := k.net.Switch(faultsToDieIn(seed)...); err != nil {
			t.Fatal(err)
		}
	}
	k.follow = map[string]string{k.net.Relay(): "relay"}
	if k.dice.IntN(3) == 0 {
		k.follow = map[string]string{k.net.PDS(0): "pds1", k.net.PDS(1): "pds2", k.net.PDS(2): "pds3"}
	}
	for _, collection := range []string{"", "app.bsky.feed.post"} {
		k.walks = append(k.walks, newWalk(collection, rand.New(rand.NewPCG(seed, uint64(len(collection))))))
	}
	return k
}

// faultsToDieIn are those of a seed, but for those that need more time than a process
// has: hosts that stay away for minutes, and messages that break two connections
// before they are stepped over, at each start anew. What ends a connection is rare,
// because the pauses before the next one grow.
func faultsToDieIn(seed uint64) (rules []simnet.Rule) {
	for _, r := range simnet.Mixture(seed, 0.02, simnet.OnStream, simnet.OnHTTP, simnet.OnDirectory) {
		switch r.Fault {
		case simnet.HostVanishes, simnet.MalformedFrame, simnet.OversizedFrame:
			continue
		case simnet.CutFrame, simnet.TooSlow, simnet.TextMessage, simnet.Stall:
			r.Chance /= 20
		}
		rules = append(rules, r)
	}
	return rules
}

// load lets the network live until ctx ends.
func (k *killed) load(ctx context.Context) {
	start := time.Now()
	for made := 0; ctx.Err() == nil; _ = backoff.Sleep(ctx, 10*time.Millisecond) {
		for due := int(killRate * time.Since(start).Seconds()); made < due && ctx.Err() == nil; made++ {
			if err := k.net.Step(); err != nil {
				k.t.Errorf("the network: %v", err)
				return
			}
		}
	}
}

// drawArgs draws how the next process is started.
func (k *killed) drawArgs() {
	one := func(values ...string) string { return values[k.dice.IntN(len(values))] }
	k.args = k.serveArgs("--resync-method", one("auto", "describe", "probe", "repo"),
		"--crawl", one("relay", "relay", "deep", "deep", "off"),
		"--resync-workers", one("1", "4", "128"))
	if !k.honest {
		k.args = append(k.args, "--sweep-every", one("0", "1m", "24h"))
	}
	if k.dice.IntN(3) == 0 {
		k.args = append(k.args, "--plc-export", k.net.PLC())
	}
}

func (k *killed) serveArgs(more ...string) []string {
	args := []string{"serve", "--db", k.file.path, "--listen", "127.0.0.1:0", "--metrics-listen", "", "--allow-private-hosts",
		"--plc-url", k.net.PLC(), "--plc-qps", "10000", "--crawl-qps", "10000"}
	if k.honest {
		args = append(args, "--sweep-every", "0")
	}
	for base := range k.follow {
		args = append(args, "--upstream", base)
	}
	return append(args, more...)
}

// moment is when a process is killed: some time after something that it says.
type moment struct {
	after string
	wait  time.Duration
}

func (k *killed) drawMoment() moment {
	within := func(most int) time.Duration { return time.Duration(k.dice.IntN(most*1000)) * time.Microsecond }
	switch k.dice.IntN(6) {
	case 0, 1:
		return moment{"start", within(120)}
	case 2:
		return moment{"listening", within(100)}
	case 3, 4:
		return moment{"connected", within(500)}
	default:
		return moment{"connected", within(2500)}
	}
}

// dieOnce starts a process, reads from it, kills it and looks at what it left.
func (k *killed) dieOnce() {
	k.drawArgs()
	when := k.drawMoment()
	c := startChild(k.t, k.program, k.nextLog(), k.args)
	before := k.file.rows
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	wrong := make(chan error, 1)
	said := make(chan string, 2) // what a moment may wait for
	go func() { wrong <- k.read(ctx, c, said) }()
	k.await(c, when, said)
	err := c.kill()
	cancel()
	k.deaths++
	k.examine(before, errors.Join(err, <-wrong), c)
	k.pauseOnce()
}

func (k *killed) nextLog() string { return filepath.Join(k.dir, fmt.Sprintf("run-%03d.log", k.deaths)) }

// await returns at the moment.
func (k *killed) await(c *child, when moment, said <-chan string) {
	patience := time.After(childReady)
	for word := "start"; word != when.after; {
		select {
		case word = <-said:
		case <-c.ended:
			return
		case <-patience:
			// an upstream that refuses us: the network lies
			return
		}
	}
	if when.after == "connected" {
		k.connected++
	}
	select {
	case <-time.After(when.wait):
	case <-c.ended:
	}
}

// read pages through the listings of a process while it lives, and says when it listens and
// when it is connected.
func (k *killed) read(ctx context.Context, c *child, said chan<- string) error {
	base := c.where(ctx)
	if base == "" {
		return nil
	}
	said <- "listening"
	errs := make([]error, len(k.walks))
	var walks sync.WaitGroup
	for i, w := range k.walks {
		walks.Go(func() { errs[i] = w.run(ctx, base) })
	}
	if k.untilConnected(ctx, base) {
		said <- "connected"
	}
	walks.Wait()
	return errors.Join(errs...)
}

// examine looks at what a run has left: the log, the file, what clients saw.
func (k *killed) examine(before map[row]bool, err error, c *child) {
	k.t.Helper()
	errs := []error{err, c.complaints(), k.file.examine(k.t.Context())}
	for _, w := range k.walks {
		k.file.most = max(k.file.most, w.at) // of a row that has died since, perhaps
		errs = append(errs, w.hold(before, k.file.rows))
	}
	if err := errors.Join(errs...); err != nil {
		k.fail("%v", err)
	}
}

// pauseOnce is the time until the next start: none, a moment, or hours in which the
// network did little.
func (k *killed) pauseOnce() {
	switch k.dice.IntN(4) {
	case 0:
		_ = backoff.Sleep(k.t.Context(), time.Duration(k.dice.IntN(300))*time.Millisecond)
	case 1:
		if err := k.file.pass(k.t.Context(), time.Duration(k.dice.IntN(12*60))*time.Minute); err != nil {
			k.fail("%v", err)
		}
	}
}

// fail says what repeats a failure, as far as the clock allows it.
func (k *killed) fail(format string, args ...any) {
	k.t.Helper()
	k.t.Errorf("RAILYARD_SEED=%d, after kill %d: %s\nstarted with: %s\nthe file and the logs are in %s",
		k.seed, k.deaths, fmt.Sprintf(format, args...), strings.Join(k.args, " "), k.dir)
}

// didSomething: a run in which nothing happened proves nothing.
func (k *killed) didSomething() {
	fired := int64(0)
	for _, n := range k.net.FiredAll() {
		fired += n
	}
	l := k.net.Ledger()
	k.t.Logf("%d kills, %d of them while connected, %d before there was a file, %d within fetches, %d within a crawl; %d commits, %d births, %d deaths; faults acted %d times; %d rows were listed, %d are",
		k.deaths, k.connected, k.file.unmade, k.file.leased, k.file.crawled, l.Commits, l.Births, l.Deaths, fired, len(k.file.known), len(k.file.rows))
	for _, w := range k.walks {
		if w.ends == 0 || len(w.seen) == 0 {
			k.fail("the walk of %q has seen %d repos and %d ends", w.collection, len(w.seen), w.ends)
		}
	}
	if k.connected == 0 || fired == 0 && !k.honest || l.Births == 0 || l.Deaths == 0 {
		k.fail("too little has happened")
	}
}
