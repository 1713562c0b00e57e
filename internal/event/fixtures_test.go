package event_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"

	"github.com/ipfs/go-cid"
)

// realFrames are consecutive frames of a relay, as received.
func realFrames(t testing.TB) [][]byte {
	t.Helper()
	b := fixtures.Read(t, "frames", "frames_051_150.bin")
	var frames [][]byte
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b)
		frames = append(frames, b[4:4+n])
		b = b[4+n:]
	}
	return frames
}

type specialFrame struct {
	Name, Hex string
	Expect    struct {
		Verdict string
		Event   struct {
			Type, Name, Error, DID string
			Seq                    int64
			Active                 *bool
			Status                 string
		}
	}
}

func specialFrames(t testing.TB) (cases []specialFrame) {
	t.Helper()
	if err := json.Unmarshal(fixtures.Read(t, "frames", "special_frames.json"), &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// verdict names what a frame means to its connection, in the words of the
// fixtures.
func verdict(f event.Frame) string {
	switch {
	case f.Break:
		return "drop-connection"
	case f.Refusal != nil && f.Refusal.Reason == refusal.FrameUnknown:
		return "ignore"
	case f.Refusal != nil:
		return "drop-message"
	}
	switch f.Event.(type) {
	case *event.Info:
		return "info"
	case *event.StreamError:
		return "error"
	}
	return "event"
}

func TestSpecialFramesAreDecodedAsTheSpecificationAsks(t *testing.T) {
	cases := specialFrames(t)
	if len(cases) != 45 {
		t.Errorf("%d cases, want 45", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			b, err := hex.DecodeString(c.Hex)
			if err != nil {
				t.Fatal(err)
			}
			f := event.Decode(b)
			if got := verdict(f); got != c.Expect.Verdict {
				t.Fatalf("%s, want %s (%v)", got, c.Expect.Verdict, f.Refusal)
			}
			compareSpecial(t, f, c)
		})
	}
}

func compareSpecial(t *testing.T, f event.Frame, c specialFrame) {
	want := c.Expect.Event
	if want.Type != "" && (f.Type != want.Type || f.Seq != want.Seq) {
		t.Errorf("%s %d, want %s %d", f.Type, f.Seq, want.Type, want.Seq)
	}
	if want.DID != "" && f.DID != want.DID {
		t.Errorf("did %s, want %s", f.DID, want.DID)
	}
	switch e := f.Event.(type) {
	case *event.Info:
		if e.Name != want.Name {
			t.Errorf("name %q, want %q", e.Name, want.Name)
		}
	case *event.StreamError:
		if e.Name != want.Error {
			t.Errorf("error %q, want %q", e.Name, want.Error)
		}
	case *event.Account:
		if e.Active != *want.Active || e.Status != want.Status {
			t.Errorf("active %t status %q, want %t %q", e.Active, e.Status, *want.Active, want.Status)
		}
	}
}

type expectedOp struct {
	Action, Path string
	CID, Prev    *string
}

type expectedFrame struct {
	T, Repo, Rev, Commit, Time string
	Seq                        int64
	Since, PrevData            *string
	Ops                        []expectedOp
}

func TestRealFramesDecodeToWhatAnIndependentDecoderFound(t *testing.T) {
	frames := realFrames(t)
	lines := bytes.Split(bytes.TrimSpace(fixtures.Read(t, "frames", "expected_051_150.jsonl")), []byte("\n"))
	if len(frames) != 100 || len(lines) != 100 {
		t.Fatalf("%d frames, %d expectations", len(frames), len(lines))
	}
	for i, frame := range frames {
		var want expectedFrame
		if err := json.Unmarshal(lines[i], &want); err != nil {
			t.Fatal(err)
		}
		f := event.Decode(frame)
		if f.Refusal != nil || f.Type != want.T || f.Seq != want.Seq {
			t.Fatalf("frame %d: %s %d %v, want %s %d", i, f.Type, f.Seq, f.Refusal, want.T, want.Seq)
		}
		if c, ok := f.Event.(*event.Commit); ok {
			compareCommit(t, f, c, want)
		}
	}
}

func compareCommit(t *testing.T, f event.Frame, c *event.Commit, want expectedFrame) {
	t.Helper()
	if f.DID != want.Repo || c.DID != want.Repo || c.Rev.String() != want.Rev || c.CID.String() != want.Commit {
		t.Errorf("seq %d: %s %s %s, want %s %s %s", f.Seq, c.DID, c.Rev, c.CID, want.Repo, want.Rev, want.Commit)
	}
	if got := f.Time.Format("2006-01-02T15:04:05.000Z07:00"); got != want.Time {
		t.Errorf("seq %d: time %s, want %s", f.Seq, got, want.Time)
	}
	if (c.Since == nil) != (want.Since == nil) || c.Since != nil && c.Since.String() != *want.Since {
		t.Errorf("seq %d: since %v, want %v", f.Seq, c.Since, want.Since)
	}
	if (c.PrevData == nil) != (want.PrevData == nil) || c.PrevData != nil && c.PrevData.String() != *want.PrevData {
		t.Errorf("seq %d: prevData %v, want %v", f.Seq, c.PrevData, want.PrevData)
	}
	if len(c.Ops) != len(want.Ops) {
		t.Fatalf("seq %d: %d ops, want %d", f.Seq, len(c.Ops), len(want.Ops))
	}
	for i, op := range c.Ops {
		w := want.Ops[i]
		if actionName(op.Action) != w.Action || op.Path != w.Path || !sameCID(op.CID, w.CID) || !sameCID(op.Prev, w.Prev) {
			t.Errorf("seq %d op %d: %+v, want %+v", f.Seq, i, op, w)
		}
	}
	if !bytes.Contains(c.Blocks, c.CID.AppendCID(nil)) {
		t.Errorf("seq %d: the blocks do not hold the commit", f.Seq)
	}
}

func actionName(a event.Action) string {
	return [...]string{"", "create", "update", "delete"}[a]
}

func sameCID(b []byte, text *string) bool {
	if b == nil || text == nil {
		return b == nil && text == nil
	}
	_, c, err := cid.CidFromBytes(b)
	return err == nil && c.String() == *text
}

func TestSyntheticFramesDecodeUnlessTheyHoldTooManyOps(t *testing.T) {
	var cases []struct {
		Name, DID string
		Frame     string `json:"frame_base64"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "synthetic", "commit_cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		frame, err := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(c.Frame, "="))
		if err != nil {
			t.Fatal(err)
		}
		f := event.Decode(frame)
		switch {
		case c.Name == "two-hundred-one-ops":
			if f.Refusal == nil || f.Refusal.Reason != refusal.EventLimit || f.DID != c.DID || f.Seq == 0 {
				t.Errorf("%s: %+v", c.Name, f)
			}
		case f.Refusal != nil || f.DID != c.DID:
			t.Errorf("%s: %s %v", c.Name, f.DID, f.Refusal)
		}
	}
}
