package verify

import (
	"reflect"
	"sync"
	"testing"

	"railyard/internal/event"
	"railyard/internal/refusal"
)

func TestAProverDoesNotGrowWithTheNumberOfProofs(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1")
	prev := a.data()
	c := a.commit(&prev, a.delete("com.ex.a/1"), a.create("com.ex.a/2"), a.update("com.ex.b/1"))
	var pr prover
	for range 1000 {
		_, _, err := pr.prove(c, anySignature{}, fixtureNow)
		must(t, err)
	}
	if n := cap(pr.paths) + cap(pr.names); n > 200 {
		t.Errorf("memory of %d for the ops", n)
	}
}

// TestProofsAtOnceShareNothing proves all frames in several goroutines, so that
// the memory of proofs changes hands, and compares with proofs in new memory.
func TestProofsAtOnceShareNothing(t *testing.T) {
	frames, keys := realFrames(t)
	var proofs []Proof
	var commits []*event.Commit
	for _, frame := range frames {
		if c, ok := event.Decode(frame).Event.(*event.Commit); ok {
			p, _, err := new(prover).prove(c, keys[c.DID], fixtureNow)
			must(t, err)
			commits, proofs = append(commits, c), append(proofs, p)
		}
	}
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			got := make([]Proof, len(commits))
			for i := range commits {
				at := (i + worker*20) % len(commits)
				var err error
				if got[at], err = Commit(commits[at], anySignature{}, fixtureNow); err != nil {
					t.Error(err)
				}
				if _, err := Commit(commits[at], keys["nobody"], fixtureNow); reasonOf(err) != refusal.BadSignature {
					t.Errorf("without a key: %v", err)
				}
			}
			if !reflect.DeepEqual(got, proofs) {
				t.Error("the proofs differ")
			}
		})
	}
	workers.Wait()
}
