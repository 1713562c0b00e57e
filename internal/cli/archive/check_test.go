package archive

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/event"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

var errNoDirectory = errors.New("no directory here")

// outcomes is a report in one line: each check that did not pass, with its
// reason.
func outcomes(r *Report) string {
	var parts []string
	for _, c := range r.Checks {
		switch c.Outcome {
		case Passed:
		case Refused:
			parts = append(parts, c.Name+":"+string(c.Reason))
		default:
			parts = append(parts, c.Name+":"+string(c.Outcome))
		}
	}
	return strings.Join(parts, " ")
}

func find(t *testing.T, r *Report, name string) Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s in %+v", name, r.Checks)
	}
	return r.Checks[i]
}

// The verdicts of the public CARs. Documents of the first three are not among the
// fixtures: without one, whose the signature is remains open.
func TestOutcomesOfThePublicCARs(t *testing.T) {
	const open = "document:unknown signature:unknown"
	for _, c := range []struct {
		car, doc, want string
		did            string
	}{
		{"empty.car", "", open, "did:plc:mhkgaud2jb4rypzt4ph2a3co"},
		{"little.car", "", open, "did:plc:lulmyldiq4sb2ikags5sfb25"},
		{"jetstream_repo.car", "", open, "did:plc:53iucmf5ldftgqyf2ac7hmhd"},
		{"greenground.repo.car", "greenground.didDoc.json", "document:identity-invalid", "did:plc:kzcqyc3unb33eh5sxzsfs25z"},
		{"paul_staging.repo.car", "paul_staging.didDoc.json", "commit:bad-commit", "did:plc:cmpvykrzb2l22kj4ojlv3ox4"},
		{"bafyreieovfuizojpw3zresz7sx3nk4trm2by23pt5rxbey3jme4uo5ogiu.car", "did_plc_z5vnbioquyhivxirw3bbljmu.didDoc.json",
			"commit:bad-commit signature:bad-signature", "did:plc:z5vnbioquyhivxirw3bbljmu"},
		{"repo_slice.car", "", "commit:bad-commit " + open + " complete:answer-partial records:record-missing", "did:plc:6evlgoug7wwijzxhzt2riyic"},
	} {
		a := Read(fixtures.Read(t, "cars", c.car))
		if a.Err() != nil || a.Commit.DID != c.did {
			t.Errorf("%s: %v, %+v", c.car, a.Err(), a.Commit)
			continue
		}
		auth := Authority{Err: errNoDirectory}
		if c.doc != "" {
			auth = Document(a.Commit.DID, fixtures.Read(t, "cars", c.doc))
		}
		r := Verify(a, "", auth, now)
		if got := outcomes(r); got != c.want || r.Valid() || r.KeysProven {
			t.Errorf("%s: %s, want %s; valid %t, proven %t", c.car, got, c.want, r.Valid(), r.KeysProven)
		}
		if c.car[0] == 'g' && !strings.Contains(find(t, r, "signature").Detail, "not this account's") {
			t.Errorf("%s: %+v", c.car, find(t, r, "signature"))
		}
	}
}

func TestAWholeSignedRepoIsValid(t *testing.T) {
	for name, m := range map[string]*made{
		"empty": newRepo(t), "one": newRepo(t, "com.example.a/1"), "many": newRepo(t, paths("com.example.thing", 200)...),
	} {
		a := Read(m.car(t))
		for kind, auth := range map[string]Authority{"key": m.authority(t), "document": Document(testDID, m.document(t, testDID))} {
			r := Verify(a, testDID, auth, now)
			want := map[string]string{"key": "document:skipped", "document": ""}[kind]
			if !r.Valid() || !r.KeysProven || outcomes(r) != want {
				t.Errorf("%s by %s: %s", name, kind, outcomes(r))
			}
		}
	}
}

func TestWhatIsWrongIsRefusedForItsReason(t *testing.T) {
	m := newRepo(t, paths("com.example.thing", 60)...)
	root, commit, nodes, records := m.blocks(t)
	all := append(append([][]byte{commit}, nodes...), records...)
	car := writeCAR(root, all...)
	broken := bytes.Clone(car)
	broken[len(broken)-1] ^= 1
	late := newRepo(t, "com.example.a/1")
	late.rev = atproto.TIDAt(now.Add(time.Hour))
	version4 := newRepo(t, "com.example.a/1")
	version4.version = 4
	huge := newRepo(t)
	huge.records["com.example.a/1"] = record(strings.Repeat("x", event.MaxRecord))
	badTree := newRepo(t)
	badData := dagcbor.AppendMap(nil, 0)
	signed := badTree.signOver(t, atproto.DigestOf(badData))
	other := newRepo(t)
	version2 := newRepo(t, "com.example.a/1")
	version2.version = 2

	for _, c := range []struct {
		name, want string
		car        []byte
		auth       Authority
		did        string
		proven     bool
	}{
		{"no CAR", "car:bad-car hashes:unknown commit:unknown document:unknown signature:unknown tree:unknown complete:unknown records:unknown",
			[]byte("hello"), m.authority(t), "", false},
		{"a byte that is wrong", "car:unknown hashes:bad-block commit:unknown document:unknown signature:unknown tree:unknown complete:unknown records:unknown",
			broken, m.authority(t), "", false},
		{"no commit", "commit:bad-commit document:unknown signature:unknown tree:unknown complete:unknown records:unknown",
			writeCAR(root, all[1:]...), m.authority(t), "", false},
		{"version 4", "commit:bad-commit document:unknown signature:unknown tree:unknown complete:unknown records:unknown",
			version4.car(t), version4.authority(t), "", false},
		{"version 2", "commit:bad-commit document:skipped", version2.car(t), version2.authority(t), "", false},
		{"version 2 of another key", "commit:bad-commit document:skipped signature:bad-signature", version2.car(t), other.authority(t), "", false},
		{"another key", "document:skipped signature:bad-signature", car, other.authority(t), "", false},
		{"another account than asked", "account:answer-wrong-did document:skipped", car, m.authority(t), "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", false},
		{"another account's document", "document:identity-invalid", car, Document(testDID, m.document(t, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")), "", false},
		{"an identity of another account", "document:identity-invalid", car,
			Resolved(identity.ParseDocument("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", m.document(t, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"), atproto.Hosts{})), "", false},
		{"no document", "document:identity-unresolved signature:unknown", car,
			Resolved(identity.Identity{}, refusal.New(refusal.IdentityUnresolved, "none")), "", false},
		{"no directory", "document:unknown signature:unknown", car, Resolved(identity.Identity{}, errNoDirectory), "", false},
		{"a document that is none", "document:identity-invalid signature:unknown", car, Document(testDID, []byte("{")), "", false},
		{"nobody asked", "document:unknown signature:unknown", car, Authority{}, "", false},
		{"a rev of tomorrow", "rev:future-rev document:skipped", late.car(t), late.authority(t), "", false},
		{"no tree", "document:skipped tree:bad-tree complete:unknown records:unknown",
			writeCAR(atproto.DigestOf(signed).AppendCID(nil), signed, badData), badTree.authority(t), "", false},
		{"no root of the tree", "document:skipped tree:unknown complete:answer-partial", writeCAR(root, commit), m.authority(t), "", false},
		{"no records", "document:skipped records:record-missing", writeCAR(root, all[:1+len(nodes)]...), m.authority(t), "", true},
		{"a record too big", "document:skipped records:record-missing", huge.car(t), huge.authority(t), "", true},
	} {
		r := Verify(Read(c.car), c.did, c.auth, now)
		if got := outcomes(r); got != c.want || r.Valid() || r.KeysProven != c.proven {
			t.Errorf("%s: %s, want %s; valid %t, proven %t", c.name, got, c.want, r.Valid(), r.KeysProven)
		}
	}
}

// signOver returns a signed commit over a root of one's choice.
func (m *made) signOver(t *testing.T, data atproto.Digest) []byte {
	t.Helper()
	sig, err := m.key.HashAndSign(m.commit(data, nil))
	must(t, err)
	return m.commit(data, sig)
}

// A CAR that ends early at the border of a block has perfect framing. What it
// proves depends on what is missing.
func TestACARCutAtABlock(t *testing.T) {
	m := newRepo(t, paths("com.example.thing", 40)...)
	root, commit, nodes, records := m.blocks(t)
	all := append(append([][]byte{commit}, nodes...), records...)
	for n := 1; n < len(all); n++ {
		a := Read(writeCAR(root, all[:n]...))
		r := Verify(a, "", m.authority(t), now)
		first, refused := r.First()
		wholeTree := n >= 1+len(nodes)
		switch {
		case !refused || r.Valid() || a.Err() != nil:
			t.Errorf("%d blocks: valid", n)
		case wholeTree && (first.Reason != refusal.RecordMissing || !r.KeysProven || !a.Whole()):
			t.Errorf("%d blocks: %s; proven %t", n, outcomes(r), r.KeysProven)
		case !wholeTree && (first.Reason != refusal.AnswerPartial || r.KeysProven || a.Whole()):
			t.Errorf("%d blocks: %s; proven %t", n, outcomes(r), r.KeysProven)
		}
	}
}

func TestLittleCarCutAtEveryBlock(t *testing.T) {
	parts := sections(fixtures.Read(t, "cars", "little.car"))
	seen := map[string]int{}
	for n := 2; n <= len(parts); n += 7 {
		a := Read(bytes.Join(parts[:n], nil))
		first, _ := Verify(a, "", Authority{Err: errNoDirectory}, now).First()
		seen[string(first.Reason)]++
		if whole := a.Whole(); n > 6 && whole != (first.Reason != refusal.AnswerPartial) {
			t.Errorf("%d blocks: whole %t, %v", n-1, whole, first)
		}
	}
	if seen["bad-commit"] == 0 || seen["answer-partial"] == 0 {
		t.Errorf("%v", seen)
	}
}

// What is missing does not make the rest untrue.
func TestAPartThatIsSignedIsNotRefused(t *testing.T) {
	m := newRepo(t, paths("com.example.thing", 40)...)
	root, commit, nodes, _ := m.blocks(t)
	for n := range len(nodes) + 1 {
		a := Read(writeCAR(root, append([][]byte{commit}, nodes[:n]...)...))
		if check, refused := Verify(a, testDID, m.authority(t), now).Signed(); refused {
			t.Errorf("%d nodes: %+v", n, check)
		}
		if check, refused := Verify(a, testDID, newRepo(t).authority(t), now).Signed(); !refused || check.Reason != refusal.BadSignature {
			t.Errorf("%d nodes under another key: %+v", n, check)
		}
	}
}

// What people save under the name of a CAR is called what it is.
func TestOtherFilesAreNamed(t *testing.T) {
	for file, want := range map[string]string{
		"": "it is empty", "{\"error\":\"RepoNotFound\",\"message\":\"\x1b[2J\"}": `it is JSON, "{\"error\":\"RepoNotFound\"`,
		"\r\n{\n  \"error\": \"RepoNotFound\"\n}": "it is JSON", "[]": "it is JSON", "[ {\"did\"": "it is JSON",
		"\n <!doctype html><title>x</title>": "it is HTML or XML", "<?xml version=\"1.0\"?>": "it is HTML or XML",
		"\x1f\x8b\x08\x00": "gzip", "\x28\xb5\x2f\xfd\x00": "zstd",
		"\x0a\xa1\x67version\x02" + strings.Repeat("\x00", 40): "a CAR of version 2",
		"{nothing of the kind":                                 "a block of 123 bytes where 19 are left",
	} {
		a := Read([]byte(file))
		if reason, _ := refusal.ReasonOf(a.Err()); reason != refusal.BadCAR || !strings.Contains(a.Err().Error(), want) || strings.Contains(a.Err().Error(), "\x1b") {
			t.Errorf("%.20q: %v, want %q", file, a.Err(), want)
		}
	}
}

// highKey signs with the other S of the two.
type highKey struct{ atcrypto.PrivateKey }

func (k highKey) HashAndSign(content []byte) ([]byte, error) {
	sig, err := k.PrivateKey.HashAndSign(content)
	if err != nil {
		return nil, err
	}
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(order, s).FillBytes(sig[32:])
	return sig, nil
}

func TestAHighSIsNamed(t *testing.T) {
	for _, version := range []int64{2, 3} {
		m := newRepo(t, "com.example.a/1")
		m.version = version
		auth := m.authority(t)
		m.key = highKey{m.key}
		check := find(t, Verify(Read(m.car(t)), "", auth, now), "signature")
		if check.Outcome != Refused || check.Reason != refusal.BadSignature || !strings.Contains(check.Detail, "the S of the signature is high") {
			t.Errorf("version %d: %+v", version, check)
		}
		other := newRepo(t, "com.example.a/1").authority(t)
		if check := find(t, Verify(Read(m.car(t)), "", other, now), "signature"); strings.Contains(check.Detail, "high") {
			t.Errorf("version %d under another key: %+v", version, check)
		}
	}
}
