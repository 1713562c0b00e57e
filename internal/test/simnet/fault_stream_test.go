package simnet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/gorilla/websocket"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// seen is one message of a firehose at a client.
type seen struct {
	text  bool
	raw   []byte
	kind  string
	op    int64
	seq   int64
	body  map[string]any
	wrong bool // no frame
	at    time.Time
}

// readSeen decodes without failing a test.
func readSeen(kind int, raw []byte) seen {
	s := seen{text: kind == websocket.TextMessage, raw: raw, at: time.Now()}
	r := dagcbor.NewReader(raw)
	header, _ := value(&r).(map[string]any)
	s.body, _ = value(&r).(map[string]any)
	s.wrong = r.End() != nil || header == nil || s.body == nil
	s.kind, _ = header["t"].(string)
	s.op, _ = header["op"].(int64)
	s.seq, _ = s.body["seq"].(int64)
	return s
}

// watch follows a firehose from behind a number and returns what came, and how the
// connection ended, once everything in the bubble is idle.
func (p *plugged) watch(t testing.TB, base string, after int64) func() ([]seen, error) {
	t.Helper()
	return p.watchConn(t, p.dial(t, base, fmt.Sprintf("cursor=%d", after)))
}

// watchLive is watch without a cursor.
func (p *plugged) watchLive(t testing.TB, base string) func() ([]seen, error) {
	t.Helper()
	return p.watchConn(t, p.dial(t, base, ""))
}

func (p *plugged) watchConn(t testing.TB, conn *websocket.Conn) func() ([]seen, error) {
	var all []seen
	var end error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			kind, raw, err := conn.ReadMessage()
			if err != nil {
				end = err
				return
			}
			all = append(all, readSeen(kind, raw))
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return func() ([]seen, error) {
		synctest.Wait()
		return all, end
	}
}

// scenario is a network of two PDSes and a relay, with an account on the first that is
// lied about.
type scenario struct {
	*plugged
	t      *testing.T
	did    string
	other  string // on the second PDS
	before RepoState
	from   int64 // the number of the first event behind the beginning, less one
}

func newScenario(t *testing.T) *scenario {
	p := plug(t, Config{Seed: 4, PDS: 2, Relay: true})
	s := &scenario{plugged: p, t: t, did: p.mustCreate(t, 0), other: p.mustCreate(t, 1)}
	for i := range 30 {
		do(t, p.Create(s.did, fmt.Sprintf("net.rails.yard%d/%d", i%3, i)), p.Create(s.other, fmt.Sprintf("net.rails.yard/%d", i)))
	}
	s.before, _ = p.Repo(s.did)
	s.from = p.LastSeq("pds1")
	return s
}

// write makes a commit of three ops, whose proof has a node that shows a neighbour and
// no more: such keys are rare in a small tree.
func (s *scenario) write() {
	s.t.Helper()
	do(s.t, s.Apply(s.did, Write{Action: Update, Path: "net.rails.yard0/0"}, Write{Action: Delete, Path: "net.rails.yard1/1"},
		Write{Action: Create, Path: "net.rails.yard2/new43"}))
}

// truth is the last event as the relay sends it, where no fault of the scenario acts.
func (s *scenario) truth() seen {
	events := s.relay.stream.events
	last := events[len(events)-1]
	return readSeen(websocket.BinaryMessage, last.frame(last.seq))
}

func (s *scenario) signed(body map[string]any) bool {
	s.t.Helper()
	car := readCAR(s.t, body["blocks"].([]byte))
	c := car.commit(s.t)
	rev, err := atproto.ParseTID(c["rev"].(string))
	if err != nil || c["rev"] != body["rev"] || body["commit"] != nil && body["commit"] != car.root {
		s.t.Errorf("commit block %v, message of rev %v (%v)", c, body["rev"], err)
	}
	public, err := atcrypto.ParsePublicMultibase(s.byDID[s.did].key.public.Multibase())
	if err != nil {
		s.t.Fatal(err)
	}
	return public.HashAndVerify(appendCommit(nil, s.did, rev, c["data"].(atproto.Digest), nil, nil), c["sig"].([]byte)) == nil
}

// forged checks that a commit can be undone to the true tree, and returns its path.
func (s *scenario) forged(body map[string]any) string {
	s.t.Helper()
	now, _ := s.Repo(s.did)
	path := body["ops"].([]any)[0].(map[string]any)["path"].(string)
	cid := body["ops"].([]any)[0].(map[string]any)["cid"].(atproto.Digest)
	entries := append(slices.Clone(s.byDID[s.did].repo.entries), entry{key: path, digest: cid, height: keyHeight(path)})
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	want, _ := buildTree(entries, nil, nil, 1)
	c := readCAR(s.t, body["blocks"].([]byte)).commit(s.t)
	if body["prevData"] != now.Data || c["data"] != want.root.digest || body["rev"].(string) <= now.Rev.String() || s.signed(body) {
		s.t.Errorf("forged %v after %+v", body, now)
	}
	return path
}

func ops(s seen) []any { return s.body["ops"].([]any) }

// lies are what a client of the first PDS sees of one commit under each fault.
func streamStories() map[FaultName]func(s *scenario, got []seen, end error) bool {
	one := func(check func(s *scenario, lie, truth seen) bool) func(*scenario, []seen, error) bool {
		return func(s *scenario, got []seen, end error) bool {
			return end == nil && len(got) == 1 && got[0].kind == "#commit" && check(s, got[0], s.truth())
		}
	}
	beside := func(check func(s *scenario, lie seen) bool) func(*scenario, []seen, error) bool {
		return func(s *scenario, got []seen, end error) bool {
			return end == nil && len(got) == 2 && got[0].kind == "#commit" && s.signed(got[0].body) && check(s, got[1])
		}
	}
	return map[FaultName]func(*scenario, []seen, error) bool{
		Drop: func(s *scenario, got []seen, _ error) bool { return len(got) == 0 && s.LastSeq("pds1") == s.from },
		Repeat: func(_ *scenario, got []seen, _ error) bool {
			return len(got) == 2 && got[1].seq == got[0].seq+1 && got[0].body["commit"] == got[1].body["commit"]
		},
		LostWindow: func(s *scenario, got []seen, _ error) bool {
			late, _ := s.watch(s.t, s.PDS(0), 0)()
			return len(got) == 1 && len(late) == 2 && late[0].kind == "#info" && late[1].seq == got[0].seq
		},
		SequenceReset: func(s *scenario, got []seen, end error) bool {
			again, _ := s.watch(s.t, s.PDS(0), 0)()
			return end != nil && len(got) == 0 && len(again) == 1 && again[0].seq == 1
		},
		WrongSignature: one(func(s *scenario, lie, truth seen) bool {
			return !s.signed(lie.body) && s.signed(truth.body) && lie.body["rev"] == truth.body["rev"]
		}),
		WrongPrevData: one(func(s *scenario, lie, truth seen) bool {
			return lie.body["prevData"] != s.before.Data && truth.body["prevData"] == s.before.Data && lie.body["commit"] == truth.body["commit"]
		}),
		NoPrevData: one(func(_ *scenario, lie, truth seen) bool {
			return lie.body["prevData"] == nil && lie.body["commit"] == truth.body["commit"]
		}),
		LeastNodes: one(func(s *scenario, lie, truth seen) bool {
			fewer, all := readCAR(s.t, lie.body["blocks"].([]byte)), readCAR(s.t, truth.body["blocks"].([]byte))
			return len(fewer.order) < len(all.order) && lie.body["commit"] == truth.body["commit"] && lie.body["prevData"] == s.before.Data
		}),
		NoOpPrev: one(func(_ *scenario, lie, _ seen) bool {
			with := 0
			for _, o := range ops(lie) {
				if o.(map[string]any)["prev"] != nil {
					with++
				}
			}
			return with == 1 && lie.body["prevData"] != nil
		}),
		MissingBlock: one(func(s *scenario, lie, truth seen) bool {
			fewer, all := readCAR(s.t, lie.body["blocks"].([]byte)), readCAR(s.t, truth.body["blocks"].([]byte))
			return len(fewer.order) == len(all.order)-1 && s.signed(lie.body)
		}),
		ForgedBlock: one(func(_ *scenario, lie, truth seen) bool {
			a, b := lie.body["blocks"].([]byte), truth.body["blocks"].([]byte)
			differ := 0
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					differ++
				}
			}
			return len(a) == len(b) && differ == 1
		}),
		OmittedOp:  one(func(_ *scenario, lie, truth seen) bool { return len(ops(lie)) == 2 && len(ops(truth)) == 3 }),
		InventedOp: one(func(_ *scenario, lie, _ seen) bool { return len(ops(lie)) == 4 }),
		OldRev: one(func(s *scenario, lie, _ seen) bool {
			return s.signed(lie.body) && lie.body["rev"].(string) < s.before.Rev.String()
		}),
		FutureRev: one(func(s *scenario, lie, truth seen) bool {
			rev, err := atproto.ParseTID(lie.body["rev"].(string))
			return err == nil && s.signed(lie.body) && rev.Time().After(s.clock.Add(23*time.Hour)) && truth.body["rev"] != lie.body["rev"]
		}),
		WrongRepo: one(func(s *scenario, lie, _ seen) bool { return lie.body["repo"] == s.other }),
		ForgedCommit: beside(func(s *scenario, lie seen) bool {
			collection, _, _ := strings.Cut(s.forged(lie.body), "/")
			return slices.Contains(s.before.Collections, collection)
		}),
		ForgedBirth: beside(func(s *scenario, lie seen) bool {
			collection, _, _ := strings.Cut(s.forged(lie.body), "/")
			return !slices.Contains(s.before.Collections, collection)
		}),
		ForgedSync: beside(func(s *scenario, lie seen) bool { return lie.kind == "#sync" && !s.signed(lie.body) }),
		FalseStatus: beside(func(s *scenario, lie seen) bool {
			return lie.kind == "#account" && lie.body["active"] == false && lie.body["status"] != "" && s.byDID[s.did].active()
		}),
		Impostor: func(s *scenario, got []seen, _ error) bool {
			events := s.pdses[1].stream.events
			last := readSeen(websocket.BinaryMessage, events[len(events)-1].frame(1))
			return len(got) == 1 && last.kind == "#account" && last.body["did"] == s.did && last.body["status"] == "deleted"
		},
		UnknownType: beside(func(_ *scenario, lie seen) bool { return lie.kind == "#novelty" || lie.op == 7 }),
		BadSchema:   beside(func(_ *scenario, lie seen) bool { return lie.kind == "#sync" && lie.body["rev"] == "nonsense" }),
		MalformedFrame: beside(func(s *scenario, lie seen) bool {
			again, _ := s.watch(s.t, s.PDS(0), s.from)()
			return lie.wrong && len(again) == 2 && again[1].wrong
		}),
		OversizedFrame: beside(func(_ *scenario, lie seen) bool { return len(lie.raw) > 6_000_000 }),
		CutFrame: func(s *scenario, got []seen, end error) bool {
			again, alive := s.watch(s.t, s.PDS(0), s.from)()
			return end != nil && len(got) == 0 && alive == nil && len(again) == 1
		},
		Stall: func(s *scenario, got []seen, _ error) bool {
			now := time.Now()
			silent := len(got) == 0
			second := s.watch(s.t, s.PDS(0), s.from) // for whom it does not stall
			at, _ := second()
			time.Sleep(stallTime + time.Second)
			return silent && len(at) == 1 && at[0].at.Equal(now)
		},
		Silence: func(s *scenario, got []seen, end error) bool {
			time.Sleep(time.Hour)
			again, _ := s.watch(s.t, s.PDS(0), s.from)()
			return end == nil && len(got) == 0 && len(again) == 1
		},
		Stutter: func(_ *scenario, got []seen, _ error) bool {
			return len(got) == 2 && bytes.Equal(got[0].raw, got[1].raw)
		},
		TextMessage: func(_ *scenario, got []seen, _ error) bool {
			return len(got) == 2 && got[0].text && got[1].kind == "#commit"
		},
		TooSlow: func(s *scenario, got []seen, end error) bool {
			closed, ok := errors.AsType[*websocket.CloseError](end)
			again, _ := s.watch(s.t, s.PDS(0), s.from)()
			return ok && closed.Code == websocket.ClosePolicyViolation && len(got) == 1 && got[0].op == -1 && len(again) == 1
		},
		Reorder: nil, // at the relay only, see below
	}
}

func TestEveryFaultOfAStreamDoesWhatItsLineSays(t *testing.T) {
	stories := streamStories()
	for _, f := range Faults() {
		if f.Where != OnStream {
			continue
		}
		story, known := stories[f.Name]
		if !known {
			t.Errorf("%s: nothing shows that it does: %s", f.Name, f.Doc)
		}
		if story == nil {
			continue
		}
		t.Run(string(f.Name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t)
				do(t, s.Switch(Rule{Fault: f.Name, Host: "pds1", Times: 1}))
				look := s.watch(t, s.PDS(0), s.from)
				synctest.Wait()
				digest := s.Digest()
				s.write()
				got, end := look()
				if !story(s, got, end) {
					t.Errorf("%s\n%d frames, end %v: %v", f.Doc, len(got), end, got)
				}
				if f.Name == Stall {
					if got, _ = look(); len(got) != 1 {
						t.Errorf("%d frames after the stall", len(got))
					}
				}
				if s.Fired(f.Name) != 1 || len(s.FiredAll()) != 1 {
					t.Errorf("fired %v", s.FiredAll())
				}
				truth := newScenario(t)
				if truth.Digest() != digest {
					t.Fatal("the scenarios differ")
				}
				truth.write()
				if truth.Digest() != s.Digest() || !slices.Equal(truth.Paths(truth.did), s.Paths(s.did)) {
					t.Error("the fault changed what is true")
				}
			})
		})
	}
}

func TestReorderSwapsEventsOfTwoHostsAndKeepsTheOrderOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		from := s.LastSeq("relay")
		do(t, s.Switch(Rule{Fault: Reorder, DID: s.did}))
		look := s.watch(t, s.Relay(), from)
		write := func(did string, rkeys ...string) {
			for _, rkey := range rkeys {
				do(t, s.Create(did, "net.rails.order/"+rkey))
			}
		}
		write(s.did, "1", "2")
		write(s.other, "3")
		sent := func() string {
			got, _ := look()
			var text string
			for _, e := range got {
				path := ops(e)[0].(map[string]any)["path"].(string)
				text += path[len(path)-1:]
			}
			return text
		}
		if got := sent(); got != "132" {
			t.Errorf("order %s, want 132: the second after the next event of another PDS", got)
		}
		write(s.did, "4")
		if got := sent(); got != "132" {
			t.Errorf("order %s, want 132 and the last one delayed", got)
		}
		s.SwitchOff()
		if got := sent(); got != "1324" || s.LastSeq("relay") != from+4 || s.Fired(Reorder) != 3 {
			t.Errorf("order %s at the end, %v", got, s.FiredAll())
		}
	})
}

func TestALieCanBeFollowedByTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		do(t, s.Switch(Rule{Fault: WrongPrevData, Host: "pds1", Also: true}, Rule{Fault: NoPrevData, Host: "relay", Skip: 1, Times: 1}))
		for range 3 {
			do(t, s.Update(s.did, "net.rails.yard0/0"))
		}
		got, _ := s.watch(t, s.PDS(0), s.from)()
		if len(got) != 6 || got[0].body["prevData"] == s.before.Data || got[1].body["prevData"] != s.before.Data || got[0].body["commit"] != got[1].body["commit"] {
			t.Errorf("%v", got)
		}
		without := 0
		for _, e := range s.relay.stream.after(s.LastSeq("relay")-3, 3) {
			if _, _, body := decodeFrame(t, e.frame(e.seq)); body["prevData"] == nil {
				without++
			}
		}
		if without != 1 || s.Fired(NoPrevData) != 1 || s.Fired(WrongPrevData) != 3 {
			t.Errorf("%d without prevData, fired %v", without, s.FiredAll())
		}
	})
}

// streams hashes what the streams of all hosts hold.
func streams(n *Network) string {
	h := dagcbor.AppendArray(nil, 0)
	for _, host := range append([]*host{n.relay}, n.pdses...) {
		for _, e := range host.stream.events {
			if len(h) > 1<<20 {
				d := atproto.DigestOf(h)
				h = d[:]
			}
			h = append(h, e.frame(e.seq)...)
		}
	}
	return atproto.DigestOf(h).String()
}

func TestFaultsAreAFunctionOfTheSeedAndChangeNoTruth(t *testing.T) {
	run := func(rules []Rule) *Network {
		n := quiet(t, Config{Seed: 9, PDS: 3, Accounts: 10, Relay: true, ReplayWindow: 1 << 30})
		do(t, n.Switch(rules...))
		live(t, n, 400)
		return n
	}
	mixture := slices.DeleteFunc(Mixture(9, 0.3, OnStream), func(r Rule) bool { return r.Fault == OversizedFrame })
	if len(mixture) < 8 {
		t.Fatalf("only %d rules", len(mixture))
	}
	truth, first, second := run(nil), run(mixture), run(mixture)
	if truth.Digest() != first.Digest() || truth.Ledger() != first.Ledger() {
		t.Error("faults changed the history")
	}
	if streams(first) != streams(second) || streams(first) == streams(truth) {
		t.Error("the same faults made another history, or none at all")
	}
	if len(first.FiredAll()) < len(mixture)/2 {
		t.Errorf("of %d faults only %v fired", len(mixture), first.FiredAll())
	}
}

func TestOneFaultDoesNotShiftAnother(t *testing.T) {
	// gone lists the commits that the first PDS did not send.
	gone := func(rules ...Rule) (cids []string) {
		n := quiet(t, Config{Seed: 9, PDS: 2, Accounts: 10, Relay: true, ReplayWindow: 1 << 30})
		do(t, n.Switch(rules...))
		live(t, n, 300)
		there := map[string]bool{}
		for _, body := range commitsOf(t, n.pdses[0], 0) {
			there[body["commit"].(atproto.Digest).String()] = true
		}
		for _, body := range commitsOf(t, n.relay, 0) {
			if cid := body["commit"].(atproto.Digest).String(); n.byDID[body["repo"].(string)].pds == n.pdses[0] && !there[cid] {
				cids = append(cids, cid)
			}
		}
		return cids
	}
	drop := Rule{Fault: Drop, Host: "pds1", Chance: 0.2}
	alone := gone(drop)
	with := gone(Rule{Fault: Repeat, Chance: 0.3, Host: "pds1"}, Rule{Fault: UnknownType, Chance: 0.3}, drop, Rule{Fault: FalseStatus, Chance: 0.5})
	if len(alone) < 10 || !slices.Equal(alone, with) {
		t.Errorf("alone %d commits are dropped, beside other faults %d", len(alone), len(with))
	}
}

func TestALieOfOneHostIsNotThatOfAnother(t *testing.T) {
	n := quiet(t, Config{Seed: 4, Relay: true})
	did := n.mustCreate(t, 0)
	do(t, n.Create(did, "net.rails.yard/a"), n.Create(did, "net.rails.yard/b"))
	do(t, n.Switch(Rule{Fault: OmittedOp, Host: "pds1"}, Rule{Fault: NoOpPrev, Host: "pds1"}, Rule{Fault: NoPrevData, Host: "relay"}))
	do(t, n.Apply(did, Write{Action: Delete, Path: "net.rails.yard/a"}, Write{Action: Update, Path: "net.rails.yard/b"}, Write{Action: Create, Path: "net.rails.yard/c"}))
	near, far := commitsOf(t, n.pdses[0], n.LastSeq("pds1")-1)[0], commitsOf(t, n.relay, n.LastSeq("relay")-1)[0]
	with := 0
	for _, o := range far["ops"].([]any) {
		if o.(map[string]any)["prev"] != nil {
			with++
		}
	}
	if len(near["ops"].([]any)) != 2 || near["prevData"] == nil || len(far["ops"].([]any)) != 3 || far["prevData"] != nil || with != 2 {
		t.Errorf("the PDS says %v, the relay %v", near, far)
	}
}

func TestAFaultThatFindsNothingToDoLeavesTheEventAlone(t *testing.T) {
	n := quiet(t, Config{Seed: 4, Relay: true})
	do(t, n.Switch(Rule{Fault: NoPrevData, Also: true}, Rule{Fault: NoOpPrev, Also: true}, Rule{Fault: OldRev, Also: true}))
	n.mustCreate(t, 0)
	if n.LastSeq("pds1") != 4 || n.LastSeq("relay") != 4 || len(n.FiredAll()) != 0 {
		t.Errorf("%d events of a new account, fired %v", n.LastSeq("pds1"), n.FiredAll())
	}
}

func TestThereIsOneRowForEachFault(t *testing.T) {
	names := map[FaultName]bool{}
	for _, f := range Faults() {
		if names[f.Name] || f.Name == "" || !strings.HasSuffix(f.Doc, ".") || !strings.HasSuffix(f.Expect, ".") || f.Where == "" {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
		if lie := strings.Contains(f.Doc, "never sent") || strings.Contains(f.Doc, "forgets") || f.on != nil && f.send != nil && !strings.Contains(f.Doc, "follows"); lie != f.Loses {
			t.Errorf("%s: loses %v: %s", f.Name, f.Loses, f.Doc)
		}
	}
	if len(expected()) != len(names) {
		t.Errorf("%d faults, and %d are expected", len(names), len(expected()))
	}
	if err := quiet(t, Config{}).Switch(Rule{Fault: "nonsense"}); err == nil {
		t.Error("a fault that is not in the table is switched on")
	}
}
