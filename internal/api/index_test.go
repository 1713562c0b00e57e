package api

import (
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const (
	posts = "app.bsky.feed.post"
	likes = "app.bsky.feed.like"
	lists = "app.bsky.graph.list"
)

// index is a real file with the public routes over it.
type index struct {
	testing.TB
	store   *store.Store
	metrics *metrics.Metrics
	handler http.Handler
	rev     atproto.TID
}

func newIndex(t testing.TB) *index {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	x := &index{TB: t, store: st, metrics: metrics.New()}
	x.handler = Handler(Config{Store: st, Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Metrics: x.metrics})
	return x
}

// didOf is the n-th of some accounts.
func didOf(n int) string {
	var b [15]byte // 24 letters
	binary.BigEndian.PutUint64(b[7:], uint64(n))
	return "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// change runs fn over the repo of a DID, which is added if it is new.
func (x *index) change(did string, fn func(tx *store.Tx, r *repostate.Repo) error) {
	x.Helper()
	err := x.store.Update(x.Context(), "test", func(tx *store.Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil && r == nil {
			r, err = testrepo.Add(tx, did)
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
	if err != nil {
		x.Fatal(err)
	}
}

// establish proves that a repo has exactly these collections.
func (x *index) establish(did string, nsids ...string) {
	x.Helper()
	x.rev++
	x.change(did, func(tx *store.Tx, r *repostate.Repo) error {
		_, _, err := testrepo.Establish(tx, r, repostate.Head{Rev: x.rev}, nsids, repostate.ProofTree)
		return err
	})
}

func (x *index) bear(did string, nsids ...string) {
	x.Helper()
	x.change(did, func(tx *store.Tx, r *repostate.Repo) error {
		_, err := testrepo.AddMemberships(tx, r, nsids)
		return err
	})
}

func (x *index) kill(did string, nsids ...string) {
	x.Helper()
	x.change(did, func(tx *store.Tx, r *repostate.Repo) error {
		_, err := testrepo.RemoveMemberships(tx, r, nsids)
		return err
	})
}

func (x *index) deactivate(did string) {
	x.Helper()
	x.change(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Hide(tx, r, "deactivated") })
}

// reactivate brings an account back with the collections that a fetch found.
func (x *index) reactivate(did string, nsids ...string) {
	x.Helper()
	x.change(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Show(tx, r) })
	x.establish(did, nsids...)
}

// send sends a request with some headers, each a name and a value.
func (x *index) send(method, target string, headers ...string) *httptest.ResponseRecorder {
	x.Helper()
	r := httptest.NewRequestWithContext(x.Context(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, r)
	return w
}

// get asks for whatever kind of answer.
func (x *index) get(target string) *httptest.ResponseRecorder {
	x.Helper()
	return x.send(http.MethodGet, target)
}

// ask sends a request and returns the answer, which must be JSON.
func (x *index) ask(method, target string) *httptest.ResponseRecorder {
	x.Helper()
	w := x.send(method, target)
	if w.Header().Get("Content-Type") != "application/json" {
		x.Errorf("%s %s: content type %q", method, target, w.Header().Get("Content-Type"))
	}
	if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
		x.Errorf("%s %s: content length %s, body of %d bytes", method, target, got, w.Body.Len())
	}
	return w
}

func (x *index) listing(params url.Values) *httptest.ResponseRecorder {
	x.Helper()
	return x.ask(http.MethodGet, "/xrpc/com.atproto.sync.listReposByCollection?"+params.Encode())
}

// page returns one page and its cursor, and checks the rule for cursors: a page
// has one exactly if it is not empty.
func (x *index) page(cursor string, limit int, nsids ...string) (dids []string, next string) {
	x.Helper()
	params := url.Values{"limit": {strconv.Itoa(limit)}, "collection": nsids}
	if cursor != "" {
		params.Set("cursor", cursor)
	}
	w := x.listing(params)
	if w.Code != http.StatusOK {
		x.Fatalf("%v: status %d: %s", params, w.Code, w.Body)
	}
	var answer struct {
		Repos  []struct{ DID string }
		Cursor *string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		x.Fatal(err)
	}
	if (answer.Cursor != nil) != (len(answer.Repos) > 0) {
		x.Fatalf("%v: %d repos, cursor %v", params, len(answer.Repos), answer.Cursor)
	}
	if len(answer.Repos) > limit {
		x.Fatalf("%v: %d repos", params, len(answer.Repos))
	}
	for _, r := range answer.Repos {
		dids = append(dids, r.DID)
	}
	if answer.Cursor != nil {
		next = *answer.Cursor
	}
	return dids, next
}

// walk reads pages from a cursor to the end. last is the last cursor that came.
func (x *index) walk(from string, limit int, nsids ...string) (dids []string, last string) {
	x.Helper()
	last = from
	for {
		page, next := x.page(last, limit, nsids...)
		if len(page) == 0 {
			return dids, last
		}
		if dids = append(dids, page...); len(dids) > 100_000 {
			x.Fatal("a walk without an end")
		}
		last = next
	}
}

// refused checks the shape of an error and returns its message.
func (x *index) refused(w *httptest.ResponseRecorder, status int, name string) string {
	x.Helper()
	if w.Code != status {
		x.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	var answer map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		x.Fatalf("%s: %v", w.Body, err)
	}
	if len(answer) != 2 || answer["error"] != name || answer["message"] == "" {
		x.Fatalf("error %s, want %s with a message and nothing else", w.Body, name)
	}
	return answer["message"]
}
