package atproto

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// agree checks that the grammars here and those of the reference library say the
// same of a text.
func agree(t *testing.T, s string) {
	t.Helper()
	_, err := syntax.ParseNSID(s)
	if want := err == nil; IsNSID(s) != want || IsNSID([]byte(s)) != want {
		t.Errorf("%q is an NSID: %t, reference %v", s, IsNSID(s), err)
	}
	_, err = syntax.ParseRecordKey(s)
	if isRkey(s) != (err == nil) {
		t.Errorf("%q is a record key: %t, reference %v", s, isRkey(s), err)
	}
	tid, err := syntax.ParseTID(s)
	v, ok := tidValue(s)
	if ok != (err == nil) || ok && (v != tid.Integer()) {
		t.Errorf("%q is the TID %d, %t, reference %d, %v", s, v, ok, tid.Integer(), err)
	}
	if rev, err := ParseTID(s); (err == nil) != (ok && v>>63 == 0) || err == nil && rev.String() != s {
		t.Errorf("%q is the rev %s, %v", s, rev, err)
	}
	_, err = syntax.ParseDID(s)
	plc := strings.HasPrefix(s, "did:plc:") && len(s) == 32 && strings.Trim(s[8:], "abcdefghijklmnopqrstuvwxyz234567") == ""
	web := strings.HasPrefix(s, "did:web:") && !strings.Contains(s[8:], ":")
	if did, ours := ParseDID(s); (ours == nil) != (err == nil && (plc || web)) || ours == nil && did != s {
		t.Errorf("%q is the DID %q, %v, reference %v", s, did, ours, err)
	}
}

// seedNames are names of all kinds with the edges of their grammars.
func seedNames() []string {
	long := strings.Repeat("a", 63)
	return []string{
		"", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.", ".a.b.c", "a..b.c", "1.b.c", "a.1.c", "a.b.1", "a.b.c1", "a.b.c-d",
		"a-b.c-d.e", "-a.b.c", "a-.b.c", "a.-b.c", "a.b-.c", "a.b.-", "a.b.c\n", "a.b.ç", "A.B.C", "a.b.c/d", "a_b.c.d",
		long + "." + long + "." + long, long + "a.b.c", "a." + long + "a.c", "a.b." + long + "a",
		strings.Repeat(long+".", 4) + strings.Repeat("a", 61), strings.Repeat(long+".", 4) + strings.Repeat("a", 62),
		"com.example.thing", "app.bsky.feed.post", "self", "3l:~_.-Z", strings.Repeat("k", 512), strings.Repeat("k", 513), "a b", "é",
		"3lhhvdkcby3e2", "2222222222222", "jzzzzzzzzzzzz", "bzzzzzzzzzzzz", "c222222222222", "kzzzzzzzzzzzz", "3lhhvdkcby3e", "3lhhvdkcby3e22", "3lhhvdkcby3e1", "3LHHVDKCBY3E2",
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:aaaaaaaaaaaaaaaaaaaaaaa1", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:AAAAAAAAAAAAAAAAAAAAAAAA",
		"did:web:example.com", "did:web:localhost%3A2583", "did:web:a%", "did:web:", "did:web:a:b", "did:web::", "did:web:a b", "did:web:_", "did:web:a\n",
		"did:web:" + strings.Repeat("a", 2040), "did:web:" + strings.Repeat("a", 2041), "did:key:zQ3s", "did:", "did::a", "did:WEB:a",
	}
}

func TestNamesAgreeWithTheReference(t *testing.T) {
	seeds := seedNames()
	for _, s := range seeds {
		agree(t, s)
	}
	rng := rand.New(rand.NewPCG(4, 2))
	const bytes = "aZ09.-_~:%/b27jkz \n\x80"
	for range 200_000 {
		s := []byte(seeds[rng.IntN(len(seeds))])
		if len(s) > 400 {
			continue
		}
		for range 1 + rng.IntN(3) {
			c := bytes[rng.IntN(len(bytes))]
			switch at := rng.IntN(len(s) + 1); {
			case at == len(s):
				s = append(s, c)
			case rng.IntN(3) == 0:
				s = append(s[:at], s[at+1:]...)
			default:
				s[at] = c
			}
		}
		agree(t, string(s))
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range seedNames() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { agree(t, s) })
}
