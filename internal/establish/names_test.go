package establish

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/msttest"
)

// near makes texts that are names, parts of names, and nearly names.
func near(rng *rand.Rand) string {
	text := names[rng.IntN(len(names))]
	switch rng.IntN(8) {
	case 0: // close to the most characters
		z := strings.Repeat("z", 63) + "."
		text = z + z + z + z + strings.Repeat("zz.", rng.IntN(3)) + strings.Repeat("z", 53+rng.IntN(10))
	case 1:
		text = strings.Repeat("z", rng.IntN(64)) + "." + strings.Repeat("z", 60+rng.IntN(4)) + "." + text
	case 2:
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

func TestWhatANameCanBeginWith(t *testing.T) {
	z := strings.Repeat("z", 63)
	long := strings.Repeat(z+".", 4) // 61 characters are left
	for text, want := range map[string]bool{
		"": true, "a": true, "a-": true, "a.": true, "a.b": true, "a.9": true, "a.b.": true, "a.b-": true, "a.b.9": true,
		"a.b.c-": true, "a.b.c": true, "a.b.c/": true, z: true, z + ".": true, z + "." + z: true, long: true,
		"-": false, "9": false, ".": false, "/": false, "a..": false, "a.-": false, "a-.": false, "a.b/": false, "a.b.9/": false,
		"a.b.c-/": false, "a.b.c/x": false, "a.b.c//": false, "a_": false, "ü": false, z + "z": false, z[:62] + "-": false,
		long + z[:59] + ".": true, // one letter fits
		long + z[:60] + ".": false,
		long + z[:57] + "-": true, // a letter, a dot, a letter
		long + z[:58] + "-": false,
		long + "9" + z[:58]: true, // a dot, a letter
		long + "9" + z[:59]: false,
		long + z[:61]:       true,
		long + z[:61] + "/": true,
		long + z[:62]:       false,
	} {
		if begins(text) != want {
			t.Errorf("%q of %d: %v", text, len(text), !want)
		}
	}
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
		{"a.b.c/x", under("a.b.c.")},
		{full + "." + full + "." + full + "." + full + "." + full[:60], full + "." + full + "." + full + "." + full + "." + full[:59] + "yz"},
		{full + "." + full + "." + full + "." + full + "." + full, full + "." + full + "." + full + "." + full + "." + full[:61]},
		{full + "." + full + "." + full + "." + full + ".z.z.z/", full + "." + full + "." + full + "." + full + ".z.z.z." + full[:55]},
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
	for range 500 {
		end := near(rng)
		if rng.IntN(2) == 0 {
			end += []string{"/", "/x", "0", "\xff"}[rng.IntN(4)]
		} else if end == "" {
			continue
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
			if other+"/\xff" < end && (!ok || other+"/" > got+"/") {
				t.Fatalf("below %q: got %q, and %q is there", end, got, other)
			}
		}
	}
	if valid < 2000 {
		t.Errorf("only %d names", valid)
	}
}

func TestWhatIsAskedToSeeIntoAGap(t *testing.T) {
	high := "/" + highRkey
	cases := []struct {
		after, before string
		want          string // a path; empty: nothing can be there
	}{
		{"", "", "A.A.A/-"},
		{"", "a.b.c/x", "A.A.A/-"},
		{"", "A.A.A/x", "A.A.A/-"},
		{"", "A.A.A/-", greatest("A.A.A.") + "/-"},
		{"", "A", ""},
		{"a.b.c/x", "", "a.b.c" + high},
		{"a.b.c/x", "a.b.d/x", "a.b.c" + high},
		{"a.b.c/x", "a.b.c/y", ""},
		{"a.b.c" + high, "a.b.d/x", greatest("a.b.d.") + "/-"},
		{"a.b.c" + high, "a.b.d/-", greatest("a.b.d.") + "/-"},
		{"a.b.c" + high, "", greatest("z") + "/-"},
		{"a.b.c" + high, "a.b.c0", ""},
		{"a.b.c/\xff", "a.b.c0", ""},
		{"a.b.c", "a.b.c0", "a.b.c/-"},
		{"a.b.c", "a.b.c/x", greatest("a.b.c.") + "/-"},
		{"a.b.c.zzz", "a.b.c.zzz", ""},
		{"a.b.c.", "a.b.c0", "a.b.c/-"},
		{"a.b.c-", "a.b.c0", "a.b.c/-"},
		{"a.b.c/", "a.b.c0", "a.b.c" + high},
		{"zz!1", "zz!2", ""},
		{"/x", "/y", ""},
		{"nodots/x", "nodots0", ""},
		{"{", "", ""},
	}
	for _, c := range cases {
		q, ok := gap{c.after, c.before}.question()
		if ok != (c.want != "") || ok && q.path() != c.want {
			t.Errorf("between %.80q and %.80q: asks %.80q, %v, want %.80q", c.after, c.before, q.path(), ok, c.want)
		}
	}
}

func TestWhatAnAnswerLeavesHiddenOfAGap(t *testing.T) {
	// Below the root stand one key less than deep ones, and nothing of them is sent.
	deep := []string{atDepth("a.b.c/x", 1), atDepth("a.b.d", 1), atDepth("a.b.e/x", 1), atDepth("a.b.e/y", 1)}
	low := []string{atDepth("a.b.a/x", 0), atDepth("a.b.cc/x", 0), atDepth("a.b.dd", 0), atDepth("a.b.e/xx", 0), atDepth("a.b.f/x", 0)}
	h := newHost(t, append(deep, low...)...)
	a, err := h.prober().read(carOf(atproto.DigestOf(h.commit), h.commit, h.root.block))
	must(t, err)
	if a.height != 1 || len(a.view.Keys()) != 4 || a.view.Gaps() != 5 {
		t.Fatalf("height %d, %d keys, %d gaps", a.height, len(a.view.Keys()), a.view.Gaps())
	}
	cases := []struct{ of, left []gap }{
		{[]gap{{"", ""}}, []gap{{"", deep[0]}, {deep[0], deep[1]}, {deep[1], deep[2]}, {deep[3], ""}}},
		{[]gap{{deep[0], deep[1]}}, []gap{{deep[0], deep[1]}}},
		{[]gap{{deep[1], deep[2]}}, []gap{{deep[1], deep[2]}}},
		{[]gap{{low[1], deep[1]}}, []gap{{low[1], deep[1]}}},
		{[]gap{{deep[0], low[1]}, {low[1], low[2]}}, []gap{{deep[0], low[1]}, {low[1], deep[1]}, {deep[1], low[2]}}},
		{[]gap{{deep[2], low[3]}, {low[4], ""}}, []gap{{low[4], ""}}},
		{nil, nil},
	}
	for _, c := range cases {
		var left []gap
		for _, g := range c.of {
			left = g.within(a.view, left)
		}
		if !slices.Equal(left, c.left) {
			t.Errorf("of %q: got %q, want %q", c.of, left, c.left)
		}
	}
}

// atDepth finds a key that begins so.
func atDepth(prefix string, depth int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("%s%d", prefix, i); msttest.Depth(key) == depth {
			return key
		}
	}
}

func TestAGapIsKnownByWhatStandsBeforeTheSlash(t *testing.T) {
	for _, c := range []struct {
		g    gap
		want bool
	}{
		{gap{"a.b.c/x", "a.b.c/y"}, true},
		{gap{"a.b.c/", "a.b.c/y"}, true},
		{gap{"nodots/x", "nodots/y"}, true},
		{gap{"/x", "/y"}, true},
		{gap{"a.b.c/x", "a.b.cc/y"}, false},
		{gap{"a.b.c/x", "a.b.c0"}, false},
		{gap{"a.b.c", "a.b.c/y"}, false},
		{gap{"a.b.c/x", ""}, false},
		{gap{"", "a.b.c/x"}, false},
		{gap{"", ""}, false},
		{gap{"odd", "odder"}, false},
	} {
		if c.g.known() != c.want {
			t.Errorf("%q", c.g)
		}
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
	known, hidden := 0, 0
	for range 2000 {
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
		known++
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
	if known < 100 || hidden < 500 {
		t.Errorf("%d known gaps", known)
	}
}
