package atproto

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"railyard/internal/test/fixtures"
)

// lines returns the cases of a syntax fixture: no comments, nothing trimmed.
func lines(t *testing.T, name string) (cases []string) {
	t.Helper()
	for line := range strings.Lines(string(fixtures.Read(t, "syntax", name))) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			cases = append(cases, line)
		}
	}
	return cases
}

func TestNSIDsOfTheFixtures(t *testing.T) {
	for _, s := range lines(t, "nsid_syntax_valid.txt") {
		if _, err := ParseNSID(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range lines(t, "nsid_syntax_invalid.txt") {
		if _, err := ParseNSID(s); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Of the DIDs that are valid in general only did:plc and did:web can own repos.
func TestDIDsOfTheFixtures(t *testing.T) {
	for _, s := range lines(t, "did_syntax_valid.txt") {
		plc := strings.HasPrefix(s, "did:plc:") && len(s) == 32
		web := strings.HasPrefix(s, "did:web:") && !strings.Contains(s[8:], ":")
		if _, err := ParseDID(s); (err == nil) != (plc || web) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range lines(t, "did_syntax_invalid.txt") {
		if _, err := ParseDID(s); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestDIDs(t *testing.T) {
	for did, valid := range map[string]bool{
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa":        true,
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaa":         false,
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaa1":        false,
		"did:plc:AAAAAAAAAAAAAAAAAAAAAAAA":        false,
		"did:web:example.com":                     true,
		"did:web:localhost%3A2583":                true,
		"did:web:example.com:user":                false,
		"did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9": false,
		"did:web:" + strings.Repeat("a", 2100):    false,
		"":                                        false, "did:": false, "did:plc:": false,
	} {
		if _, err := ParseDID(did); (err == nil) != valid {
			t.Errorf("%q: %v", did, err)
		}
	}
}

func TestCIDsHaveOneTextAndOneBinaryForm(t *testing.T) {
	const empty = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
	d := DigestOf([]byte("\xa2\x61e\x80\x61l\xf6")) // the empty tree
	if d != EmptyTree || d.String() != empty {
		t.Errorf("the empty tree is %s", d)
	}
	binary := d.AppendCID(nil)
	if got, err := DigestFromCID(binary); err != nil || got != d || len(binary) != CIDLen {
		t.Errorf("%s, %v", got, err)
	}
	if err := CheckCID(binary); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{
		"version 0":     append([]byte{0}, binary[1:]...),
		"another codec": append([]byte{1, 0x70}, binary[2:]...),
		"another hash":  append([]byte{1, 0x71, 0x1e}, binary[3:]...),
		"short":         binary[:35],
		"long":          append(bytes.Clone(binary), 0),
		"empty":         nil,
	} {
		if _, err := DigestFromCID(bad); !errors.Is(err, ErrCID) {
			t.Errorf("%s: %v", name, err)
		}
		if err := CheckCID(bad); !errors.Is(err, ErrCID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw := append([]byte{1, CodecRaw}, binary[2:]...)
	if _, err := DigestFromCID(raw); err == nil {
		t.Error("a blob's CID is taken for a block's")
	}
	if err := CheckCID(raw); err != nil {
		t.Errorf("a blob's CID: %v", err)
	}
}

func TestTIDsKeepTheirOrder(t *testing.T) {
	texts := []string{"2222222222222", "222222d7n7i22", "3lhhvdkcby3e2", "3mptbypqos22u", "bzzzzzzzzzzzz"}
	last := TID(-1)
	for _, text := range texts {
		tid, err := ParseTID(text)
		if err != nil || tid.String() != text || tid <= last {
			t.Errorf("%s: %d after %d, %v", text, tid, last, err)
		}
		last = tid
	}
	for _, bad := range []string{"", "3mptbypqos22", "3mptbypqos22ua", "kzzzzzzzzzzzz", "c222222222222", "jzzzzzzzzzzzz", "3mptbypqos221", "3MPTBYPQOS22U"} {
		if _, err := ParseTID(bad); err == nil {
			t.Errorf("%q is taken for a rev", bad)
		}
	}
	now := time.UnixMicro(1_783_175_887_000_123)
	if got := TIDAt(now).Time(); !got.Equal(now) {
		t.Errorf("%s comes back as %s", now, got)
	}
}

func TestCollectionOfAKey(t *testing.T) {
	for key, want := range map[string]string{
		"app.bsky.feed.post/3l": "app.bsky.feed.post", "a.b.c/d/e": "a.b.c", "a/": "a", "/x": "", "x": "", "": "",
	} {
		if got, ok := CollectionOf(key); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", key, got, ok)
		}
	}
	for path, valid := range map[string]bool{
		"com.example.thing/a": true, "com.example.thing/a:b~c_d.e-F": true, "com.example.thing/" + strings.Repeat("a", 512): true,
		"com.example.thing/" + strings.Repeat("a", 513): false, "com.example.thing/": false, "com.example.thing/.": false,
		"com.example.thing/..": false, "com.example.thing/a/b": false, "com.example/a": false, "thing/a": false, "": false,
		"com.example.thing/ä": false, "com.example.thing": false,
	} {
		if _, _, err := ParsePath(path); (err == nil) != valid {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for _, tc := range []struct {
		raw                 string
		public, development string // the host, empty if refused
	}{
		{"https://PDS.Example.com", "pds.example.com", "pds.example.com"},
		{"https://pds.example.com/", "pds.example.com", "pds.example.com"},
		{"https://pds.example.com:443", "pds.example.com", "pds.example.com"},
		{"https://pds.example.com.", "pds.example.com", "pds.example.com"},
		{"https://pds.example.com:8443", "", "pds.example.com:8443"},
		{"http://pds.example.com", "", "pds.example.com"},
		{"http://127.0.0.1:2583", "", "127.0.0.1:2583"},
		{"https://[::1]:2583", "", "[::1]:2583"},
		{"https://[2001:db8::1]", "", "[2001:db8::1]"},
		{"https://192.168.1.1", "", "192.168.1.1"},
		{"https://localhost", "", "localhost"},
		{"https://pds.local", "", "pds.local"},
		{"https://pds.internal", "", "pds.internal"},
		{"https://pds.test", "", "pds.test"},
		{"https://1.2.3", "", "1.2.3"},
		{"https://pds.example.com/path", "", ""},
		{"https://pds.example.com?q", "", ""},
		{"https://pds.example.com#f", "", ""},
		{"https://user:pw@pds.example.com", "", ""},
		{"https://pds_1.example.com", "", ""},
		{"https://-pds.example.com", "", ""},
		{"https://pds..example.com", "", ""},
		{"https://pds.example.com:0", "", ""},
		{"https://pds.example.com:70000", "", ""},
		{"https://", "", ""},
		{"ftp://pds.example.com", "", ""},
		{"pds.example.com", "", ""},
		{"", "", ""},
		{"https://" + strings.Repeat("a", 600) + ".com", "", ""},
	} {
		for _, h := range []struct {
			hosts Hosts
			want  string
		}{{Hosts{}, tc.public}, {Hosts{AllowPrivate: true}, tc.development}} {
			host, base, err := h.hosts.Endpoint(tc.raw)
			if host != h.want || (err == nil) != (h.want != "") {
				t.Errorf("%q, %+v: %q, %v", tc.raw, h.hosts, host, err)
			}
			if err == nil && !strings.HasSuffix(base, "://"+host) {
				t.Errorf("%q: base %q", tc.raw, base)
			}
		}
	}
}

func TestHostNames(t *testing.T) {
	for raw, want := range map[string]string{
		"PDS.example.com": "pds.example.com", "pds.example.com:443": "pds.example.com", "pds.example.com:80": "",
		"127.0.0.1": "", "localhost:2583": "", "a b.com": "", "pds.example.com/x": "", "": "", "u@pds.example.com": "",
	} {
		if got, err := (Hosts{}).Name(raw); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
	if got, err := (Hosts{AllowPrivate: true}).Name("localhost:2583"); got != "localhost:2583" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
