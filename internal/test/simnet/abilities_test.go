package simnet

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// commitsOf returns the #commits of a host's stream behind a number.
func commitsOf(t *testing.T, h *host, after int64) (bodies []map[string]any) {
	t.Helper()
	for _, e := range h.stream.after(after, 1<<20) {
		if kind, op, body := decodeFrame(t, e.frame(e.seq)); kind == "#commit" && op == 1 {
			bodies = append(bodies, body)
		}
	}
	return bodies
}

func TestABridgyHostProvesNoAbsence(t *testing.T) {
	p := plug(t, Config{Seed: 1, PDS: 2, Start: time.Now(), Abilities: map[string]Abilities{"pds1": BridgyAbilities()}})
	did, other := p.mustCreate(t, 0), p.mustCreate(t, 1)
	for _, who := range []string{did, other} {
		do(t, p.Create(who, "net.rails.yard/a"), p.Create(who, "net.rails.yard/b"))
	}
	record := func(pds int, did, rkey string) string {
		q := url.Values{"did": {did}, "collection": {"net.rails.yard"}, "rkey": {rkey}}
		return p.get(t, p.PDS(pds), "/xrpc/com.atproto.sync.getRecord?"+q.Encode()).words()
	}
	if got := record(0, did, "none"); !strings.HasPrefix(got, "400 RecordNotFound ") {
		t.Errorf("absent: %s", got)
	}
	if present, elsewhere := record(0, did, "a"), record(1, other, "none"); present != "200" || elsewhere != "200" {
		t.Errorf("present: %s, on the reference PDS: %s", present, elsewhere)
	}
	const getRepo, describe = "/xrpc/com.atproto.sync.getRepo?did=", "/xrpc/com.atproto.repo.describeRepo?repo="
	if got := p.get(t, p.PDS(0), getRepo+did).words(); !strings.HasPrefix(got, "501 NotImplemented ") {
		t.Errorf("getRepo of a young repo: %s", got)
	}
	var described struct{ Collections []string }
	p.get(t, p.PDS(0), describe+did).json(t, &described)
	if slices.Contains(described.Collections, "net.rails.yard") || len(described.Collections) != 5 {
		t.Errorf("describeRepo: %v", described.Collections)
	}
	commits := commitsOf(t, p.pdses[0], 0)
	for i, body := range commits {
		car := readCAR(t, body["blocks"].([]byte))
		if body["since"] != nil || car.order[0] != car.root || (car.commit(t)["prev"] != nil) != (i > 0) {
			t.Errorf("commit %d: since %v, commit block %v", i, body["since"], car.commit(t))
		}
	}
	if len(commits) != 3 {
		t.Errorf("%d commits", len(commits))
	}
	ab := BridgyAbilities()
	ab.YoungFor = 0
	p.SetAbilities("pds1", ab)
	if car := p.get(t, p.PDS(0), getRepo+did).car(t); car.order[0] != car.root {
		t.Error("getRepo does not begin with the commit")
	}
}

func TestALegacyHostLeavesOutWhatSync11Added(t *testing.T) {
	n := quiet(t, Config{Seed: 1, Relay: true, Abilities: map[string]Abilities{"pds1": LegacyAbilities()}})
	did := n.mustCreate(t, 0)
	write := func() {
		for i := range 12 {
			path := fmt.Sprintf("net.rails.yard/%d", n.LastSeq("pds1")+int64(i))
			do(t, n.Create(did, path), n.Update(did, path), n.Delete(did, path))
		}
	}
	count := func(after int64) (prevData, prev, ops int) {
		for _, body := range commitsOf(t, n.relay, after) {
			if body["prevData"] != nil {
				prevData++
			}
			for _, o := range body["ops"].([]any) {
				ops++
				if o.(map[string]any)["prev"] != nil {
					prev++
				}
			}
		}
		return prevData, prev, ops
	}
	write()
	if prevData, prev, ops := count(0); prevData != 0 || prev != 0 || ops != 36 {
		t.Errorf("always: %d prevData and %d prev in %d ops", prevData, prev, ops)
	}
	before := n.LastSeq("relay")
	n.SetAbilities("pds1", Abilities{NoPrevData: true, NoOpPrev: true, Sometimes: true})
	write()
	if prevData, prev, ops := count(before); prevData < 6 || prevData > 20 || prev < 4 || prev > 16 || ops != 36 {
		t.Errorf("sometimes: %d prevData and %d prev in %d ops", prevData, prev, ops)
	}
}

func TestNewNodesOnlyHidesNeighboursNowAndThen(t *testing.T) {
	hidden := func(ab Abilities) (commits, blind int) {
		n := quiet(t, Config{Seed: 3, Records: 200, ReplayWindow: 1 << 30, Abilities: map[string]Abilities{"pds1": ab}})
		did := n.mustCreate(t, 0)
		var all []string
		for i := range 300 {
			path := fmt.Sprintf("net.rails.yard/%d", i*7919%1000)
			do(t, n.Create(did, path))
			all = append(all, path)
			slices.Sort(all)
			body := commitsOf(t, n.pdses[0], n.LastSeq("pds1")-1)[0]
			car := readCAR(t, body["blocks"].([]byte))
			walked, _ := car.walk(t, n.byDID[did].repo.data(), values{})
			if commits++; !shows(walked, all, path) {
				blind++
			}
		}
		return commits, blind
	}
	if _, blind := hidden(Abilities{}); blind != 0 {
		t.Errorf("the reference PDS hides %d neighbours", blind)
	}
	if commits, blind := hidden(Abilities{NewNodesOnly: true}); blind < commits/50 || blind > commits/3 {
		t.Errorf("%d of %d commits hide a neighbour", blind, commits)
	}
}
