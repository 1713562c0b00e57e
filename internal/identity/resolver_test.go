package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/outbound"
	"railyard/internal/refusal"
)

// directory is a server for both methods and a resolver that asks it, in
// development mode.
func directory(t *testing.T, handler http.HandlerFunc) (*Resolver, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := outbound.New(outbound.Config{AllowPrivate: true})
	t.Cleanup(client.Close)
	return NewResolver(Config{Client: client, PLCURL: server.URL + "/", Hosts: atproto.Hosts{AllowPrivate: true}}), server
}

func TestAPLCIdentityComesFromTheDirectory(t *testing.T) {
	r, _ := directory(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/"+did {
			t.Errorf("asked for %s", req.URL.Path)
		}
		io.WriteString(w, written(did, []string{goodMethod}, []string{goodPDS}))
	})
	id, err := r.Resolve(t.Context(), did)
	if err != nil || id.DID != did || id.Host != "pds.example.com" || id.Key.String() != key1 {
		t.Errorf("got %+v, %v", id, err)
	}
}

func TestAWebIdentityComesFromItsHost(t *testing.T) {
	var web string
	r, server := directory(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/.well-known/did.json" {
			t.Errorf("asked for %s", req.URL.Path)
		}
		io.WriteString(w, written(web, []string{method("#atproto", "Multikey", web, key2)}, []string{goodPDS}))
	})
	web = "did:web:" + strings.Replace(strings.TrimPrefix(server.URL, "http://"), ":", "%3A", 1)
	id, err := r.Resolve(t.Context(), web)
	if err != nil || id.DID != web || id.Key.String() != key2 {
		t.Errorf("%s: got %+v, %v", web, id, err)
	}
}

func TestWhereTheDocumentOfADIDIs(t *testing.T) {
	public := NewResolver(Config{PLCURL: "https://plc.directory"})
	private := NewResolver(Config{PLCURL: "http://127.0.0.1:2582", Hosts: atproto.Hosts{AllowPrivate: true}})
	cases := []struct {
		r         *Resolver
		did, want string // empty: refused
	}{
		{public, did, "https://plc.directory/" + did},
		{public, "did:web:example.com", "https://example.com/.well-known/did.json"},
		{public, "did:web:Sub.Example.com", "https://sub.example.com/.well-known/did.json"},
		{public, "did:web:example.com%3A443", "https://example.com/.well-known/did.json"},
		{public, "did:web:example.com%3A8443", ""},
		{public, "did:web:localhost", ""},
		{public, "did:web:127.0.0.1", ""},
		{public, "did:web:example", ""},
		{public, "did:web:example.internal", ""},
		{public, "did:web:example.com%2Fpath", ""},
		{public, "did:web:user%40example.com", ""},
		{public, "did:web:example.com%3Fq", ""},
		{public, "did:web:example.com%23f", ""},
		{public, "did:web:example.com%00", ""},
		{public, "did:web:example.com%0d%0aHost", ""},
		{public, "did:web:%zz", ""},
		{private, did, "http://127.0.0.1:2582/" + did},
		{private, "did:web:localhost%3A2583", "http://localhost:2583/.well-known/did.json"},
		{private, "did:web:pds.localhost%3A2583", "http://pds.localhost:2583/.well-known/did.json"},
		{private, "did:web:127.0.0.1%3A2583", "http://127.0.0.1:2583/.well-known/did.json"},
		{private, "did:web:10.0.0.1", "https://10.0.0.1/.well-known/did.json"},
		{private, "did:web:pds.test", "https://pds.test/.well-known/did.json"},
	}
	for _, tc := range cases {
		got, err := tc.r.documentURL(tc.did)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: got %q, %v", tc.did, got, err)
		}
		if err != nil {
			if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
				t.Errorf("%s: %v", tc.did, err)
			}
		}
	}
}

func TestWhatIsNoDIDOfARepoIsNotLookedUp(t *testing.T) {
	r, _ := directory(t, func(w http.ResponseWriter, req *http.Request) { t.Error("asked for " + req.URL.Path) })
	for _, did := range []string{"", "did:plc:short", "did:key:" + key1, "did:web:a:b", "../x", did + "/../x", did + "?x"} {
		_, err := r.Resolve(t.Context(), did)
		if reason, _ := refusal.ReasonOf(err); reason != refusal.BadDID {
			t.Errorf("%q: got %v", did, err)
		}
	}
}

func TestAnswersOfTheDirectoryAreDistinguished(t *testing.T) {
	good := written(did, []string{goodMethod}, []string{goodPDS})
	cases := []struct {
		name       string
		status     int
		retryAfter string
		body       string
		reason     refusal.Reason // empty: *Unavailable
		noDocument bool
		wait       time.Duration
	}{
		{"unknown", 404, "", `{"message":"DID not registered: ` + did + `"}`, refusal.IdentityUnresolved, true, 0},
		{"tombstoned", 410, "", `{"message":"DID not available: ` + did + `"}`, refusal.IdentityUnresolved, true, 0},
		{"unknown, with a long page", 404, "", strings.Repeat("x", 100<<10), refusal.IdentityUnresolved, true, 0},
		{"rate limited", 429, "17", "slow down", "", false, 17 * time.Second},
		{"failing", 500, "", good, "", false, 0},
		{"overloaded", 503, "120", "", "", false, 2 * time.Minute},
		{"bad request", 400, "", "", "", false, 0},
		{"no content", 204, "", "", "", false, 0},
		{"not modified", 304, "", "", "", false, 0},
		{"a page", 200, "", "<html>", refusal.IdentityInvalid, false, 0},
		{"another document", 200, "", strings.ReplaceAll(good, did, otherDID), refusal.IdentityInvalid, false, 0},
		{"too long", 200, "", good + strings.Repeat(" ", 64<<10), refusal.IdentityInvalid, false, 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := directory(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.retryAfter != "" {
					w.Header().Set("Retry-After", tc.retryAfter)
				}
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			})
			_, err := r.Resolve(t.Context(), did)
			if errors.Is(err, ErrNoDocument) != tc.noDocument {
				t.Errorf("no document: %v", err)
			}
			if reason, _ := refusal.ReasonOf(err); reason != tc.reason {
				t.Errorf("got %v", err)
			}
			e, ok := errors.AsType[*Unavailable](err)
			if ok != (tc.reason == "") {
				t.Fatalf("unavailable: %v", err)
			}
			if ok && (e.Status != tc.status || e.RetryAfter != tc.wait) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestADirectoryThatIsNotThereIsUnavailable(t *testing.T) {
	r, server := directory(t, func(http.ResponseWriter, *http.Request) {})
	server.Close()
	_, err := r.Resolve(t.Context(), did)
	if e, ok := errors.AsType[*Unavailable](err); !ok || e.Status != 0 || e.Err == nil {
		t.Errorf("got %v", err)
	}
}

func TestAWebHostAtAPrivateAddressIsForbidden(t *testing.T) {
	private := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	}
	client := outbound.New(outbound.Config{Lookup: private, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		t.Error("dialled " + addr)
		return nil, errors.New("no")
	}})
	r := NewResolver(Config{Client: client, PLCURL: "https://plc.directory"})
	_, err := r.Resolve(t.Context(), "did:web:example.com")
	_, unavailable := errors.AsType[*Unavailable](err)
	if reason, _ := refusal.ReasonOf(err); reason != refusal.ForbiddenAddress || unavailable {
		t.Errorf("got %v", err)
	}
}

func TestRequestsToTheDirectoryArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		client := outbound.New(outbound.Config{AllowPrivate: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, fmt.Errorf("nobody is there")
		}})
		r := NewResolver(Config{Client: client, PLCURL: "http://plc.test", QPS: 4, Hosts: atproto.Hosts{AllowPrivate: true}})
		start := time.Now()
		for range 9 {
			if _, err := r.Resolve(t.Context(), did); err == nil {
				t.Fatal("resolved")
			}
		}
		if took := time.Since(start); took != 2*time.Second || dials.Load() != 9 {
			t.Errorf("%d requests took %s", dials.Load(), took)
		}
		if _, err := r.Resolve(t.Context(), "did:web:pds.test"); err == nil || time.Since(start) != 2*time.Second {
			t.Errorf("did:web waited for the directory: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err := r.Resolve(ctx, did)
		_, unavailable := errors.AsType[*Unavailable](err)
		if !errors.Is(err, context.Canceled) || unavailable || dials.Load() != 10 {
			t.Errorf("cancelled while waiting: %v after %d requests", err, dials.Load())
		}
	})
}
