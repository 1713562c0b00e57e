package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	thisIndex  = "abcdefghijkl2"
	otherIndex = "zzzzzzzzzzzz7"
)

// collectiondirCursor builds the bytes of a key of collectiondir, which are its
// cursor.
func collectiondirCursor(collection uint32, micros uint64, did string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'A'}, collection)
	b = binary.BigEndian.AppendUint64(b, micros)
	return append(append(b, did...), 0)
}

func TestCursorIsOurOwnForeignOrRefused(t *testing.T) {
	raw := collectiondirCursor(0xfbfffe3f, 1_750_000_000_000_000, didOf(77))
	web := collectiondirCursor(1, 0xffffffffffffffff, "did:web:example.com")
	encode := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	for _, c := range []struct {
		text    string
		after   int64
		foreign bool
		ok      bool
	}{
		{text: "", ok: true},
		{text: thisIndex + ".0", ok: true},
		{text: thisIndex + ".1", after: 1, ok: true},
		{text: thisIndex + ".0042", after: 42, ok: true},
		{text: thisIndex + ".9223372036854775807", after: 1<<63 - 1, ok: true},
		{text: otherIndex + ".5", foreign: true, ok: true},
		{text: otherIndex + ".9223372036854775808", foreign: true, ok: true},
		{text: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", foreign: true, ok: true}, // lightrail's
		{text: "did:web:example.com", foreign: true, ok: true},

		{text: base64.RawURLEncoding.EncodeToString(raw), foreign: true, ok: true},
		{text: base64.RawStdEncoding.EncodeToString(raw), foreign: true, ok: true},
		{text: base64.URLEncoding.EncodeToString(raw), foreign: true, ok: true},
		{text: base64.StdEncoding.EncodeToString(raw), foreign: true, ok: true},
		{text: base64.RawURLEncoding.EncodeToString(web), foreign: true, ok: true},
		{text: base64.StdEncoding.EncodeToString(web), foreign: true, ok: true},

		{text: thisIndex + ".9223372036854775808"},
		{text: thisIndex + ".-1"},
		{text: thisIndex + ".+1"},
		{text: thisIndex + ".1\n"},
		{text: thisIndex + "."},
		{text: thisIndex},
		{text: strings.ToUpper(thisIndex) + ".1"},
		{text: thisIndex + "a.1"},
		{text: "17"},
		{text: "did:plc:aaaaaaaa"},
		{text: "did:key:zabc"},
		{text: "garbage"},
		{text: "\x00\xff"},
		{text: "===="},
		{text: encode(raw[:len(raw)-1])}, // no zero byte
		{text: encode(web[:len(web)-1])},
		{text: encode(append([]byte("B"), raw[1:]...))}, // another table
		{text: encode(slices.Concat(raw[:13], []byte{0}))},
		{text: encode(collectiondirCursor(1, 1, "did:key:zabc"))},
		{text: encode(collectiondirCursor(1, 1, ""))},
		{text: strings.Repeat("A", 1<<16)},
	} {
		after, foreign, err := parseCursor(thisIndex, c.text)
		if (err == nil) != c.ok || after != c.after || foreign != c.foreign {
			t.Errorf("%.60q: after %d, foreign %t, err %v; want %d, %t, ok %t", c.text, after, foreign, err, c.after, c.foreign, c.ok)
		}
		if e, is := errors.AsType[*Error](err); err != nil && (!is || e.Status != http.StatusBadRequest || len(e.Message) > 600) {
			t.Errorf("%.60q: error %v", c.text, err)
		}
	}
}

func TestCursorsOfOthersRestartTheWalkAndAreCounted(t *testing.T) {
	x := newIndex(t)
	for n := range 4 {
		x.establish(didOf(n), posts)
	}
	all, own := x.walk("", 10, posts)
	raw := collectiondirCursor(3, 1_750_000_000_000_000, didOf(2))
	for _, foreign := range []string{
		otherIndex + own[strings.IndexByte(own, '.'):],
		base64.RawURLEncoding.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw),
	} {
		if got, _ := x.page(foreign, 10, posts); !slices.Equal(got, all) {
			t.Errorf("cursor %q: %q, want the walk from its start", foreign, got)
		}
	}
	if got, _ := x.page(own, 10, posts); len(got) != 0 {
		t.Errorf("our own cursor: %q", got)
	}
	if got := x.metric("railyard_foreign_cursors_total"); got != "3" {
		t.Errorf("%s foreign cursors were counted, want 3", got)
	}
}

func TestOneEmptyCursorIsNoneAndOtherTextIsRefused(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	if w := x.listing(url.Values{"cursor": {""}}); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), didOf(1)) {
		t.Errorf("an empty cursor: status %d: %s", w.Code, w.Body)
	}
	message := x.refused(x.listing(url.Values{"cursor": {"garbage"}}), http.StatusBadRequest, "InvalidRequest")
	if !strings.Contains(message, `cursor "garbage"`) {
		t.Errorf("message %q names no field and value", message)
	}
	message = x.refused(x.listing(url.Values{"cursor": {"", ""}}), http.StatusBadRequest, "InvalidRequest")
	if !strings.Contains(message, "cursor: given 2 times") {
		t.Errorf("message %q", message)
	}
}

func TestCursorsAreLettersDigitsAndTheDot(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	_, cursor := x.page("", 1, posts)
	if !ownCursor.MatchString(cursor) || url.QueryEscape(cursor) != cursor {
		t.Errorf("cursor %q", cursor)
	}
}

// metric reads one value from the metrics page.
func (x *index) metric(name string) string {
	x.Helper()
	w := httptest.NewRecorder()
	x.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(x.Context(), http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return "no"
}

func FuzzParseCursor(f *testing.F) {
	f.Add("", int64(0))
	f.Add(thisIndex+".12", int64(1))
	f.Add(otherIndex+".12", int64(1<<63-1))
	f.Add(thisIndex+".9999999999999999999", int64(1<<24))
	f.Add(base64.RawURLEncoding.EncodeToString(collectiondirCursor(1, 2, didOf(3))), int64(5))
	f.Add(base64.StdEncoding.EncodeToString(collectiondirCursor(1, 2, "did:web:example.com")), int64(5))
	f.Add("QQ==", int64(5))
	f.Fuzz(func(t *testing.T, text string, seq int64) {
		after, foreign, err := parseCursor(thisIndex, text)
		switch {
		case after < 0, foreign && after != 0, err != nil && (after != 0 || foreign):
			t.Errorf("%q: after %d, foreign %t, err %v", text, after, foreign, err)
		case err == nil && !foreign && text != "" && !strings.HasPrefix(text, thisIndex+"."):
			t.Errorf("%q passes for our own", text)
		}
		if seq < 0 {
			return
		}
		after, foreign, err = parseCursor(thisIndex, makeCursor(thisIndex, seq))
		if after != seq || foreign || err != nil {
			t.Errorf("our own cursor for %d: after %d, foreign %t, err %v", seq, after, foreign, err)
		}
		if after, foreign, err = parseCursor(otherIndex, makeCursor(thisIndex, seq)); after != 0 || !foreign || err != nil {
			t.Errorf("another index's cursor for %d: after %d, foreign %t, err %v", seq, after, foreign, err)
		}
	})
}
