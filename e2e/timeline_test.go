//go:build e2e

package e2e

import (
	"database/sql"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// window is how far back the PDSes replay here.
	window = 8 * time.Second
	// timelineWithin is how long an index may take to find what was lost: a listed rev
	// counts as a lost commit only after half a minute.
	timelineWithin = 90 * time.Second
	// outageWithin is the same after an outage: a host that did not answer twice is
	// left alone for up to two minutes.
	outageWithin = 150 * time.Second

	momentAccounts = 40
)

// methods are the ways to establish a repo, which lead to one index. Most crawl when
// they hear of a loss only; a crawl every minute is the most that serve offers, and
// must do no harm.
var methods = []struct {
	name  string
	flags []string
}{
	{"auto", nil},
	{"describe", []string{"--resync-method", "describe"}},
	{"probe", []string{"--resync-method", "probe"}},
	{"repo", []string{"--resync-method", "repo"}},
	{"often crawled", []string{"--sweep-every", "1m"}},
}

func TestHostileTimeline(t *testing.T) {
	m := startTimeline(t)
	defer m.dismiss()

	seeded := m.outage(t)
	m.settleWithin(t, outageWithin, "a PDS was stopped during half of the seeding")
	c := m.choose(seeded)
	m.prepare(t, c)
	m.settle(t, "hidden accounts")
	m.lose(t, c)
	m.settle(t, "events were lost")
	m.requireLoss(t)
	m.moveDuringFetch(t, &c)
	m.settle(t, "accounts moved during a fetch")
	m.bury(t, c)
	m.startLate(t)
	m.settle(t, "an index that was started after it all")
	m.comeBack(t, c)
	m.settle(t, "accounts that came back, first writes after a move")
	m.end(t)
}

// timeline is the network, and the services of each method, of which the late ones
// are started near the end.
type timeline struct {
	scenario
	net    *network
	binary string
	flags  map[string][]string

	mu       sync.Mutex // the members start their services at once
	services map[string][]*service
	lab      lab // the model
}

func startTimeline(t *testing.T) *timeline {
	m := &timeline{
		binary: build(t), net: startNetwork(t, "--backfill-ms", "8000"),
		flags: map[string][]string{}, services: map[string][]*service{},
		lab: lab{model: map[string][]string{}, gone: map[string]bool{}, began: time.Now()},
	}
	for _, method := range methods {
		m.flags[method.name] = append([]string{"--crawl-qps", "50"}, method.flags...)
		m.enlist(t, method.name)
	}
	if len(m.members) == 0 {
		t.Skip("-run names no method")
	}
	m.startServices(t, "early")
	return m
}

func (m *timeline) startServices(t *testing.T, when string) {
	m.all(t, func(t *testing.T, who *member) {
		s := newService(t, when+" "+who.name, m.binary, m.net, m.flags[who.name]...)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.services[who.name] = append(m.services[who.name], s)
	})
}

func (m *timeline) startLate(t *testing.T) { m.startServices(t, "late") }

// each does something with every service of the members that have not failed.
func (m *timeline) each(t *testing.T, do func(t *testing.T, s *service)) {
	m.all(t, func(t *testing.T, who *member) {
		for _, s := range m.services[who.name] {
			do(t, s)
		}
	})
}

// settle holds every index to the truth of the network, which is what the test
// meant to make.
func (m *timeline) settle(t *testing.T, step string) {
	t.Helper()
	m.settleWithin(t, timelineWithin, step)
}

func (m *timeline) settleWithin(t *testing.T, within time.Duration, step string) {
	t.Helper()
	want := m.net.truth(t)
	m.lab.requireModel(t, want)
	m.all(t, func(t *testing.T, who *member) {
		var indexes []index
		for _, s := range m.services[who.name] {
			if s.proc.hasEnded() {
				t.Fatalf("%s ended by itself: %v", s.name, s.proc.err)
			}
			indexes = append(indexes, s.index)
		}
		requireEqualWithin(t, within, want, indexes...)
		for _, s := range m.services[who.name] {
			s.clients.requireNoneMissed(t, s.index, want)
		}
		t.Logf("%5.1fs %s", time.Since(m.lab.began).Seconds(), step)
	})
	t.Logf("%5.1fs %s: %d public repos, %d memberships", time.Since(m.lab.began).Seconds(), step, len(want.members()), want.memberships())
}

// outage seeds the network. One PDS is stopped after a quarter of it and started
// again before the last.
func (m *timeline) outage(t *testing.T) []account {
	const commits = 4 * momentAccounts // at least
	m.net.startSeed(t, momentAccounts, 5)
	m.net.waitCommits(t, commits/4)
	m.net.at(t, "stop", 1)
	m.net.waitCommits(t, 5*commits/8)
	m.net.requireSeeding(t)
	m.net.at(t, "start", 1)
	return m.net.waitSeed(t)
}

// figures are the accounts whose timelines are shown. Those of the first PDS have an
// even place among the seeded.
type figures struct {
	quiet, busy, emptied   string // write nothing, something, nothing but deletions
	leaves, banned, sleeps string // lost: deactivated, taken down, activated
	moves, movesAndWrites  string // lost: a move, a move and the first write after it
	asked, answered        string // moved during a fetch
	buried                 string // its DID is tombstoned
	deleted, twice         string
	empty                  string
	collections            map[string][]string // seeded
}

func (m *timeline) choose(seeded []account) figures {
	c := figures{collections: map[string][]string{}}
	for _, a := range seeded {
		c.collections[a.DID] = a.Collections
	}
	places := []*string{
		&c.quiet, &c.busy, &c.emptied, &c.leaves, &c.banned, &c.sleeps, &c.moves, &c.empty, &c.movesAndWrites, &c.buried, &c.deleted, &c.twice,
	}
	for i, place := range places {
		*place = seeded[i].DID
	}
	return c
}

// has notes what a seeded account holds beside what it was seeded with.
func (m *timeline) has(c figures, did string, more ...string) {
	all := append(slices.Clone(c.collections[did]), more...)
	slices.Sort(all)
	m.lab.expect(did, slices.Compact(all)...)
}

// prepare gives some accounts a collection more, and hides others.
func (m *timeline) prepare(t *testing.T, c figures) {
	for _, did := range []string{c.quiet, c.emptied, c.moves, c.movesAndWrites} {
		m.net.commit(t, did, create(thing, "1", "2"))
		m.has(c, did, thing)
	}
	m.net.set(t, "deactivate", c.sleeps)
	m.net.set(t, "takedown", c.twice)
	m.net.set(t, "deactivate", c.empty)
	m.lab.expectGone(c.sleeps, c.twice, c.empty)
}

// lose kills every service, lets things happen, and starts the services again when
// no PDS replays those any more.
func (m *timeline) lose(t *testing.T, c figures) {
	m.each(t, func(t *testing.T, s *service) {
		s.proc.kill()
		s.requireSound(t)
	})
	n := m.net
	n.record(t, c.busy, thingX, "1")
	m.has(c, c.busy, thingX)
	n.commit(t, c.emptied, remove(thing, "1"))
	n.commit(t, c.emptied, remove(thing, "2"), create(thingy, "1"))
	m.has(c, c.emptied, thingy)
	n.set(t, "deactivate", c.leaves)
	n.set(t, "takedown", c.banned)
	m.lab.expectGone(c.leaves, c.banned)
	n.set(t, "activate", c.sleeps)
	n.record(t, c.sleeps, replacement, "1")
	m.has(c, c.sleeps, replacement)
	n.set(t, "untakedown", c.twice)
	n.set(t, "deactivate", c.twice)
	n.migrate(t, c.moves, 1)
	n.migrate(t, c.movesAndWrites, 1)
	n.commit(t, c.movesAndWrites, remove(thing, "1", "2"), create(thingDash, "1"))
	m.has(c, c.movesAndWrites, thingDash)
	for pds := range n.PDS {
		did := n.account(t, []string{"newcomer-a", "newcomer-b"}[pds], pds)
		n.commit(t, did, create(thing, "1"), create(ghost, "1"))
		n.commit(t, did, remove(ghost, "1"))
		m.lab.expect(did, thing)
	}
	n.waitForgotten(t, window)
	m.each(t, func(t *testing.T, s *service) { s.start(t) })
}

// requireLoss makes sure that the services were informed of lost events.
func (m *timeline) requireLoss(t *testing.T) {
	m.each(t, func(t *testing.T, s *service) {
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: s.db, RawQuery: "mode=ro"}).String())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var told int
		if err := db.QueryRow("SELECT count FROM refusal WHERE reason = 'sequence-gap'").Scan(&told); err != nil || told < 2 {
			t.Errorf("%s was told %d times that events are lost: %v", s.name, told, err)
		}
	})
}

// moveDuringFetch moves accounts to the other PDS while every service fetches them
// from the first: one before the PDS has read the repo, which then refuses it, and
// one when the answer is on its way. The first writes at once, the second never.
func (m *timeline) moveDuringFetch(t *testing.T, c *figures) {
	c.asked = m.moveHeld(t, question, "moves-asked", create(thingX, "9"))
	m.lab.expect(c.asked, thing, thingX)
	c.answered = m.moveHeld(t, answer, "moves-answered")
	m.lab.expect(c.answered, thing)
}

func (m *timeline) moveHeld(t *testing.T, side, handle string, after ...[]write) string {
	m.net.hold(t, 0, side)
	did := m.net.account(t, handle, 0)
	m.net.commit(t, did, create(thing, "1", "2"))
	m.net.waitHeld(t, 0, did, m.standing())
	m.net.migrate(t, did, 1)
	if len(after) > 0 {
		m.net.commit(t, did, after...)
	}
	m.net.at(t, "release", 0)
	return did
}

// bury tombstones a DID, whose PDS goes on serving it, and deletes an account.
func (m *timeline) bury(t *testing.T, c figures) {
	m.net.set(t, "tombstone", c.buried)
	m.net.record(t, c.buried, thingX, "1")
	m.net.set(t, "deleteAccount", c.deleted)
	m.lab.expectGone(c.deleted)
}

// comeBack returns hidden accounts, and lets those that moved write.
func (m *timeline) comeBack(t *testing.T, c figures) {
	n := m.net
	for _, did := range []string{c.leaves, c.twice, c.empty} {
		n.set(t, "activate", did)
		m.has(c, did)
	}
	n.record(t, c.empty, replacement, "1")
	m.has(c, c.empty, replacement)
	n.set(t, "untakedown", c.banned)
	m.has(c, c.banned)
	n.commit(t, c.moves, remove(thing, "1", "2"), create(thingDash, "1"))
	m.has(c, c.moves, thingDash)
	n.record(t, c.answered, thingDash, "1")
	m.lab.expect(c.answered, thing, thingDash)
}

// end holds the files to the truth and to their own rules.
func (m *timeline) end(t *testing.T) {
	want := m.net.truth(t)
	m.each(t, func(t *testing.T, s *service) {
		requireFileEquals(t, s.db, want)
		s.requireSound(t)
		s.stop(t)
	})
}
