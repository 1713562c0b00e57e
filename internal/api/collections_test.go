package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// counts asks /v1/listCollections.
func (x *index) counts(query string) (map[string]int64, string) {
	x.Helper()
	w := x.ask(http.MethodGet, "/v1/listCollections?"+query)
	if w.Code != http.StatusOK {
		x.Fatalf("%s: status %d: %s", query, w.Code, w.Body)
	}
	var answer struct {
		Collections map[string]int64 `json:"collections"`
		Cursor      *string          `json:"cursor"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		x.Fatal(err)
	}
	if answer.Collections == nil || answer.Cursor == nil {
		x.Fatalf("%s: %s lacks a map or a cursor", query, w.Body)
	}
	return answer.Collections, *answer.Cursor
}

func TestListCollectionsCountsVisibleReposByCollection(t *testing.T) {
	x := newIndex(t)
	if got, cursor := x.counts(""); len(got) != 0 || cursor != "" {
		t.Errorf("an empty index: %v, cursor %q", got, cursor)
	}
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), posts)
	x.establish(didOf(3), posts, lists)
	x.deactivate(didOf(3))
	x.bear(didOf(4), lists) // never proven
	for _, c := range []struct {
		query string
		want  map[string]int64
	}{
		{"", map[string]int64{posts: 2, likes: 1}},
		{"stalesec=0", map[string]int64{posts: 2, likes: 1}},
		{"limit=", map[string]int64{posts: 2, likes: 1}},
		{"cursor=" + likes, map[string]int64{posts: 2}},
		{"cursor=" + posts, map[string]int64{}},
		{"cursor=app.bsky.feed.liked", map[string]int64{posts: 2}}, // a name that is no collection here
		{"c=" + posts, map[string]int64{posts: 2}},
		{"c=" + posts + "&c=" + likes + "&c=" + posts, map[string]int64{posts: 2, likes: 1}},
		{"c=" + posts + "&c=" + lists + "&c=com.example.never", map[string]int64{posts: 2}},
		{"c=" + likes + "&limit=bad&cursor=bad+", map[string]int64{likes: 1}},
		{"c=App.Bsky.feed.post", map[string]int64{}},
	} {
		if got, cursor := x.counts(c.query); !maps.Equal(got, c.want) || cursor != "" {
			t.Errorf("%q: %v, cursor %q; want %v", c.query, got, cursor, c.want)
		}
	}
}

func TestListCollectionsPagesInTheOrderOfTheNames(t *testing.T) {
	x := newIndex(t)
	var nsids []string
	for n := range 7 {
		nsids = append(nsids, fmt.Sprintf("com.example.c%d", 6-n))
	}
	x.establish(didOf(1), nsids...)
	x.kill(didOf(1), "com.example.c3")
	seen, last, pages := map[string]int64{}, "", 0
	for {
		page, cursor := x.counts(url.Values{"limit": {"2"}, "cursor": {last}}.Encode())
		for nsid, n := range page {
			if seen[nsid] != 0 || nsid <= last || n != 1 {
				t.Errorf("page %d after %q has %s with %d", pages, last, nsid, n)
			}
			seen[nsid] = n
		}
		if pages++; cursor == "" || pages > 10 {
			break
		}
		if page[cursor] == 0 || len(page) != 2 {
			t.Errorf("page %v has the cursor %q", page, cursor)
		}
		last = cursor
	}
	if len(seen) != 6 || pages != 4 {
		t.Errorf("%d pages with %v", pages, seen)
	}
}

func TestListCollectionsRefuses(t *testing.T) {
	x := newIndex(t)
	for _, c := range []struct{ query, says string }{
		{"limit=0", "limit 0"},
		{"limit=10001", "limit 10001"},
		{"limit=abc", `limit "abc"`},
		{"cursor=a&cursor=b", "cursor: given 2 times"},
		{"cursor=nodots", `cursor "nodots"`},
		{"cursor=app.bsky.%00", "cursor"},
		{"cursor=" + strings.Repeat("a", 20_000), "cursor of 20000 bytes"},
		{"c=", `c ""`},
		{"c=" + posts + "&c=no", `c "no"`},
		{"c=%3Cscript%3E", `c "<script>"`},
		{strings.Repeat("c="+posts+"&", 101), "c: given 101 times"},
		{"limit=%zz", "query"},
	} {
		message := x.refused(x.ask("GET", "/v1/listCollections?"+c.query), 400, "InvalidRequest")
		if !strings.Contains(message, c.says) || len(message) > 300 {
			t.Errorf("%.60q: message %q", c.query, message)
		}
	}
	x.refused(x.ask("POST", "/v1/listCollections"), 405, "InvalidRequest")
}

func TestGetDidsForCollectionIsTheListingWithACollection(t *testing.T) {
	x := newIndex(t)
	for n := range 5 {
		x.establish(didOf(n), posts)
	}
	x.establish(didOf(9), likes)
	const path = "/v1/getDidsForCollection?"
	for _, query := range []string{
		"collection=" + posts, "collection=" + posts + "&limit=2", "collection=" + likes + "&collection=" + lists,
		"collection=" + posts + "&cursor=" + makeCursor(x.store.IndexID(), 1<<60), "collection=bad", "collection=" + posts + "&limit=x",
	} {
		got, want := x.ask("GET", path+query), x.ask("GET", listingPath+"?"+query)
		if got.Code != want.Code || got.Body.String() != want.Body.String() {
			t.Errorf("%s: %d %s; the listing gives %d %s", query, got.Code, got.Body, want.Code, want.Body)
		}
	}
	if message := x.refused(x.ask("GET", path), 400, "InvalidRequest"); message != "collection: missing" {
		t.Errorf("message %q", message)
	}
	x.refused(x.ask("GET", path+"collection=%zz"), 400, "InvalidRequest")
}

// A count changes in the transaction of its rows.
func TestCountsFollowTheRows(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	x.establish(didOf(2), posts)
	for _, step := range []struct {
		do   func()
		want int64
	}{
		{func() { x.bear(didOf(3), posts) }, 2},
		{func() { x.establish(didOf(3), posts) }, 3},
		{func() { x.kill(didOf(1), posts) }, 2},
		{func() { x.deactivate(didOf(2)) }, 1},
		{func() { x.reactivate(didOf(2), posts) }, 2},
		{func() {
			x.change(didOf(2), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
		}, 1},
	} {
		step.do()
		if got, _ := x.counts("c=" + posts); got[posts] != step.want {
			t.Errorf("%d members, want %d", got[posts], step.want)
		}
	}
}
