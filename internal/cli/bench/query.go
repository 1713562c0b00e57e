package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"railyard/internal/store"
)

// QueryConfig says what Query measures.
type QueryConfig struct {
	Shape
	Path    string         // of the index, as Build has made it
	For     time.Duration  // of each measurement
	Only    *regexp.Regexp // of the names of measurements, those that are made; nil = all
	Write   float64        // commits per second of the last case over HTTP; 0 = that case is left out
	Clients io.ReadWriter  // to a Client
}

// Row is one measurement.
type Row struct {
	What           string   `json:"what"`
	Limit          int      `json:"limit,omitempty"`       // of a page
	Clients        int      `json:"clients,omitempty"`     // at once
	PagesPerSecond float64  `json:"pages_per_s,omitempty"` // of all clients
	P50            float64  `json:"p50_ms,omitempty"`      // of one request, from the first byte sent to the last one read
	P99            float64  `json:"p99_ms,omitempty"`
	CPU            float64  `json:"cpu_us_per_page,omitempty"` // of the server's process
	OfLimit        *float64 `json:"of_limit,omitempty"`        // pages per second, as a part of those of ready bytes; nil = not over HTTP
	Writes         *float64 `json:"commits_per_s,omitempty"`   // that were written meanwhile; nil = nobody writes
	Memory         float64  `json:"rss_mib,omitempty"`         // most memory in use, above that of a server that was not asked yet
	Failed         int      `json:"failed,omitempty"`          // answers that were no pages
	Skipped        string   `json:"skipped,omitempty"`         // why there are no figures
}

// Query measures what a server on an index answers, and hands over row by row.
func Query(ctx context.Context, cfg QueryConfig, report func(Row) error) error {
	q := &query{QueryConfig: cfg, clients: newClients(cfg.Clients), report: report, chance: cfg.random(0, forQueries)}
	if err := q.warm(ctx); err != nil {
		return err
	}
	return q.cold(ctx)
}

// query is a run of Query.
type query struct {
	QueryConfig
	*clients
	*server
	st     *store.Store
	report func(Row) error
	chance *rand.Rand
	births []int64 // birth numbers after which pages of the largest collection begin
}

const (
	listing = "/xrpc/com.atproto.sync.listReposByCollection"
	// places is how many places of a listing the walks aim at: a step of a walk is a
	// part of all repos, but no more than walkStep.
	places   = 400
	walkStep = 1000
)

// warm measures what a server does that was asked before.
func (q *query) warm(ctx context.Context) (err error) {
	var end func() error
	if q.st, end, err = q.open(ctx, q.Path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if q.server, err = serve(ctx, q.st); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	// Memory comes before all others, since what they use stays in use; what is written
	// comes last.
	for _, measure := range []func(context.Context) error{q.memory, q.findBirths, q.pages, q.inProcess, q.unions, q.counts, q.written} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether a measurement is to be made.
func (q *query) wants(what string) bool { return q.Only == nil || q.Only.MatchString(what) }

// pages of one collection.
func (q *query) pages(ctx context.Context) error {
	const first, deep = "first page", "deep page"
	if !q.wants(first) && !q.wants(deep) {
		return nil
	}
	walked, err := q.walk(ctx, "?collection="+Large(0))
	if err != nil {
		return err
	}
	for _, limit := range []int{500, 2000, 10_000} {
		for _, n := range []int{1, 8} {
			if err := q.measure(ctx, Row{What: first, Limit: limit, Clients: n}, walked.first(limit)); err != nil {
				return err
			}
			if err := q.measure(ctx, Row{What: deep, Limit: limit, Clients: n}, walked.deep(limit)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// unions of some of the large collections, and of all of them by their prefix.
func (q *query) unions(ctx context.Context) error {
	for _, n := range []int{2, 5, 20} {
		params := make([]string, n)
		for i := range params {
			params[i] = "collection=" + Large(i)
		}
		if err := q.union(ctx, fmt.Sprintf("union of %d", n), "?"+strings.Join(params, "&")); err != nil {
			return err
		}
	}
	return q.union(ctx, "prefix", "?collection="+Prefix)
}

func (q *query) union(ctx context.Context, what, params string) error {
	if !q.wants(what) {
		return nil
	}
	walked, err := q.walk(ctx, params)
	if err != nil {
		return err
	}
	for _, limit := range []int{2000, 10_000} {
		for _, n := range []int{1, 8} {
			if err := q.measure(ctx, Row{What: what, Limit: limit, Clients: n}, walked.deep(limit)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// counts of the large collections.
func (q *query) counts(ctx context.Context) error {
	var each, count []string
	for i := range largeOnes {
		each, count = append(each, "c="+Large(i)), append(count, "collection="+Large(i))
	}
	for _, c := range []struct{ what, path string }{
		{"listCollections of 20", "/v1/listCollections?" + strings.Join(each, "&")},
		{"count of 20", "/v1/count?" + strings.Join(count, "&")},
	} {
		for _, n := range []int{1, 8} {
			if err := q.measure(ctx, Row{What: c.what, Clients: n}, c.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure has clients ask for pages, and for ready bytes of the size of such a page
// before and after that: other work of the machine is in both.
func (q *query) measure(ctx context.Context, r Row, paths ...string) error {
	if !q.wants(r.What) {
		return nil
	}
	sample, err := q.ask(ctx, paths[len(paths)/2])
	if err != nil {
		return err
	}
	if err := sample.refused(); err != nil {
		r.Skipped = err.Error()
		return q.report(r)
	}
	q.ready.Store(sample)
	limit := job{q.addr, []string{readyPath}, r.Clients, q.For / 2}
	before, err := q.do(limit)
	if err != nil {
		return err
	}
	t, cpu, err := q.timed(ctx, job{q.addr, paths, r.Clients, q.For})
	if err != nil {
		return err
	}
	after, err := q.do(limit)
	if err != nil {
		return err
	}
	r.fill(t, cpu)
	if most := (before.PerSecond + after.PerSecond) / 2; most > 0 {
		part := t.PerSecond / most
		r.OfLimit = &part
	}
	return q.report(r)
}

// timed does a job, after a tenth of it that does not count, and returns the CPU time of
// this process meanwhile.
func (q *query) timed(ctx context.Context, j job) (t tally, cpu time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return t, 0, err
	}
	rehearsal := j
	rehearsal.For /= 10
	if _, err := q.do(rehearsal); err != nil {
		return t, 0, err
	}
	before := cpuTime()
	t, err = q.do(j)
	return t, cpuTime() - before, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for other words alone
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *Row) fill(t tally, cpu time.Duration) {
	r.PagesPerSecond, r.Failed = t.PerSecond, t.Failed
	r.P50, r.P99 = milliseconds(t.P50), milliseconds(t.P99)
	if t.Pages > 0 {
		r.CPU = float64(cpu.Microseconds()) / float64(t.Pages)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// walk is a listing that was paged through.
type walk struct {
	params  string
	step    int
	cursors []string
}

// walk pages through a listing, for a while, and keeps its cursors.
func (q *query) walk(ctx context.Context, params string) (walk, error) {
	w := walk{params: params, step: min(max(1, q.Repos/places), walkStep)}
	path := fmt.Sprintf("%s%s&limit=%d", listing, params, w.step)
	for cursor, began := "", time.Now(); time.Since(began) < 5*q.For; {
		page, err := q.ask(ctx, path+"&cursor="+url.QueryEscape(cursor))
		if err != nil {
			return w, err
		}
		if page.refused() != nil {
			break // what cannot be paged through cannot be measured: measure says so
		}
		if cursor, err = page.cursor(); err != nil {
			return w, err
		}
		if cursor == "" {
			break
		}
		w.cursors = append(w.cursors, cursor)
	}
	return w, nil
}

func (w walk) first(limit int) string { return fmt.Sprintf("%s%s&limit=%d", listing, w.params, limit) }

// deep returns the pages after the cursors, but for those that would not be full. If
// none would be, it is the second half of all of them, or the first page.
func (w walk) deep(limit int) (paths []string) {
	full := len(w.cursors) - (limit+w.step-1)/w.step
	if full <= 0 {
		full = len(w.cursors) / 2
	}
	for _, cursor := range w.cursors[:full] {
		paths = append(paths, w.first(limit)+"&cursor="+url.QueryEscape(cursor))
	}
	if len(paths) == 0 {
		paths = append(paths, w.first(limit))
	}
	return paths
}

// inProcess measures pages as the store returns them, without HTTP and JSON.
func (q *query) inProcess(ctx context.Context) error {
	for _, c := range []struct {
		what  string
		after func() int64
	}{{"first page, in process", func() int64 { return 0 }}, {"deep page, in process", q.somewhere}} {
		if !q.wants(c.what) {
			continue
		}
		var times []time.Duration
		var page store.Page
		cpu, began := cpuTime(), time.Now()
		for len(times) == 0 || time.Since(began) < q.For {
			took, err := list(ctx, q.st, &page, c.after())
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		r := Row{What: c.what, Limit: inProcessLimit, Clients: 1}
		took := time.Since(began)
		r.fill(tallyOf(times, took), cpuTime()-cpu)
		if err := q.report(r); err != nil {
			return err
		}
	}
	return nil
}

const inProcessLimit = 2000

// viewer is a store or a reader.
type viewer interface {
	View(ctx context.Context, fn func(*store.Rx) error) error
}

// list returns how long a page of the largest collection took.
func list(ctx context.Context, v viewer, page *store.Page, after int64) (time.Duration, error) {
	began := time.Now()
	err := v.View(ctx, func(rx *store.Rx) error {
		err := rx.List(page, []string{Large(0)}, after, inProcessLimit)
		if err == nil && page.Len() == 0 {
			err = fmt.Errorf("the page of %s after %d is empty", Large(0), after)
		}
		return err
	})
	return time.Since(began), err
}

func tallyOf(times []time.Duration, took time.Duration) tally {
	slices.Sort(times)
	n := len(times)
	return tally{Pages: n, PerSecond: float64(n) / took.Seconds(), P50: times[n/2], P99: times[n*99/100]}
}

// findBirths pages through the largest collection.
func (q *query) findBirths(ctx context.Context) error {
	step := min(max(1, q.Repos/places), walkStep)
	q.births = []int64{0}
	for {
		var page store.Page
		if err := q.st.View(ctx, func(rx *store.Rx) error {
			return rx.List(&page, []string{Large(0)}, q.births[len(q.births)-1], step)
		}); err != nil {
			return err
		}
		if page.Len() < step {
			break // nothing, or not enough, follows the last one
		}
		q.births = append(q.births, page.Last)
	}
	if full := len(q.births) - inProcessLimit/step; full > 0 {
		q.births = q.births[:full]
	} else {
		q.births = q.births[:(len(q.births)+1)/2]
	}
	return nil
}

// somewhere draws a birth number behind which there is a page.
func (q *query) somewhere() int64 { return q.births[q.chance.IntN(len(q.births))] }

// memory measures by how much the largest pages let the process grow.
func (q *query) memory(ctx context.Context) error {
	r := Row{What: "memory", Limit: 10_000, Clients: 8}
	if !q.wants(r.What) {
		return nil
	}
	debug.FreeOSMemory()
	idle, err := resident()
	if err != nil {
		r.Skipped = err.Error()
		return q.report(r)
	}
	watching, stop := context.WithCancel(ctx)
	most := make(chan int64, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		highest := idle
		for watching.Err() == nil {
			if now, err := resident(); err == nil {
				highest = max(highest, now)
			}
			select {
			case <-watching.Done():
			case <-tick.C:
			}
		}
		most <- highest
	}()
	t, cpu, err := q.timed(ctx, job{q.addr, []string{listing + "?collection=" + Large(0) + "&limit=10000"}, r.Clients, q.For})
	stop()
	highest := <-most
	if err != nil {
		return err
	}
	r.fill(t, cpu)
	r.Memory = float64(highest-idle) / (1 << 20)
	return q.report(r)
}

// written measures deep pages while commits are written.
func (q *query) written(ctx context.Context) error {
	r := Row{What: "deep page, while written", Limit: 2000, Clients: 8}
	if q.Write == 0 || !q.wants(r.What) {
		return nil
	}
	walked, err := q.walk(ctx, "?collection="+Large(0))
	if err != nil {
		return err
	}
	w := q.write(ctx, q.st, q.Write)
	asking := job{q.addr, walked.deep(r.Limit), r.Clients, q.For}
	_, err = q.do(asking) // the writer's pages have to come into its cache, too
	if err == nil {
		var t tally
		var cpu time.Duration
		began, before := time.Now(), w.done.Load()
		t, cpu, err = q.timed(ctx, asking)
		r.fill(t, cpu)
		rate := float64(w.done.Load()-before) / time.Since(began).Seconds()
		r.Writes = &rate
	}
	if err := errors.Join(err, w.close()); err != nil {
		return err
	}
	return q.report(r)
}

// coldPages is how many pages are read after the first one of a cold file.
const coldPages = 60

// cold measures pages of a file that no cache has. Nobody has the file open.
func (q *query) cold(ctx context.Context) (err error) {
	first := Row{What: "first page, in process, cold", Limit: inProcessLimit, Clients: 1}
	then := Row{What: "60 deep pages, in process, cold", Limit: inProcessLimit, Clients: 1}
	if !q.wants(first.What) && !q.wants(then.What) {
		return nil
	}
	if err := evict(q.Path); errors.Is(err, errors.ErrUnsupported) {
		first.Skipped, then.Skipped = err.Error(), err.Error()
		return errors.Join(q.report(first), q.report(then))
	} else if err != nil {
		return err
	}
	rd, err := store.OpenReader(ctx, q.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rd.Close()) }()
	cpu := cpuTime()
	var page store.Page
	took, err := list(ctx, rd, &page, 0)
	if err != nil {
		return err
	}
	first.fill(tallyOf([]time.Duration{took}, took), cpuTime()-cpu)
	if err := q.report(first); err != nil {
		return err
	}
	var times []time.Duration
	cpu = cpuTime()
	began := time.Now()
	for range coldPages {
		took, err := list(ctx, rd, &page, q.somewhere())
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	then.fill(tallyOf(times, time.Since(began)), cpuTime()-cpu)
	return q.report(then)
}
