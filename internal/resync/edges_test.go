package resync

import (
	"context"
	"fmt"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/probe"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// A repo with more collections than its size is worth is fetched, unless probing is
// what the operator wants.
func TestProofsThatCostMoreThanTheRepo(t *testing.T) {
	for m, want := range map[Method]store.Proof{Auto: store.ProofTree, Probe: store.ProofProbe} {
		w, did := grown(t, m, large)
		var writes []simnet.Write
		for n := range 600 {
			writes = append(writes, simnet.Write{Action: simnet.Create, Path: fmt.Sprintf("org.example.c%d/a", n)})
		}
		if err := w.net.Apply(did, writes...); err != nil {
			t.Fatal(err)
		}
		w.enqueue(did, store.Discontinuity)
		w.work()
		w.proven(did, want)
		if n := w.count("getRecord"); m == Auto && n > 100 {
			t.Errorf("%d probes of a repo that is worth less", n)
		}
	}
}

// A rev of the future is refused however it is asked for.
func TestARevOfTheFutureIsRefused(t *testing.T) {
	for _, m := range Methods() {
		for _, records := range []int{tiny, large} {
			w, did := grown(t, Method(m), records)
			w.now = w.now.Add(-2 * time.Hour)
			w.enqueue(did, store.Backfill)
			w.work()
			if r := w.repo(did); r.State != store.Candidate || r.Visible() {
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

// plain asks a host without manners.
type plain struct {
	hosts Hosts
	repo  *store.Repo
}

func (p plain) GetRecord(ctx context.Context, collection, rkey string) ([]byte, error) {
	return p.hosts.GetRecord(ctx, p.repo.Identity.URL(), p.repo.DID, collection, rkey)
}

// headOf gives the commit that the repo's host serves.
func (w *world) headOf(did string) *repo.Commit {
	w.t.Helper()
	found, err := probe.New(probe.Config{
		DID: did, Source: plain{w.rs.cfg.Hosts, w.repo(did)}, Verify: func(*repo.Commit) error { return nil },
	}).Collections(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return found.Commit
}

// When the directory is asked for the keys of before, and what else must hold for one
// of them to count.
func TestWhichSignaturesCount(t *testing.T) {
	w, did := settler(t, Auto, tiny)
	w.enqueue(did, store.Backfill)
	w.work()
	key := identity.Key(w.repo(did).Identity.Key)
	w.move(did, simnet.Migration{To: 1})
	w.announce(did)
	c := w.headOf(did)
	other := *c
	other.CID = atproto.Digest{7} // the same signed bytes by another name
	for _, tc := range []struct {
		name    string
		change  func(*store.Task)
		commit  *repo.Commit
		keys    []identity.EarlierKey
		accepts bool
		asks    int
	}{
		{"our head", func(*store.Task) {}, c, nil, true, 0},
		{"our head, long after", func(t *store.Task) { t.ClaimedAt = t.ClaimedAt.Add(24 * time.Hour) }, c, nil, true, 0},
		{"by a key of the log", func(*store.Task) {}, &other, []identity.EarlierKey{{Key: key}}, true, 1},
		{"by no key of the log", func(*store.Task) {}, &other, nil, false, 1},
		{"under an old document", func(t *store.Task) { t.ClaimedAt = t.ClaimedAt.Add(24 * time.Hour) }, &other, []identity.EarlierKey{{Key: key}}, false, 0},
		{"while a rotation is waited for", func(t *store.Task) { t.Attempts = 2 }, &other, []identity.EarlierKey{{Key: key}}, false, 0},
		{"after that", func(t *store.Task) { t.Attempts = rotationRetries }, &other, []identity.EarlierKey{{Key: key}}, true, 1},
		{"after a commit of the present key", func(t *store.Task) { t.Repo.SeenRev = t.Repo.Head.Rev + 1 }, c, []identity.EarlierKey{{Key: key}}, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.repo(did)
			task := &store.Task{Repo: r, ClaimedAt: r.Identity.FetchedAt}
			tc.change(task)
			ring := &keyring{Resolver: w.rs.cfg.Resolver, keys: tc.keys}
			before := w.rs.cfg.Resolver
			w.rs.cfg.Resolver = ring
			defer func() { w.rs.cfg.Resolver = before }()
			s, err := w.rs.signer(task)
			if err != nil {
				t.Fatal(err)
			}
			err = s.verify(t.Context(), tc.commit)
			if reason, _ := refusal.ReasonOf(err); (err == nil) != tc.accepts || err != nil && reason != refusal.BadSignature {
				t.Errorf("%v", err)
			}
			_ = s.verify(t.Context(), &other)
			_ = s.verify(t.Context(), tc.commit)
			if ring.asked > 1 || tc.commit != c && ring.asked != tc.asks {
				t.Errorf("the directory was asked %d times, want %d", ring.asked, tc.asks)
			}
		})
	}
}
