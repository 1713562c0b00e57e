package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// proxy stands between clients and the service as rainbow does: of a request it hands on
// the method, the address and a few headers, of an answer the body and three headers.
func proxy(t *testing.T, upstream string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			http.Error(w, "GET alone has a route", http.StatusMethodNotAllowed)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, upstream+r.URL.RequestURI(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range []string{"Accept", "User-Agent", "Authorization", "Via", "Content-Type", "Content-Length"} {
			if v := r.Header.Get(name); v != "" {
				req.Header.Set(name, v)
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for _, name := range []string{"Content-Type", "Content-Length", "Location"} {
			if v := resp.Header.Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(w, resp.Body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// tap reads a collection as Bluesky's Tap does: pages of 1,000; it stores a page's repos and
// then its cursor, and ends at an empty page, whose cursor it does not store, or at a page
// without a cursor. It asks again months later with what it has stored.
type tap struct {
	t      *testing.T
	base   string
	cursor string
}

func (c *tap) enumerate(collection string) (dids []string) {
	c.t.Helper()
	for range 100 {
		query := url.Values{"collection": {collection}, "limit": {"1000"}}
		if c.cursor != "" {
			query.Set("cursor", c.cursor)
		}
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+listingPath+"?"+query.Encode(), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			c.t.Fatalf("%v, %v: %s: %s", query, err, resp.Status, body)
		}
		if n := resp.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
			c.t.Errorf("Content-Length %s of %d bytes", n, len(body))
		}
		var page struct {
			Cursor *string `json:"cursor"`
			Repos  []struct {
				DID string `json:"did"`
			} `json:"repos"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			c.t.Fatal(err)
		}
		if len(page.Repos) == 0 {
			return dids
		}
		for _, r := range page.Repos {
			dids = append(dids, r.DID)
		}
		if page.Cursor == nil || *page.Cursor == "" {
			return dids
		}
		c.cursor = *page.Cursor
	}
	c.t.Fatal("a walk without end")
	return nil
}

func TestTapBehindRainbowGetsEachRepoOnceAndNewcomersLater(t *testing.T) {
	x := newIndex(t)
	var all []string
	err := x.store.Update(t.Context(), "test", func(tx *store.Tx) error {
		for n := range 2500 {
			all = append(all, fmt.Sprintf("did:web:%d.example.com", n))
			r, err := testrepo.Add(tx, all[n])
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
	s := httptest.NewServer(x.handler)
	t.Cleanup(s.Close)
	for _, behind := range []bool{false, true} {
		c := &tap{t: t, base: s.URL}
		if behind {
			c.base = proxy(t, s.URL)
		}
		if got := c.enumerate(posts); !slices.Equal(got, all) {
			t.Errorf("behind a proxy %t: %d repos of %d", behind, len(got), len(all))
		}
		newcomer := fmt.Sprintf("did:web:new-%t.example.com", behind)
		back := all[7]
		x.establish(newcomer, posts)
		x.deactivate(back)
		x.reactivate(back, posts)
		all = append(slices.Delete(all, 7, 8), newcomer, back)
		if got := c.enumerate(posts); !slices.Equal(got, all[len(all)-2:]) {
			t.Errorf("behind a proxy %t: %q with the kept cursor", behind, got)
		}
		if got := c.enumerate(posts); len(got) != 0 {
			t.Errorf("behind a proxy %t: %q once more", behind, got)
		}
	}
}
