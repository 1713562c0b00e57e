package repo

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
)

// wantReason checks that an error is a refusal for one of the reasons.
func wantReason(t testing.TB, name string, err error, want ...refusal.Reason) {
	t.Helper()
	got, _ := refusal.ReasonOf(err)
	for _, w := range want {
		if got == w {
			return
		}
	}
	t.Errorf("%s: %v, want %v", name, err, want)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// header encodes a CAR header with its length.
func header(version int64, roots ...[]byte) []byte {
	b := dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots")
	b = dagcbor.AppendArray(b, len(roots))
	for _, root := range roots {
		b = dagcbor.AppendCID(b, root)
	}
	b = dagcbor.AppendInt(dagcbor.AppendText(b, "version"), version)
	return withLength(b)
}

func withLength(b []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// blockOf frames a block under its right CID.
func blockOf(data []byte) []byte {
	return withLength(append(atproto.DigestOf(data).AppendCID(nil), data...))
}

// section cuts a CAR into header and blocks.
func sections(t testing.TB, car []byte) [][]byte {
	t.Helper()
	var parts [][]byte
	for len(car) > 0 {
		n, width := binary.Uvarint(car)
		parts = append(parts, car[:width+int(n)])
		car = car[width+int(n):]
	}
	return parts
}

func TestPublicCARsParse(t *testing.T) {
	cases := []struct {
		file              string
		blocks, different int
	}{
		{"empty.car", 2, 2},
		{"little.car", 375, 375},
		{"jetstream_repo.car", 29, 29},
		{"greenground.repo.car", 0, 0},
		{"paul_staging.repo.car", 458, 452},
		{"bafyreieovfuizojpw3zresz7sx3nk4trm2by23pt5rxbey3jme4uo5ogiu.car", 10, 9},
		{"repo_slice.car", 0, 0},
	}
	for _, c := range cases {
		car, err := ParseCAR(fixtures.Read(t, "cars", c.file), MessageLimits())
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if _, ok := car.Block(car.Root()); !ok {
			t.Errorf("%s: no root", c.file)
		}
		different := map[atproto.Digest]bool{}
		for _, block := range car.Blocks() {
			different[block.Digest] = true
			if data, ok := car.Block(block.Digest); !ok || !bytes.Equal(data, block.Data) {
				t.Errorf("%s: %s is not found", c.file, block.Digest)
			}
		}
		if c.blocks > 0 && (car.Len() != c.blocks || len(different) != c.different) {
			t.Errorf("%s: %d blocks, %d different", c.file, car.Len(), len(different))
		}
		if _, ok := car.Block(atproto.DigestOf([]byte("no"))); ok {
			t.Errorf("%s: finds what is not there", c.file)
		}
	}
}

// TestABlockIsFoundByAllOfItsCID asks for digests that begin or end like that of
// a block, in CARs of few and of many blocks.
func TestABlockIsFoundByAllOfItsCID(t *testing.T) {
	for _, n := range []int{1, fewBlocks, fewBlocks + 1} {
		root := atproto.DigestOf([]byte("root"))
		b := header(1, root.AppendCID(nil))
		for i := range n {
			b = append(b, blockOf([]byte{0x18, byte(100 + i)})...)
		}
		car, err := ParseCAR(b, MessageLimits())
		must(t, err)
		for _, block := range car.Blocks() {
			if _, ok := car.Block(block.Digest); !ok {
				t.Errorf("%d blocks: %s is not found", n, block.Digest)
			}
			for _, at := range []int{0, 7, 8, 31} {
				other := block.Digest
				other[at] ^= 0x40
				if _, ok := car.Block(other); ok {
					t.Errorf("%d blocks: %s is found", n, other)
				}
			}
			raw := block.Digest.AppendCID(nil)
			raw[1] = atproto.CodecRaw
			if _, ok := car.BlockOf(raw); ok {
				t.Errorf("%d blocks: %s is found as a raw block", n, block.Digest)
			}
		}
	}
}

func TestCARFixtureGivesItsBlocksInOrder(t *testing.T) {
	var cases []struct {
		Root   string
		Blocks []struct{ CID, Bytes string }
		CAR    string
	}
	must(t, json.Unmarshal(fixtures.Read(t, "cars", "car-file-fixtures.json"), &cases))
	for _, c := range cases {
		b, err := base64.RawStdEncoding.DecodeString(c.CAR)
		must(t, err)
		car, err := ParseCAR(b, MessageLimits())
		must(t, err)
		if car.Root().String() != c.Root || car.Len() != len(c.Blocks) || len(c.Blocks) != 5 {
			t.Fatalf("root %s, %d blocks", car.Root(), car.Len())
		}
		for i, want := range c.Blocks {
			data, err := base64.RawStdEncoding.DecodeString(want.Bytes)
			must(t, err)
			got := car.Blocks()[i]
			if got.Digest.String() != want.CID || !bytes.Equal(got.Data, data) {
				t.Errorf("block %d is %s", i, got.Digest)
			}
		}
	}
}

// badCARs are refused both in memory and as a stream.
func badCARs() map[string]struct {
	car    []byte
	reason refusal.Reason
} {
	type bad = struct {
		car    []byte
		reason refusal.Reason
	}
	data := []byte{0xa0}
	root := atproto.DigestOf(data).AppendCID(nil)
	good := header(1, root)
	wrong := blockOf(data)
	wrong[len(wrong)-1] ^= 1
	blake := bytes.Clone(root)
	blake[2] = 0x1e
	identity := []byte{1, 0x71, 0, 1, 0xa0}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	return map[string]bad{
		"nothing":                       {nil, refusal.BadCAR},
		"no root":                       {header(1), refusal.BadCAR},
		"version 2":                     {header(2, root), refusal.BadCAR},
		"a root of another hash":        {header(1, blake), refusal.BadCAR},
		"a raw root":                    {header(1, append([]byte{1, 0x55}, root[2:]...)), refusal.BadCAR},
		"an empty header":               {[]byte{0}, refusal.BadCAR},
		"a header of one byte less":     {good[:len(good)-1], refusal.BadCAR},
		"an empty block":                {join(good, []byte{0}), refusal.BadCAR},
		"a block of a CID alone":        {join(good, withLength(root)), refusal.BadCAR},
		"a block of half a CID":         {join(good, withLength(root[:18])), refusal.BadCAR},
		"a block of another hash":       {join(good, withLength(append(bytes.Clone(blake), data...))), refusal.BadCAR},
		"a block of an identity CID":    {join(good, withLength(append(identity, make([]byte, 40)...))), refusal.BadCAR},
		"a CIDv0":                       {join(good, withLength(append([]byte{0x12, 0x20}, make([]byte, 40)...))), refusal.BadCAR},
		"bytes that hash to another":    {join(good, wrong), refusal.BadBlock},
		"a cut block":                   {join(good, blockOf(data)[:20]), refusal.BadCAR},
		"a cut length":                  {join(good, []byte{0x80}), refusal.BadCAR},
		"a length not in its shortest":  {join(good, []byte{0xa5, 0x00}, root, data), refusal.BadCAR},
		"a length of eleven bytes":      {join(good, bytes.Repeat([]byte{0xff}, 10), []byte{1}), refusal.BadCAR},
		"a length of all memory":        {join(good, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), refusal.BadCAR},
		"a length over a block's limit": {join(good, blockOf(make([]byte, MaxBlock))), refusal.BadCAR},
	}
}

func TestCARsThatAreNotSoundAreRefused(t *testing.T) {
	for name, c := range badCARs() {
		_, err := ParseCAR(c.car, CARLimits{Bytes: 4 << 20, Blocks: 10})
		wantReason(t, name, err, c.reason)
	}
}

func TestCARLimits(t *testing.T) {
	data := []byte{0xa0}
	car := header(1, atproto.DigestOf(data).AppendCID(nil))
	for range 3 {
		car = append(car, blockOf(data)...)
	}
	if _, err := ParseCAR(car, CARLimits{Bytes: len(car), Blocks: 3}); err != nil {
		t.Error(err)
	}
	_, err := ParseCAR(car, CARLimits{Bytes: len(car), Blocks: 2})
	wantReason(t, "blocks", err, refusal.BadCAR)
	_, err = ParseCAR(car, CARLimits{Bytes: len(car) - 1, Blocks: 3})
	wantReason(t, "bytes", err, refusal.BadCAR)
}

func TestARawBlockIsNoNode(t *testing.T) {
	data := []byte("blob")
	d := atproto.DigestOf(data)
	raw := append([]byte{1, atproto.CodecRaw}, d.AppendCID(nil)[2:]...)
	for _, others := range []int{0, fewBlocks} {
		b := append(header(1, d.AppendCID(nil)), withLength(append(bytes.Clone(raw), data...))...)
		for i := range others {
			b = append(b, blockOf([]byte{byte(i)})...)
		}
		car, err := ParseCAR(b, MessageLimits())
		must(t, err)
		if _, ok := car.Block(d); ok {
			t.Error("a raw block is given as DAG-CBOR")
		}
		if got, ok := car.BlockOf(raw); !ok || !bytes.Equal(got, data) {
			t.Error("a raw block is not found by its CID")
		}
		if _, ok := car.BlockOf(raw[:35]); ok {
			t.Error("half a CID is found")
		}
	}
}

func FuzzParseCAR(f *testing.F) {
	for _, c := range badCARs() {
		f.Add(c.car)
	}
	data := []byte{0xa0}
	f.Add(append(header(1, atproto.DigestOf(data).AppendCID(nil)), blockOf(data)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		car, err := ParseCAR(b, CARLimits{Bytes: 1 << 20, Blocks: 100})
		if err != nil {
			wantReason(t, "car", err, refusal.BadCAR, refusal.BadBlock)
			return
		}
		again := header(1, car.Root().AppendCID(nil))
		for _, block := range car.Blocks() {
			if block.Codec == atproto.CodecDAGCBOR && atproto.DigestOf(block.Data) != block.Digest {
				t.Fatal("a block with a wrong hash")
			}
			again = append(again, withLength(append([]byte{1, block.Codec, 0x12, 32}, append(block.Digest[:], block.Data...)...))...)
		}
		if n := len(sections(t, b)[0]); !bytes.Equal(again[len(again)-(len(b)-n):], b[n:]) {
			t.Fatal("blocks were lost or changed")
		}
	})
}
