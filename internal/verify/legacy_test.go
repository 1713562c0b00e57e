package verify

import (
	"math/rand/v2"
	"slices"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/test/msttest"
)

// legacy proves a commit of Sync 1.0, which must be refused as such.
func (a *account) legacy(c *event.Commit) Proof {
	a.t.Helper()
	p, err := Commit(c, a.public, fixtureNow)
	if reasonOf(err) != refusal.NoPrevData {
		a.t.Fatalf("%v, want %s", err, refusal.NoPrevData)
	}
	return p
}

func TestACommitOfSyncOneZeroProvesWhatItsTreeShows(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1", "com.ex.b/2")
	prev := a.data()

	p := a.legacy(a.commit(nil, a.create("com.ex.c/1"), a.create("com.ex.b/3")))
	wantLists(t, p, "com.ex.b com.ex.c", "", "com.ex.c")
	if !p.Legacy || !p.Inverted || p.Prev != prev || p.Sync11 {
		t.Errorf("creates can be undone without prevData: %+v", p)
	}

	died, alive := a.delete("com.ex.a/1"), a.delete("com.ex.b/1")
	died.Prev, alive.Prev = nil, nil
	p = a.legacy(a.commit(nil, died, alive))
	wantLists(t, p, "", "com.ex.a", "")
	if !p.Legacy || p.Inverted || p.Unsure != nil || p.Since == nil {
		t.Errorf("deletes without prev: %+v", p)
	}
}

// TestOneOpWithoutPrevIsADowngrade: the message names prevData, so its host knows
// Sync 1.1, and leaving out the prev of one op must not loosen the proof.
func TestOneOpWithoutPrevIsADowngrade(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1")
	prev := a.data()
	op := a.delete("com.ex.a/1")
	op.Prev = nil
	p := a.legacy(a.commit(&prev, op, a.create("com.ex.a/2")))
	if p.Legacy || p.Present != nil || p.Died != nil {
		t.Errorf("%+v", p)
	}
}

// TestACreateThatIsDeletedAgainIsNoDowngrade: real servers send that delete
// without prev.
func TestACreateThatIsDeletedAgainIsNoDowngrade(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1")
	prev := a.data()
	create := event.Op{Action: event.Create, Path: "com.ex.b/1", CID: a.record()}
	p := a.prove(a.commit(&prev, create, event.Op{Action: event.Delete, Path: "com.ex.b/1"}, a.update("com.ex.a/1")))
	if p.Legacy || !p.Sync11 || p.Prev != prev {
		t.Errorf("%+v", p)
	}
}

// TestAKeyThatIsHiddenIsNotTaken: a commit of Sync 1.0 whose tree hides a key that
// it writes proves nothing of it.
func TestAKeyThatIsHiddenIsNotTaken(t *testing.T) {
	a := newAccount(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		a.create(randomPath(rng))
	}
	op := a.update(keyBelowTheRoot(rng, a.content))
	op.Prev = nil
	root, nodes := msttest.Build(a.content)
	p := a.legacy(a.commitOf(nil, root, [][]byte{nodes[root]}, []event.Op{op}))
	if p.Legacy {
		t.Errorf("%+v", p)
	}
}

// keyBelowTheRoot gives a key that does not stand in the root.
func keyBelowTheRoot(rng *rand.Rand, content map[string][]byte) string {
	for {
		for path := range content {
			if msttest.Depth(path) == 0 && rng.IntN(5) == 0 {
				return path
			}
		}
	}
}

// TestRandomCommitsOfSyncOneZeroNeverClaimAFalsehood strips commits of what Sync
// 1.1 added.
func TestRandomCommitsOfSyncOneZeroNeverClaimAFalsehood(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	var died, unsure, inverted int
	for range 600 {
		a := newAccount(t)
		for range 1 + rng.IntN(150) {
			a.create(randomPath(rng))
		}
		before := a.data()
		ops := a.randomOps(rng, 1+rng.IntN(4))
		for i := range ops {
			ops[i].Prev = nil
		}
		p, err := Commit(a.commitOf(nil, a.data(), a.thinned(rng, before), ops), a.public, fixtureNow)
		if reasonOf(err) != refusal.NoPrevData {
			t.Fatal(err)
		}
		if !p.Legacy {
			continue
		}
		if p.Inverted {
			inverted++
			if p.Prev != before {
				t.Fatalf("undone to %s, want %s", p.Prev, before)
			}
		}
		is := collectionsOf(a.content)
		for _, nsid := range p.Present {
			if !is[nsid] {
				t.Fatalf("%s is said to be present", nsid)
			}
		}
		for _, op := range ops {
			nsid, _ := atproto.CollectionOf(op.Path)
			switch {
			case slices.Contains(p.Died, nsid) && is[nsid]:
				t.Fatalf("%s is said to have died", nsid)
			case op.Action == event.Delete && !is[nsid] && !slices.Contains(p.Died, nsid) && !slices.Contains(p.Unsure, nsid):
				t.Fatalf("the death of %s is not even in doubt", nsid)
			}
		}
		died, unsure = died+len(p.Died), unsure+len(p.Unsure)
	}
	if died < 20 || unsure < 20 || inverted < 20 {
		t.Errorf("%d died, %d unsure, %d inverted: too few", died, unsure, inverted)
	}
}
