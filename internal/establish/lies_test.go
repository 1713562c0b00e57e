package establish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/test/msttest"
)

// ordinary is a repo of which no answer shows all.
func ordinary(t testing.TB) *host {
	var keys []string
	for c := range 12 {
		for i := range 200 {
			keys = append(keys, fmt.Sprintf("com.example.n%02d/3l%06x", c, i))
		}
	}
	return newHost(t, keys...)
}

func wantReason(t *testing.T, err error, want refusal.Reason) {
	t.Helper()
	if got, _ := refusal.ReasonOf(err); got != want || err == nil {
		t.Errorf("got reason %q of %v, want %q", got, err, want)
	}
}

func TestAnswersThatLieAreRefused(t *testing.T) {
	stranger, err := atcrypto.GeneratePrivateKeyK256()
	must(t, err)
	flipped := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 1
		return b
	}
	forged := func(h *host, root *leaf, extra ...[]byte) {
		h.commit = h.signed(h.did, h.rev, root.digest)
		h.blocks = func(question, [][]byte) [][]byte { return append([][]byte{h.commit, root.block}, extra...) }
	}
	cases := []struct {
		name    string
		lie     func(h *host)
		reason  refusal.Reason
		noProof bool
	}{
		{"another account", func(h *host) { h.did = otherDID; h.sign() }, refusal.AnswerWrongDID, false},
		{"another key", func(h *host) { h.signer = stranger; h.sign() }, refusal.BadSignature, false},
		{"no commit", func(h *host) { h.blocks = func(_ question, b [][]byte) [][]byte { return b[1:] } }, refusal.BadCommit, false},
		{"a record for a commit", func(h *host) { h.commit = recordOf("a.b.c/d") }, refusal.BadCommit, false},
		{"nothing", func(h *host) { h.answer = func(question, []byte) ([]byte, error) { return nil, nil } }, refusal.BadCAR, false},
		{"a page", func(h *host) {
			h.answer = func(question, []byte) ([]byte, error) { return []byte("<html></html>"), nil }
		}, refusal.BadCAR, false},
		{"cut off inside a block", func(h *host) {
			h.answer = func(_ question, car []byte) ([]byte, error) { return car[:len(car)-1], nil }
		}, refusal.BadCAR, false},
		{"a changed byte", func(h *host) {
			h.answer = func(_ question, car []byte) ([]byte, error) { return flipped(car, len(car)-1), nil }
		}, refusal.BadBlock, false},
		{"too many bytes", func(h *host) {
			h.blocks = func(_ question, b [][]byte) [][]byte { return append(b, make([]byte, 3<<19)) }
		}, refusal.BadCAR, false},
		{"too many blocks", func(h *host) {
			h.blocks = func(_ question, b [][]byte) [][]byte { return append(b, slices.Repeat([][]byte{{0xf6}}, 8200)...) }
		}, refusal.BadCAR, false},
		{"only the commit", func(h *host) { h.blocks = func(_ question, b [][]byte) [][]byte { return b[:1] } }, refusal.AnswerPartial, true},
		{"without the last node", func(h *host) {
			h.blocks = func(_ question, b [][]byte) [][]byte { return b[:len(b)-1] }
		}, refusal.AnswerPartial, true},
		{"without the root", func(h *host) {
			h.blocks = func(_ question, b [][]byte) [][]byte { return append(b[:1:1], b[2:]...) }
		}, refusal.AnswerPartial, true},
		{"the path of another key", func(h *host) {
			h.blocks = func(q question, b [][]byte) [][]byte { return append(b[:1:1], h.root.path("zzz")...) }
		}, refusal.AnswerPartial, true},
		{"a tree that is no tree", func(h *host) {
			forged(h, &leaf{digest: atproto.DigestOf(recordOf("x")), block: recordOf("x")})
		}, refusal.BadTree, false},
		{"a key at a wrong depth", func(h *host) {
			key := "com.example.n00/x"
			value := atproto.DigestOf(recordOf(key)).AppendCID(nil)
			other := key + "y"
			for msttest.Depth(other) == msttest.Depth(key) {
				other += "y"
			}
			n := &leaf{block: msttest.Encode(nil, msttest.Entry{Suffix: key, Value: value}, msttest.Entry{Shared: len(key), Suffix: other[len(key):], Value: value})}
			n.digest = atproto.DigestOf(n.block)
			forged(h, n)
		}, refusal.BadTree, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			h := ordinary(t)
			tc.lie(h)
			p := h.prober()
			r, err := p.collections(t.Context())
			wantReason(t, err, tc.reason)
			if r != nil || errors.Is(err, errNoAbsenceProof) != tc.noProof || p.requests != 1 {
				t.Errorf("got %+v, %v, %d", r, err, p.requests)
			}
			_, err = h.prober().describe(t.Context(), h)
			wantReason(t, err, tc.reason)
		})
	}
}

func TestALaterAnswerMustKeepTheSameRules(t *testing.T) {
	h := ordinary(t)
	h.blocks = func(_ question, b [][]byte) [][]byte {
		if len(h.asked) == 4 {
			return b[:len(b)-1]
		}
		return b
	}
	p := h.prober()
	_, err := p.collections(t.Context())
	wantReason(t, err, refusal.AnswerPartial)
	if p.requests != 4 {
		t.Errorf("%d requests", p.requests)
	}
}

func TestBlocksThatNobodyAskedForAreIgnored(t *testing.T) {
	h := ordinary(t)
	other := newHost(t, "org.example.other/self", "org.example.more/self")
	h.blocks = func(_ question, b [][]byte) [][]byte {
		b = append(b, other.commit, recordOf("stray"), dagcbor.AppendMap(nil, 0), b[1])
		b = append(b, other.root.all()...)
		b = append(b, h.root.path("com.example.n07/x")...)
		b[0], b[3] = b[3], b[0] // any order
		return b
	}
	r, err := h.prober().collections(t.Context())
	if err != nil || !slices.Equal(r.collections, truth(h.keys)) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestAHostThatRefusesAbsentKeysCannotBeProbed(t *testing.T) {
	for outcome, noProof := range map[pds.Outcome]bool{
		pds.NoRecord: true, pds.RateLimited: false, pds.NotFound: false, pds.Takendown: false, pds.Unsupported: false, pds.Transient: false,
	} {
		h := ordinary(t)
		said := &pds.Error{Method: "com.atproto.sync.getRecord", Host: "pds.example.com", Status: 400, Outcome: outcome}
		h.answer = func(question, []byte) ([]byte, error) { return nil, said }
		_, walked := h.prober().collections(t.Context())
		_, described := h.prober().describe(t.Context(), h)
		for _, err := range []error{walked, described} {
			if errors.Is(err, errNoAbsenceProof) != noProof || !errors.Is(err, said) {
				t.Errorf("%s: got %v", outcome, err)
			}
		}
	}
}

func TestTheVerifierDecides(t *testing.T) {
	h := ordinary(t)
	calls := 0
	cfg := h.config()
	cfg.verify = func(c *repo.Commit) error { calls++; return h.verify(c) }
	_, err := newProber(cfg).collections(t.Context())
	if err != nil || calls != 1 || len(h.asked) < 3 {
		t.Errorf("%d calls for one commit in %d answers, %v", calls, len(h.asked), err)
	}
	no := errors.New("not this one")
	cfg.verify = func(*repo.Commit) error { return no }
	p := newProber(cfg)
	for range 2 { // what was refused is not taken for verified later
		if _, err := p.collections(t.Context()); !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAVerifierThatPanicsIsAFaultOfOurs(t *testing.T) {
	h := ordinary(t)
	cfg := h.config()
	cfg.verify = func(*repo.Commit) error { panic("no key") }
	_, err := newProber(cfg).collections(t.Context())
	wantReason(t, err, refusal.Internal)
}

func TestARepoThatMovesWithoutEndIsGivenUp(t *testing.T) {
	h := ordinary(t)
	h.before = func(question) { h.hold(append(h.keys[1:], fmt.Sprintf("com.example.m%d/self", len(h.asked)))...) }
	cfg := h.config()
	cfg.maxRestarts, cfg.maxRequests = 1000, 30
	p := newProber(cfg)
	_, err := p.collections(t.Context())
	if !errors.Is(err, errExpensive) || p.requests != 30 || p.restarts != 29 {
		t.Errorf("got %v after %d", err, p.requests)
	}
}

func TestRequestsAndCollectionsAreBounded(t *testing.T) {
	var keys []string
	for i := range 600 {
		keys = append(keys, fmt.Sprintf("com.n%03d.x/1", i), fmt.Sprintf("com.n%03d.x/2", i))
	}
	h := newHost(t, keys...)
	cfg := h.config()
	cfg.maxRequests = 20
	p := newProber(cfg)
	_, err := p.collections(t.Context())
	if !errors.Is(err, errExpensive) || len(h.asked) != 20 {
		t.Errorf("got %v after %d", err, len(h.asked))
	}
	for most, fits := range map[int]bool{600: true, 599: false} {
		cfg.maxRequests, cfg.maxCollections = 2000, most
		r, err := newProber(cfg).collections(t.Context())
		if fits && (err != nil || len(r.collections) != 600) {
			t.Errorf("%d: %v", most, err)
		}
		if !fits {
			wantReason(t, err, refusal.AnswerTooBig)
		}
	}
}

func TestOddKeysAreBoundedToo(t *testing.T) {
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("a%04d", i))
	}
	h := newHost(t, append(keys, "a.b.c/d")...)
	cfg := h.config()
	cfg.maxCollections = 3
	_, err := newProber(cfg).collections(t.Context())
	wantReason(t, err, refusal.AnswerTooBig)
	cfg.maxCollections, cfg.maxRequests = refusal.MaxCollections, 100
	if _, err = newProber(cfg).collections(t.Context()); !errors.Is(err, errExpensive) {
		t.Errorf("got %v", err)
	}
	cfg.maxRequests = 4000
	if r, err := newProber(cfg).collections(t.Context()); err != nil || !slices.Equal(r.collections, []string{"a.b.c"}) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestGapsThatHideNothingAreBoundedOverAllAnswers(t *testing.T) {
	var keys []string
	for i := range 60 {
		keys = append(keys, fmt.Sprintf("com.n%02d.x/1", i))
		for j := range 30 { // nothing with a name fits between these
			keys = append(keys, fmt.Sprintf("com.n%02d.x0!%02d", i, j))
		}
	}
	h := newHost(t, keys...)
	cfg := h.config()
	r, err := newProber(cfg).collections(t.Context())
	if err != nil || len(r.collections) != 60 {
		t.Errorf("got %+v, %v", r, err)
	}
	cfg.maxCollections = 60
	_, err = newProber(cfg).collections(t.Context())
	wantReason(t, err, refusal.AnswerTooBig)

	cfg.maxCollections = sort.Search(10_000, func(most int) bool {
		cfg.maxCollections = most
		_, err := newProber(cfg).collections(t.Context())
		return err == nil
	})
	cfg.maxRestarts = 1 // what was counted of another tree does not count
	h.asked = nil
	h.before = func(question) {
		if len(h.asked) == 40 {
			h.hold(keys[1:]...)
		}
	}
	p := newProber(cfg)
	if _, err = p.collections(t.Context()); err != nil || p.restarts != 1 {
		t.Errorf("got %v after %d restarts", err, p.restarts)
	}
}

func TestAnAnswerWithTheLargestRecordIsTaken(t *testing.T) {
	h := ordinary(t)
	h.blocks = func(_ question, b [][]byte) [][]byte { return append(b, make([]byte, 1_000_000)) }
	if r, err := h.prober().collections(t.Context()); err != nil || !slices.Equal(r.collections, truth(h.keys)) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestNothingOfAnAnswerIsKept lets the source use one buffer for all answers.
func TestNothingOfAnAnswerIsKept(t *testing.T) {
	h := ordinary(t)
	buffer := make([]byte, 64<<10)
	h.answer = func(_ question, car []byte) ([]byte, error) {
		clear(buffer)
		return buffer[:copy(buffer, car)], nil
	}
	r, err := h.prober().collections(t.Context())
	must(t, err)
	clear(buffer)
	if err := h.verify(r.commit); err != nil || !slices.Equal(r.collections, truth(h.keys)) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestACallerCanStop(t *testing.T) {
	h := ordinary(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.before = func(question) {
		if len(h.asked) == 3 {
			cancel()
		}
	}
	_, err := h.prober().collections(ctx)
	if !errors.Is(err, context.Canceled) || len(h.asked) != 3 {
		t.Errorf("got %v after %d", err, len(h.asked))
	}
}

// moving changes the repo before some questions, numbered from 1.
func moving(t testing.TB, at ...int) *host {
	h := ordinary(t)
	h.before = func(question) {
		if slices.Contains(at, len(h.asked)) {
			h.hold(append(h.keys, fmt.Sprintf("com.example.m%d/self", len(h.asked)))...)
		}
	}
	return h
}

func TestARepoThatMovesIsBegunAgain(t *testing.T) {
	first := ordinary(t).rev
	for restarts := range 4 {
		h := moving(t, 3, 6)
		cfg := h.config()
		cfg.maxRestarts = restarts
		p := newProber(cfg)
		r, err := p.collections(t.Context())
		if restarts < 2 {
			before := first + atproto.TID(restarts<<10)
			says := fmt.Sprintf("from rev %s to %s", before, before+1<<10)
			if !errors.Is(err, errMoved) || !strings.Contains(err.Error(), says) || p.restarts != restarts {
				t.Errorf("got %v after %d restarts, want it %s after %d", err, p.restarts, says, restarts)
			}
			continue
		}
		if err != nil || !slices.Equal(r.collections, truth(h.keys)) || r.commit.Data != h.root.digest || p.restarts != 2 {
			t.Errorf("%d restarts: got %+v, %v", restarts, r, err)
		}
	}
}

func TestACollectionThatGoesMeanwhileIsNotFound(t *testing.T) {
	h := ordinary(t)
	h.before = func(question) {
		if len(h.asked) == 5 {
			h.hold(slices.DeleteFunc(slices.Clone(h.keys), func(k string) bool { return strings.HasPrefix(k, "com.example.n00/") })...)
		}
	}
	cfg := h.config()
	cfg.maxRestarts = 1
	r, err := newProber(cfg).collections(t.Context())
	if err != nil || !slices.Equal(r.collections, truth(h.keys)) || slices.Contains(r.collections, "com.example.n00") {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestANewCommitOfTheSameTreeIsNoMove(t *testing.T) {
	h := ordinary(t)
	revs := 0
	h.before = func(question) {
		if len(h.asked)%2 == 0 {
			h.sign()
			revs++
		}
	}
	p := h.prober()
	r, err := p.collections(t.Context())
	if err != nil || revs < 3 || r.commit.Rev != h.rev || p.restarts != 0 || !slices.Equal(r.collections, truth(h.keys)) {
		t.Errorf("got %+v, %v", r, err)
	}
	newest := h.rev
	h.asked = nil
	h.before = func(question) { // the first answer is of a later commit than the others
		h.commit = h.signed(h.did, newest-1, h.root.digest)
		if len(h.asked) == 1 {
			h.commit = h.signed(h.did, newest+7, h.root.digest)
		}
	}
	if r, err = h.prober().collections(t.Context()); err != nil || r.commit.Rev != newest+7 || len(h.asked) < 3 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestAStaleReplicaShowsNothing lets every third answer come from before a change.
func TestAStaleReplicaShowsNothing(t *testing.T) {
	h := ordinary(t)
	old := *h
	h.hold(append(h.keys, "com.example.more/self")...)
	h.answer = func(q question, car []byte) ([]byte, error) {
		if len(h.asked)%3 == 0 {
			return carOf(atproto.DigestOf(old.commit), append([][]byte{old.commit}, old.root.path(q.path())...)...), nil
		}
		return car, nil
	}
	cfg := h.config()
	cfg.maxRestarts = 100
	p := newProber(cfg)
	r, err := p.collections(t.Context())
	if err != nil || !slices.Equal(r.collections, truth(h.keys)) || r.commit.Data != h.root.digest || p.restarts == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	cfg.maxRestarts = 1
	if _, err = newProber(cfg).collections(t.Context()); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
}

// TestNoAnswerMakesAWalkWrong changes answers at random: whatever is believed is
// the truth of the signed tree.
func TestNoAnswerMakesAWalkWrong(t *testing.T) {
	refused, right := 0, 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		h := newHost(t, randomKeys(rng, 50+rng.IntN(800))...)
		every := 1 + rng.IntN(8)
		h.blocks = func(q question, b [][]byte) [][]byte {
			if rng.IntN(every) > 0 {
				return b
			}
			switch rng.IntN(4) {
			case 0: // a node is left out
				at := rng.IntN(len(b))
				return slices.Delete(slices.Clone(b), at, at+1)
			case 1: // a whole other path instead
				return append(b[:1:1], h.root.path(h.keys[rng.IntN(len(h.keys))])...)
			case 2: // and more
				return append(b, h.root.path(h.keys[rng.IntN(len(h.keys))])...)
			}
			return append(b[:1:1], h.root.path(names[rng.IntN(len(names))]+"/"+highRkey)...)
		}
		r, err := h.prober().collections(t.Context())
		if err != nil {
			if _, typed := refusal.ReasonOf(err); !typed {
				t.Fatalf("seed %d: %v", seed, err)
			}
			refused++
			continue
		}
		if !slices.Equal(r.collections, truth(h.keys)) {
			t.Fatalf("seed %d: got %q, want %q", seed, r.collections, truth(h.keys))
		}
		right++
	}
	if refused < 50 || right < 50 {
		t.Errorf("%d refused, %d right", refused, right)
	}
}
