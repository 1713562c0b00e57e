package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/refusal"
)

// audited is an audit log with an operation at each minute.
func audited(ops ...string) string {
	var lines []string
	for i, o := range ops {
		line := logLine(did, strings.TrimPrefix(o, "nullified "))
		line = strings.Replace(line, createdAt, minute(i).Format(time.RFC3339), 1)
		if o != strings.TrimPrefix(o, "nullified ") {
			line = strings.Replace(line, `"nullified":false`, `"nullified":true`, 1)
		}
		lines = append(lines, line)
	}
	return "[" + strings.Join(lines, ",") + "]"
}

func minute(n int) time.Time { return time.Date(2024, 5, 6, 7, n, 0, 0, time.UTC) }

func TestTheKeysThatADIDHadBefore(t *testing.T) {
	at := service1("https://pds.example.com")
	a, b, c := op("did:key:"+key1, at), op("did:key:"+key2, at), op("did:key:"+keyP256, at)
	moved := op("did:key:"+key1, service1("https://other.example.com"))
	legacy := create(`"signingKey":"did:key:` + key1 + `","service":"https://bsky.social"`)
	tombstone := `{"type":"plc_tombstone"}`
	for name, tc := range map[string]struct {
		ops  []string
		want string // key and minute of its end, newest first
	}{
		"one key":                 {[]string{a}, ""},
		"a move is no rotation":   {[]string{a, moved}, ""},
		"rotated":                 {[]string{a, b}, key1 + "@1"},
		"the legacy form first":   {[]string{legacy, b}, key1 + "@1"},
		"twice":                   {[]string{a, moved, b, c}, key2 + "@3 " + key1 + "@2"},
		"and back":                {[]string{a, b, a}, key2 + "@2"},
		"each once, at its last":  {[]string{a, b, a, c}, key1 + "@3 " + key2 + "@2"},
		"nullified is not":        {[]string{a, "nullified " + b, c}, key1 + "@2"},
		"nullified at the end":    {[]string{a, "nullified " + b}, ""},
		"tombstoned":              {[]string{a, b, tombstone}, key2 + "@2 " + key1 + "@1"},
		"a tombstone taken back":  {[]string{a, "nullified " + tombstone, b}, key1 + "@2"},
		"a key of another curve":  {[]string{a, op("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", at), b}, key1 + "@1"},
		"no key for a while":      {[]string{a, `{"type":"plc_operation"}`, a}, ""},
		"an operation of no type": {[]string{a, `{}`, b}, key1 + "@1"},
	} {
		r, _ := directory(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/"+did+"/log/audit" {
				t.Errorf("asked for %s", req.URL.Path)
			}
			io.WriteString(w, audited(tc.ops...))
		})
		keys, err := r.EarlierKeys(t.Context(), did)
		var got []string
		for _, k := range keys {
			got = append(got, fmt.Sprintf("%s@%d", k.Key, int(k.Superseded.Sub(minute(0)).Minutes())))
		}
		if text := strings.Join(got, " "); err != nil || text != tc.want {
			t.Errorf("%s: got %q, %v; want %q", name, text, err, tc.want)
		}
	}
}

func TestAuditLogsThatAreRefused(t *testing.T) {
	a := op("did:key:"+key1, service1("https://pds.example.com"))
	two := audited(a, a)
	for name, body := range map[string]string{
		"a page":             "<html>",
		"no list":            `{}`,
		"null":               `null`,
		"empty":              `[]`,
		"of another DID":     strings.Replace(two, did, otherDID, 1),
		"with a broken time": strings.Replace(two, "createdAt", "created", 1),
		"out of order":       strings.Replace(two, minute(0).Format(time.RFC3339), minute(2).Format(time.RFC3339), 1),
		"with a number":      `[7]`,
		"too long":           "[" + strings.Repeat(" ", maxAuditLog) + "]",
		"with a long entry":  "[" + two[1:len(two)-2] + strings.Repeat(" ", MaxEntry) + "}]",
	} {
		r, _ := directory(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
		keys, err := r.EarlierKeys(t.Context(), did)
		if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid || keys != nil || len(err.Error()) > 400 {
			t.Errorf("%s: got %v, %v", name, keys, err)
		}
	}
}

// Nobody can make a caller try a thousand keys.
func TestEarlierKeysAreBounded(t *testing.T) {
	ops := make([]string, 100)
	for i := range ops {
		priv, err := atcrypto.GeneratePrivateKeyK256()
		if err != nil {
			t.Fatal(err)
		}
		pub, err := priv.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		ops[i] = op(pub.DIDKey(), service1("https://pds.example.com"))
	}
	keys, err := earlierKeys(did, []byte(audited(ops...)))
	if err != nil || len(keys) != maxEarlierKeys || !keys[0].Superseded.Equal(minute(99)) || !keys[63].Superseded.Equal(minute(36)) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestWhoHasNoHistoryIsNotAskedFor(t *testing.T) {
	r, _ := directory(t, func(_ http.ResponseWriter, req *http.Request) { t.Error("asked for " + req.URL.Path) })
	if keys, err := r.EarlierKeys(t.Context(), "did:web:example.com"); keys != nil || err != nil {
		t.Errorf("did:web: %v, %v", keys, err)
	}
	_, err := r.EarlierKeys(t.Context(), "did:plc:../../x")
	if reason, _ := refusal.ReasonOf(err); reason != refusal.BadDID {
		t.Errorf("got %v", err)
	}
}

func TestAHistoryThatCannotBeRead(t *testing.T) {
	status := http.StatusNotFound
	r, _ := directory(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	if _, err := r.EarlierKeys(t.Context(), did); !errors.Is(err, ErrNoDocument) {
		t.Errorf("unknown: %v", err)
	}
	status = http.StatusBadGateway
	_, err := r.EarlierKeys(t.Context(), did)
	if u, ok := errors.AsType[*Unavailable](err); !ok || u.Status != status {
		t.Errorf("failing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.EarlierKeys(ctx, did); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The audit log waits for the same turn as documents do.
func TestTheHistoryIsAskedForAtTheSamePace(t *testing.T) {
	r := NewResolver(Config{PLCURL: "http://127.0.0.1:1", QPS: 0.001})
	if err := r.Pace(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // shorter than the wait: refused at once
	defer cancel()
	if _, err := r.EarlierKeys(ctx, did); err == nil || strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}
