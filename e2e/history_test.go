//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"railyard/internal/atproto"
	repopkg "railyard/internal/repo"
	"railyard/internal/test/simnet"
)

const (
	historyAccounts = 12
	historySteps    = 150
)

// chosenSeeds are histories in which, taken together, each action is done and each
// reason to leave one out holds. Where lives change, others may have to be chosen.
func chosenSeeds() []uint64 { return []uint64{18, 637} }

// TestTheSameHistories lets the simulated network live and does each of its actions on
// the real servers too. A railyard that saw all of it, and one that comes afterwards,
// must hold what the real servers hold. So must the simulated network: of each account
// of which no action that matters was left out it must say the same, down to the root of
// the tree.
// RAILYARD_SEEDS=20 does twenty histories more.
func TestTheSameHistories(t *testing.T) {
	binary, seeds := build(t), seedsOf(t)
	done, left, ran := map[simnet.ActionKind]int{}, map[string]int{}, 0
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			h := followHistory(t, binary, seed)
			count(done, h.done)
			count(left, h.left)
			ran++
		})
	}
	if ran < len(seeds) {
		return // one has failed, or -run names some only
	}
	for kind := range doable() {
		if done[kind] == 0 {
			t.Errorf("no account was %s", kind)
		}
	}
	for _, why := range reasons() {
		if left[why] == 0 {
			t.Errorf("nothing was left out for the reason that %s", why)
		}
	}
}

// seedsOf returns the chosen seeds, and RAILYARD_SEEDS more from 100 on.
func seedsOf(t *testing.T) []uint64 {
	seeds, text := chosenSeeds(), os.Getenv("RAILYARD_SEEDS")
	if text == "" {
		return seeds
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("RAILYARD_SEEDS: %q is not a number of seeds", text)
	}
	for i := range n {
		seeds = append(seeds, uint64(100+i))
	}
	return seeds
}

func count[K comparable](all, more map[K]int) {
	for key, n := range more {
		all[key] += n
	}
}

// followHistory does one history, with a service that follows it and one that starts
// at its end.
func followHistory(t *testing.T, binary string, seed uint64) *history {
	net := startNetwork(t)
	began := time.Now()
	early := newService(t, "early", binary, net)
	h := newHistory(t, net, seed)
	for range historySteps {
		h.step(t)
	}
	want := net.truth(t)
	compared := h.requireAgreement(t, want)
	t.Logf("%5.1fs %d of %d accounts compared; done: %v; left out: %v", time.Since(began).Seconds(), compared, len(h.twins), h.done, h.left)

	late := newService(t, "late", binary, net)
	requireEqual(t, want, early.index, late.index)
	t.Logf("%5.1fs both services equal: %d public repos, %d memberships", time.Since(began).Seconds(), len(want.members()), want.memberships())
	for _, s := range []*service{early, late} {
		requireFileEquals(t, s.db, want)
		s.requireSound(t)
		s.stop(t)
	}
	return h
}

// requireAgreement holds the simulated network to the truth of the real one, down to
// the trees, and returns the number of accounts that could be compared.
func (h *history) requireAgreement(t *testing.T, want truth) (compared int) {
	t.Helper()
	dids, simulated := h.sim.DIDs(), h.sim.Truth()
	if len(dids) != len(h.twins) || len(want.Accounts) != len(h.twins) {
		t.Fatalf("%d accounts are simulated, %d were made, the truth has %d", len(dids), len(h.twins), len(want.Accounts))
	}
	for number, w := range h.twins {
		if len(w.apart) > 0 {
			continue
		}
		compared++
		collections, active := simulated[dids[number]]
		a := want.find(w.did)
		if a.Public != active || !slices.Equal(a.Collections, collections) {
			t.Errorf("account %d, %s: the real servers say %+v, the simulated ones active %v, %v", number, w.did, a, active, collections)
		}
		if a.Public && active {
			h.requireSameTree(t, w, dids[number])
		}
	}
	if 3*compared < 2*len(h.twins) {
		t.Errorf("only %d accounts of %d could be compared: %v", compared, len(h.twins), slices.Sorted(maps.Keys(h.left)))
	}
	return compared
}

// requireSameTree compares the roots of the trees of an account that both networks
// show: the records are the same, so the trees must be.
func (h *history) requireSameTree(t *testing.T, w *twin, simulated string) {
	t.Helper()
	state, err := h.sim.Repo(simulated)
	if err != nil {
		t.Fatal(err)
	}
	root, err := fetchTree(t.Context(), h.net.PDS[w.been[len(w.been)-1]], w.did)
	if err != nil {
		t.Fatal(err)
	}
	if root != state.Data {
		t.Errorf("%s: the root of the tree is %v, of the simulated one %v, of %d records", w.did, root, state.Data, state.Records)
	}
}

// fetchTree asks a PDS for a repo and returns the root of its tree.
func fetchTree(ctx context.Context, pds, did string) (root atproto.Digest, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, pds+"/xrpc/com.atproto.sync.getRepo?did="+did, nil)
	if err != nil {
		return root, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return root, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return root, err
	}
	car, err := repopkg.ParseCAR(body, repopkg.MessageLimits())
	if err != nil {
		return root, fmt.Errorf("getRepo of %s: %s: %w", did, resp.Status, err)
	}
	block, _ := car.Block(car.Root())
	commit, err := repopkg.ParseCommit(block)
	if err != nil {
		return root, fmt.Errorf("getRepo of %s: %w", did, err)
	}
	return commit.Data, nil
}
