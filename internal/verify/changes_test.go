package verify

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/test/msttest"
)

// TestASignatureIsLookedAtWhereTheSetChanges proves commits under a key that is
// not the account's: only those that leave the set as it was pass.
func TestASignatureIsLookedAtWhereTheSetChanges(t *testing.T) {
	other := newAccount(t).public
	for name, tc := range map[string]struct {
		ops   func(*account) []event.Op
		spare bool
	}{
		"an update":                      {func(a *account) []event.Op { return []event.Op{a.update("com.ex.a/1")} }, true},
		"one record more":                {func(a *account) []event.Op { return []event.Op{a.create("com.ex.a/2")} }, true},
		"one of two records less":        {func(a *account) []event.Op { return []event.Op{a.delete("com.ex.b/1")} }, true},
		"the only record replaced":       {func(a *account) []event.Op { return []event.Op{a.delete("com.ex.a/1"), a.create("com.ex.a/9")} }, true},
		"no op":                          {func(*account) []event.Op { return nil }, true},
		"a birth":                        {func(a *account) []event.Op { return []event.Op{a.create("com.ex.c/1")} }, false},
		"a death":                        {func(a *account) []event.Op { return []event.Op{a.delete("com.ex.a/1")} }, false},
		"a birth beside an update":       {func(a *account) []event.Op { return []event.Op{a.create("com.ex.ab/1"), a.update("com.ex.a/1")} }, false},
		"a birth and a death, same size": {func(a *account) []event.Op { return []event.Op{a.create("com.ex.c/1"), a.delete("com.ex.a/1")} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1", "com.ex.b/2")
			prev := a.data()
			c := a.commit(&prev, tc.ops(a)...)
			p, err := Changes(c, other, fixtureNow)
			if tc.spare && (err != nil || !p.Unchecked || p.Prev != prev || p.Data != a.data()) {
				t.Errorf("under another key: %v, %+v", err, p)
			}
			if !tc.spare && (reasonOf(err) != refusal.BadSignature || p.DID != "") {
				t.Errorf("under another key: %v, %+v", err, p)
			}
			if p, err := Changes(c, a.public, fixtureNow); err != nil || p.Unchecked != tc.spare {
				t.Errorf("under its own key: %v, unchecked %t", err, p.Unchecked)
			}
		})
	}
}

// TestARefusalAfterTheSignatureNeedsTheSignature: such a refusal takes the repo
// out of service, which only the account itself may cause.
func TestARefusalAfterTheSignatureNeedsTheSignature(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1")
	prev := a.data()
	c := a.commit(&prev, a.update("com.ex.a/1"))
	c.PrevData = digestPtr(atproto.EmptyTree)
	if p, err := Changes(c, a.public, fixtureNow); reasonOf(err) != refusal.InversionFailed || p.Commit != c.CID {
		t.Errorf("under its own key: %v", err)
	}
	if p, err := Changes(c, newAccount(t).public, fixtureNow); reasonOf(err) != refusal.BadSignature || p.DID != "" {
		t.Errorf("under another key: %v", err)
	}
}

// TestNoUncheckedCommitChangesTheSet proves random commits, whole and thinned,
// under a key that is not theirs.
func TestNoUncheckedCommitChangesTheSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	other := newAccount(t).public
	var spared, looked int
	for range 1000 {
		a := newAccount(t)
		for range 1 + rng.IntN(150) {
			a.create(randomPath(rng))
		}
		was, prev := collectionsOf(a.content), a.data()
		ops := a.randomOps(rng, 1+rng.IntN(3))
		c := a.commitOf(&prev, a.data(), a.thinned(rng, prev), ops)
		full, fullErr := Commit(c, a.public, fixtureNow)
		own, ownErr := Changes(c, a.public, fixtureNow)
		if reasonOf(fullErr) != reasonOf(ownErr) || !slices.Equal(full.Present, own.Present) || !slices.Equal(full.Died, own.Died) || full.Prev != own.Prev {
			t.Fatalf("%+v, %v; with every signature checked %+v, %v", own, ownErr, full, fullErr)
		}
		p, err := Changes(c, other, fixtureNow)
		switch {
		case err == nil:
			spared++
			if !p.Unchecked || !maps.Equal(was, collectionsOf(a.content)) {
				t.Fatalf("unchecked %t, and the set changed", p.Unchecked)
			}
		case reasonOf(err) != refusal.BadSignature:
			t.Fatal(err)
		default:
			looked++
		}
	}
	if spared < 100 || looked < 100 {
		t.Errorf("%d spared, %d looked at: too few", spared, looked)
	}
}

// thinned gives the nodes of the present tree, but for some that the tree before
// had too.
func (a *account) thinned(rng *rand.Rand, before atproto.Digest) (sent [][]byte) {
	root, nodes := msttest.Build(a.content)
	for _, d := range sortedDigests(nodes) {
		if d == root || d == before || rng.IntN(4) > 0 {
			sent = append(sent, nodes[d])
		}
	}
	return sent
}
