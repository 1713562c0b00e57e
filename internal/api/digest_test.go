package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"railyard/internal/listing"
)

func (x *index) sum(target string) (a sumAnswer) {
	x.Helper()
	w := x.ask(http.MethodGet, target)
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		x.Fatalf("%s: status %d: %v", target, w.Code, err)
	}
	return a
}

func digestOf(dids []string) string {
	var d listing.Digest
	for _, did := range dids {
		d = d.Plus(listing.Hash(did))
	}
	return fmt.Sprintf("%016x", uint64(d))
}

// The digest of a collection, those of its buckets and the repos in these are of the
// same set, which the listing has, too.
func TestDigestsAreThoseOfTheListing(t *testing.T) {
	const bits = 3
	x := newIndex(t)
	for n := range 60 {
		did := didOf(n)
		if n%7 == 0 {
			did = fmt.Sprintf("did:web:host%d.example.com", n)
		}
		x.establish(did, [][]string{nil, {posts}, {posts, likes}}[n%3]...)
	}
	x.kill(didOf(1), posts)
	x.deactivate(didOf(2))
	for _, nsid := range []string{"", posts, likes, lists} {
		var collections []string
		query := fmt.Sprintf("?bits=%d", bits)
		if nsid != "" {
			collections, query = []string{nsid}, query+"&collection="+nsid
		}
		all, _ := x.walk("", 7, collections...)
		a := x.sum("/v1/digest" + query)
		if a.Collection != nsid || a.Members != int64(len(all)) || a.Digest != digestOf(all) || a.Buckets == nil || len(a.Buckets.Members) != 1<<bits {
			t.Fatalf("%q: %+v, the listing has %d with digest %s", nsid, a, len(all), digestOf(all))
		}
		for b := range 1 << bits {
			var want []string
			for _, did := range all {
				if listing.Hash(did).Bucket(bits) == b {
					want = append(want, did)
				}
			}
			if a.Buckets.Members[b] != int64(len(want)) || a.Buckets.Digests[b] != digestOf(want) {
				t.Errorf("%q: bucket %d has %d, %s, want %d, %s", nsid, b, a.Buckets.Members[b], a.Buckets.Digests[b], len(want), digestOf(want))
			}
			if got := x.bucket(query+fmt.Sprintf("&bucket=%d", b), 2); !slices.Equal(got, want) {
				t.Errorf("%q: bucket %d lists %v, want %v", nsid, b, got, want)
			}
		}
		if got := x.bucket(query+"&bucket=0&bucket=1&bucket=2&bucket=3&bucket=4&bucket=5&bucket=6&bucket=7", 11); !slices.Equal(got, all) {
			t.Errorf("%q: all buckets list %v, want %v", nsid, got, all)
		}
	}
}

// bucket walks /v1/digest/repos to its end.
func (x *index) bucket(query string, limit int) (dids []string) {
	x.Helper()
	for cursor := ""; ; {
		w := x.ask(http.MethodGet, fmt.Sprintf("/v1/digest/repos%s&limit=%d&cursor=%s", query, limit, cursor))
		var page listingAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Repos) > limit {
			x.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if len(page.Repos) == 0 {
			return dids
		}
		for _, r := range page.Repos {
			dids = append(dids, r.DID)
		}
		cursor = page.Cursor
	}
}

func TestDigestsOfAllCollectionsComeInPages(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), lists, likes)
	var got []string
	for cursor, pages := "", 0; pages < 10; pages++ {
		var page sumsAnswer
		if err := json.Unmarshal(x.ask(http.MethodGet, "/v1/digest/collections?limit=2&cursor="+cursor).Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Collections {
			got = append(got, fmt.Sprintf("%s %d %s", c.Collection, c.Members, c.Digest))
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	want := []string{
		likes + " 2 " + digestOf([]string{didOf(1), didOf(2)}),
		posts + " 1 " + digestOf([]string{didOf(1)}),
		lists + " 1 " + digestOf([]string{didOf(2)}),
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDigestsRefuseWhatIsNoQuestion(t *testing.T) {
	x := newIndex(t)
	for query, says := range map[string]string{
		"/v1/digest?bits=0":                                                   `bits "0"`,
		"/v1/digest?bits=15":                                                  `bits "15"`,
		"/v1/digest?bits=-1":                                                  `bits "-1"`,
		"/v1/digest?bits=99999999999999999999":                                `bits "99999999999999999999"`,
		"/v1/digest?collection=":                                              `collection ""`,
		"/v1/digest?collection=app.bsky.*":                                    `collection "app.bsky.*"`,
		"/v1/digest/repos?bucket=1":                                           "bits: missing",
		"/v1/digest/repos?bits=3":                                             "bucket: missing",
		"/v1/digest/repos?bits=3&bucket=8":                                    `bucket "8"`,
		"/v1/digest/repos?bits=3&bucket=-1":                                   `bucket "-1"`,
		"/v1/digest/repos?bits=3&bucket=1&limit=10001":                        "limit 10001",
		"/v1/digest/repos?bits=3&bucket=1&cursor=%20x":                        `cursor " x"`,
		"/v1/digest/collections?cursor=no":                                    `cursor "no"`,
		"/v1/digest/repos?bits=3" + strings.Repeat("&bucket=1", maxBuckets+1): "bucket: given 1001 times",
	} {
		if got := x.refused(x.ask(http.MethodGet, query), http.StatusBadRequest, "InvalidRequest"); !strings.Contains(got, says) {
			t.Errorf("%.60s: %q, want %q", query, got, says)
		}
	}
}
