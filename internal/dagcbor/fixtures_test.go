package dagcbor

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"

	"railyard/internal/atproto"
	"railyard/internal/test/fixtures"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recode reads one value and writes it again, and calls check for each CID.
func recode(r *Reader, b []byte, cids *[][]byte) []byte {
	switch k := r.Peek(); k {
	case Int:
		return AppendInt(b, r.Int())
	case Bytes:
		return AppendBytes(b, r.Bytes())
	case Text:
		return AppendText(b, r.String())
	case CID:
		id := r.CID()
		*cids = append(*cids, id)
		return AppendCID(b, id)
	case Bool:
		if r.Bool() {
			return append(b, 0xf5)
		}
		return append(b, 0xf4)
	case Null:
		r.Null()
		return AppendNull(b)
	case Array:
		n := r.Array()
		b = AppendArray(b, n)
		for ; n > 0 && r.Err() == nil; n-- {
			b = recode(r, b, cids)
		}
	case Map:
		n := r.Map()
		b = AppendMap(b, n)
		var keys Keys
		for ; n > 0 && r.Err() == nil; n-- {
			b = AppendText(b, string(r.Key(&keys)))
			b = recode(r, b, cids)
		}
	default:
		r.Fail("no kind")
	}
	return b
}

func roundTrip(b []byte) (again []byte, cids [][]byte, err error) {
	r := NewReader(b)
	again = recode(&r, nil, &cids)
	return again, cids, r.End()
}

func TestPublicEncodingCases(t *testing.T) {
	// What is right in general and not in atproto, or the other way round.
	refusedHere := map[string]bool{
		"largest CBOR integer, 2^64-1": true, "smallest CBOR integer, -(2^64)": true,
		"smallest unsigned bigint": true, "highest negative bigint": true,
	}
	const acceptedHere = "text not in Unicode Normalization Form C"
	var invalid, valid int
	for _, file := range []string{"cid", "indefinite", "integer_range", "map_keys", "short_form", "simple", "utf8"} {
		var cases []struct{ Type, Data, Name string }
		must(t, json.Unmarshal(fixtures.Read(t, "dag-cbor", file+".json"), &cases))
		for _, c := range cases {
			data, err := hex.DecodeString(c.Data)
			must(t, err)
			again, cids, err := roundTrip(data)
			if v := Valid(data); (v == nil) != (err == nil) {
				t.Errorf("%s: Valid says %v, reading %v", c.Name, v, err)
			}
			switch {
			case c.Type == "roundtrip" && refusedHere[c.Name]:
				if err == nil {
					t.Errorf("%s: accepted", c.Name)
				}
			case c.Type == "roundtrip" || c.Name == acceptedHere:
				valid++
				if err != nil || !bytes.Equal(again, data) {
					t.Errorf("%s: %v, again %x", c.Name, err, again)
				}
			case c.Type == "invalid_in":
				invalid++
				for _, id := range cids {
					if err == nil {
						err = atproto.CheckCID(id)
					}
				}
				if err == nil {
					t.Errorf("%s: accepted", c.Name)
				}
			}
		}
	}
	if invalid != 47 || valid < 15 {
		t.Errorf("%d invalid cases, %d valid ones", invalid, valid)
	}
}

func TestRealRecordsRoundTrip(t *testing.T) {
	for _, file := range []string{"feedpost_record.cbor", "post_richtext_link.cbor"} {
		data := fixtures.Read(t, "dag-cbor", file)
		if again, _, err := roundTrip(data); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// appendJSON writes a value of the data model's JSON form.
func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return AppendNull(b), nil
	case bool:
		if v {
			return append(b, 0xf5), nil
		}
		return append(b, 0xf4), nil
	case json.Number:
		n, err := strconv.ParseInt(strings.TrimSuffix(v.String(), ".0"), 10, 64)
		return AppendInt(b, n), err
	case string:
		return AppendText(b, v), nil
	case []any:
		b = AppendArray(b, len(v))
		var err error
		for _, item := range v {
			if b, err = appendJSON(b, item); err != nil {
				return b, err
			}
		}
		return b, nil
	case map[string]any:
		return appendJSONMap(b, v)
	}
	return b, fmt.Errorf("kind %T", v)
}

func appendJSONMap(b []byte, m map[string]any) ([]byte, error) {
	if text, ok := m["$link"].(string); ok {
		c, err := cid.Decode(text)
		if err != nil {
			return b, err
		}
		return AppendCID(b, c.Bytes()), atproto.CheckCID(c.Bytes())
	}
	if text, ok := m["$bytes"].(string); ok {
		p, err := base64.RawStdEncoding.DecodeString(text)
		return AppendBytes(b, p), err
	}
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	b = AppendMap(b, len(m))
	for _, key := range keys {
		var err error
		if b, err = appendJSON(AppendText(b, key), m[key]); err != nil {
			return b, err
		}
	}
	return b, nil
}

func decodeJSON(t testing.TB, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	must(t, d.Decode(&v))
	return v
}

// TestValidDataReadsBackWithAGeneralLibrary writes each case and compares what
// another library reads with the JSON.
func TestValidDataReadsBackWithAGeneralLibrary(t *testing.T) {
	var cases []struct {
		Note string
		JSON json.RawMessage
	}
	must(t, json.Unmarshal(fixtures.Read(t, "data-model", "data-model-valid.json"), &cases))
	if len(cases) != 5 {
		t.Fatalf("%d cases", len(cases))
	}
	mode, err := cbor.DecOptions{DefaultMapType: reflect.TypeFor[map[string]any]()}.DecMode()
	must(t, err)
	for _, c := range cases {
		written, err := appendJSON(nil, decodeJSON(t, c.JSON))
		must(t, err)
		must(t, Valid(written))
		var got any
		must(t, mode.Unmarshal(written, &got))
		text, err := json.Marshal(got)
		must(t, err)
		var want any
		must(t, json.Unmarshal(c.JSON, &want))
		var again any
		must(t, json.Unmarshal(text, &again))
		if !reflect.DeepEqual(again, want) {
			t.Errorf("%s: reads back as %s", c.Note, text)
		}
	}
}

func TestDataModelFixturesEncodeToTheirCIDs(t *testing.T) {
	var cases []struct {
		JSON       json.RawMessage
		CBORBase64 string `json:"cbor_base64"`
		CID        string
	}
	must(t, json.Unmarshal(fixtures.Read(t, "data-model", "data-model-fixtures.json"), &cases))
	if len(cases) != 3 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		got, err := appendJSON(nil, decodeJSON(t, c.JSON))
		must(t, err)
		want, err := base64.RawStdEncoding.DecodeString(c.CBORBase64)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s encodes to %x, want %x", c.CID, got, want)
		}
		if d := atproto.DigestOf(got); d.String() != c.CID {
			t.Errorf("%s, want %s", d, c.CID)
		}
		if err := Valid(got); err != nil {
			t.Error(err)
		}
	}
}
