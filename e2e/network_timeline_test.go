//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// at asks for a verb that needs nothing but the PDS: stop, start, release.
func (n *network) at(t *testing.T, verb string, pds int) {
	t.Helper()
	n.call(t, verb, map[string]any{"pds": pds}, nil)
}

func (n *network) migrate(t *testing.T, did string, pds int) {
	t.Helper()
	n.call(t, "migrate", map[string]any{"did": did, "pds": pds}, nil)
}

// The sides of a fetch on which a PDS can hold it back: before it has read the
// repo, or with the answer in its hands.
const (
	question = "question"
	answer   = "answer"
)

// hold lets nobody fetch a repo from a PDS until it is released.
func (n *network) hold(t *testing.T, pds int, side string) {
	t.Helper()
	n.call(t, "hold", map[string]any{"pds": pds, "side": side}, nil)
}

// waitHeld waits until so many readers wait for a repo.
func (n *network) waitHeld(t *testing.T, pds int, did string, readers int) {
	t.Helper()
	var waiting map[string]int
	err := poll(t.Context(), settleWithin, func() (bool, error) {
		err := n.try(t, "held", map[string]any{"pds": pds}, &waiting)
		return waiting[did] >= readers, err
	})
	if err != nil {
		t.Fatalf("wait for %d readers of %s: %v, waiting are %v", readers, did, err, waiting)
	}
}

// waitForgotten waits until no PDS replays an event of before.
func (n *network) waitForgotten(t *testing.T, window time.Duration) {
	t.Helper()
	var replayed struct {
		Any bool `json:"any"`
	}
	err := poll(t.Context(), window+settleWithin, func() (bool, error) {
		err := n.try(t, "replays", nil, &replayed)
		return !replayed.Any, err
	})
	if err != nil {
		t.Fatalf("wait for the end of the replay window: %v", err)
	}
}

// status returns the status of an answer to somebody without an account, 0 if there is
// none.
func status(t *testing.T, url string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

func TestNetworkStopsAPDSAndItsSeeding(t *testing.T) {
	n := startNetwork(t)
	n.startSeed(t, 16, 3)
	n.waitCommits(t, 4)
	n.at(t, "stop", 1)
	if code := status(t, n.PDS[1]+"/xrpc/_health"); code != 0 {
		t.Errorf("a stopped PDS answers %d", code)
	}
	if code := status(t, n.PDS[0]+"/xrpc/_health"); code != http.StatusOK {
		t.Errorf("the other PDS answers %d", code)
	}
	if err := n.try(t, "account", map[string]any{"handle": "nobody", "pds": 1}, nil); err == nil {
		t.Error("a stopped PDS makes accounts")
	}
	n.requireSeeding(t)
	n.at(t, "start", 1)
	planned, w := n.waitSeed(t), n.truth(t)
	if len(planned) != 16 || len(w.members()) != 16 {
		t.Fatalf("%d accounts planned, %d public, want 16", len(planned), len(w.members()))
	}
	for _, p := range planned {
		if got := w.find(p.DID).Collections; len(got) != len(p.Collections) {
			t.Errorf("%s holds %v, planned %v", p.DID, got, p.Collections)
		}
	}
}

func TestNetworkHoldsFetchesAndForgets(t *testing.T) {
	n := startNetwork(t, "--backfill-ms", "3000")
	for side, want := range map[string]int{question: http.StatusBadRequest, answer: http.StatusOK} {
		did := n.account(t, "reads-"+side, 0)
		n.record(t, did, thing, "1")
		n.hold(t, 0, side)
		got := make(chan int, 1)
		go func() {
			got <- status(t, n.PDS[0]+"/xrpc/com.atproto.sync.getRepo?did="+did)
		}()
		n.waitHeld(t, 0, did, 1)
		if code := status(t, n.PDS[0]+"/xrpc/com.atproto.sync.getRepoStatus?did="+did); code != http.StatusOK {
			t.Errorf("%s: what is no fetch is answered %d", side, code)
		}
		n.migrate(t, did, 1)
		select {
		case code := <-got:
			t.Errorf("%s: answered %d before the release", side, code)
		default:
		}
		n.at(t, "release", 0)
		if code := <-got; code != want {
			t.Errorf("%s: answered %d after a move, want %d", side, code, want)
		}
		if a := n.truth(t).find(did); !a.Public {
			t.Errorf("%s: after the move %+v", side, a)
		}
	}
	n.waitForgotten(t, 3*time.Second)
	did := n.account(t, "remembered", 0)
	var replayed struct{ Any bool }
	if n.call(t, "replays", nil, &replayed); !replayed.Any {
		t.Error("an event of now is not replayed")
	}
	n.set(t, "tombstone", did)
	if code := status(t, n.PLC+"/"+did); code != http.StatusNotFound {
		t.Errorf("the directory answers %d for a tombstoned DID", code)
	}
	if a := n.truth(t).find(did); !a.Public || !a.Tombstoned {
		t.Errorf("a tombstoned account: %+v", a)
	}
}
