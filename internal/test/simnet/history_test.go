package simnet

import (
	"io"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHistoryHasWhatHappenedToAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, PDS: 2, Accounts: 2, Records: 8, Relay: true})
		did, other := p.DIDs()[0], p.DIDs()[1]
		before, apart := p.History(did), p.History(other)
		want := map[string]int64{"#identity": 1, "#account": 1, "#sync": 1}
		for kind, n := range want {
			if before.Events[kind] != n {
				t.Errorf("a new account was counted with %d %s", before.Events[kind], kind)
			}
		}
		if before.PLCOps != 1 || before.Moves != 1 {
			t.Errorf("a new account has %d plcOps, %d of them moves", before.PLCOps, before.Moves)
		}

		for _, err := range []error{
			p.ChangeHandle(did, "other.sim.test"), p.Create(did, "net.rails.born/1"), p.AnnounceKey(did), p.Create(did, "net.rails.born/2"),
			p.Switch(Rule{Fault: Drop, Host: "relay", DID: did, Times: 2}, Rule{Fault: UnknownError, DID: did, Times: 1}),
			p.EmitIdentity(did),
			p.Create(did, "net.rails.later/1"), p.Delete(did, "net.rails.born/1"), p.Delete(did, "net.rails.born/2"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did)
		}
		p.get(t, p.PLC(), "/"+did)
		truth, err := p.Repo(did)
		if err != nil {
			t.Fatal(err)
		}
		d := p.History(did)
		if got := d.Events["#commit"] - before.Events["#commit"]; got != 5 || d.Events["#identity"] != 3 {
			t.Errorf("events: %d commits, %v", got, d.Events)
		}
		if d.PLCOps != 3 || d.Moves != 2 || d.Strange != 4 {
			t.Errorf("%d plcOps, %d moves, %d strange commits", d.PLCOps, d.Moves, d.Strange)
		}
		if got := map[FaultName]int64{Drop: 2, UnknownError: 1}; !maps.Equal(d.Fired, got) {
			t.Errorf("faults: %v", d.Fired)
		}
		if got := map[string]int64{"getRepo": 2, "did": 1}; !maps.Equal(d.Requests, got) {
			t.Errorf("requests: %v", d.Requests)
		}
		if d.FirstRev != truth.Rev || d.LastRev != truth.Rev {
			t.Errorf("shown at %s and %s, and it is at %s", d.FirstRev, d.LastRev, truth.Rev)
		}
		if _, born := d.Births["net.rails.born"]; born || d.Births["net.rails.later"] == 0 || len(d.Births) != len(truth.Collections) {
			t.Errorf("births: %v; it has %v", d.Births, truth.Collections)
		}
		if now := p.History(other); len(now.Fired) != 0 || !maps.Equal(now.Events, apart.Events) || len(now.Requests) != 0 {
			t.Errorf("of the other: %+v", now)
		}
		if p.History("did:plc:nobody").Events == nil {
			t.Error("nothing about nobody")
		}
	})
}

// Who leaves behind the header of an archive has seen that there is a repo, and not what is
// in it, however small the repo is and however late the answer.
func TestAnArchiveThatWasLeftWasNotFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, Accounts: 1, Records: 1})
		did := p.DIDs()[0]
		archive := "/xrpc/com.atproto.sync.getRepo?did=" + did
		for i, faults := range [][]Rule{nil, {{Fault: LateAnswer}}} {
			if err := p.Switch(faults...); err != nil {
				t.Fatal(err)
			}
			resp, err := p.client.Get(p.PDS(0) + archive)
			if err != nil {
				t.Fatal(err)
			}
			header := make([]byte, 59) // its length in one byte, and with it one root
			if _, err := io.ReadFull(resp.Body, header); err != nil || header[0] != byte(len(header)-1) {
				t.Fatalf("%x, %v", header, err)
			}
			_ = resp.Body.Close()
			synctest.Wait()
			if d := p.History(did); d.Left != int64(i+1) || d.Requests["getRepo"] != d.Left || d.LastRev != 0 {
				t.Errorf("%+v", d)
			}
		}
		if p.get(t, p.PDS(0), archive).car(t); p.History(did).Left != 2 || p.History(did).LastRev == 0 {
			t.Errorf("%+v", p.History(did))
		}
	})
}

func TestAHistoryCountsWhoIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, Accounts: 1, Records: 8})
		did := p.DIDs()[0]
		p.SetRate("pds1", Rate{Requests: 1, Window: time.Minute})
		for range 2 {
			p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getLatestCommit?did="+did)
		}
		p.SetDown("pds1", true)
		client := &http.Client{Transport: &http.Transport{DialContext: p.pipes.Dial, DisableKeepAlives: true}}
		if resp, err := client.Get(p.PDS(0) + "/xrpc/com.atproto.sync.getRepo?did=" + did); err == nil {
			_ = resp.Body.Close()
			t.Error("a host that is down has answered")
		}
		if d := p.History(did); d.Refused != 2 || d.Requests["getLatestCommit"] != 2 || d.Requests["getRepo"] != 0 {
			t.Errorf("%+v", d)
		}
	})
}

func TestALieAboutAnotherAccountCountsForBoth(t *testing.T) {
	n, err := New(Config{Seed: 1, Accounts: 2, Records: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	did, other := n.DIDs()[0], n.DIDs()[1]
	if err := n.Switch(Rule{Fault: WrongRepo, DID: did, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if err := n.Create(did, "net.rails.yard/lie"); err != nil {
		t.Fatal(err)
	}
	if a, b := n.History(did).Fired[WrongRepo], n.History(other).Fired[WrongRepo]; a != 1 || b != 1 {
		t.Errorf("it acted %d times on the one, %d times on the other", a, b)
	}
}

func TestAStatusIsSentOnceMore(t *testing.T) {
	n, err := New(Config{Seed: 1, Accounts: 1, Records: 8, Relay: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	did := n.DIDs()[0]
	if err := n.DeleteAccount(did); err != nil {
		t.Fatal(err)
	}
	before := n.LastSeq("relay")
	if err := n.EmitAccount(did); err != nil {
		t.Fatal(err)
	}
	if n.LastSeq("relay") != before+1 || n.History(did).Events["#account"] != 3 {
		t.Errorf("%d events of the relay, %v", n.LastSeq("relay")-before, n.History(did).Events)
	}
	if err := n.EmitAccount("did:plc:nobody"); err == nil {
		t.Error("a history of nobody")
	}
}
