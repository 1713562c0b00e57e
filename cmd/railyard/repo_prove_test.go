package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"railyard/internal/test/simnet"
)

// provable is an account with many records in collections whose names are alike.
func provable(t *testing.T, l *live) string {
	t.Helper()
	did, err := l.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		for _, nsid := range []string{"com.example.ab", "com.example.Thing", "com.example.z"} {
			if err := l.Create(did, fmt.Sprintf("%s/%02d", nsid, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return did
}

// document saves the DID document as it is now.
func (l *live) document(did string) string {
	l.t.Helper()
	name := filepath.Join(l.t.TempDir(), "did.json")
	fetch(l.t, l.PLC()+"/"+did, name)
	return name
}

// prove writes a proof to a file.
func (l *live) prove(did, nsid string) (string, collectionProofJSON) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "proof.car")
	var got collectionProofJSON
	l.repo("prove", did, nsid, "--json", "--out", file).decode(l.t, &got)
	return file, got
}

func TestACollectionIsProvenAndTheProofVerifiedOffline(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 71})
	did := provable(t, l)
	empty, err := l.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	offline := "RAILYARD_PLC_URL=" + deadURL(t)
	for _, refusesAbsentKeys := range []bool{false, true} {
		l.SetAbilities("pds1", simnet.Abilities{NoAbsentProofs: refusesAbsentKeys})
		for _, c := range []struct {
			did, nsid string
			has       bool
		}{
			{did, "com.example.ab", true},
			{did, "com.example.Thing", true},
			{did, "com.example.z", true},
			{did, "com.example.a", false},
			{did, "com.example.abc", false},
			{did, "com.example.thing", false},
			{did, "aaa.example.first", false},
			{did, "zzz.example.last", false},
			{empty, "com.example.ab", false},
		} {
			file, proven := l.prove(c.did, c.nsid)
			car := readFile(t, file)
			if len(car) > 4000 || proven.Bytes != len(car) {
				t.Errorf("%s: %d bytes", c.nsid, len(car))
			}
			truth, err := l.Repo(c.did)
			if err != nil {
				t.Fatal(err)
			}
			var got collectionProofJSON
			invoke(t, []string{"repo", "verify", file, c.did, c.nsid, "--json", "--did-doc", l.document(c.did)}, offline).decode(t, &got)
			if got.Verdict != "proven" || *got.HasRecords != c.has || *got.DID != c.did || got.Collection != c.nsid ||
				*got.Rev != truth.Rev.String() || !got.RevTime.Equal(truth.Rev.Time()) || *got.Commit != truth.Commit.String() {
				t.Errorf("%s: %+v", c.nsid, got)
			}
			if (got.Key != nil) != c.has || (got.Left == nil) != c.has || (got.Right == nil) != c.has ||
				c.has && !strings.HasPrefix(*got.Key, c.nsid+"/") {
				t.Errorf("%s: %+v", c.nsid, got)
			}
			text := l.repo("verify", c.did, c.nsid)
			text.oneLine(t, exitUsage, "NSID")
			text = l.repo("verify", file, c.did, c.nsid)
			want := map[bool]string{true: "proven: the repo has records of", false: "proven: the repo has no records of"}[c.has]
			for _, says := range []string{want, c.did, c.nsid, truth.Rev.String(), truth.Commit.String(), *got.SignedBy} {
				if text.code != exitOK || text.stderr != "" || !strings.Contains(text.stdout, says) {
					t.Errorf("%s: %q is not in %+v", c.nsid, says, text)
				}
			}
			for line := range strings.Lines(text.stdout) {
				if len(line) > 81 && !strings.Contains(line, file) {
					t.Errorf("more than 80 columns: %s", line)
				}
			}
			o := l.repo("prove", c.did, c.nsid, "--pds", l.PDS(0), "--out", "-")
			if o.code != exitOK || o.stdout != string(car) {
				t.Errorf("%s: on standard output: %d bytes, %s", c.nsid, len(o.stdout), o.stderr)
			}
		}
	}
}

func TestWhatIsNoProofIsRefused(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 72, Accounts: 1})
	did, other := provable(t, l), l.DIDs()[0]
	const nsid = "com.example.ab"
	file, _ := l.prove(did, nsid)
	doc := l.document(did)
	car := readFile(t, file)
	save := func(b []byte) string {
		name := filepath.Join(t.TempDir(), "changed.car")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	parts := carSections(car)
	tampered := slices.Clone(car)
	tampered[len(tampered)-1] ^= 1
	for name, c := range map[string]struct {
		args   []string
		reason string
	}{
		"other account":       {[]string{file, other, nsid}, "answer-wrong-did"},
		"document of another": {[]string{file, did, nsid, "--did-doc", l.document(other)}, "identity-invalid"},
		"other collection":    {[]string{file, did, "zzz.example.last", "--did-doc", doc}, "answer-partial"},
		"cut in a block":      {[]string{save(car[:len(car)-1]), did, nsid}, "bad-car"},
		"cut between blocks":  {[]string{save(slices.Concat(parts[0], parts[1])), did, nsid}, "answer-partial"},
		"tampered":            {[]string{save(tampered), did, nsid}, "bad-block"},
		"no CAR":              {[]string{save([]byte(`{"error":"x"}`)), did, nsid}, "bad-car"},
		"as a whole repo":     {[]string{file}, "answer-partial"},
	} {
		o := l.repo(append([]string{"verify"}, c.args...)...)
		if o.code != exitFail || !strings.Contains(o.stderr, "refused: "+c.reason) || strings.Contains(o.stdout, "proven: the") {
			t.Errorf("%s: %+v", name, o)
		}
		var got collectionProofJSON
		o = l.repo(append([]string{"verify", "--json"}, c.args...)...)
		if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != exitFail || got.Verdict != "refused" || got.HasRecords != nil {
			t.Errorf("%s: %v, %+v", name, err, o)
		}
	}
	if o := l.repo("verify", file, did, nsid, "--plc-url", deadURL(t)); o.code != exitFail || !strings.Contains(o.stderr, "undecided") {
		t.Errorf("%+v", o)
	}

	// The account gets another key: the proof is good under the document of then.
	if err := l.RotateKey(did); err != nil {
		t.Fatal(err)
	}
	if o := l.repo("verify", file, did, nsid); o.code != exitFail || !strings.Contains(o.stdout, "not proven: bad-signature; if the account has another key") {
		t.Errorf("%+v", o)
	}
	if o := l.repo("verify", file, did, nsid, "--did-doc", doc); o.code != exitOK {
		t.Errorf("%+v", o)
	}
	if file, _ = l.prove(did, nsid); l.repo("verify", file, did, nsid, "--did-doc", doc).code != exitFail {
		t.Error("a new commit is good under the old key")
	}

	for says, args := range map[string][]string{
		"did \"nobody\"":           {"prove", "nobody", nsid},
		"nsid \"example\"":         {"prove", did, "example"},
		"no NSID given":            {"prove", did},
		"--json":                   {"prove", did, nsid, "--json", "--out", "-"},
		"--pds":                    {"prove", did, nsid, "--pds", "ftp://x"},
		"a proof is a file":        {"verify", did, did, nsid},
		"nsid \"com.example.a/1\"": {"verify", file, did, "com.example.a/1"},
	} {
		l.repo(args...).oneLine(t, exitUsage, says)
	}
}

// A host cannot make a proof of what it likes, and what it refuses to say costs it no
// heavier request.
func TestALyingHostProvesNothing(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 73, Accounts: 1})
	did := provable(t, l)
	theirs := readFile(t, l.car(l.DIDs()[0]))
	out := filepath.Join(t.TempDir(), "proof.car")
	for says, answer := range map[string]func(w http.ResponseWriter){
		"answer-wrong-did": func(w http.ResponseWriter) { _, _ = w.Write(theirs) },
		"bad-car":          func(w http.ResponseWriter) { _, _ = w.Write([]byte("hello")) },
		"rate-limited":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
	} {
		requests := 0
		l.SetHook("pds1", simnet.Hook{HTTP: func(w http.ResponseWriter, r *http.Request) bool {
			requests++
			answer(w)
			return true
		}})
		l.repo("prove", did, "com.example.ab", "--out", out).oneLine(t, exitFail, says)
		if requests != 1 {
			t.Errorf("%s: %d requests", says, requests)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a proof was written")
	}
}
