package eventlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/cli/eventlog"
	"railyard/internal/firehose"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/refusal"
	"railyard/internal/test/simnet"
)

var errEnough = errors.New("enough")

// scenario is a simulated network in a bubble, with a resolver that counts.
type scenario struct {
	t     *testing.T
	pipes *simnet.Pipes
	net   *simnet.Network

	mu      sync.Mutex
	asked   map[string]int
	before  func(did string) error // of each look-up
	resolve *identity.Resolver
}

func newScenario(t *testing.T, cfg simnet.Config) *scenario {
	w := &scenario{t: t, pipes: simnet.NewPipes(), asked: map[string]int{}, before: func(string) error { return nil }}
	cfg.Listen, cfg.Relay = w.pipes.Listen, true
	n, err := simnet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.net = n
	out := outbound.New(outbound.Config{AllowPrivate: true, Dial: w.pipes.Dial, Lookup: w.pipes.Lookup})
	w.resolve = identity.NewResolver(identity.Config{Client: out, PLCURL: n.PLC(), Hosts: atproto.Hosts{AllowPrivate: true}})
	t.Cleanup(func() {
		out.Close()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *scenario) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	w.mu.Lock()
	w.asked[did]++
	before := w.before
	w.mu.Unlock()
	if err := before(did); err != nil {
		return identity.Identity{}, err
	}
	return w.resolve.Resolve(ctx, did)
}

func (w *scenario) config(cursor int64) eventlog.Config {
	return eventlog.Config{Firehose: firehose.Config{URL: w.net.Relay(), Dial: w.pipes.Dial, Cursor: cursor}}
}

// lines follows until n lines are there.
func (w *scenario) lines(cfg eventlog.Config, n int) (lines []eventlog.Line) {
	w.t.Helper()
	err := eventlog.Run(w.t.Context(), cfg, func(l eventlog.Line) error {
		if lines = append(lines, l); len(lines) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		w.t.Fatalf("%d lines: %v", len(lines), err)
	}
	return lines
}

// Every commit of a network is verified, in order, with one look-up per account,
// and what the lines prove adds up to what the network holds.
func TestVerifiedLinesAddUpToTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 7, Accounts: 12, PDS: 2})
		for range 400 {
			if err := w.net.StepCommit(); err != nil {
				t.Fatal(err)
			}
		}
		last := int(w.net.LastSeq("relay"))
		cfg := w.config(1) // the first event is an #identity
		cfg.Resolver = w
		held, ops := map[string]map[string]bool{}, 0
		kinds := map[string]int{}
		for i, l := range w.lines(cfg, last-1) {
			kinds[l.Type]++
			if l.Seq != int64(i+2) || l.Time.IsZero() || l.Refused != nil || l.Undecided != "" || l.Notice != "" {
				t.Fatalf("line %d: %+v", i, l)
			}
			if (l.Verified != nil) != (l.Type == "commit" || l.Type == "sync") || l.Verified != nil && !*l.Verified {
				t.Fatalf("%+v", l)
			}
			if l.Type != "commit" {
				continue
			}
			ops += len(l.Ops)
			if held[l.DID] == nil {
				held[l.DID] = map[string]bool{}
			}
			for _, nsid := range l.Present {
				if slices.Contains(l.Born, nsid) == held[l.DID][nsid] { // this network shows all neighbours
					t.Fatalf("seq %d: %s, held before: %t; %+v", l.Seq, nsid, held[l.DID][nsid], l)
				}
				held[l.DID][nsid] = true
			}
			if len(l.BirthUnknown) > 0 {
				t.Fatalf("%+v", l)
			}
			for _, nsid := range l.Died {
				delete(held[l.DID], nsid)
			}
		}
		for did, want := range w.net.Truth() {
			if got := slices.Sorted(maps.Keys(held[did])); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", did, got, want)
			}
			if w.asked[did] != 1 {
				t.Errorf("%s was looked up %d times", did, w.asked[did])
			}
		}
		if kinds["commit"] < 400 || kinds["identity"] != 11 || kinds["account"] != 12 || kinds["sync"] != 12 || ops < 400 {
			t.Errorf("%v, %d ops", kinds, ops)
		}
	})
}

// The order holds although the look-ups of some accounts take long, and what is
// behind them waits.
func TestSlowLookUpsKeepTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 8, Accounts: 30})
		w.before = func(did string) error {
			time.Sleep(time.Duration(did[8]%7) * time.Second)
			return nil
		}
		cfg := w.config(1)
		cfg.Resolver = w
		seq, started := int64(1), time.Now()
		for _, l := range w.lines(cfg, int(w.net.LastSeq("relay"))-1) {
			if seq++; l.Seq != seq {
				t.Fatalf("seq %d after %d", l.Seq, seq-1)
			}
		}
		if took := time.Since(started); took < 2*time.Second || took > 30*time.Second {
			t.Errorf("it took %s: the look-ups did not run beside each other", took)
		}
	})
}

// follow runs in the background and returns lines one by one.
func (w *scenario) follow(cfg eventlog.Config) (next func() eventlog.Line, stop func() error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	lines, ended := make(chan eventlog.Line, 1000), make(chan error, 1)
	go func() {
		ended <- eventlog.Run(ctx, cfg, func(l eventlog.Line) error { lines <- l; return nil })
	}()
	synctest.Wait()
	next = func() eventlog.Line {
		select {
		case l := <-lines:
			return l
		case <-time.After(time.Hour):
			w.t.Fatal("no line")
			return eventlog.Line{}
		}
	}
	return next, func() error { cancel(); return <-ended }
}

// An account that gets another key is verified under it at once.
func TestARotatedKeyIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 9, Accounts: 1})
		did := w.net.DIDs()[0]
		cfg := w.config(0)
		cfg.Resolver = w
		next, stop := w.follow(cfg)
		verified := func(types ...string) {
			t.Helper()
			for _, want := range types {
				l := next()
				if l.Type != want || want != "identity" && (l.Verified == nil || !*l.Verified) {
					t.Errorf("%+v", l)
				}
			}
		}
		must(t, w.net.Create(did, "com.example.thing/a"))
		verified("commit")
		must(t, w.net.RotateKey(did))
		verified("identity", "sync")
		// A relay may lose the #identity: then the bad signature shows it.
		w.net.SetHook("relay", simnet.Hook{Frame: func(frame []byte) [][]byte {
			if bytes.Contains(frame, []byte("#identity")) {
				return nil
			}
			return [][]byte{frame}
		}})
		time.Sleep(2 * time.Minute)
		must(t, w.net.RotateKey(did))
		must(t, w.net.Create(did, "com.example.thing/b"))
		verified("sync", "commit")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if w.asked[did] != 3 {
			t.Errorf("%d look-ups", w.asked[did])
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeVerifiedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 10, Accounts: 3})
		dids := w.net.DIDs()
		tombstoned, unlucky := dids[0], dids[1]
		must(t, w.net.Tombstone(tombstoned))
		down := errors.New("the directory is down")
		w.before = func(did string) error {
			if did == unlucky && w.asked[did] == 1 {
				return down
			}
			return nil
		}
		cfg := w.config(0)
		cfg.Resolver = w
		next, stop := w.follow(cfg)

		must(t, w.net.Create(tombstoned, "com.example.thing/a"))
		must(t, w.net.Create(tombstoned, "com.example.thing/b"))
		for range 2 {
			if l := next(); l.Verified == nil || *l.Verified || l.Refused == nil || l.Refused.Reason != string(refusal.IdentityUnresolved) || l.Present != nil {
				t.Errorf("tombstoned: %+v", l)
			}
		}
		must(t, w.net.Create(unlucky, "com.example.thing/a"))
		if l := next(); l.Verified != nil || l.Refused != nil || l.Undecided != down.Error() || len(l.Ops) != 1 {
			t.Errorf("unlucky: %+v", l)
		}
		must(t, w.net.Create(unlucky, "com.example.thing/b"))
		if l := next(); l.Verified == nil || !*l.Verified {
			t.Errorf("unlucky, again: %+v", l)
		}
		if w.asked[tombstoned] != 1 || w.asked[unlucky] != 2 {
			t.Errorf("%v", w.asked)
		}
		w.net.SetHook("relay", simnet.Hook{Frame: func(frame []byte) [][]byte {
			broken := bytes.Clone(frame)
			at := bytes.Index(broken, []byte("createdAt")) // in the record
			broken[at+12] ^= 1
			return [][]byte{broken}
		}})
		must(t, w.net.Create(dids[2], "com.example.thing/a"))
		if l := next(); l.Verified == nil || *l.Verified || l.Refused == nil || l.Refused.Reason != string(refusal.BadBlock) {
			t.Errorf("broken: %+v", l)
		}
		must(t, stop())
	})
}

func TestOnlyTheCollectionsThatWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 11, Accounts: 2})
		did := w.net.DIDs()[0]
		for _, resolver := range []eventlog.Resolver{nil, w} {
			cfg := w.config(0)
			cfg.Resolver, cfg.Collections = resolver, []string{"com.example.a", "com.example.b"}
			next, stop := w.follow(cfg)
			must(t, w.net.Create(did, "com.example.ab/1"))
			must(t, w.net.EmitIdentity(did))
			must(t, w.net.EmitSync(did))
			must(t, w.net.Apply(did))
			must(t, w.net.Apply(did, simnet.Write{Action: simnet.Create, Path: "com.example.other/1"}, simnet.Write{Action: simnet.Create, Path: "com.example.b/1"}))
			if l := next(); len(l.Ops) != 2 || l.Seq != w.net.LastSeq("relay") {
				t.Errorf("%+v", l)
			}
			must(t, stop())
			must(t, w.net.Apply(did, simnet.Write{Action: simnet.Delete, Path: "com.example.other/1"},
				simnet.Write{Action: simnet.Delete, Path: "com.example.b/1"}, simnet.Write{Action: simnet.Delete, Path: "com.example.ab/1"}))
		}
	})
}

// What is wrong with a frame shows without verification, and a frame that is
// none shows once it is stepped over.
func TestBrokenFramesGetALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 12, Accounts: 1})
		did := w.net.DIDs()[0]
		next, stop := w.follow(w.config(w.net.LastSeq("relay")))
		cfg := w.config(w.net.LastSeq("relay"))
		cfg.Collections = []string{"com.example.other"}
		nextNotice, stopNotices := w.follow(cfg)
		w.net.SetHook("relay", simnet.Hook{Frame: func(frame []byte) [][]byte {
			return [][]byte{bytes.Replace(frame, []byte("drepo"), []byte("dropo"), 1)}
		}})
		must(t, w.net.Create(did, "com.example.thing/a"))
		if l := next(); l.Refused == nil || l.Verified != nil || l.Seq != w.net.LastSeq("relay") {
			t.Errorf("%+v", l)
		}
		w.net.SetHook("relay", simnet.Hook{Frame: func([]byte) [][]byte { return [][]byte{{0xff}} }})
		must(t, w.net.Create(did, "com.example.thing/b"))
		if l := next(); l.Notice != "skipped" || l.Refused == nil || l.Refused.Reason != string(refusal.FrameSkipped) {
			t.Errorf("%+v", l)
		}
		if l := nextNotice(); l.Notice != "skipped" { // also where collections are asked for
			t.Errorf("%+v", l)
		}
		must(t, stop())
		must(t, stopNotices())
	})
}

// A relay that no longer has what follows the cursor says nothing; the numbers do.
func TestMissedEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 15, Accounts: 4, ReplayWindow: 5})
		last := w.net.LastSeq("relay")
		lines := w.lines(w.config(2), 5)
		if lines[0].Seq != last-4 || lines[0].Missed != last-4-3 || lines[1].Missed != 0 {
			t.Errorf("%+v", lines[:2])
		}
		cfg := w.config(2)
		cfg.Firehose.URL = w.net.PDS(0) // which does
		if lines := w.lines(cfg, 6); lines[0].Notice != "gap" || lines[0].Type != "info" || lines[0].Name != "OutdatedCursor" {
			t.Errorf("%+v", lines[0])
		}
		cfg.Firehose.Cursor = last + 100
		next, stop := w.follow(cfg)
		if l := next(); l.Notice != "future" || l.Type != "error" || l.Name != "FutureCursor" {
			t.Errorf("%+v", l)
		}
		must(t, stop())
	})
}

// The end of the context in the middle of look-ups ends everything, and no line
// comes out of order or unproven.
func TestTheEndComesDuringALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 13, Accounts: 40})
		slow := w.net.DIDs()[20]
		ctx, cancel := context.WithCancel(t.Context())
		w.before = func(did string) error {
			if did == slow {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		cfg := w.config(1)
		cfg.Resolver = w
		seq, ended := int64(1), make(chan error, 1)
		go func() {
			ended <- eventlog.Run(ctx, cfg, func(l eventlog.Line) error {
				if seq++; l.Seq != seq || l.Undecided != "" || l.Refused != nil {
					t.Errorf("after %d: %+v", seq-1, l)
				}
				return nil
			})
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if seq < 20 || seq >= w.net.LastSeq("relay") {
			t.Errorf("ended at %d", seq)
		}
	})
}

func TestALineHasStableNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newScenario(t, simnet.Config{Seed: 14, Accounts: 1, Start: time.Date(2026, 7, 4, 0, 0, 0, 0, time.UTC)})
		did := w.net.DIDs()[0]
		time.Sleep(time.Until(time.Date(2026, 7, 5, 0, 0, 0, 0, time.UTC)))
		cfg := w.config(0)
		cfg.Resolver = w
		next, stop := w.follow(cfg)
		must(t, w.net.Create(did, "com.example.thing/a"))
		must(t, w.net.Update(did, "com.example.thing/a"))
		must(t, w.net.Delete(did, "com.example.thing/a"))
		must(t, w.net.Deactivate(did))
		for _, want := range []string{
			"seq time type did rev since commit prevData ops action path cid blocks verified present died born birthUnknown",
			"seq time type did rev since commit prevData ops action path cid prev blocks verified present died born birthUnknown",
			"seq time type did rev since commit prevData ops action path prev blocks verified present died born birthUnknown",
			"seq time type did active status",
		} {
			b, err := json.Marshal(next())
			must(t, err)
			if got := strings.Join(fieldsOf(t, b), " "); got != want {
				t.Errorf("%s\n%s", got, b)
			}
		}
		must(t, stop())
	})
}

// fieldsOf lists the names of a JSON text in their order.
func fieldsOf(t *testing.T, b []byte) (fields []string) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	inArray, isKey := []bool{}, false
	for {
		token, err := dec.Token()
		if err != nil {
			return fields
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				inArray = append(inArray, v == '[')
			} else {
				inArray = inArray[:len(inArray)-1]
			}
			isKey = true
		case string:
			if array := inArray[len(inArray)-1]; array {
				continue
			} else if isKey {
				fields = append(fields, v)
			}
			isKey = !isKey
		default:
			isKey = true
		}
	}
}

func TestAWrongURLIsAnError(t *testing.T) {
	err := eventlog.Run(t.Context(), eventlog.Config{Firehose: firehose.Config{URL: "ftp://x"}}, func(eventlog.Line) error { return nil })
	if err == nil {
		t.Error("no error")
	}
}
