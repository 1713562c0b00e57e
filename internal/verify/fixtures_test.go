package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
)

// fixtureNow is the clock of the synthetic cases and of the recorded frames.
var fixtureNow = time.Date(2026, 7, 4, 14, 38, 7, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func reasonOf(err error) refusal.Reason {
	reason, _ := refusal.ReasonOf(err)
	return reason
}

// syntheticCase is one case of synthetic/commit_cases.json.
type syntheticCase struct {
	Name         string
	KeyMultibase string                     `json:"key_multibase"`
	FrameBase64  string                     `json:"frame_base64"`
	StoredState  struct{ Rev, Data string } `json:"stored_state"`
	Expect       struct {
		Verdict             string
		Born                []string `json:"collections_born"`
		Died                []string `json:"collections_died"`
		BirthUnknown        []string `json:"birth_unknown"`
		ProvenPresentAfter  []string `json:"proven_present_after"`
		ProvenAbsentAfter   []string `json:"proven_absent_after"`
		AllCollectionsAfter []string `json:"all_collections_after"`
	}
}

func TestSyntheticCasesHaveTheirOutcomes(t *testing.T) {
	var cases []syntheticCase
	must(t, json.Unmarshal(fixtures.Read(t, "synthetic", "commit_cases.json"), &cases))
	if len(cases) != 36 {
		t.Fatalf("%d cases", len(cases))
	}
	wantReasons := map[string][]refusal.Reason{
		"op-cid-mismatch":         {refusal.OpsMismatch},
		"op-duplicate-path":       {refusal.BadOp},
		"future-rev":              {refusal.FutureRev},
		"signature-wrong-key":     {refusal.BadSignature},
		"signature-high-s-p256":   {refusal.BadSignature},
		"signature-der":           {refusal.BadSignature},
		"commit-rev-mismatch":     {refusal.CommitMismatch},
		"commit-version-2":        {refusal.BadCommit},
		"block-hash-mismatch":     {refusal.BadBlock},
		"mst-root-missing":        {refusal.InversionBlocked},
		"mst-keys-out-of-order":   {refusal.BadTree},
		"mst-key-wrong-layer":     {refusal.BadTree},
		"mst-root-not-trimmed":    {refusal.BadTree},
		"mst-prefix-out-of-range": {refusal.BadTree},
		"two-hundred-one-ops":     {refusal.EventLimit},
		"legacy-delete-no-prev":   {refusal.NoPrev},
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			frame, err := base64.StdEncoding.DecodeString(c.FrameBase64)
			if err != nil {
				frame, err = base64.RawStdEncoding.DecodeString(c.FrameBase64)
			}
			must(t, err)
			key, err := atcrypto.ParsePublicMultibase(c.KeyMultibase)
			must(t, err)
			p, view, err := proveFrame(event.Decode(frame), key)
			switch c.Expect.Verdict {
			case "lenient-only": // of Sync 1.0: accepted if the ops alone can be undone
				if wantReasons[c.Name] == nil {
					break
				}
				fallthrough
			case "reject":
				if want := wantReasons[c.Name]; !slices.Contains(want, reasonOf(err)) {
					t.Fatalf("%v, want one of %v", err, want)
				}
				checkRefused(t, p, err)
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", c.Expect.Verdict, err)
			}
			if p.Commit == (atproto.Digest{}) {
				t.Error("a proof without its commit")
			}
			if view != nil {
				checkExpected(t, c, p, view)
			}
		})
	}
}

// proveFrame proves what the frame holds; a #sync has no view.
func proveFrame(f event.Frame, key atcrypto.PublicKey) (Proof, *mst.View, error) {
	switch e := f.Event.(type) {
	case *event.Commit:
		return new(prover).prove(e, key, fixtureNow)
	case *event.Sync:
		p, err := Sync(e, key, fixtureNow)
		return p, nil, err
	}
	return Proof{}, nil, f.Refusal
}

// checkRefused checks what a refusal leaves of a proof.
func checkRefused(t *testing.T, p Proof, err error) {
	t.Helper()
	if reasonOf(err).AfterSignature() {
		if p.Rev == 0 || p.Commit == (atproto.Digest{}) || p.Data == (atproto.Digest{}) {
			t.Errorf("a signed commit is lost: %+v", p)
		}
		p.Rev, p.Commit, p.Data = 0, atproto.Digest{}, atproto.Digest{}
	}
	if !reflect.DeepEqual(p, Proof{}) {
		t.Errorf("a refusal leaves %+v", p)
	}
}

func checkExpected(t *testing.T, c syntheticCase, p Proof, view *mst.View) {
	t.Helper()
	want := c.Expect
	for _, list := range []struct {
		name      string
		got, want []string
	}{{"born", p.Born, want.Born}, {"died", p.Died, want.Died}, {"birth unknown", p.BirthUnknown, want.BirthUnknown}} {
		if !slices.Equal(list.got, list.want) {
			t.Errorf("%s: %v, want %v", list.name, list.got, list.want)
		}
	}
	for _, nsid := range want.ProvenPresentAfter {
		if view.Collection(nsid).Presence() != mst.Present || p.Shown.Presence(nsid) != mst.Present {
			t.Errorf("%s is not present", nsid)
		}
	}
	for _, nsid := range want.ProvenAbsentAfter {
		if view.Collection(nsid).Presence() != mst.Absent || p.Shown.Presence(nsid) != mst.Absent {
			t.Errorf("%s is not absent", nsid)
		}
	}
	if all := slices.Sorted(p.Shown.Names()); want.AllCollectionsAfter != nil && (!view.Complete() || !slices.Equal(all, want.AllCollectionsAfter)) {
		t.Errorf("collections %v, want %v", all, want.AllCollectionsAfter)
	}
	if data := c.StoredState.Data; data != "" && want.Verdict != "desync" && p.Prev.String() != data {
		t.Errorf("undone to %s, stored %s", p.Prev, data)
	}
}

// realFrames are the recorded frames of a relay and the keys of their accounts.
func realFrames(t testing.TB) (frames [][]byte, keys map[string]atcrypto.PublicKey) {
	t.Helper()
	b := fixtures.Read(t, "frames", "frames_051_150.bin")
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b)
		frames = append(frames, b[4:4+n])
		b = b[4+n:]
	}
	var docs map[string]struct {
		VerificationMethod []struct{ PublicKeyMultibase string }
	}
	must(t, json.Unmarshal(fixtures.Read(t, "frames", "did_docs.json"), &docs))
	keys = map[string]atcrypto.PublicKey{}
	for did, doc := range docs {
		key, err := atcrypto.ParsePublicMultibase(doc.VerificationMethod[0].PublicKeyMultibase)
		must(t, err)
		keys[did] = key
	}
	return frames, keys
}

// expectedFrame is one line of frames/expected_051_150.jsonl.
type expectedFrame struct {
	T                              string
	Repo, Rev, Since, Commit, Data string
	PrevData                       string
	Ops                            []struct{ Action, Path, CID, Prev, Left, Right string }
	Born, Died, Present            []string
	BirthUnknown                   []string `json:"birth_unknown"`
	VisibleKeys                    int      `json:"visible_keys"`
	AbsentSubtrees                 int      `json:"absent_subtrees"`
}

func TestRealFramesProveWhatIsExpected(t *testing.T) {
	frames, keys := realFrames(t)
	lines := bytes.Split(bytes.TrimSpace(fixtures.Read(t, "frames", "expected_051_150.jsonl")), []byte("\n"))
	if len(lines) != len(frames) {
		t.Fatalf("%d frames, %d expectations", len(frames), len(lines))
	}
	commits := 0
	for i, frame := range frames {
		var want expectedFrame
		must(t, json.Unmarshal(lines[i], &want))
		c, ok := event.Decode(frame).Event.(*event.Commit)
		if ok != (want.T == "#commit") {
			t.Fatalf("frame %d is %s", 51+i, want.T)
		}
		if !ok {
			continue
		}
		commits++
		p, view, err := new(prover).prove(c, keys[c.DID], fixtureNow)
		if err != nil {
			t.Errorf("frame %d: %v", 51+i, err)
			continue
		}
		checkRealProof(t, 51+i, p, view, want)
	}
	if commits != 98 {
		t.Errorf("%d commits", commits)
	}
}

func checkRealProof(t *testing.T, n int, p Proof, view *mst.View, want expectedFrame) {
	t.Helper()
	var visible mst.Collections
	for _, key := range view.Keys() {
		visible.Add(key.Path)
	}
	if got := slices.Sorted(p.Shown.Names()); !slices.Equal(got, visible.Sorted()) {
		t.Errorf("frame %d: shows %v, want %v", n, got, visible.Sorted())
	}
	if p.Rev.String() != want.Rev {
		t.Errorf("frame %d: %s", n, p.Rev)
	}
	if p.Commit.String() != want.Commit || p.Data.String() != want.Data || p.Prev.String() != want.PrevData {
		t.Errorf("frame %d: commit %s, data %s, prev %s", n, p.Commit, p.Data, p.Prev)
	}
	if len(view.Keys()) != want.VisibleKeys || view.Gaps() != want.AbsentSubtrees || view.Complete() != (want.AbsentSubtrees == 0) {
		t.Errorf("frame %d: %d keys, %d gaps", n, len(view.Keys()), view.Gaps())
	}
	if !slices.Equal(p.Born, want.Born) || !slices.Equal(p.Died, want.Died) || !slices.Equal(p.BirthUnknown, want.BirthUnknown) {
		t.Errorf("frame %d: born %v, died %v, unknown %v", n, p.Born, p.Died, p.BirthUnknown)
	}
	written := map[string]bool{}
	for _, op := range want.Ops {
		left, right := view.Neighbours(op.Path)
		if sideText(left) != op.Left || sideText(right) != op.Right {
			t.Errorf("frame %d: %s stands between %s and %s", n, op.Path, sideText(left), sideText(right))
		}
		if nsid, _ := atproto.CollectionOf(op.Path); op.Action != "delete" {
			written[nsid] = true
		}
	}
	for _, nsid := range want.Present {
		if view.Collection(nsid).Presence() != mst.Present {
			t.Errorf("frame %d: %s is not present", n, nsid)
		}
		if slices.Contains(p.Present, nsid) != written[nsid] {
			t.Errorf("frame %d: present %v", n, p.Present)
		}
	}
	if len(p.Present) != len(written) {
		t.Errorf("frame %d: present %v", n, p.Present)
	}
}

func sideText(s mst.Side) string {
	return [...]string{string(s.Path), "gap", "edge"}[s.Kind]
}

// legacyCommit reads a #commit in JSON form.
func legacyCommit(t testing.TB, file string) *event.Commit {
	t.Helper()
	type link struct {
		Link string `json:"$link"`
	}
	var in struct {
		Blocks struct {
			Bytes string `json:"$bytes"`
		}
		Commit    link
		Repo, Rev string
		Since     *string
		Ops       []struct {
			Action, Path string
			CID          link
		}
	}
	must(t, json.Unmarshal(fixtures.Read(t, "firehose", file), &in))
	c := &event.Commit{DID: in.Repo}
	var err error
	c.Blocks, err = base64.RawStdEncoding.DecodeString(in.Blocks.Bytes)
	must(t, err)
	c.Rev, err = atproto.ParseTID(in.Rev)
	must(t, err)
	c.CID, err = atproto.DigestFromCID(fixtures.CID(t, in.Commit.Link))
	must(t, err)
	if in.Since != nil {
		since, err := atproto.ParseTID(*in.Since)
		must(t, err)
		c.Since = &since
	}
	for _, op := range in.Ops {
		d, err := atproto.DigestFromCID(fixtures.CID(t, op.CID.Link))
		must(t, err)
		if op.Action != "create" {
			t.Fatalf("op %s", op.Action)
		}
		c.Ops = append(c.Ops, event.Op{Action: event.Create, Path: op.Path, CID: d.AppendCID(nil)})
	}
	return c
}

// Commits of Sync 1.0 carry the nodes of their own path alone, so undoing the ops
// may end at what is absent. The one of 42 ops can be undone in one of twenty random
// orders, and not in that of their paths.
func TestCommitsOfSyncOneZeroAreSoundAndSomeCanBeInverted(t *testing.T) {
	cases := []struct {
		file              string
		ops, blocks, gaps int
		why               refusal.Reason // without prevData; empty = it can
		other             refusal.Reason // with a prevData that is of another tree
	}{
		{"firehose_commit_4621317030.json", 1, 8, 12, refusal.InversionBlocked, refusal.InversionBlocked},
		{"firehose_commit_4621332152.json", 42, 71, -1, "", refusal.InversionFailed},
		{"firehose_commit_4623075231.json", 1, 3, 1, "", refusal.InversionBlocked},
	}
	for _, c := range cases {
		in := legacyCommit(t, c.file)
		pr := new(prover)
		must(t, pr.open(in.Blocks, in.DID))
		car, commit := &pr.car, &pr.commit
		if commit.CID != in.CID || commit.DID != in.DID || commit.Rev != in.Rev || car.Len() != c.blocks || len(in.Ops) != c.ops {
			t.Errorf("%s: commit %s, %d blocks, %d ops", c.file, commit.CID, car.Len(), len(in.Ops))
		}
		ops, err := netOps(in.Ops)
		must(t, err)
		_, view, err := mst.Load(commit.Data, car)
		must(t, err)
		must(t, agree(ops, view, car))
		if c.gaps >= 0 && view.Gaps() != c.gaps {
			t.Errorf("%s: %d gaps", c.file, view.Gaps())
		}
		p := Proof{Data: commit.Data}
		if _, err := pr.proveTree(&p, in, ops); reasonOf(err) != c.why {
			t.Errorf("%s: %v", c.file, err)
		}
		prev := atproto.DigestOf([]byte("some earlier tree"))
		in.PrevData = &prev
		if _, err := pr.proveTree(&p, in, ops); reasonOf(err) != c.other {
			t.Errorf("%s with a prevData: %v", c.file, err)
		}
	}
}

func TestUndoingMayEndAtAGap(t *testing.T) {
	c := legacyCommit(t, "firehose_commit_4623075231.json")
	pr := new(prover)
	must(t, pr.open(c.Blocks, c.DID))
	car, commit := &pr.car, &pr.commit
	tree, view, err := mst.Load(commit.Data, car)
	must(t, err)
	path := "app.bsky.actor.profile/self"
	if left, right := view.Neighbours(path); left.Kind != mst.BesideEdge || right.Kind != mst.BesideGap {
		t.Errorf("%s stands between %s and %s", path, sideText(left), sideText(right))
	}
	must(t, tree.Remove([]byte(path)))
	if !tree.RootHidden() {
		t.Fatal("the root is not the gap")
	}
	prev := tree.Root()
	c.PrevData = &prev
	p := Proof{Data: commit.Data}
	if _, err := pr.proveTree(&p, c, c.Ops); err != nil {
		t.Fatal(err)
	}
	want := []string{"app.bsky.actor.profile"}
	if p.Prev != prev || !slices.Equal(p.Present, want) || !slices.Equal(p.BirthUnknown, want) || p.Born != nil {
		t.Errorf("%+v", p)
	}
}
