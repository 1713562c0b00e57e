package resync

import (
	"context"
	"fmt"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/repostate"
	"railyard/internal/test/simnet"
)

// A repo with more collections than its budget of requests is fetched, unless probing is
// what the operator wants.
func TestProofsThatCostMoreThanTheRepo(t *testing.T) {
	for m, want := range map[establish.Method]repostate.Proof{establish.Auto: repostate.ProofTree, establish.Probe: repostate.ProofProbe} {
		w, did := grown(t, m, large)
		var writes []simnet.Write
		for n := range 600 {
			writes = append(writes, simnet.Write{Action: simnet.Create, Path: fmt.Sprintf("org.example.c%d/a", n)})
		}
		if err := w.net.Apply(did, writes...); err != nil {
			t.Fatal(err)
		}
		w.enqueue(did, repostate.Discontinuity)
		w.work()
		w.proven(did, want)
		if n := w.count("getRecord"); m == establish.Auto && n > 100 {
			t.Errorf("%d probes of a repo with a smaller budget", n)
		}
	}
}

// A rev of the future is refused however it is asked for.
func TestARevOfTheFutureIsRefused(t *testing.T) {
	for _, m := range establish.Methods() {
		for _, records := range []int{tiny, large} {
			w, did := grown(t, establish.Method(m), records)
			w.now = w.now.Add(-2 * time.Hour)
			w.enqueue(did, repostate.Backfill)
			w.work()
			if r := w.repo(did); r.State != repostate.Candidate || r.Seq > 0 {
				t.Errorf("method %s: state %s", m, r.State)
			}
			w.now = w.now.Add(2 * time.Hour)
			w.later(brokenFirst)
			w.later(bulkRest)
			w.settled(did)
		}
	}
}

// keyring is a directory with these keys of before.
type keyring struct {
	Resolver
	keys  []identity.EarlierKey
	asked int
}

func (k *keyring) EarlierKeys(context.Context, string) ([]identity.EarlierKey, error) {
	k.asked++
	return k.keys, nil
}

// Whether our head and the keys of before count, and what else must hold for that.
func TestWhichSignaturesCount(t *testing.T) {
	w, did := migrant(t, establish.Auto, tiny)
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.move(did, simnet.Migration{To: 1})
	w.announce(did)
	ring := &keyring{Resolver: w.rs.cfg.Resolver, keys: []identity.EarlierKey{{}}}
	w.rs.cfg.Resolver = ring
	for _, tc := range []struct {
		name        string
		change      func(*repostate.Attempt)
		known, keys bool
	}{
		{"at once", func(*repostate.Attempt) {}, true, true},
		{"no head", func(a *repostate.Attempt) { a.Repo.Head = nil }, false, true},
		{"under an old document", func(a *repostate.Attempt) { a.At = a.At.Add(24 * time.Hour) }, true, false},
		{"while a rotation is waited for", func(a *repostate.Attempt) { a.Repo.Waiting.Attempts = 2 }, true, false},
		{"after that", func(a *repostate.Attempt) { a.Repo.Waiting.Attempts = rotationRetries }, true, true},
		{"after a commit of the present key", func(a *repostate.Attempt) { a.Repo.SeenRev = a.Repo.Head.Rev + 1 }, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.repo(did)
			r.Waiting = &repostate.Waiting{Reason: repostate.Rotated}
			a := &repostate.Attempt{Repo: r, At: r.Identity.FetchedAt}
			tc.change(a)
			q := w.rs.request(a)
			if known := q.KnownHead != (atproto.Digest{}); known != tc.known || known && q.KnownHead != r.Head.CID {
				t.Errorf("our head is %x", q.KnownHead)
			}
			if (q.EarlierKeys != nil) != tc.keys {
				t.Fatalf("earlier keys count: %t", !tc.keys)
			}
			if !tc.keys {
				return
			}
			ring.asked = 0
			for range 2 {
				if keys, err := q.EarlierKeys(t.Context(), establish.Head{}); err != nil || len(keys) != 1 || ring.asked != 1 {
					t.Errorf("%d keys, %v, asked %d times", len(keys), err, ring.asked)
				}
			}
		})
	}
}
