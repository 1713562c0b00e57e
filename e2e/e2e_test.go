//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// The neighbours: each would be taken for another by a careless comparison of
// the keys of a tree, where '.' and '-' sort before '/' and letters after it.
const (
	thing       = "com.example.thing"
	thingX      = "com.example.thing.x"
	thingy      = "com.example.thingy"
	thingDash   = "com.example.thing-x.y"
	ghost       = "com.example.ghost"
	replacement = "com.example.replacement"
)

const (
	seedAccounts = 60
	// crashAccounts is enough for a kill and a restart while they are made.
	crashAccounts = 48
	crashes       = 3
)

func TestIndexEqualsTruth(t *testing.T) {
	binary := build(t)
	net := startNetwork(t)
	l := &lab{net: net, model: map[string][]string{}, gone: map[string]bool{}, began: time.Now()}

	l.services = append(l.services, newService(t, "early", binary, net))
	net.startSeed(t, seedAccounts, 1)
	seeded := net.waitSeed(t)
	l.services = append(l.services, newService(t, "late", binary, net))
	l.settle(t, "seeded")

	c := l.births(t, seeded)
	l.settle(t, "births")
	l.deaths(t, c)
	l.settle(t, "deaths")
	l.hide(t, c)
	l.settle(t, "hidden accounts, a rebirth")
	back := l.show(t, c)
	l.settle(t, "accounts that came back", back...)

	for i := range crashes {
		l.crash(t, i)
		l.settle(t, "killed while accounts were made")
	}
	for _, s := range l.services {
		want := net.truth(t)
		s.clients.wake(t, s.index, want)
		requireFileEquals(t, s.db, want)
		s.requireSound(t)
	}
	for _, s := range l.services {
		s.stop(t)
	}
}

// cast is the accounts that the steps change by hand.
type cast struct {
	full, half, lonely, empty, swap         string
	leaves, banned, deleted, renamed, twice string
}

// births makes accounts with neighbouring collections, and new collections in
// accounts that the index knows.
func (l *lab) births(t *testing.T, seeded []account) cast {
	c := cast{
		full:   l.net.account(t, "holds-full", 0),
		half:   l.net.account(t, "holds-half", 1),
		lonely: l.net.account(t, "holds-lonely", 0),
		empty:  l.net.account(t, "holds-empty", 1),
		swap:   l.net.account(t, "holds-swap", 0),
		leaves: seeded[0].DID, banned: seeded[1].DID, deleted: seeded[2].DID, renamed: seeded[3].DID, twice: seeded[4].DID,
	}
	l.net.commit(t, c.full, create(thingDash, "1", "2"), create(thing, "1", "2"), create(thingX, "1", "2"), create(thingy, "1", "2"))
	l.net.record(t, c.half, thingy, "1")
	l.net.record(t, c.half, thing, "1")
	l.net.record(t, c.half, thingDash, "1")
	l.net.commit(t, c.lonely, create(thingX, "1", "2", "3"))
	l.net.commit(t, c.swap, create(thing, "1"), create(ghost, "1"), remove(ghost, "1"))
	l.expect(c.full, thing, thingX, thingy, thingDash)
	l.expect(c.half, thing, thingy, thingDash)
	l.expect(c.lonely, thingX)
	l.expect(c.empty)
	l.expect(c.swap, thing)
	for i, did := range []string{c.leaves, c.banned, c.deleted, c.renamed, c.twice} {
		l.net.record(t, did, thing, "1")
		l.expect(did, append(seeded[i].Collections, thing)...)
	}
	return c
}

// deaths empties collections: between neighbours that stay, and neighbours
// around one that stays; with one commit, with several, with one that also
// creates; the last one of a repo.
func (l *lab) deaths(t *testing.T, c cast) {
	l.net.commit(t, c.full, remove(thing, "1", "2"))
	l.net.erase(t, c.half, thingDash, "1")
	l.net.erase(t, c.half, thingy, "1")
	l.net.commit(t, c.lonely, remove(thingX, "2"))
	l.net.commit(t, c.lonely, remove(thingX, "1", "3"))
	l.net.commit(t, c.swap, create(replacement, "1"), remove(thing, "1"), create(ghost, "1", "2"), remove(ghost, "1", "2"))
	l.expect(c.full, thingX, thingy, thingDash)
	l.expect(c.half, thing)
	l.expect(c.lonely)
	l.expect(c.swap, replacement)
}

// hide takes accounts out of service in every way, changes a handle, which must
// hide nothing, and lets a collection be born again.
func (l *lab) hide(t *testing.T, c cast) {
	l.net.set(t, "deactivate", c.leaves)
	l.net.set(t, "takedown", c.banned)
	l.net.set(t, "deleteAccount", c.deleted)
	l.net.set(t, "deactivate", c.twice)
	l.net.set(t, "takedown", c.twice)
	l.net.call(t, "handle", map[string]string{"did": c.renamed, "handle": "renamed-one"}, nil)
	l.net.commit(t, c.full, create(thing, "3"), remove(thingX, "1", "2"))
	l.expectGone(c.leaves, c.banned, c.deleted, c.twice)
	l.expect(c.full, thing, thingy, thingDash)
}

// show brings two accounts back, one of which writes at once. Of the account
// that is hidden twice one reason ends, and it stays hidden. It returns the
// accounts that are back.
func (l *lab) show(t *testing.T, c cast) []string {
	l.net.set(t, "activate", c.leaves)
	l.net.record(t, c.leaves, replacement, "1")
	l.net.set(t, "untakedown", c.banned)
	l.net.set(t, "untakedown", c.twice)
	l.net.record(t, c.renamed, replacement, "1")
	l.expect(c.leaves, append(l.model[c.leaves], replacement)...)
	l.expect(c.banned, l.model[c.banned]...)
	l.expect(c.renamed, append(l.model[c.renamed], replacement)...)
	return []string{c.leaves, c.banned}
}

// crash kills every service while accounts are being made, each time at another
// moment, and starts it again on the same file while more of them are made. In
// the last round it is killed once more as soon as it listens.
func (l *lab) crash(t *testing.T, round int) {
	l.net.startSeed(t, crashAccounts, 100+round)
	for i, s := range l.services {
		l.net.waitCommits(t, 10+15*round+30*i)
		s.clients.interrupt(t, s.index)
		s.proc.kill()
		s.requireSound(t)
		l.net.waitCommits(t, 20+15*round+30*i)
		s.start(t)
		if round == crashes-1 {
			s.proc.kill()
			s.start(t)
		}
		l.net.requireSeeding(t)
	}
	l.net.waitSeed(t)
}
