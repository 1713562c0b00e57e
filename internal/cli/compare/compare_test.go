package compare

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"railyard/internal/api"
	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const (
	posts = "app.bsky.feed.post"
	likes = "app.bsky.feed.like"
	lists = "app.bsky.graph.list"
)

var repos = flag.Int("compare-repos", 3000, "how many repos TestAHundredDifferencesAreFound has")

func didOf(n int) string {
	if n%10 == 3 {
		return fmt.Sprintf("did:web:host%d.example.com", n)
	}
	var b [15]byte // 24 letters
	binary.BigEndian.PutUint64(b[:], uint64(n)*0x9e3779b97f4a7c15)
	return "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// index is a file of an index.
type index struct {
	t    *testing.T
	path string
	st   *store.Store
	rev  atproto.TID
}

func open(t *testing.T, path string) *index {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return &index{t: t, path: path, st: st, rev: 1}
}

func newIndex(t *testing.T) *index { return open(t, filepath.Join(t.TempDir(), "index.db")) }

// put proves that each repo has exactly these collections.
func (x *index) put(dids []string, nsids ...string) {
	x.t.Helper()
	for piece := range slices.Chunk(dids, 5000) {
		x.rev++
		err := x.st.Update(x.t.Context(), "test", func(tx *store.Tx) error {
			for _, did := range piece {
				r, err := tx.RepoByDID(did)
				if err == nil && r == nil {
					r, err = testrepo.Add(tx, did)
				}
				if err != nil {
					return err
				}
				if _, _, err := testrepo.Establish(tx, r, repostate.Head{Rev: x.rev}, nsids, repostate.ProofTree); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *index) hide(did string) {
	x.t.Helper()
	err := x.st.Update(x.t.Context(), "test", func(tx *store.Tx) error {
		r, err := tx.RepoByDID(did)
		if err != nil {
			return err
		}
		return testrepo.Hide(tx, r, "deactivated")
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *index) serve() http.Handler {
	return api.Handler(api.Config{Store: x.st, Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: metrics.New()})
}

// against compares a file with a server, and returns the bytes that came.
func (x *index) against(h http.Handler, nsids ...string) (r *Report, received int64, err error) {
	x.t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	rd, err := store.OpenReader(x.t.Context(), x.path)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	var bytes atomic.Int64
	out := outbound.New(outbound.Config{AllowPrivate: true, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &counted{conn, &bytes}, err
	}})
	defer out.Close()
	r, err = Run(x.t.Context(), Config{Reader: rd, Client: out, Base: srv.URL, Collections: nsids})
	return r, bytes.Load(), err
}

type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// said is a report in a form to compare.
func said(r *Report) string {
	var b strings.Builder
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "%s here=%v there=%v\n", d.NSID, d.Here, d.There)
	}
	return b.String()
}

func dids(from, to int) (out []string) {
	for n := from; n < to; n++ {
		out = append(out, didOf(n))
	}
	return out
}

func TestWhatOneIndexAloneListsIsFound(t *testing.T) {
	a, b := newIndex(t), newIndex(t)
	if r, _, err := a.against(b.serve()); err != nil || said(r) != "" || !r.Digests || r.Collections != 1 {
		t.Fatalf("empty indexes: %+v, %v", r, err)
	}
	all := dids(0, 40)
	a.put(all, posts, likes)
	slices.Reverse(all)
	b.put(all, posts, likes)
	if r, _, err := a.against(b.serve()); err != nil || said(r) != "" || r.Collections != 3 {
		t.Fatalf("equal indexes: %+v, %v", r, err)
	}
	a.put([]string{didOf(3)}, posts) // did:web, without likes
	b.put([]string{didOf(5)}, likes) // without posts
	a.put([]string{didOf(7)}, posts, likes, lists)
	b.hide(didOf(9))
	b.put([]string{didOf(41)}, "app.bsky.graph.block")
	want := fmt.Sprintf(" here=[%s] there=[%s]\n", didOf(9), didOf(41)) +
		fmt.Sprintf("%s here=[%s] there=[%s]\n", likes, didOf(9), didOf(3)) +
		fmt.Sprintf("%s here=%v there=[]\n", posts, slices.Sorted(slices.Values([]string{didOf(5), didOf(9)}))) +
		fmt.Sprintf("app.bsky.graph.block here=[] there=[%s]\n", didOf(41)) +
		fmt.Sprintf("%s here=[%s] there=[]\n", lists, didOf(7))
	r, _, err := a.against(b.serve())
	if err != nil || said(r) != want || r.Moved != 0 {
		t.Errorf("%v\n%s\nwant\n%s", err, said(r), want)
	}
	if r, _, err := a.against(b.serve(), lists, posts); err != nil || len(r.Differences) != 2 || r.Collections != 2 {
		t.Errorf("two collections: %+v, %v", r, err)
	}
}

// With -compare-repos 1000000 this is the measurement of docs/clients.md.
func TestAHundredDifferencesAreFound(t *testing.T) {
	a := newIndex(t)
	all := dids(0, *repos)
	a.put(all, posts)
	if err := a.st.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, file, 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, copied)
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	here := slices.Sorted(slices.Values(all[:50]))
	there := slices.Sorted(slices.Values(dids(*repos, *repos+50)))
	b.put(here)
	b.put(there, posts)
	began := time.Now()
	r, received, err := a.against(b.serve(), posts)
	took := time.Since(began)
	if err != nil || len(r.Differences) != 1 || !slices.Equal(r.Differences[0].Here, here) || !slices.Equal(r.Differences[0].There, there) {
		t.Fatalf("%v, %+v", err, r)
	}
	t.Logf("%d repos, 100 differences: %s, %d bytes", *repos, took.Round(time.Millisecond), received)
	// Less than the listing alone, and for any number of repos less than a megabyte.
	if limit := min(40*int64(*repos), 1_000_000); received > limit {
		t.Errorf("%d bytes, want at most %d", received, limit)
	}
}

// What differed at the first look and not at the second does not count.
func TestWhatHasMovedMeanwhileDoesNotCount(t *testing.T) {
	for _, n := range []int{30, 3000} { // by pages, and by buckets
		a, b := newIndex(t), newIndex(t)
		all := dids(0, n)
		a.put(all, posts)
		b.put(all[2:], posts)
		h, asked := b.serve(), 0
		r, _, err := a.against(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path := r.URL.Path
			h.ServeHTTP(w, r)
			if path == listingPath || path == "/v1/digest/repos" {
				if asked++; asked == 2 { // the empty page: the first look is done
					b.put(all[:1], posts)
				}
			}
		}), posts)
		want := fmt.Sprintf("%s here=[%s] there=[]\n", posts, all[1])
		if err != nil || said(r) != want || r.Moved != 1 {
			t.Errorf("%d repos: %v, %+v, want %s", n, err, r, want)
		}
	}
}

// pages is a server without digests: a page for each cursor.
type pages map[string]string

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, ok := p[r.URL.Query().Get("cursor")]
	if r.URL.Path != listingPath || !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, page)
}

func page(cursor string, dids ...string) string {
	type repo struct {
		DID string `json:"did"`
	}
	p := struct {
		Repos  []repo `json:"repos"`
		Cursor string `json:"cursor,omitempty"`
	}{Repos: []repo{}, Cursor: cursor}
	for _, did := range dids {
		p.Repos = append(p.Repos, repo{did})
	}
	b, _ := json.Marshal(p)
	return string(b)
}

func TestServersWithoutDigestsAreReadToTheEnd(t *testing.T) {
	a := newIndex(t)
	a.put(dids(0, 6), posts)
	for name, p := range map[string]pages{
		"odd order and duplicates": {"": page("x", didOf(5), didOf(3), didOf(5)), "x": page("y", didOf(77), didOf(2), didOf(3)), "y": page("", didOf(1), didOf(0))},
		"an empty page before":     {"": page("x"), "x": page("", didOf(0), didOf(1), didOf(2), didOf(3), didOf(5), didOf(77))},
		"its cursor again":         {"": page("x", didOf(0), didOf(1), didOf(2), didOf(3), didOf(5), didOf(77)), "x": page("x")},
		"an empty page at the end": {"": page("x", didOf(0), didOf(1), didOf(2), didOf(3), didOf(5), didOf(77)), "x": page("")},
	} {
		r, _, err := a.against(p, posts)
		want := fmt.Sprintf("%s here=[%s] there=[%s]\n", posts, didOf(4), didOf(77))
		if err != nil || said(r) != want || r.Digests {
			t.Errorf("%s: %v, %+v, want %s", name, err, r, want)
		}
	}
	if _, _, err := a.against(pages{}); !errors.Is(err, ErrNoCollections) {
		t.Errorf("without collections: %v", err)
	}
}

func TestHostileServersAreRefused(t *testing.T) {
	a := newIndex(t)
	a.put(dids(0, 1500), posts)
	digest := `{"collection":"","members":1,"digest":"1"}`
	n := 0
	on := func(answers map[string]func(w http.ResponseWriter, r *http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fn, ok := answers[r.URL.Path]; ok {
				fn(w, r)
				return
			}
			http.NotFound(w, r)
		})
	}
	says := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	type answers = map[string]func(http.ResponseWriter, *http.Request)
	for name, c := range map[string]struct {
		h     http.Handler
		nsids []string
		says  string
	}{
		"the same cursor":    {pages{"": page("x", didOf(1)), "x": page("x", didOf(2))}, []string{posts}, "a second time"},
		"a cursor it denies": {pages{"": page("x", didOf(1))}, []string{posts}, "status 404"},
		"a long cursor":      {pages{"": page(strings.Repeat("x", 5000), didOf(1))}, []string{posts}, "cursor of 5000 bytes"},
		"an invalid DID":     {pages{"": page("", "did:plc:short")}, []string{posts}, "did:plc"},
		"no JSON":            {pages{"": "<html>"}, []string{posts}, listingPath},
		"repos no list":      {pages{"": `{"repos":{}}`}, []string{posts}, "repos"},
		"new repos without end": {on(answers{listingPath: func(w http.ResponseWriter, r *http.Request) {
			var list []string
			for range 4000 {
				list = append(list, fmt.Sprintf("did:web:%s.h%d.example.com", strings.Repeat("a.", 110), n))
				n++
			}
			_, _ = io.WriteString(w, page(fmt.Sprint(n), list...))
		}}), []string{posts}, "MiB"},
		"an answer without end": {on(answers{listingPath: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		}}), []string{posts}, "over 8388608 bytes"},
		"an error":             {on(answers{"/v1/digest": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }}), nil, "status 500"},
		"a digest of 63 bits":  {on(answers{"/v1/digest": says(`{"members":1,"digest":"7fffffffffffffff"}`)}), nil, "digest"},
		"a negative count":     {on(answers{"/v1/digest": says(`{"members":-1,"digest":"1"}`)}), nil, "-1 members"},
		"too few buckets":      {on(answers{"/v1/digest": says(digest)}), []string{posts}, "0 counts and 0 digests"},
		"names out of order":   {on(answers{"/v1/digest": says(digest), "/v1/digest/collections": says(`{"collections":[{"collection":"b.b.b","digest":"0"},{"collection":"a.a.a","digest":"0"}]}`)}), nil, `"a.a.a" behind "b.b.b"`},
		"names without an end": {on(answers{"/v1/digest": says(digest), "/v1/digest/collections": says(`{"collections":[],"cursor":"b.b.b"}`)}), nil, "cursor"},
	} {
		_, _, err := a.against(c.h, c.nsids...)
		if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 600 {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	// Members of other buckets than those that were asked for.
	b := newIndex(t)
	b.put(dids(1, 1500), posts)
	h := b.serve()
	_, _, err := a.against(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/digest/repos" {
			_, _ = io.WriteString(w, page("", dids(2000, 2100)...))
			return
		}
		h.ServeHTTP(w, r)
	}), posts)
	if err == nil || !strings.Contains(err.Error(), "in none of the buckets") {
		t.Errorf("other buckets: %v", err)
	}
}

// A listing that repeats itself has an end, too.
func TestListingsThatRepeatThemselvesEnd(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = io.WriteString(w, page(fmt.Sprint(n), didOf(1), didOf(2)))
	}))
	defer srv.Close()
	out := outbound.New(outbound.Config{AllowPrivate: true})
	defer out.Close()
	s := &server{out, srv.URL, foreignPage}
	err := s.walk(t.Context(), listingPath, ofCollection(posts), 20, func(string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no end after 22 repos") || n != 11 {
		t.Errorf("%v after %d pages", err, n)
	}
}

// A server that is busy is asked again.
func TestBusyServersAreAskedAgain(t *testing.T) {
	a, b := newIndex(t), newIndex(t)
	a.put(dids(0, 3), posts)
	b.put(dids(0, 3), posts)
	h, n := b.serve(), 0
	r, _, err := a.against(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}), posts)
	if err != nil || said(r) != "" {
		t.Errorf("%v, %+v", err, r)
	}
}
