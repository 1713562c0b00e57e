package archive

import (
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/mst"
)

// besides are collections that stand close to each other in the tree, with one name the
// beginning of another and names that differ by case.
func besides(t testing.TB) *made {
	t.Helper()
	list := paths("app.example.ab", 150)
	list = append(list, paths("app.example.z", 150)...)
	return newRepo(t, append(list, "app.example.a.b/1", "app.example.Case/1", "com.example.one/-")...)
}

var aroundBesides = []string{
	"app.example.ab", "app.example.z", "app.example.a.b", "app.example.Case", "com.example.one",
	"app.example.a", "app.example.abc", "app.example.case", "app.example.cASE", "app.example.Z", "App.example.ab",
	"aaa.example.first", "zzz.example.last",
}

func (m *made) has(nsid string) mst.Presence {
	for path := range m.records {
		if strings.HasPrefix(path, nsid+"/") {
			return mst.Present
		}
	}
	return mst.Absent
}

func TestAProofIsCutDownToWhatItNeeds(t *testing.T) {
	for name, m := range map[string]*made{"many": besides(t), "one": newRepo(t, "app.example.ab/1"), "empty": newRepo(t)} {
		whole := Read(m.car(t))
		doc := Document(testDID, m.document(t, testDID))
		for _, nsid := range aroundBesides {
			car := whole.ProofOf(nsid)
			a := Read(car)
			if r := VerifyCollection(a, testDID, nsid, doc, now); !r.Valid() || a.HasRecords(nsid) != m.has(nsid) {
				t.Errorf("%s, %s: %s, says %s, want %s", name, nsid, outcomes(r), a.HasRecords(nsid), m.has(nsid))
			}
			if again := a.ProofOf(nsid); !slices.Equal(again, car) || a.Blocks.Unused != 0 || a.Blocks.Records != 0 {
				t.Errorf("%s, %s: %+v", name, nsid, a.Blocks)
			}
			parts := sections(car)
			for i := 1; i < len(parts); i++ { // a CAR cut at a block is a CAR
				short := Read(slices.Concat(slices.Concat(parts[:i]...), slices.Concat(parts[i+1:]...)))
				if r := VerifyCollection(short, testDID, nsid, doc, now); r.Valid() {
					t.Errorf("%s, %s: valid without block %d", name, nsid, i)
				}
			}
		}
	}
}

func TestAProofOfSomethingElseIsRefused(t *testing.T) {
	m, other := besides(t), besides(t)
	const nsid = "app.example.ab"
	car := Read(m.car(t)).ProofOf(nsid)
	doc := Document(testDID, m.document(t, testDID))
	const stranger = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	tampered := slices.Clone(car)
	tampered[len(tampered)-1] ^= 1
	old := besides(t)
	old.version = 2
	ahead := besides(t)
	ahead.rev = atproto.TIDAt(now.AddDate(0, 0, 1))
	for name, c := range map[string]struct {
		car       []byte
		did, nsid string
		auth      Authority
		want      string
	}{
		"good":                    {car, testDID, nsid, doc, ""},
		"given key":               {car, testDID, nsid, m.authority(t), "document:skipped"},
		"other account":           {car, stranger, nsid, Document(stranger, m.document(t, stranger)), "account:answer-wrong-did document:identity-invalid"},
		"other account, same key": {car, stranger, nsid, m.authority(t), "account:answer-wrong-did document:skipped"},
		"document of another":     {car, testDID, nsid, Document(testDID, m.document(t, stranger)), "document:identity-invalid"},
		"signed by another":       {car, testDID, nsid, Document(testDID, other.document(t, testDID)), "signature:bad-signature"},
		"no key":                  {car, testDID, nsid, Authority{Err: errNoDirectory}, "document:unknown signature:unknown"},
		"no authority":            {car, testDID, nsid, Authority{}, "document:unknown signature:unknown"},
		"other collection":        {car, testDID, "com.example.one", doc, "collection:answer-partial"},
		"cut":                     {car[:len(car)-1], testDID, nsid, doc, "car:bad-car hashes:unknown commit:unknown document:unknown signature:unknown tree:unknown collection:unknown"},
		"tampered":                {tampered, testDID, nsid, doc, "car:unknown hashes:bad-block commit:unknown document:unknown signature:unknown tree:unknown collection:unknown"},
		"version 2":               {Read(old.car(t)).ProofOf(nsid), testDID, nsid, old.authority(t), "commit:bad-commit document:skipped"},
		"of tomorrow":             {Read(ahead.car(t)).ProofOf(nsid), testDID, nsid, ahead.authority(t), "rev:future-rev document:skipped"},
	} {
		r := VerifyCollection(Read(c.car), c.did, c.nsid, c.auth, now)
		if valid := name == "good" || name == "given key"; outcomes(r) != c.want || r.Valid() != valid {
			t.Errorf("%s: %s, want %s", name, outcomes(r), c.want)
		}
		if r.Hidden() != (name == "other collection") {
			t.Errorf("%s: hidden %t", name, r.Hidden())
		}
	}
}

// The key has signed one tree, so no bytes prove anything else than what it holds.
func FuzzVerifyCollection(f *testing.F) {
	m := besides(f)
	auth := Document(testDID, m.document(f, testDID))
	whole := Read(m.car(f))
	for i, nsid := range aroundBesides {
		f.Add(whole.ProofOf(nsid), i)
	}
	f.Fuzz(func(t *testing.T, b []byte, i int) {
		nsid := aroundBesides[uint(i)%uint(len(aroundBesides))]
		a := Read(b)
		if r := VerifyCollection(a, testDID, nsid, auth, now); r.Valid() && a.HasRecords(nsid) != m.has(nsid) {
			t.Fatalf("%s: %s", nsid, a.HasRecords(nsid))
		}
		if car := a.ProofOf(nsid); car != nil && Read(car).HasRecords(nsid) != a.HasRecords(nsid) {
			t.Fatalf("%s: cut down it shows something else", nsid)
		}
	})
}
