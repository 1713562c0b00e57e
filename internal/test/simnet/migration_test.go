package simnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
)

// framesBehind returns the events of a host in words.
func framesBehind(t *testing.T, h *host, after int64) (frames []string) {
	t.Helper()
	for _, e := range h.stream.after(after, 1000) {
		frames = append(frames, describe(t, e.frame(e.seq)))
	}
	return frames
}

// heads are what the sources of a PDS say of an account.
type heads struct{ signed, latest, latestCID, status, listed, listedCID string }

func (p *plugged) heads(t *testing.T, pds int, did string) (h heads) {
	t.Helper()
	h.signed = p.get(t, p.PDS(pds), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t).commit(t)["rev"].(string)
	var latest struct{ CID, Rev string }
	p.get(t, p.PDS(pds), "/xrpc/com.atproto.sync.getLatestCommit?did="+did).json(t, &latest)
	var status repoStatus
	p.get(t, p.PDS(pds), "/xrpc/com.atproto.sync.getRepoStatus?did="+did).json(t, &status)
	var page repoPage
	p.get(t, p.PDS(pds), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	for _, r := range page.Repos {
		if r.DID == did {
			h.listed, h.listedCID = r.Rev, r.Head
		}
	}
	h.latest, h.latestCID, h.status = latest.Rev, latest.CID, status.Rev
	return h
}

func TestAMigratedAccountHasThreeRevsUntilItWrites(t *testing.T) {
	p := plug(t, Config{Seed: 6, PDS: 2, Relay: true})
	did := p.mustCreate(t, 0)
	do(t, p.Create(did, "net.rails.yard/a"))
	old, _ := p.Repo(did)
	oldKey := p.byDID[did].key
	from, relayed := []int64{p.LastSeq("pds1"), p.LastSeq("pds2")}, p.LastSeq("relay")
	before := p.Ledger()
	do(t, p.Migrate(did, Migration{To: 1}))

	invalidSync := "#sync (rev ≠ commit.rev; 1 block)"
	arrived := []string{"#account (active:true)", "#identity (handle)", invalidSync}
	if got := framesBehind(t, p.pdses[1], from[1]); !slices.Equal(got, arrived) {
		t.Errorf("the new PDS sends %v", got)
	}
	if got := framesBehind(t, p.pdses[0], from[0]); !slices.Equal(got, []string{"#account (active:false status:deactivated)"}) {
		t.Errorf("the old PDS sends %v", got)
	}
	if got := framesBehind(t, p.relay, relayed); !slices.Equal(got, arrived) {
		t.Errorf("the relay sends %v", got)
	}
	h := p.heads(t, 1, did)
	if h.signed != old.Rev.String() || h.latest <= h.listed || h.listed <= h.signed || h.status != h.latest ||
		h.latestCID != old.Commit.String() || h.listedCID == h.latestCID {
		t.Errorf("%+v, the old head is %+v", h, old)
	}
	a := p.byDID[did]
	if d := p.document(t, did); d.Services[0].Endpoint != p.PDS(1) || d.Methods[0].Key != a.key.public.Multibase() || a.key == oldKey || signer(t, a) != oldKey {
		t.Errorf("document %+v", d)
	}
	if now, _ := p.Repo(did); now.Data != old.Data || now.Rev != old.Rev || now.PDS != "pds2.sim.test" || p.Ledger() != before {
		t.Errorf("the truth is %+v, it was %+v", now, old)
	}
	for query, want := range map[string]string{
		"sync.getRepo?did=": "400 RepoDeactivated Repo has been deactivated: " + did, "sync.getRepoStatus?did=": "200",
		"repo.describeRepo?repo=": "400 RepoDeactivated Repo has been deactivated: " + did,
	} {
		if got := p.get(t, p.PDS(0), "/xrpc/com.atproto."+query+did).words(); got != want {
			t.Errorf("the old PDS, %s: %s", query, got)
		}
	}
	var described struct{ DIDDoc document }
	p.get(t, p.PDS(1), "/xrpc/com.atproto.repo.describeRepo?repo="+did).json(t, &described)
	if described.DIDDoc.Services[0].Endpoint != p.PDS(0) {
		t.Errorf("describeRepo has the new document at once")
	}

	from[1] = p.LastSeq("pds2")
	do(t, p.Create(did, "net.rails.yard/b"))
	first := commitsOf(t, p.pdses[1], from[1])[0]
	if first["since"] != old.Rev.String() || first["prevData"] != old.Data || first["rev"].(string) <= h.latest || signer(t, a) != a.key {
		t.Errorf("the first commit %v", first)
	}
	h = p.heads(t, 1, did)
	if now, _ := p.Repo(did); h != (heads{now.Rev.String(), now.Rev.String(), now.Commit.String(), now.Rev.String(), now.Rev.String(), now.Commit.String()}) {
		t.Errorf("after the first commit: %+v", h)
	}
}

func TestAnOldHostSpeaksForAnAccountThatLeftIt(t *testing.T) {
	p := plug(t, Config{Seed: 6, PDS: 2, Relay: true})
	did := p.mustCreate(t, 0)
	do(t, p.Create(did, "net.rails.yard/a"))
	oldKey := p.byDID[did].key
	do(t, p.Migrate(did, Migration{To: 1, OldStays: true}))
	truth, _ := p.Repo(did)
	ledger, relayed, from := p.Ledger(), p.LastSeq("relay"), p.LastSeq("pds1")
	do(t, p.WriteOnOldHost(did, Write{Action: Create, Path: "net.rails.late/a"}), p.WriteOnOldHost(did, Write{Action: Delete, Path: "net.rails.yard/a"}))
	commits := commitsOf(t, p.pdses[0], from)
	if len(commits) != 2 || commits[0]["since"] != truth.Rev.String() || commits[0]["prevData"] != truth.Data || p.LastSeq("relay") != relayed {
		t.Errorf("late commits %v, the relay has %d of %d", commits, p.LastSeq("relay"), relayed)
	}
	if now, _ := p.Repo(did); now.Rev != truth.Rev || !slices.Equal(now.Collections, []string{"net.rails.yard"}) || p.Ledger() != ledger {
		t.Errorf("late commits changed the truth: %+v", now)
	}
	car := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t)
	left := p.pdses[0].former[did]
	if car.root != left.repo.cid || signer(t, left) != oldKey {
		t.Error("the old PDS does not serve its own last commit")
	}
	do(t, p.LeaveOldHost(did, true))
	late := p.pdses[0].stream.events
	if got := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).words(); !strings.HasPrefix(got, "400 RepoNotFound ") || len(late) != 1 || p.LastSeq("relay") != relayed {
		t.Errorf("after the deletion: %s, %d events left", got, len(late))
	}
	if got := describe(t, late[0].frame(1)); got != "#account (active:false status:deleted)" {
		t.Errorf("the old PDS sends %s", got)
	}
	for what, err := range map[string]error{
		"leaves twice": p.LeaveOldHost(did, false), "writes where it is gone": p.WriteOnOldHost(did), "unknown": p.Migrate("did:plc:none", Migration{}),
	} {
		if !errors.Is(err, ErrNoAccount) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if p.Migrate(did, Migration{To: 1}) == nil || p.Migrate(did, Migration{To: 2}) == nil {
		t.Error("a migration to nowhere, or to where it is")
	}
	do(t, p.Create(did, "net.rails.yard/b"), p.Migrate(did, Migration{To: 0}), p.Create(did, "net.rails.yard/c"))
	if car := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t); car.root != p.byDID[did].repo.cid {
		t.Error("back on the first PDS, it does not serve the account")
	}
	if got := p.get(t, p.PDS(1), "/xrpc/com.atproto.sync.getRepo?did="+did).words(); !strings.HasPrefix(got, "400 RepoDeactivated ") {
		t.Errorf("the second PDS: %s", got)
	}
	do(t, p.Migrate(did, Migration{To: 1}), p.Create(did, "net.rails.yard/d"))
	var page repoPage
	p.get(t, p.PDS(1), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if car := p.get(t, p.PDS(1), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t); car.root != p.byDID[did].repo.cid || len(page.Repos) != 1 || !page.Repos[0].Active {
		t.Errorf("back on the second PDS: %+v", page)
	}
}

func TestADeletedAccountReturnsEmptyAndChainsAnew(t *testing.T) {
	p := plug(t, Config{Seed: 6, PDS: 2, Relay: true})
	did, other := p.mustCreate(t, 0), p.mustCreate(t, 0)
	do(t, p.Create(did, "net.rails.yard/a"))
	old, _ := p.Repo(did)
	if p.Return(did, 0) == nil || p.Return("did:plc:none", 0) == nil {
		t.Error("an account that is not deleted returns")
	}
	do(t, p.DeleteAccount(did))
	from := p.LastSeq("pds2")
	do(t, p.Return(did, 1))
	want := []string{"#identity (handle)", "#account (active:true)", "#commit (no ops; since:null; prevData:absent; 2 blocks)", "#sync (rev = commit.rev; 1 block)"}
	if got := framesBehind(t, p.pdses[1], from); !slices.Equal(got, want) {
		t.Errorf("the new PDS sends %v", got)
	}
	now, _ := p.Repo(did)
	if names, there := p.Truth()[did]; !there || len(names) != 0 || now.Rev <= old.Rev || p.Ledger().Active != 2 || len(p.DIDs()) != 2 {
		t.Errorf("the truth is %+v", now)
	}
	if d := p.document(t, did); d.Services[0].Endpoint != p.PDS(1) || signer(t, p.byDID[did]).public.Multibase() != d.Methods[0].Key {
		t.Errorf("document %+v", d)
	}
	do(t, p.Migrate(did, Migration{To: 0}), p.Create(did, "net.rails.yard/b"), p.DeleteAccount(did))
	do(t, p.Return(did, 1)) // where it was left deactivated
	var page repoPage
	p.get(t, p.PDS(1), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if len(page.Repos) != 1 || !page.Repos[0].Active || page.Repos[0].Head != p.byDID[did].repo.cid.String() {
		t.Errorf("back where it had left: %+v", page)
	}
	do(t, p.DeleteAccount(did), p.Return(did, 0), p.Create(other, "net.rails.yard/a"))
	if got := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t); len(got.order) != 2 {
		t.Errorf("%d blocks", len(got.order))
	}
}

// What the relay sends must lead a patient reader to the truth: one who takes the
// head from the named host wherever a commit does not follow.
func TestChurnDoesEverythingAndKeepsTheLedgerExact(t *testing.T) {
	n := quiet(t, Config{Seed: 8, PDS: 3, Accounts: 20, Records: 20, Relay: true, Churn: true, ReplayWindow: 1 << 30})
	live(t, n, 2000)
	moved, formers, returned, announced := 0, 0, 0, 0
	for _, a := range n.accounts {
		hosts := map[*host]bool{}
		for _, e := range a.plcOp.history() {
			hosts[e.pds] = true
		}
		moved += len(hosts) - 1
		if a.announced != nil {
			announced++
		}
	}
	for _, h := range n.pdses {
		formers += len(h.former)
	}
	records := map[string]map[string]bool{}
	for _, e := range n.relay.stream.events {
		kind, _, body := decodeFrame(t, e.frame(e.seq))
		switch kind {
		case "#account":
			if body["status"] == "deleted" {
				records[body["did"].(string)] = nil
			}
		case "#commit":
			did := body["repo"].(string)
			if records[did] == nil {
				if body["since"] == nil && len(n.byDID[did].keys) > 1 {
					returned++
				}
				records[did] = map[string]bool{}
			}
			for _, o := range body["ops"].([]any) {
				o := o.(map[string]any)
				if o["action"] == "delete" {
					delete(records[did], o["path"].(string))
				} else {
					records[did][o["path"].(string)] = true
				}
			}
		}
	}
	for did, collections := range n.Truth() {
		var want []string
		for path := range records[did] {
			name, _ := atproto.CollectionOf(path)
			want = append(want, name)
		}
		slices.Sort(want)
		if !slices.Equal(slices.Compact(want), collections) {
			t.Errorf("%s: the relay sends %v, the ledger %v", did, want, collections)
		}
	}
	if moved < 10 || formers < 5 || returned == 0 || announced == 0 {
		t.Errorf("a dull life: %d moved, %d formers, %d returned, %d keys announced", moved, formers, returned, announced)
	}
	again := quiet(t, Config{Seed: 8, PDS: 3, Accounts: 20, Records: 20, Relay: true, Churn: true})
	live(t, again, 2000)
	if fmt.Sprint(again.Digest()) != fmt.Sprint(n.Digest()) {
		t.Error("the same seed gave another history")
	}
}
