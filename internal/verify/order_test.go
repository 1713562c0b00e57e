package verify

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/test/msttest"
)

// deepKey makes a key of a collection whose depth is as given.
func deepKey(nsid, prefix string, depth int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("%s/%s%d", nsid, prefix, i); msttest.Depth(key) == depth {
			return key
		}
	}
}

// thinned is a commit of several ops, with all nodes of the trees before and after it.
type thinned struct {
	*account
	ops           []event.Op
	prev, data    atproto.Digest
	before, after msttest.Blocks
	sent          msttest.Blocks  // what the reference PDS sends of after
	was, is       map[string]bool // collections
}

// thin makes the commit that ops, which change the account, lead to.
func (a *account) thin(ops func() []event.Op) *thinned {
	c := &thinned{account: a, was: collectionsOf(a.content)}
	c.prev, c.before = msttest.Build(a.content)
	c.ops = ops()
	c.data, c.after = msttest.Build(a.content)
	c.is = collectionsOf(a.content)
	c.sent = maps.Clone(c.after)
	for d := range c.after {
		if c.before[d] != nil && !c.shows(d, func(view *mst.View, op event.Op) bool {
			left, right := view.Neighbours(op.Path)
			return left.Kind == mst.BesideGap || right.Kind == mst.BesideGap
		}) {
			delete(c.sent, d)
		}
	}
	return c
}

// shows reports whether without a node of the new tree something is hidden of an op.
func (c *thinned) shows(d atproto.Digest, hidden func(*mst.View, event.Op) bool) bool {
	_, view, err := mst.Load(c.data, without(c.after, d))
	must(c.t, err)
	return slices.ContainsFunc(c.ops, func(op event.Op) bool { return hidden(view, op) })
}

// randomThin makes a tree of up to 150 keys on up to six levels, and changes some that
// stand close together, so that their ops meet in the same nodes.
func randomThin(t testing.TB, rng *rand.Rand) *thinned {
	a := newAccount(t)
	a.key = nil
	universe := map[string]bool{}
	for range 10 + rng.IntN(290) {
		nsid := fmt.Sprintf("com.ex.c%d", rng.IntN(4))
		depth := 0
		for depth < 3 && rng.IntN(2) == 0 {
			depth++
		}
		universe[deepKey(nsid, fmt.Sprintf("%03d.", rng.IntN(1000)), depth)] = true
	}
	keys := slices.Sorted(maps.Keys(universe))
	for _, key := range keys {
		if rng.IntN(2) == 0 {
			a.create(key)
		}
	}
	n := min(len(keys), 2+rng.IntN(11))
	window := min(len(keys), n*(1+rng.IntN(3)))
	from := rng.IntN(len(keys) - window + 1)
	return a.thin(func() (ops []event.Op) {
		for _, i := range rng.Perm(window)[:n] {
			switch key := keys[from+i]; {
			case a.content[key] == nil:
				ops = append(ops, a.create(key))
			case rng.IntN(4) == 0:
				ops = append(ops, a.update(key))
			default:
				ops = append(ops, a.delete(key))
			}
		}
		return ops
	})
}

func without(nodes msttest.Blocks, gone atproto.Digest) msttest.Blocks {
	fewer := maps.Clone(nodes)
	delete(fewer, gone)
	return fewer
}

// undone returns an error where the ops, in this order, need a node that is not there.
func (c *thinned) undone(ops []event.Op, nodes msttest.Blocks) error {
	tree, _, err := mst.Load(c.data, nodes)
	must(c.t, err)
	if err := new(prover).undo(ops, tree); err != nil {
		if !errors.Is(err, mst.ErrHidden) {
			c.t.Fatal(err)
		}
		return err
	}
	if tree.Root() != c.prev && tree.RootHidden() {
		return errors.New("the root before is behind a node without keys")
	}
	if tree.Root() != c.prev {
		c.t.Fatalf("undone to %s instead of %s", tree.Root(), c.prev)
	}
	return nil
}

// needs returns the nodes without which the ops cannot be undone in this order. They
// are enough, because the others are not looked at.
func (c *thinned) needs(ops []event.Op) msttest.Blocks {
	c.t.Helper()
	need := maps.Clone(c.sent)
	maps.DeleteFunc(need, func(d atproto.Digest, _ []byte) bool { return c.undone(ops, without(c.sent, d)) == nil })
	must(c.t, c.undone(ops, need))
	return need
}

// least returns the nodes of the new tree without which nobody can tell the tree
// before: those that it has not, and those on the way to a key that was deleted.
func (c *thinned) least() msttest.Blocks {
	least := maps.Clone(c.after)
	maps.DeleteFunc(least, func(d atproto.Digest, _ []byte) bool {
		return c.before[d] != nil && !c.shows(d, func(view *mst.View, op event.Op) bool {
			_, presence := view.Get(op.Path)
			return op.Action == event.Delete && presence == mst.Unknown
		})
	})
	return least
}

// commitWith makes the message with some nodes of the tree.
func (c *thinned) commitWith(nodes msttest.Blocks, ops []event.Op) *event.Commit {
	var sent [][]byte
	for _, d := range sortedDigests(nodes) {
		sent = append(sent, nodes[d])
	}
	return c.commitOf(&c.prev, c.data, sent, ops)
}

// classOf tells deletes, updates and creates apart, in this order.
func classOf(op event.Op) int {
	return slices.Index([]event.Action{event.Delete, event.Update, event.Create}, op.Action)
}

// orders are those in which others undo ops, and some that nobody may use.
var orders = []struct {
	name    string
	compare func(a, b event.Op) int
}{
	{"as listed", func(_, _ event.Op) int { return 0 }},
	{"lowest path first", func(a, b event.Op) int { return strings.Compare(a.Path, b.Path) }},
	{"highest path first", func(a, b event.Op) int { return strings.Compare(b.Path, a.Path) }},
	{"creates first", func(a, b event.Op) int {
		return cmp.Or(cmp.Compare(classOf(b), classOf(a)), strings.Compare(a.Path, b.Path))
	}},
	{"deletes first, lowest path first", func(a, b event.Op) int {
		return cmp.Or(cmp.Compare(classOf(a), classOf(b)), strings.Compare(a.Path, b.Path))
	}},
	{"deletes first, highest path first", func(a, b event.Op) int {
		return cmp.Or(cmp.Compare(classOf(a), classOf(b)), strings.Compare(b.Path, a.Path))
	}},
	{"top of the tree first", func(a, b event.Op) int { return cmp.Compare(msttest.Depth(b.Path), msttest.Depth(a.Path)) }},
	{"bottom of the tree first", func(a, b event.Op) int { return cmp.Compare(msttest.Depth(a.Path), msttest.Depth(b.Path)) }},
}

func (c *thinned) ordered(compare func(a, b event.Op) int) []event.Op {
	ops := slices.Clone(c.ops)
	slices.SortStableFunc(ops, compare)
	return ops
}

// TestNoOrderOfUndoingNeedsFewerNodes cuts commits down to what one order of undoing
// needs, for every order: ours accepts them all, because it needs the least that
// anybody can. With -v it prints what each order needs, and how many of the CARs that
// are cut for another order each refuses.
func TestNoOrderOfUndoingNeedsFewerNodes(t *testing.T) {
	const commits = 150
	rng := rand.New(rand.NewPCG(4, 3))
	sent, least := 0, 0
	needed, refused := make([]int, len(orders)), make([]int, len(orders))
	for range commits {
		c := randomThin(t, rng)
		net, err := netOps(c.ops)
		must(t, err)
		ours := c.needs(net)
		if want := c.least(); !maps.EqualFunc(ours, want, slices.Equal) {
			t.Fatalf("%d nodes are needed, %d would do, of %d ops", len(ours), len(want), len(net))
		}
		sent, least = sent+len(c.sent), least+len(ours)
		for i, order := range orders {
			ops := c.ordered(order.compare)
			need := c.needs(ops)
			needed[i] += len(need)
			if c.undone(ops, ours) != nil {
				refused[i]++
			}
			must(t, c.undone(net, need))
		}
		for range 10 {
			ops := slices.Clone(c.ops)
			rng.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
			must(t, c.undone(net, c.needs(ops)))
		}
		c.checkThinned(rng, ours)
	}
	t.Logf("%-34s %6d nodes, of which %d are needed", "the reference sends", sent, least)
	for i, order := range orders {
		t.Logf("%-34s %6d needed, refuses %3d of %d commits with the least nodes", order.name, needed[i], refused[i], commits)
		if refused[i] == 0 {
			t.Errorf("%s: no commit tells it from ours", order.name)
		}
	}
}

// checkThinned proves the commit with just the nodes that are needed, and refuses it
// with fewer, and where an op is wrong.
func (c *thinned) checkThinned(rng *rand.Rand, nodes msttest.Blocks) {
	c.t.Helper()
	p, err := Commit(c.commitWith(nodes, c.ops), anySignature{}, fixtureNow)
	must(c.t, err)
	if p.Prev != c.prev {
		c.t.Fatalf("undone to %s, want %s", p.Prev, c.prev)
	}
	checkTruth(c.t, p, c.ops, c.was, c.is)
	for d := range nodes {
		if _, err := Commit(c.commitWith(without(nodes, d), c.ops), anySignature{}, fixtureNow); reasonOf(err) != refusal.InversionBlocked {
			c.t.Fatalf("with a node less: %v", err)
		}
	}
	at := rng.IntN(len(c.ops))
	if _, err := Commit(c.commitWith(nodes, slices.Delete(slices.Clone(c.ops), at, at+1)), anySignature{}, fixtureNow); err == nil {
		c.t.Fatal("accepted without an op")
	}
	if c.ops[at].Prev != nil {
		wrong := slices.Clone(c.ops)
		wrong[at].Prev = c.record()
		if _, err := Commit(c.commitWith(nodes, wrong), anySignature{}, fixtureNow); err == nil {
			c.t.Fatal("accepted with another prev")
		}
	}
}

// TestAHiddenNeighbourIsNotMergedWithWhatIsNew leaves out an old node beside the keys
// that a commit writes. It stays as it is in the tree before, but in another order of
// undoing it would have to be merged.
func TestAHiddenNeighbourIsNotMergedWithWhatIsNew(t *testing.T) {
	left, right := deepKey("com.ex.b", "old", 1), deepKey("com.ex.d", "old", 1)
	top, gone := deepKey("com.ex.c", "top", 2), deepKey("com.ex.e", "gone", 2)
	low, high := deepKey("com.ex.a", "low", 0), deepKey("com.ex.e", "high", 0)
	for _, tc := range []struct {
		name   string
		before []string
		ops    func(a *account) []event.Op
		other  string // an order that the hidden node stops
		born   string
	}{
		{"a new key above, a new one after it below", []string{left},
			func(a *account) []event.Op { return []event.Op{a.create(top), a.create(high)} },
			"deletes first, lowest path first", "com.ex.c com.ex.e"},
		{"a new key above, a new one before it below", []string{right},
			func(a *account) []event.Op { return []event.Op{a.create(top), a.create(low)} },
			"deletes first, highest path first", "com.ex.a com.ex.c"},
		{"a deleted key stood above", []string{left, gone},
			func(a *account) []event.Op { return []event.Op{a.create(top), a.delete(gone)} },
			"creates first", "com.ex.c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t).fill(tc.before...)
			c := a.thin(func() []event.Op { return tc.ops(a) })
			hidden, _ := msttest.Build(map[string][]byte{tc.before[0]: a.content[tc.before[0]]})
			if c.after[hidden] == nil {
				t.Fatal("the old key has no node of its own")
			}
			nodes := without(c.after, hidden)
			p := a.prove(c.commitWith(nodes, c.ops))
			born := slices.Sorted(slices.Values(append(p.Born, p.BirthUnknown...)))
			if p.Prev != c.prev || strings.Join(born, " ") != tc.born {
				t.Errorf("%+v", p)
			}
			for _, order := range orders {
				if order.name == tc.other && c.undone(c.ordered(order.compare), nodes) == nil {
					t.Errorf("%s does it, too", order.name)
				}
			}
		})
	}
}

// FuzzOrder hides nodes of a commit of up to 24 ops. It can be undone exactly if the
// nodes are there that nobody can do without, and so if any other order can do it.
func FuzzOrder(f *testing.F) {
	var keys []string
	for i := range 24 {
		keys = append(keys, deepKey(fmt.Sprintf("com.ex.c%d", i/6), fmt.Sprintf("%02d.", i), []int{0, 2, 0, 1, 0, 3, 1, 0, 0, 2, 1, 0}[i%12]))
	}
	f.Add(uint32(0x00f0f0), uint32(0x0ff0ff), uint32(0), uint32(0), uint64(1))
	f.Add(uint32(0xffffff), uint32(0x00ffff), uint32(0xf00000), uint32(0x2), uint64(2))
	f.Add(uint32(0x1000049), uint32(0x10169), uint32(0xf00026), uint32(0x98), uint64(221)) // the new root is hidden and has no keys
	f.Add(uint32(0x555555), uint32(0xaaaaaa), uint32(0), uint32(0x5), uint64(3))
	f.Fuzz(func(t *testing.T, before, after, updated, hide uint32, order uint64) {
		a := &account{t: t, content: map[string][]byte{}, records: map[string][]byte{}}
		for i, key := range keys {
			if before>>i&1 == 1 {
				a.create(key)
			}
		}
		c := a.thin(func() (ops []event.Op) {
			for i, key := range keys {
				switch is := after>>i&1 == 1; {
				case before>>i&1 == 0 && is:
					ops = append(ops, a.create(key))
				case before>>i&1 == 1 && !is:
					ops = append(ops, a.delete(key))
				case is && updated>>i&1 == 1:
					ops = append(ops, a.update(key))
				}
			}
			return ops
		})
		least, nodes, enough := c.least(), maps.Clone(c.after), true
		for i, d := range sortedDigests(c.after) {
			if hide>>(i%32)&1 == 1 {
				delete(nodes, d)
				enough = enough && least[d] == nil
			}
		}
		net, err := netOps(c.ops)
		must(t, err)
		if err := c.undone(net, nodes); (err == nil) != enough {
			t.Fatalf("%v; the nodes are enough: %v", err, enough)
		}
		rng := rand.New(rand.NewPCG(order, 0))
		rng.Shuffle(len(net), func(i, j int) { net[i], net[j] = net[j], net[i] })
		if c.undone(net, nodes) == nil && !enough {
			t.Fatal("another order needs less")
		}
	})
}
