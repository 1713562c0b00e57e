//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/dagcbor"
	"railyard/internal/test/simnet"
)

// history is a life of the simulated network that is done on the real one too.
type history struct {
	net   *network
	sim   *simnet.Network
	queue []simnet.AccountAction // of the simulated network, not done yet
	twins []*twin                // by the number of the simulated account
	done  map[simnet.ActionKind]int
	left  map[string]int // out, by the reason
}

// newHistory makes the accounts of a history, with what they begin with.
func newHistory(t *testing.T, net *network, seed uint64) *history {
	t.Helper()
	h := &history{net: net, done: map[simnet.ActionKind]int{}, left: map[string]int{}}
	var err error
	h.sim, err = simnet.New(simnet.Config{
		Seed: seed, PDS: len(net.PDS), Accounts: historyAccounts, Records: 16, Churn: true,
		Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), // record keys and their order come from it
		Watch: func(d simnet.AccountAction) { h.queue = append(h.queue, d) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	h.catchUp(t)
	return h
}

// step lets the simulated network live for a step, and does the same.
func (h *history) step(t *testing.T) {
	t.Helper()
	if err := h.sim.Step(); err != nil {
		t.Fatal(err)
	}
	h.catchUp(t)
}

func (h *history) catchUp(t *testing.T) {
	t.Helper()
	for _, d := range h.queue {
		h.follow(t, d)
	}
	h.queue = nil
}

// follow does an action on the real network, or leaves it out.
func (h *history) follow(t *testing.T, d simnet.AccountAction) {
	t.Helper()
	if d.Kind == simnet.Made {
		did := h.net.account(t, handleOf(d), d.PDS)
		h.twins = append(h.twins, &twin{did: did, been: []int{d.PDS}, apart: map[simnet.ActionKind]bool{}})
		h.done[d.Kind]++
		return
	}
	w, do := h.twins[d.Account], doable()[d.Kind]
	why := w.reason(d)
	switch {
	case why == "" && do == nil:
		t.Fatalf("nobody knows how an account is %s", d.Kind)
	case why == "":
		if err := do(h.net, t, w.did, d); err != nil {
			t.Fatalf("account %d, %s: %v", d.Account, d.Kind, err)
		}
		h.done[d.Kind]++
		w.performed(d)
	default:
		if do != nil && ofOwner(d.Kind) && do(h.net, t, w.did, d) == nil {
			t.Fatalf("account %d, %s: done, although %s", d.Account, d.Kind, why)
		}
		h.left[why]++
		w.omitted(d)
	}
}

// The reasons to leave an action out. An action for which there is none must succeed, and
// one for which there is one must be refused, where it can be tried.
const (
	noSuspension = "a PDS knows takedowns only"
	noReturn     = "a PDS deletes the key with the account, and nobody can return without it"
	noWayBack    = "a PDS takes no account of which it has an old one"
	noKeys       = "a PDS gives no account another key"
	noOldHost    = "a move ends the account on the old PDS at once"
	noSession    = "an account that is taken down has no session"
)

func reasons() []string {
	return []string{noSuspension, noReturn, noWayBack, noKeys, noOldHost, noSession}
}

// twin is the real account that does what a simulated one did.
type twin struct {
	did       string
	been      []int // the PDSes that it was on
	takendown bool
	deleted   bool
	// apart are the actions that were left out and made the two differ. The others that
	// are left out change neither the collections nor who is active.
	apart map[simnet.ActionKind]bool
}

// reason returns why an action is left out, empty if it can be done. None is about what is
// written: the real servers make every commit that a life draws.
func (w *twin) reason(d simnet.AccountAction) string {
	if w.deleted {
		return noReturn
	}
	switch d.Kind {
	case simnet.Suspended, simnet.Unsuspended:
		return noSuspension
	case simnet.Rotated, simnet.Announced:
		return noKeys
	case simnet.LeftOldHost, simnet.WroteOnOldHost:
		return noOldHost
	case simnet.Moved:
		if slices.Contains(w.been, d.PDS) {
			return noWayBack
		}
	case simnet.Renamed, simnet.Deactivated:
		if w.takendown {
			return noSession
		}
	}
	return ""
}

// omitted notes what an action that was left out makes different.
func (w *twin) omitted(d simnet.AccountAction) {
	switch d.Kind {
	case simnet.Suspended, simnet.Deactivated, simnet.Returned:
		w.apart[d.Kind] = true
	case simnet.Unsuspended:
		delete(w.apart, simnet.Suspended)
	case simnet.Deleted: // after a return, and both are gone again
		clear(w.apart)
	}
}

// performed notes what an action that was done makes of the account.
func (w *twin) performed(d simnet.AccountAction) {
	switch d.Kind {
	case simnet.TakenDown, simnet.Restored:
		w.takendown = d.Kind == simnet.TakenDown
	case simnet.Activated:
		delete(w.apart, simnet.Deactivated)
	case simnet.Moved:
		w.been = append(w.been, d.PDS)
	case simnet.Deleted:
		w.deleted = true
		clear(w.apart)
	}
}

// ofOwner reports whether the account's owner does it, whom a PDS can refuse.
func ofOwner(kind simnet.ActionKind) bool {
	return kind != simnet.TakenDown && kind != simnet.Restored && kind != simnet.Deleted
}

type doing func(n *network, t *testing.T, did string, d simnet.AccountAction) error

// doable is how the actions are done, but for the making of an account.
func doable() map[simnet.ActionKind]doing {
	verb := func(name string) doing {
		return func(n *network, t *testing.T, did string, _ simnet.AccountAction) error {
			return n.try(t, name, map[string]string{"did": did}, nil)
		}
	}
	return map[simnet.ActionKind]doing{
		simnet.Wrote:       (*network).write,
		simnet.Deactivated: verb("deactivate"),
		simnet.Activated:   verb("activate"),
		simnet.TakenDown:   verb("takedown"),
		simnet.Restored:    verb("untakedown"),
		simnet.Deleted:     verb("deleteAccount"),
		simnet.Renamed: func(n *network, t *testing.T, did string, d simnet.AccountAction) error {
			return n.try(t, "handle", map[string]string{"did": did, "handle": handleOf(d)}, nil)
		},
		simnet.Moved: func(n *network, t *testing.T, did string, d simnet.AccountAction) error {
			return n.try(t, "migrate", map[string]any{"did": did, "pds": d.PDS}, nil)
		},
	}
}

// write makes one commit of the same records.
func (n *network) write(t *testing.T, did string, d simnet.AccountAction) error {
	all := []map[string]any{} // a commit may have no writes
	for _, one := range d.Writes {
		collection, rkey, _ := strings.Cut(one.Path, "/")
		next := map[string]any{"action": one.Action, "collection": collection, "rkey": rkey}
		if one.Action != simnet.Delete {
			r := dagcbor.NewReader(one.Record)
			next["record"] = decode(&r) // texts only, as JSON has them
		}
		all = append(all, next)
	}
	return n.try(t, "applyWrites", map[string]any{"did": did, "writes": all}, nil)
}

// handleOf is the name that the control puts .test behind.
func handleOf(d simnet.AccountAction) string { return strings.TrimSuffix(d.Handle, ".sim.test") }
