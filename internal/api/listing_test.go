package api

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"railyard/internal/metrics"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

func TestLimitIsAWholeNumberFromOneToTenThousand(t *testing.T) {
	x := newIndex(t)
	err := x.store.Update(t.Context(), "test", func(tx *store.Tx) error {
		for n := range 502 {
			r, err := testrepo.Add(tx, didOf(n))
			if err == nil {
				_, _, err = testrepo.Establish(tx, r, repostate.Head{Rev: 1}, []string{posts}, repostate.ProofTree)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits []string
		repos  int // 0 = refused
		says   string
	}{
		{nil, 500, ""},
		{[]string{""}, 500, ""},
		{[]string{"1"}, 1, ""},
		{[]string{"501"}, 501, ""},
		{[]string{"10000"}, 502, ""},
		{[]string{"10001"}, 0, "limit 10001"},
		{[]string{"0"}, 0, "limit 0"},
		{[]string{"-1"}, 0, "limit -1"},
		{[]string{"abc"}, 0, `limit "abc"`},
		{[]string{"1.5"}, 0, `limit "1.5"`},
		{[]string{" 1"}, 0, `limit " 1"`},
		{[]string{"99999999999999999999"}, 0, "limit"},
		{[]string{strings.Repeat("9", 5000)}, 0, "limit"},
		{[]string{"1", "1"}, 0, "limit: given 2 times"},
	} {
		w := x.listing(url.Values{"collection": {posts}, "limit": c.limits})
		if c.repos > 0 {
			if got := strings.Count(w.Body.String(), `"did"`); w.Code != http.StatusOK || got != c.repos {
				t.Errorf("limit %q: status %d, %d repos, want %d", c.limits, w.Code, got, c.repos)
			}
			continue
		}
		message := x.refused(w, http.StatusBadRequest, "InvalidRequest")
		if !strings.Contains(message, c.says) || len(message) > 300 {
			t.Errorf("limit %.40q: message %q, want it short and with %q", c.limits, message, c.says)
		}
	}
}

func TestCollectionsAreAUnionAndNoneMeansAllVisibleRepos(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	x.establish(didOf(2), likes)
	x.establish(didOf(3), posts, likes)
	x.establish(didOf(4))
	x.establish(didOf(5), lists)
	for _, c := range []struct {
		nsids []string
		want  []int
	}{
		{nil, []int{1, 2, 3, 4, 5}},
		{[]string{posts}, []int{1, 3}},
		{[]string{posts, posts}, []int{1, 3}},
		{[]string{likes, posts}, []int{1, 2, 3}},
		{[]string{posts, likes, lists, "com.example.nobody"}, []int{1, 2, 3, 5}},
	} {
		var want []string
		for _, n := range c.want {
			want = append(want, didOf(n))
		}
		if got, _ := x.page("", 100, c.nsids...); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", c.nsids, got, want)
		}
	}
}

func TestCaseOfACollectionIsKept(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), "com.example.someThing")
	if got, _ := x.page("", 10, "com.example.something"); len(got) != 0 {
		t.Errorf("another spelling gives %q", got)
	}
	if got, _ := x.page("", 10, "com.example.someThing"); len(got) != 1 {
		t.Errorf("its own spelling gives %q", got)
	}
}

func TestBadCollectionsAreRefused(t *testing.T) {
	x := newIndex(t)
	many := func(n int) (nsids []string) {
		for i := range n {
			nsids = append(nsids, fmt.Sprintf("com.example.c%d", i))
		}
		return nsids
	}
	if w := x.listing(url.Values{"collection": many(100)}); w.Code != http.StatusOK {
		t.Errorf("100 collections: status %d: %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		nsids []string
		says  string
	}{
		{[]string{""}, `collection ""`},
		{[]string{"posts"}, `collection "posts"`},
		{[]string{"app.bsky"}, `collection "app.bsky"`},
		{[]string{"*"}, `collection "*": all repos are listed where no collection is given`},
		{[]string{"app.*"}, `collection "app.*"`},
		{[]string{"app.bsky.feed*"}, `collection "app.bsky.feed*"`},
		{[]string{"app.bsky.*.post"}, `collection "app.bsky.*.post"`},
		{[]string{".*"}, `collection ".*"`},
		{[]string{posts, strings.Repeat("a.", 3000) + "*"}, "not an NSID"},
		{[]string{posts, posts + "/x"}, posts + "/x"},
		{[]string{strings.Repeat("a.", 3000)}, "not an NSID"},
		{[]string{"app.bsky.feed.p\x00st"}, "not an NSID"},
		{many(101), "given 101 times"},
	} {
		message := x.refused(x.listing(url.Values{"collection": c.nsids}), http.StatusBadRequest, "InvalidRequest")
		if !strings.Contains(message, c.says) || len(message) > 300 {
			t.Errorf("%.60q: message %q, want it short and with %q", c.nsids, message, c.says)
		}
	}
}

func TestAQueryThatCannotBeReadIsRefusedAndNotHalfAnswered(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), likes)
	for _, query := range []string{
		"collection=app.bsky.feed.post%zz",
		"collection=app.bsky.feed.post;limit=10",
		"limit=10&cursor=%",
	} {
		x.refused(x.ask(http.MethodGet, "/xrpc/com.atproto.sync.listReposByCollection?"+query), http.StatusBadRequest, "InvalidRequest")
	}
}

func TestAnEmptyListingIsAnEmptyListWithoutCursor(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	for _, c := range []url.Values{
		{"collection": {"com.example.nobody"}},
		{"collection": {"com.example.nobody", "com.example.noOne"}},
		{"collection": {posts}, "cursor": {makeCursor(x.store.IndexID(), 1<<60)}},
		{"collection": {posts, likes}, "cursor": {makeCursor(x.store.IndexID(), 1<<60)}},
		{"cursor": {makeCursor(x.store.IndexID(), 1<<63-1)}},
	} {
		w := x.listing(c)
		if w.Code != http.StatusOK || w.Body.String() != `{"repos":[]}` {
			t.Errorf("%v: status %d: %s", c, w.Code, w.Body)
		}
	}
}

func TestPagesOfAnySizeGiveEachMemberOnceInTheOrderOfBirth(t *testing.T) {
	x := newIndex(t)
	const n = 12
	var births []string
	for i := range n {
		did := didOf((i * 7) % n) // not the order of the DIDs
		births = append(births, did)
		switch i % 3 {
		case 0:
			x.establish(did, posts)
		case 1:
			x.establish(did, likes)
		default:
			x.establish(did, likes, posts)
		}
	}
	for i := range n { // later rows of repos that are listed already
		x.bear(didOf(i), posts, likes)
	}
	for limit := 1; limit <= n+1; limit++ {
		for _, nsids := range [][]string{nil, {posts, likes}} {
			if got, _ := x.walk("", limit, nsids...); !slices.Equal(got, births) {
				t.Errorf("limit %d, %q: %q, want %q", limit, nsids, got, births)
			}
		}
		got, _ := x.walk("", limit, posts)
		if sorted := slices.Sorted(slices.Values(got)); len(got) != n || len(slices.Compact(sorted)) != n {
			t.Errorf("limit %d: %d posters, want %d", limit, len(got), n)
		}
	}
}

func TestAKeptCursorGivesOnlyNewcomers(t *testing.T) {
	x := newIndex(t)
	for n := range 5 {
		x.establish(didOf(n), posts)
	}
	_, kept := x.walk("", 2, posts)
	if got, _ := x.walk(kept, 2, posts); len(got) != 0 {
		t.Fatalf("nothing was born, yet %q came", got)
	}
	x.establish(didOf(7), likes)
	x.establish(didOf(6), likes, posts)
	x.bear(didOf(7), posts)
	x.bear(didOf(0), likes, posts) // a member already
	got, kept := x.walk(kept, 2, posts)
	if want := []string{didOf(6), didOf(7)}; !slices.Equal(got, want) {
		t.Errorf("newcomers %q, want %q", got, want)
	}
	if got, _ := x.walk(kept, 2, posts); len(got) != 0 {
		t.Errorf("newcomers came again: %q", got)
	}
}

func TestWhatIsHiddenOrDeadIsAbsentAndComesAgainAsANewcomer(t *testing.T) {
	for name, c := range map[string]struct{ leave, comeBack func(x *index, did string) }{
		"deactivated account": {(*index).deactivate, func(x *index, did string) { x.reactivate(did, posts) }},
		"deleted account": {
			func(x *index, did string) {
				x.change(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Leave(tx, r, "deleted") })
			},
			func(x *index, did string) { x.reactivate(did, posts) },
		},
		"repo that its host has no more": {
			func(x *index, did string) {
				x.change(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
			},
			func(x *index, did string) { x.establish(did, posts) },
		},
		"last record of the collection": {
			func(x *index, did string) { x.kill(did, posts) },
			func(x *index, did string) { x.bear(did, posts) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			for n := range 3 {
				x.establish(didOf(n), posts)
			}
			_, kept := x.walk("", 10, posts)
			c.leave(x, didOf(1))
			if got, _ := x.walk("", 10, posts); !slices.Equal(got, []string{didOf(0), didOf(2)}) {
				t.Errorf("after it left: %q", got)
			}
			if got, _ := x.walk(kept, 10, posts); len(got) != 0 {
				t.Errorf("newcomers after it left: %q", got)
			}
			c.comeBack(x, didOf(1))
			if got, _ := x.walk(kept, 10, posts); !slices.Equal(got, []string{didOf(1)}) {
				t.Errorf("newcomers after it came back: %q", got)
			}
			if got, _ := x.walk("", 10, posts); !slices.Equal(got, []string{didOf(0), didOf(2), didOf(1)}) {
				t.Errorf("after it came back: %q", got)
			}
		})
	}
}

func TestRepoThatIsNotProvenIsNotListed(t *testing.T) {
	x := newIndex(t)
	x.bear(didOf(1), posts) // a candidate
	x.establish(didOf(2), posts)
	x.deactivate(didOf(2))
	x.change(didOf(2), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Show(tx, r) })
	for _, nsids := range [][]string{nil, {posts}, {posts, likes}} {
		if got, _ := x.page("", 10, nsids...); len(got) != 0 {
			t.Errorf("%q: %q", nsids, got)
		}
	}
	x.establish(didOf(3), posts)
	x.change(didOf(3), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	if got, _ := x.page("", 10, posts); !slices.Equal(got, []string{didOf(3)}) {
		t.Errorf("a desynchronized repo stays: %q", got)
	}
}

func TestUnionReadsOnPastAPageOfReposThatWereListedBefore(t *testing.T) {
	x := newIndex(t)
	const n = 50
	for i := range n {
		x.establish(didOf(i), posts)
	}
	for i := range n { // fifty rows in a row that are no news
		x.bear(didOf(i), likes)
	}
	x.establish(didOf(n), likes)
	for _, limit := range []int{1, 3, n - 1, n, n + 1, 1000} {
		got, kept := x.walk("", limit, posts, likes)
		sorted := slices.Sorted(slices.Values(got))
		if len(got) != n+1 || len(slices.Compact(sorted)) != n+1 || got[n] != didOf(n) {
			t.Errorf("limit %d: %d repos, the last %q", limit, len(got), got[len(got)-1])
		}
		if got, _ := x.page(kept, limit, posts, likes); len(got) != 0 {
			t.Errorf("limit %d: after the end %q", limit, got)
		}
	}
}

func TestACursorOfAnotherSetOfCollectionsGivesWhatWasBornAfterIt(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), likes)
	x.establish(didOf(2), posts)
	_, kept := x.walk("", 10, posts)
	x.establish(didOf(3), likes)
	if got, _ := x.walk(kept, 10, likes); !slices.Equal(got, []string{didOf(3)}) {
		t.Errorf("got %q, want only what was born after the cursor", got)
	}
}

// The memory of answers is used again, but not before a client has taken them.
func TestAnswersAreNotMixed(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	x.establish(didOf(2), likes)
	s := newServer(Config{Store: x.store, Log: slog.New(slog.DiscardHandler), Metrics: metrics.New()})
	ask := func(nsid string) (body []byte, written func()) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", listingPath+"?collection="+nsid, nil)
		out, written, err := s.answer(http.Header{}, r, listingRows, s.listReposByCollection)
		if err != nil {
			t.Fatal(err)
		}
		return out.body, written
	}
	for range 3 {
		first, firstWritten := ask(posts)
		second, secondWritten := ask(likes)
		for did, body := range map[string][]byte{didOf(1): first, didOf(2): second} {
			if !bytes.HasPrefix(body, []byte(`{"repos":[{"did":"`+did+`"}],"cursor":"`)) {
				t.Errorf("%s is in %s", did, body)
			}
		}
		firstWritten()
		secondWritten()
	}
}
