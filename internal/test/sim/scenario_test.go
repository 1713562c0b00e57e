package sim

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// story is a stretch of the service's life in which some points are passed.
type story struct {
	name    string
	records int
	// configure changes the flags of its runs, if set.
	configure func(*daemon.Config)
	// prepare leaves the file "index.db" that each run begins with; nil: none.
	prepare func(*scenario)
	// run lets things happen while the service runs, until their end or its.
	run func(*scenario)
	// exact: nothing but commits happens, so a file that is left is the truth of its
	// cursor.
	exact bool
	// lossy: the upstream does not send all.
	lossy bool
}

// scenario is a network on which a story runs again and again, each time with a
// death at another point.
type scenario struct {
	*sim
	*story
	chronicle
	dice *rand.Rand
	r    *running // the run of the moment
}

const (
	indexFile  = "index.db"
	baseFile   = "base.db"
	beforeFile = "before.db" // right before the step
	probeFile  = "probe.db"  // a copy of what was left
)

// withScenario runs a story in a bubble, prepared.
func withScenario(t *testing.T, seed uint64, st *story, act func(*scenario)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 10, Records: max(st.records, 10), Relay: true, Start: time.Now()})
		g := &scenario{sim: s, story: st, dice: rand.New(rand.NewPCG(seed, 5))}
		s.configure = func(c *daemon.Config) {
			wired(c)
			if st.configure != nil {
				st.configure(c)
			}
		}
		g.write()
		if st.prepare != nil {
			st.prepare(g)
		}
		g.keep(indexFile, baseFile)
		act(g)
	})
}

func (g *scenario) path(name string) string { return filepath.Join(g.dir, name) }

// keep copies a file that nobody has open.
func (g *scenario) keep(from, to string) {
	g.t.Helper()
	if err := removeIfThere(g.path(to)); err != nil {
		g.t.Fatal(err)
	}
	if err := copyFile(g.path(from), g.path(to)); err != nil {
		g.t.Fatal(err)
	}
	if err := removeIfThere(g.path(to) + "-shm"); err != nil {
		g.t.Fatal(err)
	}
}

// open opens a file that no process has open.
func (g *scenario) open(name string) *sql.DB {
	g.t.Helper()
	d, err := sql.Open("sqlite", g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return d
}

// exec changes a file that no process has open.
func (g *scenario) exec(name, script string) {
	g.t.Helper()
	d := g.open(name)
	defer func() { _ = d.Close() }()
	if _, err := d.Exec(script); err != nil {
		g.t.Fatal(err)
	}
}

func (g *scenario) count(d *sql.DB, query string, args ...any) (n int) {
	g.t.Helper()
	if err := d.QueryRow(query, args...).Scan(&n); err != nil {
		g.t.Fatal(err)
	}
	return n
}

// answer returns the only row of a query on a file as text.
func (g *scenario) answer(name, query string) string {
	g.t.Helper()
	d := g.open(name)
	defer func() { _ = d.Close() }()
	var text sql.NullString
	if err := d.QueryRow(query).Scan(&text); err != nil && err != sql.ErrNoRows {
		return err.Error() // no such table yet
	}
	return text.String
}

// run starts the service on the file as it is.
func (g *scenario) run(dies func(store.Point) bool) *running {
	g.r = g.startDoomed(indexFile, dies, g.net.Relay())
	return g.r
}

// alive reports whether the run of the moment goes on.
func (g *scenario) alive() bool { return !g.r.death.isDead() }

// wait lets time pass until the process is dead.
func (g *scenario) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.r.death.gone:
	}
}

// write makes one commit: mostly a first record of a new collection of some active
// account, or the last one's end.
func (g *scenario) write() {
	g.t.Helper()
	truth := g.net.Truth()
	dids := g.net.DIDs()
	did := dids[g.dice.IntN(len(dids))]
	for truth[did] == nil {
		did = dids[g.dice.IntN(len(dids))]
	}
	path := fmt.Sprintf("net.rails.news%d/a", g.dice.IntN(6))
	write := g.net.Create
	for _, has := range g.net.Paths(did) {
		if has == path {
			write = g.net.Delete
		}
	}
	g.must(write(did, path))
}

// must is for what happens in the network; it is written down.
func (g *scenario) must(err error) {
	g.t.Helper()
	if err == nil {
		err = g.note(g.net)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// live lets so many things happen in the network.
func (g *scenario) live(steps int) {
	for range steps {
		g.must(g.net.Step())
	}
}

// calm ends all faults and hooks.
func (g *scenario) calm() {
	g.net.SwitchOff()
	for _, name := range []string{"plc", "relay", "pds1", "pds2"} {
		g.net.SetHook(name, simnet.Hook{})
	}
}

func (g *scenario) fault(rules ...simnet.Rule) { g.must(g.net.Switch(rules...)) }

// settled leaves a file in which everything is.
func (g *scenario) settled() {
	g.t.Helper()
	r := g.run(nil)
	time.Sleep(time.Minute)
	g.write() // so that there is a cursor
	r.settle("relay")
	r.same()
	r.end()
}

// passes runs the story once without a death and counts the points.
func (g *scenario) passes() map[store.Point]int {
	g.t.Helper()
	g.keep(baseFile, indexFile)
	r := g.run(nil)
	g.story.run(g)
	r.crash()
	g.calm()
	return r.death.met
}

// dies runs the story with a death at the nth pass of a point. Where the history
// differs a little from that of the count, and there are fewer passes, the last one
// is taken; it returns the pass, 0 if the point was not reached.
func (g *scenario) dies(p store.Point, nth int) int {
	g.t.Helper()
	for nth > 0 {
		g.keep(baseFile, indexFile)
		met, before, failed := 0, 0, error(nil)
		r := g.run(func(q store.Point) bool {
			if q.Step == p.Step && !q.Done {
				if before++; before == nth && p.Done {
					failed = copyFile(g.path(indexFile), g.path(beforeFile))
				}
			}
			if q == p {
				met++
			}
			return q == p && met == nth
		})
		g.story.run(g)
		g.calm()
		if g.alive() {
			r.crash()
			nth = min(met, nth-1)
			continue
		}
		r.bury()
		if failed != nil {
			g.t.Fatal(failed)
		}
		return nth
	}
	return 0
}

// left checks a file that was left at a point.
func (g *scenario) left() {
	g.t.Helper()
	g.keep(indexFile, probeFile)
	begun := g.answer(probeFile, "SELECT count(*) FROM meta") == "1" && g.answer(probeFile, "PRAGMA user_version") != "1"
	if begun {
		g.check(probeFile)
	}
	st, err := store.Open(g.t.Context(), store.Config{Path: g.path(probeFile), Version: "probe"})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		g.t.Fatal(err)
	}
	if !begun { // or of an older version
		g.check(probeFile)
	}
	g.holdAgainst(probeFile)
	if n := g.answer(probeFile, "SELECT count(lease) FROM resync_queue"); n != "0" {
		g.t.Errorf("%s rows are leased after a start", n)
	}
}

// check verifies the invariants of a file.
func (g *scenario) check(name string) {
	g.t.Helper()
	(&running{sim: g.sim, file: g.path(name)}).sound()
}

// recover starts the service on what was left, and compares it with the truth.
func (g *scenario) recover() {
	g.t.Helper()
	r := g.run(nil)
	time.Sleep(5 * time.Second)
	g.write()
	// What was said while nobody was connected, and before there was a cursor, is found
	// by the crawl, and not at once.
	time.Sleep(3 * repostate.MissedGrace)
	if g.crawlsAgain() {
		time.Sleep(2 * sweepEvery)
	}
	for range 100 { // quicker than to check the file each second
		time.Sleep(10 * time.Second)
		if r.settled([]string{"relay"}) {
			break
		}
	}
	r.settle("relay")
	r.same()
	r.end()
}

func (g *scenario) crawlsAgain() bool {
	var c daemon.Config
	if g.story.configure != nil {
		g.story.configure(&c)
	}
	return c.SweepEvery > 0
}

// label says in the log which run this was, if it went wrong.
func (g *scenario) label(words ...any) {
	g.t.Helper()
	if g.t.Failed() {
		g.t.Fatal(strings.TrimSpace(fmt.Sprintln(append([]any{g.story.name + ":"}, words...)...)))
	}
}
