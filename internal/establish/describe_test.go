package establish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// describing answers with a function.
type describing func() ([]string, error)

func (d describing) DescribeRepo(context.Context) ([]string, error) { return d() }

func TestADescriptionBetweenTwoEqualHeadsCounts(t *testing.T) {
	h := ordinary(t)
	described := 0
	r, err := h.prober().describe(t.Context(), describing(func() ([]string, error) {
		if described++; len(h.asked) != 1 {
			t.Errorf("described after %d questions", len(h.asked))
		}
		list := truth(h.keys)
		slices.Reverse(list)
		return append(list, list[0]), nil
	}))
	if err != nil || !slices.Equal(r.collections, truth(h.keys)) || r.proof != ByDescription || r.proof == ByTree {
		t.Fatalf("got %+v, %v", r, err)
	}
	if len(h.asked) != 2 || described != 1 || r.commit.Data != h.root.digest {
		t.Errorf("got %+v after %d questions", r, len(h.asked))
	}
}

func TestATreeThatIsSeenNeedsNoDescription(t *testing.T) {
	h := newHost(t, "a.b.c/self")
	none := describing(func() ([]string, error) { t.Error("described"); return nil, nil })
	for _, keys := range [][]string{{"a.b.c/self"}, nil, {"odd"}} {
		h.hold(keys...)
		h.asked = nil
		r, err := h.prober().describe(t.Context(), none)
		if err != nil || r.proof != ByTree || r.proof == ByDescription || len(h.asked) != 1 || !slices.Equal(r.collections, truth(keys)) {
			t.Errorf("%v: got %+v, %v", keys, r, err)
		}
	}
}

func TestTwoAnswersThatShowAllAreAProof(t *testing.T) {
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("app.bsky.feed.like/3l%06x", i))
	}
	h := newHost(t, keys...)
	h.listed = []string{"com.example.lie"}
	r, err := h.prober().describe(t.Context(), h)
	if err != nil || r.proof == ByDescription || r.proof == ByTree || !slices.Equal(r.collections, truth(keys)) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestADescriptionThatTheTreeContradictsIsRefused(t *testing.T) {
	h := ordinary(t)
	all := truth(h.keys)
	// What the two answers show: the left edge, and what is behind n00.
	cases := map[string][]string{
		"empty":                       {},
		"without the first":           all[1:],
		"with one before all":         append([]string{"com.aaa.a"}, all...),
		"with one behind the first":   append([]string{"com.example.n00a"}, all...),
		"with one between both":       append([]string{"com.example.n00.a"}, all...),
		"the only one is in the tree": {"com.example.n00"},
	}
	for name, listed := range cases {
		h.listed = listed
		r, err := h.prober().describe(t.Context(), h)
		wantReason(t, err, refusal.AnswerInvalid)
		if r != nil || !errors.Is(err, errDescription) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	h.listed = append(slices.Clone(all), "com.example.n06a") // nobody has looked there
	if r, err := h.prober().describe(t.Context(), h); err != nil || r.proof != ByDescription || len(r.collections) != len(all)+1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestAnEmptyDescriptionIsNotBelievedEvenWhereNoCollectionIsSeen(t *testing.T) {
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("a%04d", i))
	}
	h := newHost(t, keys...)
	h.listed = []string{}
	if r, err := h.prober().describe(t.Context(), h); !errors.Is(err, errDescription) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestADescriptionIsBoundedAndFails(t *testing.T) {
	h := ordinary(t)
	cfg := h.config()
	cfg.maxCollections = 12
	_, err := newProber(cfg).describe(t.Context(), h)
	must(t, err)
	h.listed = append(truth(h.keys), "com.example.n06a")
	_, err = newProber(cfg).describe(t.Context(), h)
	wantReason(t, err, refusal.AnswerTooBig)
	no := errors.New("no")
	if _, err = h.prober().describe(t.Context(), describing(func() ([]string, error) { return nil, no })); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
}

func TestADescriptionOfAMovingRepoIsAskedForAgain(t *testing.T) {
	for restarts := range 3 {
		h := moving(t, 2)
		cfg := h.config()
		cfg.maxRestarts = restarts
		described := 0
		r, err := newProber(cfg).describe(t.Context(), describing(func() ([]string, error) {
			described++
			return truth(h.keys), nil
		}))
		if restarts == 0 {
			if !errors.Is(err, errMoved) || described != 1 {
				t.Errorf("got %+v, %v", r, err)
			}
			continue
		}
		if err != nil || !slices.Equal(r.collections, truth(h.keys)) || len(h.asked) != 3 || described != 2 || r.commit.Rev != h.rev {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func TestADescriptionBetweenTwoCommitsOfOneTreeIsAskedForAgain(t *testing.T) {
	for restarts := range 2 {
		h := ordinary(t)
		h.before = func(question) {
			if len(h.asked) == 2 {
				h.sign()
			}
		}
		cfg := h.config()
		cfg.maxRestarts = restarts
		described := 0
		r, err := newProber(cfg).describe(t.Context(), describing(func() ([]string, error) {
			if described++; described == 1 { // the repo was another one for a moment
				return append(truth(h.keys), "com.example.n06a"), nil
			}
			return truth(h.keys), nil
		}))
		if restarts == 0 {
			if !errors.Is(err, errMoved) {
				t.Errorf("got %+v, %v", r, err)
			}
		} else if err != nil || !slices.Equal(r.collections, truth(h.keys)) || r.commit.Rev != h.rev || described != 2 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func TestABudgetCountsForDescriptionsToo(t *testing.T) {
	h := ordinary(t)
	cfg := h.config()
	cfg.budget = func(int64) int { return 0 }
	if _, err := newProber(cfg).describe(t.Context(), h); !errors.Is(err, errExpensive) || len(h.asked) != 1 {
		t.Errorf("got %v after %d questions", err, len(h.asked))
	}
}

func TestSizesAreEstimatedFromTheRoot(t *testing.T) {
	// Whole repos of other people: height, keys in the root, what the table of
	// medians gives for them.
	for _, c := range []struct {
		height, keys int
		want         int64
	}{{4, 3, 691}, {1, 4, 15}, {4, 1, 179}, {0, 2, 2}, {8, 1, 45875}} {
		if got := withRoot(t, c.height, c.keys).records(); got != c.want {
			t.Errorf("height %d, %d keys: got %d", c.height, c.keys, got)
		}
	}
	a := withRoot(t, 3, 2)
	a.height = 40 // nobody can make one
	if got := a.records(); got > 1<<62 {
		t.Errorf("got %d", got)
	}
}

// withRoot makes an answer that shows a root of so many keys and nothing below.
func withRoot(t *testing.T, height, n int) *answer {
	rng := rand.New(rand.NewPCG(uint64(height), uint64(n)))
	var keys []string
	for len(keys) < n {
		key := fmt.Sprintf("a.b.c/%x", rng.Uint64())
		if (&host{keys: []string{key}}).height() == height {
			keys = append(keys, key)
		}
	}
	h := newHost(t, keys...)
	p := h.prober()
	a, err := p.read(carOf(atproto.DigestOf(h.commit), h.commit, h.root.block))
	must(t, err)
	return a
}
