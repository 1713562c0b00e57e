package simnet

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// The rows are those of the reference PDS, but for suspensions, rotations and
// events asked for by name.
func TestEventsComeInTheOrderOfTheReferencePDS(t *testing.T) {
	create := "#commit (create; since:set; prevData:set; 3 blocks)"
	active, identity, sync := "#account (active:true)", "#identity (handle)", "#sync (rev = commit.rev; 1 block)"
	inactive := func(status string) string { return "#account (active:false status:" + status + ")" }
	var did string
	// Record keys of height 0, so that the tree is one node and the count of blocks
	// says what it says.
	rkeys := map[string]string{}
	for number := 0; len(rkeys) < 6; number++ {
		if path := fmt.Sprintf("net.rails.yard/%d", number); keyHeight(path) == 0 {
			rkeys[string(rune('a'+len(rkeys)))] = path
		}
	}
	path := func(letter string) string { return rkeys[letter] }
	rows := []struct {
		event  string
		do     func(n *Network) error
		frames []string
	}{
		{"create account", func(n *Network) (err error) { did, err = n.CreateAccount(0); return err },
			[]string{identity, active, "#commit (no ops; since:null; prevData:absent; 2 blocks)", sync}},
		{"create record", func(n *Network) error { return n.Create(did, path("a")) }, []string{create}},
		{"update record", func(n *Network) error { return n.Update(did, path("a")) },
			[]string{"#commit (update prev; since:set; prevData:set; 3 blocks)"}},
		{"2 creates, 1 update", func(n *Network) error {
			return n.Apply(did, Write{Action: Create, Path: path("c")}, Write{Action: Create, Path: path("b")}, Write{Action: Update, Path: path("a")})
		}, []string{"#commit (create, create, update prev; since:set; prevData:set; 5 blocks)"}},
		{"2 creates, 1 update, 1 delete", func(n *Network) error {
			return n.Apply(did, Write{Action: Create, Path: path("d")}, Write{Action: Create, Path: path("e")},
				Write{Action: Update, Path: path("a")}, Write{Action: Delete, Path: path("c")})
		}, []string{"#commit (create, create, update prev, delete cid:null prev; since:set; prevData:set; 5 blocks)"}},
		{"delete record", func(n *Network) error { return n.Delete(did, path("a")) },
			[]string{"#commit (delete cid:null prev; since:set; prevData:set; 2 blocks)"}},
		{"create and delete one record", func(n *Network) error {
			return n.Apply(did, Write{Action: Create, Path: path("f")}, Write{Action: Delete, Path: path("f")})
		}, []string{"#commit (create, delete cid:null; since:set; prevData:set; 2 blocks)"}},
		{"delete and create one record", func(n *Network) error {
			return n.Apply(did, Write{Action: Delete, Path: path("b")}, Write{Action: Create, Path: path("b")})
		}, []string{"#commit (delete cid:null prev, create prev; since:set; prevData:set; 3 blocks)"}},
		{"change handle", func(n *Network) error { return n.ChangeHandle(did, "other.sim.test") }, []string{identity}},
		{"rotate key", func(n *Network) error { return n.RotateKey(did) }, []string{identity, sync}},
		{"deactivate", func(n *Network) error { return n.Deactivate(did) }, []string{inactive("deactivated")}},
		{"take down a deactivated account", func(n *Network) error { return n.Takedown(did) }, []string{inactive("takendown")}},
		{"undo that takedown", func(n *Network) error { return n.Untakedown(did) }, []string{inactive("deactivated")}},
		{"activate", func(n *Network) error { return n.Activate(did) }, []string{active, identity, sync}},
		{"take down", func(n *Network) error { return n.Takedown(did) }, []string{inactive("takendown")}},
		{"undo takedown", func(n *Network) error { return n.Untakedown(did) }, []string{active}},
		{"suspend", func(n *Network) error { return n.Suspend(did) }, []string{inactive("suspended")}},
		{"end suspension", func(n *Network) error { return n.Unsuspend(did) }, []string{active}},
		{"#sync alone", func(n *Network) error { return n.EmitSync(did) }, []string{sync}},
		{"#identity alone", func(n *Network) error { return n.EmitIdentity(did) }, []string{identity}},
		{"tombstone", func(n *Network) error { return n.Tombstone(did) }, nil},
		{"delete account", func(n *Network) error { return n.DeleteAccount(did) }, []string{inactive("deleted")}},
		{"another account", func(n *Network) (err error) { did, err = n.CreateAccount(0); return err },
			[]string{identity, active, "#commit (no ops; since:null; prevData:absent; 2 blocks)", sync}},
		{"one record twice", func(n *Network) error {
			return n.Apply(did, Write{Action: Create, Path: path("a"), Record: []byte{0xa0}}, Write{Action: Create, Path: path("b"), Record: []byte{0xa0}})
		}, []string{"#commit (create, create; since:set; prevData:set; 3 blocks)"}},
		{"no writes", func(n *Network) error { return n.Apply(did) }, []string{"#commit (no ops; since:set; prevData:set; 1 block)"}},
	}
	n := quiet(t, Config{Seed: 1, Relay: true})
	for _, row := range rows {
		before := n.relay.stream.last
		if err := row.do(n); err != nil {
			t.Fatalf("%s: %v", row.event, err)
		}
		var frames []string
		for _, e := range n.relay.stream.after(before, 100) {
			frames = append(frames, describe(t, e.frame(e.seq)))
		}
		if !slices.Equal(frames, row.frames) {
			t.Errorf("%s:\n got %v\nwant %v", row.event, frames, row.frames)
		}
	}
}

// Nodes, records, commit, then the older nodes that show neighbours.
func TestBlocksOfACommitComeInTheOrderOfTheReferencePDS(t *testing.T) {
	n := quiet(t, Config{Seed: 3, Accounts: 20, Relay: true, ReplayWindow: 1 << 30})
	live(t, n, 600)
	late, commits := 0, 0
	for _, e := range n.relay.stream.events {
		kind, _, body := decodeFrame(t, e.frame(e.seq))
		if kind != "#commit" {
			continue
		}
		commits++
		car := readCAR(t, body["blocks"].([]byte))
		scenario := 0
		for _, d := range car.order {
			next := map[string]int{"node": 0, "record": 1, "commit": 2}[car.kind(t, d)]
			if scenario == 2 && next == 0 {
				next = 3
				late++
			}
			if scenario == 3 && next == 0 {
				next = 3
			}
			if next < scenario {
				t.Fatalf("a %s after scenario %d", car.kind(t, d), scenario)
			}
			scenario = next
		}
	}
	if late == 0 || late > commits/2 {
		t.Errorf("%d of %d commits end with older nodes", late, commits)
	}
}

func TestWritesThatMakeNoSenseAreRefusedAndLeaveNoTrace(t *testing.T) {
	n := quiet(t, Config{Seed: 1})
	did := n.mustCreate(t, 0)
	gone := n.mustCreate(t, 0)
	asleep := n.mustCreate(t, 0)
	do(t, n.Create(did, "net.rails.yard/a"), n.DeleteAccount(gone), n.Deactivate(asleep))
	before, _ := n.Repo(did)
	events := n.LastSeq("pds1")
	cases := []struct {
		what   string
		err    error
		wanted error
	}{
		{"create over a record", n.Create(did, "net.rails.yard/a"), nil},
		{"update of nothing", n.Update(did, "net.rails.yard/b"), nil},
		{"delete of nothing", n.Delete(did, "net.rails.yard/b"), nil},
		{"create twice", n.Apply(did, Write{Action: Create, Path: "net.rails.yard/b"}, Write{Action: Create, Path: "net.rails.yard/b"}), nil},
		{"update after delete", n.Apply(did, Write{Action: Delete, Path: "net.rails.yard/a"}, Write{Action: Update, Path: "net.rails.yard/a"}), nil},
		{"a bad path", n.Create(did, "nodots/a"), nil},
		{"an unknown account", n.Create("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "net.rails.yard/a"), ErrNoAccount},
		{"a deleted account", n.Create(gone, "net.rails.yard/a"), ErrNoAccount},
		{"a deactivated account", n.Create(asleep, "net.rails.yard/a"), ErrInactive},
	}
	for _, c := range cases {
		if c.err == nil || c.wanted != nil && !errors.Is(c.err, c.wanted) {
			t.Errorf("%s: error %v, want %v", c.what, c.err, c.wanted)
		}
	}
	after, _ := n.Repo(did)
	if after.Rev != before.Rev || after.Records != 1 || n.LastSeq("pds1") != events {
		t.Errorf("state %+v after %+v, %d events after %d", after, before, n.LastSeq("pds1"), events)
	}
	if _, err := n.CreateAccount(1); err == nil {
		t.Error("an account on a PDS that does not exist")
	}
	if _, err := New(Config{PDS: -1}); err == nil {
		t.Error("a network with -1 PDSes")
	}
}

func TestLedgerCountsBirthsAndDeathsByCollection(t *testing.T) {
	n := quiet(t, Config{Seed: 1})
	did := n.mustCreate(t, 0)
	check := func(births, deaths int64, collections ...string) {
		t.Helper()
		l := n.Ledger()
		if l.Births != births || l.Deaths != deaths || !slices.Equal(n.Truth()[did], collections) {
			t.Errorf("births %d, deaths %d, collections %v; want %d, %d, %v", l.Births, l.Deaths, n.Truth()[did], births, deaths, collections)
		}
	}
	do(t, n.Create(did, "net.rails.yard.track/a"), n.Create(did, "net.rails.yard/a"), n.Create(did, "net.rails.yard/b"))
	check(2, 0, "net.rails.yard", "net.rails.yard.track")
	do(t, n.Delete(did, "net.rails.yard/a"))
	check(2, 0, "net.rails.yard", "net.rails.yard.track")
	do(t, n.Apply(did, Write{Action: Delete, Path: "net.rails.yard/b"}, Write{Action: Create, Path: "net.rails.yards/b"}))
	check(3, 1, "net.rails.yard.track", "net.rails.yards")
	do(t, n.Apply(did, Write{Action: Create, Path: "net.rails.Yard/x"}, Write{Action: Delete, Path: "net.rails.Yard/x"}))
	check(3, 1, "net.rails.yard.track", "net.rails.yards")
	do(t, n.Takedown(did))
	if _, found := n.Truth()[did]; found || n.Ledger().Active != 0 {
		t.Error("a taken down repo is in the truth")
	}
	do(t, n.Untakedown(did))
	check(3, 1, "net.rails.yard.track", "net.rails.yards")
}
