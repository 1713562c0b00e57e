package establish

import (
	"math/rand/v2"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// looked takes an answer as a walk would and checks what it is led to.
func looked(t *testing.T, p *prober, b []byte) {
	a, err := p.read(b)
	if err != nil {
		reason, typed := refusal.ReasonOf(err)
		if !typed || reason == refusal.Internal {
			t.Fatalf("got %v", err)
		}
		return
	}
	w := &walk{p: p, open: everything()}
	if _, err := w.take(a); err != nil {
		t.Fatalf("got %v", err)
	}
	q, more := w.next()
	if !more {
		return
	}
	if _, _, err := atproto.ParsePath(q.path()); err != nil {
		t.Fatalf("asks for %q", q)
	}
	for _, g := range w.open {
		if g.before != "" && g.after >= g.before {
			t.Fatalf("a gap between %q and %q", g.after, g.before)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	h := newHost(f, randomKeys(rand.New(rand.NewPCG(1, 5)), 400)...)
	for _, q := range []question{lowest, {"a.b.c", highRkey}, {"zz.zz.zz", atproto.LowestRkey}} {
		car, err := h.GetRecord(f.Context(), q.collection, q.rkey)
		must(f, err)
		f.Add(car)
	}
	f.Add(carOf(atproto.DigestOf(h.commit), h.commit))
	f.Fuzz(func(t *testing.T, b []byte) {
		looked(t, newProber(probeConfig{did: testDID, maxCollections: 10_000, verify: func(*repo.Commit) error { return nil }}), b)
	})
}

// FuzzTree signs whatever nodes it is given, so that the hashes stop nothing.
func FuzzTree(f *testing.F) {
	h := newHost(f, randomKeys(rand.New(rand.NewPCG(2, 5)), 400)...)
	f.Add(h.root.block, recordOf("x"))
	for _, kid := range h.root.kids {
		if kid != nil {
			f.Add(h.root.block, kid.block)
		}
	}
	f.Fuzz(func(t *testing.T, root, kid []byte) {
		if len(root) == 0 || len(kid) == 0 {
			t.Skip("no block is empty")
		}
		signer := *h
		signer.t = t
		commit := signer.signed(testDID, h.rev, atproto.DigestOf(root))
		looked(t, signer.prober(), carOf(atproto.DigestOf(commit), commit, root, kid))
	})
}
