package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clientsHere runs a Client in this process, until the end of the test.
func clientsHere(t *testing.T) io.ReadWriter {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Client(theirs, theirs) }()
	t.Cleanup(func() {
		_ = ours.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ours
}

// Each measurement has figures, or says why not, and the file is sound after all that
// was written meanwhile.
func TestQueryMeasuresEveryCase(t *testing.T) {
	s := Shape{Repos: 300, Seed: 5}
	path := built(t, s)
	cases := make(map[string]int)
	err := Query(t.Context(), QueryConfig{Shape: s, Path: path, For: 4 * time.Millisecond, Write: 500, Clients: clientsHere(t)}, func(r Row) error {
		cases[r.What]++
		name := r.What + ", limit " + strconv.Itoa(r.Limit) + ", clients " + strconv.Itoa(r.Clients)
		if r.Skipped != "" {
			t.Logf("%s: skipped: %s", name, r.Skipped)
			if r.What != "memory" && !strings.Contains(r.What, "cold") {
				t.Errorf("%s: skipped", name)
			}
			return nil
		}
		if r.PagesPerSecond <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.CPU < 0 || r.Failed > 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if (r.Writes != nil) != (r.What == "deep page, while written") {
			t.Errorf("%s: %v commits per second", name, r.Writes)
		}
		http := !strings.Contains(r.What, "in process") && r.What != "memory" && !strings.Contains(r.What, "written")
		if (r.OfLimit != nil) != http || http && (*r.OfLimit <= 0 || *r.OfLimit > 50) {
			t.Errorf("%s: %v of the limit", name, r.OfLimit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, times := range map[string]int{
		"memory": 1, "first page": 6, "deep page": 6, "first page, in process": 1, "deep page, in process": 1, "union of 2": 4, "union of 5": 4,
		"union of 20": 4, "prefix": 4, "listCollections of 20": 2, "count of 20": 2, "deep page, while written": 1,
		"first page, in process, cold": 1, "60 deep pages, in process, cold": 1,
	} {
		if cases[what] != times {
			t.Errorf("%s: measured %d times, want %d", what, cases[what], times)
		}
		delete(cases, what)
	}
	if len(cases) > 0 {
		t.Errorf("nobody expects %v", cases)
	}
	sound(t, path)
}

func TestOnlyWhatIsNamedIsMeasured(t *testing.T) {
	s := Shape{Repos: 30, Seed: 5}
	var measured []string
	err := Query(t.Context(), QueryConfig{
		Shape: s, Path: built(t, s), For: time.Millisecond, Only: regexp.MustCompile("^listC"), Write: 500, Clients: clientsHere(t),
	}, func(r Row) error {
		measured = append(measured, r.What)
		return nil
	})
	if want := []string{"listCollections of 20", "listCollections of 20"}; err != nil || !slices.Equal(measured, want) {
		t.Errorf("measured are %v, %v", measured, err)
	}
}

// The writer commits what is due, and some of it begins or ends collections.
func TestTheWriterKeepsItsRate(t *testing.T) {
	s := Shape{Repos: 50, Seed: 2}
	path := built(t, s)
	st, end, err := s.open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	const perSecond = 2000
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	began := time.Now()
	w := new(writer)
	if err := w.run(ctx, s, st, perSecond); err != nil {
		t.Error(err)
	}
	if done, due := float64(w.done.Load()), time.Since(began).Seconds()*perSecond; done < perSecond/100 || done > due {
		t.Errorf("%.0f commits where %.0f were due", done, due)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	sound(t, path)
}

// Answers that are no pages do not count as such, however fast they are.
func TestClientsCountPagesAlone(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.(http.Flusher).Flush() // the body is chunked
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	got, err := newClients(clientsHere(t)).do(job{Addr: addr, Paths: []string{"/a", "/b?c=d"}, Clients: 2, For: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if all := int(requests.Load()); got.Pages+got.Failed != all || got.Failed != all/2 {
		t.Errorf("%d requests: %+v", all, got)
	}
	if got.PerSecond <= 0 || got.P50 <= 0 || got.P99 < got.P50 {
		t.Errorf("%+v", got)
	}
}

func TestAServerThatLeavesIsAnError(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"half a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
		},
	} {
		srv := httptest.NewServer(h)
		_, err := newClients(clientsHere(t)).do(job{Addr: srv.Listener.Addr().String(), Paths: []string{"/"}, Clients: 1})
		if err == nil || !strings.Contains(err.Error(), "ask the server") {
			t.Errorf("%s: %v", name, err)
		}
		srv.Close()
	}
}

func TestDeepPagesAreFullWhereTheyCanBe(t *testing.T) {
	four := []string{"a", "b", "c", "d"} // five pages of ten or less
	for _, c := range []struct {
		cursors []string
		limit   int
		want    string
	}{
		{four, 10, "abc"}, {four, 20, "ab"}, {four, 25, "a"}, {four, 40, "ab"}, {four, 10_000, "ab"}, {four[:1], 10, ""}, {nil, 10, ""},
	} {
		got := ""
		for _, path := range (walk{params: "?collection=x", step: 10, cursors: c.cursors}).deep(c.limit) {
			_, cursor, _ := strings.Cut(path, "&cursor=")
			got += cursor
		}
		if got != c.want {
			t.Errorf("limit %d after %v: %q, want %q", c.limit, c.cursors, got, c.want)
		}
	}
}
