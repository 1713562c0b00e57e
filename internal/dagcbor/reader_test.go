package dagcbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"railyard/internal/atproto"
)

func TestEncodingsThatAreNotStrictAreRefused(t *testing.T) {
	cases := map[string]string{
		"nothing":                              "",
		"two values":                           "0000",
		"a float of 16 bits":                   "f90000",
		"a float of 32 bits":                   "fa00000000",
		"a float of 64 bits":                   "fb0000000000000000",
		"NaN":                                  "f97e00",
		"a simple value of one byte":           "f818",
		"a break":                              "ff",
		"reserved length 28":                   "1c",
		"reserved length 30 of bytes":          "5e",
		"an argument that is cut":              "19ff",
		"bytes that are cut":                   "4201",
		"text that is cut":                     "626f",
		"more bytes than any machine":          "5bffffffffffffffff",
		"more text than an int":                "7b8000000000000000",
		"an array of all memory":               "9bffffffffffffffff",
		"an array longer than the input":       "8200",
		"a map longer than the input":          "a1",
		"a map with half a pair":               "a16161",
		"a key that is bytes":                  "a1416100",
		"keys sorted by bytes alone":           "a262616100616200",
		"an integer beyond 64 bits":            "1b8000000000000000",
		"a negative integer beyond 64 bits":    "3b8000000000000000",
		"tag 0":                                "c000",
		"tag 42 in a longer form":              "d9002a420001",
		"tag 42 over a text":                   "d82a620061",
		"tag 42 over nothing":                  "d82a",
		"tag 42 twice":                         "d82ad82a420001",
		"tag 42 over no bytes":                 "d82a40",
		"tag 42 without its zero byte":         "d82a420101",
		"surrogates in a text":                 "63eda080",
		"an overlong letter":                   "62c1a1",
		"undefined in an array":                "81f7",
		"nested deeper than allowed by arrays": strings.Repeat("81", MaxDepth+1) + "00",
		"nested deeper than allowed by maps":   strings.Repeat("a16161", MaxDepth+1) + "00",
		"nested as deep as the input is long":  strings.Repeat("81", 100_000),
	}
	for name, text := range cases {
		b, err := hex.DecodeString(text)
		must(t, err)
		if err := Valid(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tooDeep, _ := hex.DecodeString(strings.Repeat("81", MaxDepth+1) + "00")
	if err := Valid(tooDeep); err == nil || strings.Contains(err.Error(), "not DAG-CBOR") || !strings.Contains(err.Error(), "nested deeper than 32") {
		t.Errorf("a value that may be valid: %v", err)
	}
	deep, _ := hex.DecodeString(strings.Repeat("81", MaxDepth) + "00")
	if err := Valid(deep); err != nil {
		t.Errorf("nested to the limit: %v", err)
	}
}

func TestIntegersKeepTheirValueAtEveryWidth(t *testing.T) {
	for _, v := range []int64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		b := AppendInt(nil, v)
		r := NewReader(b)
		if got := r.Int(); got != v || r.End() != nil {
			t.Errorf("%d is read as %d, %v", v, got, r.Err())
		}
		for n := range len(b) {
			if err := Valid(b[:n]); err == nil {
				t.Errorf("%x cut to %d bytes is accepted", b, n)
			}
		}
	}
}

func TestReaderKeepsItsFirstErrorAndGivesZeroValues(t *testing.T) {
	r := NewReader([]byte{0x61, 'a', 0x01})
	r.Int()
	first := r.Err()
	if first == nil || !strings.Contains(first.Error(), "a text instead of an integer") {
		t.Fatalf("%v", first)
	}
	if r.Text() != nil || r.Int() != 0 || r.Bytes() != nil || r.CID() != nil || r.Bool() || r.Null() || r.Array() != 0 || r.Map() != 0 {
		t.Error("a value after an error")
	}
	r.Fail("later")
	if r.Err() != first || r.End() != first {
		t.Errorf("%v instead of %v", r.Err(), first)
	}
}

func TestEveryKindIsRefusedWhereAnotherIsWanted(t *testing.T) {
	values := map[Kind][]byte{
		Int: {0}, Bytes: {0x40}, Text: {0x60}, Array: {0x80}, Map: {0xa0},
		CID: AppendLink(nil, atproto.EmptyTree), Bool: {0xf4}, Null: {0xf6},
	}
	reads := map[Kind]func(r *Reader){
		Int: func(r *Reader) { r.Int() }, Bytes: func(r *Reader) { r.Bytes() }, Text: func(r *Reader) { r.Text() },
		Array: func(r *Reader) { r.Array() }, Map: func(r *Reader) { r.Map() }, CID: func(r *Reader) { r.CID() },
		Bool: func(r *Reader) { r.Bool() },
	}
	for is, b := range values {
		for want, read := range reads {
			r := NewReader(b)
			if r.Peek() != is {
				t.Errorf("%s is taken for %s", is, r.Peek())
			}
			if read(&r); (r.Err() == nil) != (is == want) {
				t.Errorf("%s read as %s: %v", is, want, r.Err())
			}
		}
	}
}

func TestALinkMustBeADagCBORBlock(t *testing.T) {
	good := atproto.EmptyTree.AppendCID(nil)
	for i := range 4 {
		bad := bytes.Clone(good)
		bad[i] ^= 0x24
		r := NewReader(AppendCID(nil, bad))
		if r.Digest(); r.Err() == nil {
			t.Errorf("%x is a link", bad)
		}
	}
	r := NewReader(AppendCID(nil, good))
	if d := r.Digest(); d != atproto.EmptyTree || r.End() != nil {
		t.Errorf("%s, %v", d, r.Err())
	}
}

// FuzzValid compares with a general decoder: what Valid accepts it decodes, and
// encodes to the same bytes.
func FuzzValid(f *testing.F) {
	for _, text := range []string{"00", "a261610062616101", "820102", "d82a420001", "63616263", "f5", "f6", "3863", "a0", "80", "1b7fffffffffffffff"} {
		b, _ := hex.DecodeString(text)
		f.Add(b)
	}
	decode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, UTF8: cbor.UTF8RejectInvalid,
		MaxNestedLevels: 100,
	}.DecMode()
	must(f, err)
	encode, err := cbor.EncOptions{Sort: cbor.SortLengthFirst}.EncMode()
	must(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Valid(b)
		again, _, readErr := roundTrip(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if readErr != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read and written as %x, %v", b, again, readErr)
		}
		var v any
		if err := decode.Unmarshal(b, &v); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		other, err := encode.Marshal(v)
		if err != nil || !bytes.Equal(other, b) {
			t.Fatalf("%x is encoded as %x by another library, %v", b, other, err)
		}
	})
}
