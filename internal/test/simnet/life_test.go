package simnet

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
)

// quiet makes a network for a test; without Config.Listen it has no servers.
func quiet(t testing.TB, cfg Config) *Network {
	t.Helper()
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func live(t testing.TB, n *Network, steps int) {
	t.Helper()
	for range steps {
		if err := n.Step(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneSeedGivesOneHistory(t *testing.T) {
	run := func(seed uint64, pipes bool) [32]byte {
		cfg := Config{Seed: seed, PDS: 2, Accounts: 20, Relay: true}
		if pipes {
			cfg.Listen = NewPipes().Listen
		}
		n := quiet(t, cfg)
		live(t, n, 200)
		return n.Digest()
	}
	first := run(1, false)
	if again := run(1, false); again != first {
		t.Error("the same seed gave another history")
	}
	if again := run(1, true); again != first {
		t.Error("servers changed the history")
	}
	if other := run(2, false); other == first {
		t.Error("another seed gave the same history")
	}
}

// account as a strict reader of the firehose would know it.
type mirrored struct {
	rev, data string
	records   map[string]atproto.Digest
	status    string
}

// mirror follows the frames of a firehose and fails at whatever does not follow
// from what came before.
type mirror struct {
	t        testing.TB
	net      *Network
	accounts map[string]*mirrored
	kinds    map[string]int
}

func (m *mirror) frame(frame []byte) {
	kind, op, body := decodeFrame(m.t, frame)
	if op != 1 {
		m.t.Fatalf("op %d", op)
	}
	m.kinds[kind]++
	if _, err := time.Parse(time.RFC3339, body["time"].(string)); err != nil {
		m.t.Error(err)
	}
	switch kind {
	case "#commit":
		m.commit(body)
	case "#sync":
		m.sync(body)
	case "#account":
		a := m.accounts[body["did"].(string)]
		if a == nil {
			a = &mirrored{records: map[string]atproto.Digest{}}
			m.accounts[body["did"].(string)] = a
		}
		a.status, _ = body["status"].(string)
		if body["active"] != (a.status == "") {
			m.t.Errorf("active %v with status %q", body["active"], a.status)
		}
	case "#identity":
	default:
		m.t.Fatalf("frame %q", kind)
	}
}

// signed checks the commit block of a frame and returns it.
func (m *mirror) signed(did string, a *archive) map[string]any {
	c := a.commit(m.t)
	if c["did"] != did || c["version"] != int64(3) || len(c) != 6 {
		m.t.Fatalf("commit %v", c)
	}
	rev, err := atproto.ParseTID(c["rev"].(string))
	if err != nil {
		m.t.Fatal(err)
	}
	unsigned := appendCommit(nil, did, rev, c["data"].(atproto.Digest), nil, nil)
	for _, key := range m.net.byDID[did].keys {
		public, err := atcrypto.ParsePublicMultibase(key.public.Multibase())
		if err != nil {
			m.t.Fatal(err)
		}
		if public.HashAndVerify(unsigned, c["sig"].([]byte)) == nil {
			return c
		}
	}
	m.t.Fatalf("%s: the commit verifies under no key", did)
	return nil
}

func (m *mirror) sync(body map[string]any) {
	did := body["did"].(string)
	c := m.signed(did, readCAR(m.t, body["blocks"].([]byte)))
	a := m.accounts[did]
	if c["rev"] != body["rev"] || c["data"].(atproto.Digest).String() != a.data {
		m.t.Fatalf("%s: #sync of rev %v does not show the repo as it stands", did, body["rev"])
	}
	a.rev = c["rev"].(string)
}

func (m *mirror) commit(body map[string]any) {
	t, did := m.t, body["repo"].(string)
	a := m.accounts[did]
	if a.status != "" {
		t.Fatalf("%s: a commit of a %s account", did, a.status)
	}
	car := readCAR(t, body["blocks"].([]byte))
	c := m.signed(did, car)
	if car.root != body["commit"] || c["rev"] != body["rev"] || body["rev"].(string) <= a.rev {
		t.Fatalf("%s: commit block and message disagree, or the rev goes back", did)
	}
	since, _ := body["since"].(string)
	prevData, chained := body["prevData"].(atproto.Digest)
	if since != a.rev || chained != (a.rev != "") || chained && prevData.String() != a.data {
		t.Fatalf("%s: since %q and prevData %v do not follow %q and %s", did, since, prevData, a.rev, a.data)
	}
	before := map[string]*atproto.Digest{} // the records that the commit found
	var paths []string
	for _, o := range body["ops"].([]any) {
		o := o.(map[string]any)
		path := o["path"].(string)
		paths = append(paths, path)
		if _, _, err := atproto.ParsePath(path); err != nil {
			t.Fatal(err)
		}
		had, found := a.records[path]
		if _, again := before[path]; !again {
			before[path] = nil
			if found {
				before[path] = &had
			}
		}
		prev, hasPrev := o["prev"].(atproto.Digest)
		cid, hasCID := o["cid"].(atproto.Digest)
		if hasPrev != (before[path] != nil) || hasPrev && prev != *before[path] {
			t.Fatalf("%s: prev is not the record before the commit: %v", path, o)
		}
		switch o["action"] {
		case "create":
			if found || !hasCID {
				t.Fatalf("create %s: %v", path, o)
			}
			a.records[path] = cid
		case "update":
			if !found || !hasCID {
				t.Fatalf("update %s: %v", path, o)
			}
			a.records[path] = cid
		case "delete":
			if !found || hasCID {
				t.Fatalf("delete %s: %v", path, o)
			}
			delete(a.records, path)
		}
	}
	m.tree(did, car, c["data"].(atproto.Digest), paths)
	for _, path := range paths {
		if cid, found := a.records[path]; found && car.blocks[cid] == nil {
			t.Fatalf("%s: the record of %s is not in the CAR", did, path)
		}
	}
	a.rev, a.data = c["rev"].(string), c["data"].(atproto.Digest).String()
}

// tree checks that the root is that of all records, and that the blocks show
// each changed key between its neighbours.
func (m *mirror) tree(did string, car *archive, root atproto.Digest, paths []string) {
	a := m.accounts[did]
	all := slices.Sorted(maps.Keys(a.records))
	entries := make([]entry, len(all))
	for i, key := range all {
		entries[i] = entry{key: key, digest: a.records[key], height: keyHeight(key)}
	}
	if want, _ := buildTree(entries, nil, nil, 1); want.root.digest != root {
		m.t.Fatalf("%s: data %v, want %v", did, root, want.root.digest)
	}
	values := map[string]atproto.Digest{}
	walked, _ := car.walk(m.t, root, values)
	for key, cid := range values {
		if a.records[key] != cid {
			m.t.Fatalf("%s: the blocks show %s with another CID", did, key)
		}
	}
	for _, path := range paths {
		if !shows(walked, all, path) {
			m.t.Fatalf("%s: the blocks hide %s or a neighbour", did, path)
		}
	}
}

func TestEveryFrameFollowsFromTheOnesBefore(t *testing.T) {
	n := quiet(t, Config{Seed: 11, PDS: 3, Accounts: 40, Relay: true, ReplayWindow: 1 << 30})
	live(t, n, 1200)
	m := &mirror{t: t, net: n, accounts: map[string]*mirrored{}, kinds: map[string]int{}}
	for i, e := range n.relay.stream.events {
		if e.seq != int64(i+1) {
			t.Fatalf("seq %d at place %d", e.seq, i)
		}
		frame := e.frame(e.seq)
		if _, _, body := decodeFrame(t, frame); body["seq"] != e.seq {
			t.Fatalf("frame says seq %v, stream %d", body["seq"], e.seq)
		}
		m.frame(frame)
	}
	want := map[string][]string{}
	for did, a := range m.accounts {
		if a.status != "" {
			continue
		}
		seen := map[string]bool{}
		for path := range a.records {
			name, _ := atproto.CollectionOf(path)
			seen[name] = true
		}
		want[did] = slices.Sorted(maps.Keys(seen))
	}
	truth := n.Truth()
	if len(truth) != len(want) {
		t.Errorf("the ledger has %d active repos, the firehose %d", len(truth), len(want))
	}
	for did, names := range want {
		if !slices.Equal(truth[did], names) {
			t.Errorf("%s: the ledger says %v, the firehose %v", did, truth[did], names)
		}
	}
	for _, kind := range []string{"#commit", "#sync", "#identity", "#account"} {
		if m.kinds[kind] < 20 {
			t.Errorf("only %d %s", m.kinds[kind], kind)
		}
	}
	if l := n.Ledger(); l.Commits != int64(m.kinds["#commit"]) {
		t.Errorf("the ledger counts %d commits, the firehose %d", l.Commits, m.kinds["#commit"])
	}
}

// A life that does not do a thing does not test it.
func TestLifeDoesEverything(t *testing.T) {
	n := quiet(t, Config{Seed: 5, PDS: 2, Accounts: 50, Relay: true, ReplayWindow: 1 << 30})
	live(t, n, 2500)
	seen := map[string]int{}
	for _, e := range n.relay.stream.events {
		kind, _, body := decodeFrame(t, e.frame(e.seq))
		seen[kind]++
		if status, ok := body["status"].(string); ok {
			seen[status]++
		}
		if kind != "#commit" {
			continue
		}
		ops := body["ops"].([]any)
		if len(ops) == 0 {
			seen["empty commit"]++
		}
		if len(ops) > 1 {
			seen["several ops"]++
		}
		paths := map[string]string{}
		for _, o := range ops {
			o := o.(map[string]any)
			path, action := o["path"].(string), o["action"].(string)
			seen[action]++
			if first := paths[path]; first != "" {
				seen[first+" and "+action+" of one path"]++
			}
			paths[path] = action
		}
	}
	for _, a := range n.accounts {
		seen["rotation"] += len(a.keys) - 1
	}
	for _, what := range []string{
		"rotation", "deactivated", "takendown", "suspended", "deleted", "empty commit", "several ops",
		"create", "update", "delete", "create and delete of one path", "create and update of one path",
		"delete and create of one path", "update and update of one path", "update and delete of one path",
	} {
		if seen[what] < 3 {
			t.Errorf("%s: only %d times", what, seen[what])
		}
	}
	l := n.Ledger()
	if l.Births < 500 || l.Deaths < 200 || l.Active < 40 || l.Accounts <= 50 || l.Active >= l.Accounts || l.Collections < len(nsids())*3/4 {
		t.Errorf("a dull life: %+v", l)
	}
	if int64(l.Memberships) > l.Births-l.Deaths {
		t.Errorf("more memberships than births without deaths: %+v", l)
	}
}

func TestEveryNSIDOfLivesIsValid(t *testing.T) {
	for _, name := range nsids() {
		if _, err := atproto.ParseNSID(name); err != nil {
			t.Error(err)
		}
	}
	if kin := relatives("net.rails.yard"); len(kin) < 8 {
		t.Errorf("net.rails.yard has only %v", kin)
	}
}

func TestRevsStayBehindTheClockAndGrow(t *testing.T) {
	start := time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)
	n := quiet(t, Config{Seed: 1, Accounts: 5, Start: start})
	live(t, n, 500)
	for _, did := range n.DIDs() {
		s, err := n.Repo(did)
		if err != nil {
			t.Fatal(err)
		}
		if s.Status != "" {
			continue
		}
		if at := s.Rev.Time(); at.Before(start) || at.After(start.Add(3*time.Second)) {
			t.Errorf("%s: rev of %v", did, at)
		}
	}
}

func TestNowPullsRevsForward(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	n := quiet(t, Config{Seed: 1, Now: func() time.Time { return now }})
	did, err := n.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := n.Repo(did); s.Rev.Time().Before(now) {
		t.Errorf("rev of %v", s.Rev.Time())
	}
}

func BenchmarkStep(b *testing.B) {
	n := quiet(b, Config{Seed: 1, Accounts: 50, Relay: true})
	for b.Loop() {
		if err := n.Step(); err != nil {
			b.Fatal(err)
		}
	}
	records := 0
	dids := n.DIDs()
	for _, did := range dids {
		records += len(n.Paths(did))
	}
	b.ReportMetric(float64(records)/float64(n.Ledger().Active), "records/repo")
}

// create makes an account and fails the test where it cannot.
func (n *Network) mustCreate(t testing.TB, pds int) string {
	t.Helper()
	did, err := n.CreateAccount(pds)
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// do fails the test at the first error of a story.
func do(t testing.TB, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatal(fmt.Errorf("step %d: %w", i, err))
		}
	}
}
