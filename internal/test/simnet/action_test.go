package simnet

import (
	"fmt"
	"slices"
	"testing"
)

// diary collects the actions of a network, each in a line.
type diary []string

func (l *diary) watch(d AccountAction) {
	line := fmt.Sprintf("%d on %d %s", d.Account, d.PDS, d.Kind)
	if d.Kind == Renamed {
		line += " " + d.Handle
	}
	for _, w := range d.Writes {
		line += fmt.Sprintf(" %s %s", w.Action, w.Path)
	}
	*l = append(*l, line)
}

func TestEachVerbIsOneAction(t *testing.T) {
	var got diary
	n := quiet(t, Config{Seed: 1, PDS: 2, Watch: got.watch})
	other, did := n.mustCreate(t, 0), n.mustCreate(t, 1)
	const path = "net.rails.yard/one"
	do(t,
		n.Create(did, path), n.Update(did, path), n.Delete(did, path), n.Apply(did),
		n.Apply(did, Write{Action: Create, Path: path}, Write{Action: Delete, Path: path}),
		n.Deactivate(did), n.Activate(did), n.Takedown(did), n.Untakedown(did), n.Suspend(did), n.Unsuspend(did),
		n.ChangeHandle(did, "new.sim.test"), n.RotateKey(did), n.AnnounceKey(did), n.Rotate(did, Rotation{Unsigned: true, Silent: true}),
		n.Migrate(did, Migration{To: 0}), n.Migrate(did, Migration{To: 1, OldStays: true}),
		n.WriteOnOldHost(did, Write{Action: Create, Path: path}), n.LeaveOldHost(did, true),
		n.DeleteAccount(did), n.Return(did, 0), n.Tombstone(other),
	)
	want := diary{
		"0 on 0 made", "1 on 1 made",
		"1 on 1 wrote create " + path, "1 on 1 wrote update " + path, "1 on 1 wrote delete " + path, "1 on 1 wrote",
		"1 on 1 wrote create " + path + " delete " + path,
		"1 on 1 deactivated", "1 on 1 activated", "1 on 1 taken down", "1 on 1 restored", "1 on 1 suspended", "1 on 1 unsuspended",
		"1 on 1 renamed new.sim.test", "1 on 1 rotated", "1 on 1 announced", "1 on 1 rotated",
		"1 on 0 moved", "1 on 1 left old host", "1 on 1 moved",
		"1 on 0 wrote on old host create " + path, "1 on 0 left old host",
		"1 on 1 deleted", "1 on 0 returned", "0 on 0 tombstoned",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestWhatFailsOrIsOnlySentOnceMoreIsNoAction(t *testing.T) {
	var got diary
	n := quiet(t, Config{Seed: 1, PDS: 2, Watch: got.watch})
	did := n.mustCreate(t, 0)
	do(t, n.EmitSync(did), n.EmitIdentity(did), n.EmitAccount(did), n.Deactivate(did))
	got = nil
	for name, err := range map[string]error{
		"a write while inactive":   n.Create(did, "net.rails.yard/one"),
		"a move while inactive":    n.Migrate(did, Migration{To: 1}),
		"a return before the end":  n.Return(did, 1),
		"a word of no former host": n.LeaveOldHost(did, false),
		"nobody":                   n.Takedown("did:plc:nobody"),
	} {
		if err == nil {
			t.Errorf("%s succeeds", name)
		}
	}
	do(t, n.Activate(did))
	if err := n.Delete(did, "net.rails.yard/none"); err == nil {
		t.Error("a record that is not there is deleted")
	}
	if want := (diary{"0 on 0 activated"}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A life that is done again, action by action, gives the same accounts: the actions are all
// that happened.
func TestActionsAreTheWholeOfALife(t *testing.T) {
	var actions []AccountAction
	n := quiet(t, Config{Seed: 22, PDS: 2, Accounts: 20, Records: 16, Churn: true, Watch: func(d AccountAction) { actions = append(actions, d) }})
	live(t, n, 3000)
	seen := map[ActionKind]int{}
	again := quiet(t, Config{Seed: 22, PDS: 2})
	for i, d := range actions {
		seen[d.Kind]++
		if err := again.redo(d); err != nil {
			t.Fatalf("action %d, %d %s: %v", i, d.Account, d.Kind, err)
		}
	}
	for _, kind := range lifeKinds() {
		if seen[kind] < 3 {
			t.Errorf("%s: only %d times", kind, seen[kind])
		}
		delete(seen, kind)
	}
	if len(seen) > 0 {
		t.Errorf("kinds of nothing in a life: %v", seen)
	}
	if dids := n.DIDs(); !slices.Equal(dids, again.DIDs()) {
		t.Fatalf("%d accounts, again %d", len(dids), len(again.DIDs()))
	}
	for _, did := range n.DIDs() {
		requireSameState(t, n, again, did)
	}
}

// lifeKinds are all that Step does with Config.Churn.
func lifeKinds() []ActionKind {
	return []ActionKind{
		Made, Wrote, Deactivated, Activated, TakenDown, Restored, Suspended, Unsuspended, Deleted, Returned,
		Renamed, Rotated, Announced, Moved, LeftOldHost, WroteOnOldHost,
	}
}

// redo does an action of another network with the same seed.
func (n *Network) redo(d AccountAction) error {
	if d.Kind == Made {
		_, err := n.CreateAccount(d.PDS)
		return err
	}
	did := n.DIDs()[d.Account]
	switch d.Kind {
	case Wrote:
		return n.Apply(did, d.Writes...)
	case WroteOnOldHost:
		return n.WriteOnOldHost(did, d.Writes...)
	case Renamed:
		return n.ChangeHandle(did, d.Handle)
	case Returned:
		return n.Return(did, d.PDS)
	case Moved:
		return n.Migrate(did, Migration{To: d.PDS, OldStays: true})
	case LeftOldHost:
		return n.LeaveOldHost(did, false)
	}
	verbs := map[ActionKind]func(string) error{
		Deactivated: n.Deactivate, Activated: n.Activate, TakenDown: n.Takedown, Restored: n.Untakedown,
		Suspended: n.Suspend, Unsuspended: n.Unsuspend, Deleted: n.DeleteAccount, Rotated: n.RotateKey, Announced: n.AnnounceKey,
	}
	return verbs[d.Kind](did)
}

// requireSameState compares one account of two networks, but for revs.
func requireSameState(t *testing.T, a, b *Network, did string) {
	t.Helper()
	x, err := a.Repo(did)
	y, errAgain := b.Repo(did)
	do(t, err, errAgain)
	if x.PDS != y.PDS || x.Status != y.Status || x.Handle != y.Handle || x.Data != y.Data || x.Records != y.Records {
		t.Errorf("%s: %+v, again %+v", did, x, y)
	}
	if p, q := a.History(did).Moves, b.History(did).Moves; p != q {
		t.Errorf("%s: the directory has %d keys and hosts, again of %d", did, p, q)
	}
}
