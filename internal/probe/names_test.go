package probe

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// near makes texts that are names, parts of names, and nearly names.
func near(rng *rand.Rand) string {
	text := names[rng.IntN(len(names))]
	switch rng.IntN(6) {
	case 0:
		text = strings.Repeat("z", rng.IntN(64)) + "." + strings.Repeat("z", 60+rng.IntN(4)) + "." + text
	case 1:
		text = odd[rng.IntN(len(odd))]
	}
	b := []byte(text)
	for range rng.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := rng.IntN(len(b))
		switch rng.IntN(3) {
		case 0:
			b[at] = letters[rng.IntN(len(letters))]
		case 1:
			b = b[:at]
		case 2:
			b = slices.Insert(b, at, letters[rng.IntN(len(letters))])
		}
	}
	return string(b)
}

func TestTheGreatestNameBelowAPlace(t *testing.T) {
	full := strings.Repeat("z", 63)
	top := full + "." + full + "." + full // the slash stands above the dot
	under := func(prefix string) string { return greatest(prefix) }
	cases := []struct {
		end, want string
	}{
		{beyondAll, top},
		{"", ""},
		{"A", ""},
		{"-", ""},
		{"0", ""},
		{"A-", ""},
		{"B", under("A")},
		{"a", under("Z")},
		{"{", top},
		{"a.b.c/", under("a.b.c.")},
		{"a.b.C/", under("a.b.C.")},
		{"a.b.c0", "a.b.c"},
		{"a.b.c-", under("a.b.b")},
		{"a.b.c.", under("a.b.c-")},
		{"a.b/", under("a.b.")},
		{"a.b/x", under("a.b.")},
		{"a.b0", under("a.b.")},
		{"a..b", under("a-")},
		{"a.b!", under("a.a")},
		{"a.b.c\x00", under("a.b.b")},
		{"\x00", ""},
	}
	for _, c := range cases {
		got, ok := nameBetween("", c.end)
		if ok && got != c.want || ok != (c.want != "") {
			t.Errorf("below %.80q: got %.80q, want %.80q", c.end, got, c.want)
		}
	}
}

func TestNoNameStandsBetweenTheGreatestAndItsEnd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	valid := 0
	for range 3000 {
		end := near(rng)
		if isNSID(end) && rng.IntN(2) == 0 {
			end += "/"
		}
		if nsid, rest, slash := strings.Cut(end, "/"); slash && rest != "" && isNSID(nsid) {
			continue // a path with a collection is no end
		}
		got, ok := nameBetween("", end)
		if ok && (!isNSID(got) || got+"/" >= end || len(got) > 317) {
			t.Fatalf("below %q: got %q", end, got)
		}
		for range 40 {
			other := near(rng)
			if rng.IntN(2) == 0 { // very near
				cut := rng.IntN(len(end) + 1)
				other = end[:cut] + near(rng)
			}
			if !isNSID(other) {
				continue
			}
			valid++
			if other+"/" < end && (!ok || other+"/" > got+"/") {
				t.Fatalf("below %q: got %q, and %q is there", end, got, other)
			}
		}
	}
	if valid < 10_000 {
		t.Errorf("only %d names", valid)
	}
}

func TestAGapWithoutQuestionHidesNoCollection(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 4))
	key := func() string {
		if text := near(rng); !isNSID(text) || rng.IntN(10) == 0 {
			return text
		} else {
			return text + "/" + randomRkey(rng)
		}
	}
	settled, hidden := 0, 0
	for range 20_000 {
		a, b := key(), key()
		if rng.IntN(2) == 0 { // neighbours are often alike
			nsid, _, _ := strings.Cut(a, "/")
			b = nsid + string(letters[rng.IntN(len(letters))]) + "/x"
		}
		g := gap{min(a, b), max(a, b)}
		if rng.IntN(20) == 0 {
			g.before = ""
		}
		if g.before != "" && g.before <= g.after {
			continue
		}
		q, ok := g.question()
		if ok {
			if !g.holds(q.path()) || !isNSID(q.collection) {
				t.Fatalf("%q asks for %q", g, q.path())
			}
			continue
		}
		settled++
		left, _ := collectionOf(g.after)
		right, _ := collectionOf(g.before)
		for range 50 {
			other := near(rng)
			cut := rng.IntN(len(g.before) + 1)
			if rng.IntN(2) == 0 {
				other = g.before[:cut] + other
			}
			if isNSID(other) && other != left && other != right && g.holds(other+"/"+randomRkey(rng)) {
				t.Fatalf("%q can hide %q", g, other)
			}
			hidden++
		}
	}
	if settled < 100 || hidden < 1000 {
		t.Errorf("%d settled gaps", settled)
	}
}
