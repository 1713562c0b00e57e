package simnet

import (
	"slices"
	"testing"
	"testing/synctest"
)

func TestAThrottledAccountIsInactiveAtTheRelayOnly(t *testing.T) {
	p := plug(t, Config{Seed: 3, PDS: 2, Relay: true})
	did := p.mustCreate(t, 0)
	do(t, p.Create(did, "net.rails.yard/a"))
	from, own := p.LastSeq("relay"), p.LastSeq("pds1")
	do(t, p.SetRelayStatus(did, "throttled"), p.Create(did, "net.rails.yard/b"), p.Create(did, "net.rails.other/c"))
	if got := framesBehind(t, p.relay, from); !slices.Equal(got, []string{"#account (active:false status:throttled)"}) || p.LastSeq("pds1") != own+2 {
		t.Errorf("the relay sends %v", got)
	}
	if got := p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepo?did="+did).words(); got != "403 RepoInactive account is throttled" {
		t.Errorf("getRepo: %s", got)
	}
	var atRelay, atPDS repoStatus
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepoStatus?did="+did).json(t, &atRelay)
	p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepoStatus?did="+did).json(t, &atPDS)
	var page repoPage
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if atRelay.Active || atRelay.Status != "throttled" || !atPDS.Active || len(page.Repos) != 0 || len(p.Truth()[did]) != 2 {
		t.Errorf("relay %+v %+v, PDS %+v", atRelay, page, atPDS)
	}
	from = p.LastSeq("relay")
	do(t, p.SetRelayStatus(did, ""), p.Create(did, "net.rails.yard/d"))
	if got := framesBehind(t, p.relay, from); len(got) != 2 || got[0] != "#account (active:true)" {
		t.Errorf("the relay sends %v", got)
	}
	if quiet(t, Config{}).SetRelayStatus(did, "throttled") == nil {
		t.Error("a relay that is not there throttles")
	}
}

func TestARelayTakesSoManyAccountsOfOnePDS(t *testing.T) {
	p := plug(t, Config{Seed: 3, PDS: 2, Relay: true, RelayPolicy: RelayPolicy{Accounts: 2}})
	var dids []string
	for i := range 6 {
		dids = append(dids, p.mustCreate(t, i%2))
	}
	var page repoPage
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if len(page.Repos) != 4 || p.LastSeq("relay") != 16 || len(p.Truth()) != 6 {
		t.Errorf("%d repos, %d events", len(page.Repos), p.LastSeq("relay"))
	}
	var s repoStatus
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepoStatus?did="+dids[5]).json(t, &s)
	if s.Status != "throttled" || s.Active {
		t.Errorf("%+v", s)
	}
}

func TestHostsHaveTheRelaysWordAndBannedOnesAreNotHeard(t *testing.T) {
	p := plug(t, Config{Seed: 3, PDS: 2, Relay: true})
	one, two := p.mustCreate(t, 0), p.mustCreate(t, 1)
	p.SetHostStatus("pds1", "banned")
	p.SetHostStatus("pds2", "idle")
	from := p.LastSeq("relay")
	do(t, p.Create(one, "net.rails.yard/a"), p.Create(two, "net.rails.yard/a"))
	if p.LastSeq("relay") != from+1 {
		t.Errorf("%d events of the relay", p.LastSeq("relay")-from)
	}
	for i, want := range []string{"banned", "idle"} {
		var s hostStatus
		p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getHostStatus?hostname="+p.pdses[i].addr).json(t, &s)
		if s.Status != want {
			t.Errorf("%+v, want %s", s, want)
		}
	}
	p.SetHostStatus("pds1", "")
	do(t, p.Create(one, "net.rails.yard/b"))
	if p.LastSeq("relay") != from+2 {
		t.Error("a host that is no longer banned is not heard")
	}
}

func TestARelayMayRefuseTheSyncOfAMigration(t *testing.T) {
	n := quiet(t, Config{Seed: 3, PDS: 2, Relay: true})
	did := n.mustCreate(t, 0)
	do(t, n.Create(did, "net.rails.yard/a"))
	n.SetRelay(RelayPolicy{RefusesInvalidSync: true})
	from := n.LastSeq("relay")
	do(t, n.Migrate(did, Migration{To: 1}), n.Create(did, "net.rails.yard/b"), n.EmitSync(did))
	want := []string{"#account (active:true)", "#identity (handle)", "#commit", "#sync (rev = commit.rev; 1 block)"}
	got := framesBehind(t, n.relay, from)
	if len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2][:7] != want[2] || got[3] != want[3] {
		t.Errorf("the relay sends %v", got)
	}
}

func TestARelayIsResetAndKeepsAWindowOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 3, Relay: true, RelayWindow: 3})
		did := p.mustCreate(t, 0)
		for range 6 {
			do(t, p.EmitIdentity(did))
		}
		if got := p.follow(t, p.Relay(), "cursor=0").text(); got != "8 9 10" {
			t.Errorf("the relay replays %s", got)
		}
		if got := p.follow(t, p.PDS(0), "cursor=0").text(); got != "1 2 3 4 5 6 7 8 9 10" {
			t.Errorf("the PDS replays %s", got)
		}
		f := p.follow(t, p.Relay(), "cursor=10")
		synctest.Wait()
		p.ResetSequence("relay", 5)
		do(t, p.EmitIdentity(did))
		if got := f.text(); got != "closed 1006" {
			t.Errorf("the old connection: %s", got)
		}
		f, late := p.follow(t, p.Relay(), "cursor=0"), p.follow(t, p.Relay(), "cursor=10")
		synctest.Wait()
		do(t, p.EmitIdentity(did))
		if from, future := f.text(), late.text(); from != "5 6" || future != "6" {
			t.Errorf("from the beginning %s, from the old cursor %s", from, future)
		}
		p.ForgetWindow("relay")
		if got := p.follow(t, p.Relay(), "cursor=0").text(); got != "" || p.LastSeq("relay") != 6 {
			t.Errorf("a forgotten window replays %s", got)
		}
	})
}
