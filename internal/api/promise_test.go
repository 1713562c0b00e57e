package api

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// network is a model of the accounts in an index. Every change of one of them
// takes a tick.
type network struct {
	*index
	rnd      *rand.Rand
	tick     int
	accounts map[string]*account
}

// account is what is true of one repo, and since when.
type account struct {
	listed  int            // tick at which it became visible; 0 = it is not
	shaken  int            // tick at which its visibility last changed
	since   map[string]int // collections that it has, by the tick of their birth
	touched map[string]int // tick of the last birth or death of a collection
}

var everyCollection = []string{posts, likes, lists}

func (n *network) some(of []string) (picked []string) {
	for _, s := range of {
		if n.rnd.IntN(2) == 0 {
			picked = append(picked, s)
		}
	}
	return picked
}

// have sets what a fetch would find.
func (n *network) have(a *account, nsids []string) {
	for _, c := range everyCollection {
		_, has := a.since[c]
		if wants := slices.Contains(nsids, c); wants == has {
			continue
		} else if wants {
			a.since[c] = n.tick
		} else {
			delete(a.since, c)
		}
		a.touched[c] = n.tick
	}
}

// happen makes one random change in the index and in the model.
func (n *network) happen() {
	n.tick++
	did := didOf(n.rnd.IntN(40))
	a := n.accounts[did]
	nsids := n.some(everyCollection)
	switch roll := n.rnd.IntN(10); {
	case a == nil:
		a = &account{since: make(map[string]int), touched: make(map[string]int)}
		n.accounts[did] = a
		if n.rnd.IntN(4) == 0 { // known by its commits alone, not yet fetched
			n.bear(did, nsids...)
			n.have(a, nsids)
			return
		}
		n.arrive(did, a, nsids)
	case a.listed == 0 && roll < 5:
		n.arrive(did, a, nsids)
	case roll < 6:
		n.bear(did, nsids...)
		for c := range a.since {
			nsids = append(nsids, c)
		}
		n.have(a, nsids)
	case roll < 8:
		n.kill(did, nsids...)
		n.have(a, slices.DeleteFunc(slices.Clone(everyCollection), func(c string) bool {
			_, has := a.since[c]
			return !has || slices.Contains(nsids, c)
		}))
	case roll < 9:
		n.leave(did)
		if a.listed != 0 {
			a.listed, a.shaken = 0, n.tick
		}
	default: // fetched again while in service
		if a.listed != 0 {
			n.establish(did, nsids...)
			n.have(a, nsids)
		}
	}
}

func (n *network) arrive(did string, a *account, nsids []string) {
	n.reactivate(did, nsids...)
	n.have(a, nsids)
	a.listed, a.shaken = n.tick, n.tick
}

func (n *network) leave(did string) {
	if n.rnd.IntN(2) == 0 {
		n.deactivate(did)
		return
	}
	n.change(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
}

// member returns since when an account has been visible in an unbroken run with
// one of the collections; ok is false if it is not.
func (a *account) member(nsids []string) (since int, ok bool) {
	if a.listed == 0 {
		return 0, false
	}
	if len(nsids) == 0 {
		return a.listed, true
	}
	for _, c := range nsids {
		if born, has := a.since[c]; has && (!ok || max(born, a.listed) < since) {
			since, ok = max(born, a.listed), true
		}
	}
	return since, ok
}

// changed is the last tick at which the account gave a reason to come twice.
func (a *account) changed(nsids []string) int {
	last := a.shaken
	for _, c := range nsids {
		last = max(last, a.touched[c])
	}
	return last
}

// client walks one set of collections, page by page, for as long as it lives.
type client struct {
	nsids  []string
	limit  int
	cursor string
	start  int            // tick of its first page
	seen   map[string]int // by DID, the tick of the last page that had it
}

func (c *client) String() string {
	return fmt.Sprintf("walk of %q by %d from %d", c.nsids, c.limit, c.start)
}

func (n *network) client() *client {
	return &client{nsids: n.some(everyCollection), limit: 1 + n.rnd.IntN(6), start: n.tick, seen: make(map[string]int)}
}

// read takes a page and holds the service to its promise. end is true at an
// empty page.
func (c *client) read(n *network) (end bool) {
	n.Helper()
	page, next := n.page(c.cursor, c.limit, c.nsids...)
	for _, did := range page {
		a := n.accounts[did]
		if _, ok := a.member(c.nsids); !ok {
			n.Fatalf("%s: %s is no member", c, did)
		}
		if before, twice := c.seen[did]; twice && a.changed(c.nsids) <= before {
			n.Fatalf("%s: %s came at %d and again at %d; nothing has changed since %d", c, did, before, n.tick, a.changed(c.nsids))
		}
		c.seen[did] = n.tick
	}
	if len(page) > 0 {
		c.cursor = next
		return false
	}
	for did, a := range n.accounts {
		since, ok := a.member(c.nsids)
		last, came := c.seen[did]
		switch {
		case !ok:
		case !came:
			n.Fatalf("%s: at its end (%d) %s is missing, a member since %d", c, n.tick, did, since)
		case last < a.listed:
			n.Fatalf("%s: at its end (%d) %s came at %d, and not again after its return at %d", c, n.tick, did, last, a.listed)
		}
	}
	return true
}

func TestWalksMissNoLastingMemberAndRepeatNoneWithoutAReason(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			n := &network{index: newIndex(t), rnd: rand.New(rand.NewPCG(seed, 1)), accounts: make(map[string]*account)}
			clients := make([]*client, 6)
			for i := range clients {
				clients[i] = n.client()
			}
			ends := 0
			for range 300 {
				n.happen()
				i := n.rnd.IntN(len(clients))
				if !clients[i].read(n) {
					continue
				}
				ends++
				if n.rnd.IntN(3) == 0 { // the others go on with the cursor that they kept
					clients[i] = n.client()
				}
			}
			for _, c := range clients {
				for !c.read(n) {
					ends++
				}
			}
			if ends < 15 {
				t.Errorf("only %d walks came to an end", ends)
			}
		})
	}
}
