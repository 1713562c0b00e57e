package api

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"railyard/internal/metrics"
	"railyard/internal/store"
)

const (
	// unitRows is how many rows one unit of cost is: a page of the default limit. To
	// read an HTTP request and to answer it costs about as much.
	unitRows = defaultLimit
	// lightUnits is the most that a light request costs: the largest page of one
	// collection. A heavy one is a union whose page may cost more than that.
	lightUnits = maxLimit / unitRows
	// budget is what a client may spend in a budgetWindow, of each kind of request. The
	// largest collection of the network has about 40 million repos, so a walk through
	// it costs 80,000 units, whatever the limit: one client may walk it 37 times in five
	// minutes, which is faster than one connection can be read. What it ends is a
	// client that takes more than a fraction of a machine for hours.
	budget       = 3_000_000
	budgetWindow = 5 * time.Minute
	// admissionWait is how long a request waits for a slot, or its answer for room,
	// before it is refused.
	admissionWait = time.Second
	// unreadBytes bounds the answers that are finished and not yet taken by their
	// clients, unreadShare those of one client. A page of 10,000 has about 0.5 MB.
	unreadBytes = 64 << 20
	unreadShare = 8 << 20
)

// weight is the kind of a request, by its cost.
type weight int

const (
	light weight = iota
	heavy
	weights int = iota
)

func (w weight) String() string { return [...]string{"light", "heavy"}[w] }

// cost returns what reading so many rows costs, in units, and of which kind that is.
func cost(rows int) (int, weight) {
	units := max(1, (rows+unitRows-1)/unitRows)
	if units > lightUnits {
		return units, heavy
	}
	return units, light
}

// The functions below return how many rows a request reads at most; 0 for one that
// is refused before it reads any.

// listingRows: a union reads up to its limit in each collection. What a pattern matches
// is not known before the file is asked, so it counts as patternNames of them, and costs as
// much as a page of a hundred even where its limit is low, since all that it matches are
// opened.
func listingRows(params url.Values) int {
	named := params["collection"]
	if len(named) > maxCollections {
		return 0
	}
	names, least := max(1, len(named)), 0
	for _, c := range named {
		if strings.HasSuffix(c, "*") {
			names, least = names+patternNames-1, maxCollections*unitRows
		}
	}
	limit := pageRows(params)
	if limit == 0 {
		return 0
	}
	return max(names*limit, least)
}

// patternNames is how many collections a pattern counts as.
const patternNames = 20

// countRows: a pattern looks at names, and distinct reads whole listings.
func countRows(params url.Values) int {
	rows := unitRows
	for _, c := range params["collection"] {
		if strings.HasSuffix(c, "*") {
			rows += patternNames * unitRows
		}
	}
	if params.Has("distinct") {
		rows = max(rows, maxCollections*maxLimit)
	}
	return rows
}

// seriesRows: the hours of a collection, years of them if that is asked for.
func seriesRows(url.Values) int { return maxLimit }

// pageRows: whatever comes in pages, up to its limit.
func pageRows(params url.Values) int {
	limit, err := limitOf(params)
	if err != nil {
		return 0
	}
	return limit
}

// fewRows: what is one unit.
func fewRows(url.Values) int { return unitRows }

// admission keeps one client's request from costing all others theirs. What a request
// costs at most is known before anything is read: the rows that its parameters ask for.
// By that it is light or heavy, and both kinds have slots of their own. So a page never
// waits behind a union, which may take a thousand times as long, and unions take at most
// half of the processors, or the only one. Of each kind of slot a client has its
// share, or one with many connections would have all. Whoever finds no slot waits in
// line for admissionWait and is then refused.
//
// A slot is held until the answer is complete, and given back before its first byte is
// sent. What slow readers hold is memory, which is bounded by a pool of its own.
type admission struct {
	slots   [weights]pool
	unread  pool
	metrics *metrics.Metrics
}

func newAdmission(m *metrics.Metrics) *admission {
	// The file has a reader for each slot, and one for the page for people.
	unions := max(1, min(runtime.GOMAXPROCS(0)/2, store.Readers/4))
	pages := store.Readers - 1 - unions
	return &admission{
		slots: [weights]pool{
			light: newPool(pages, (pages+1)/2),
			heavy: newPool(unions, 1),
		},
		unread:  newPool(unreadBytes, unreadShare),
		metrics: m,
	}
}

// charge takes what a request costs from its client's budget, and tells the client in h
// what is left of it. c is nil if nobody knows whose the request is.
func (a *admission) charge(h http.Header, c *clientState, rows int) (weight, error) {
	units, kind := cost(rows)
	if c == nil {
		return kind, nil
	}
	now := time.Now()
	allowed := c.budgets[kind].AllowN(now, units)
	left := max(0, c.budgets[kind].TokensAt(now))
	rateHeaders(h, now, left)
	if allowed {
		return kind, nil
	}
	a.metrics.TurnedAway(kind.String(), metrics.OverBudget)
	e := fail(http.StatusTooManyRequests, "RateLimitExceeded", "a %s request of %d units: %d are left of %d in %d seconds",
		kind, units, int(left), budget, int(budgetWindow.Seconds()))
	e.retryAfter = refill(float64(units) - left)
	return kind, e
}

// enter charges a request and takes a slot for it. The caller calls leave once it has
// its answer.
func (a *admission) enter(ctx context.Context, h http.Header, c *clientState, rows int) (leave func(), err error) {
	kind, err := a.charge(h, c, rows)
	if err != nil {
		return nil, err
	}
	leave, ok := a.slots[kind].take(ctx, c.share(kind), 1)
	if !ok {
		return nil, a.busy(ctx, kind.String(), metrics.NoSlot, "too many "+kind.String()+" requests at once")
	}
	return leave, nil
}

// room waits until an answer may stay in memory until its client has taken it. The
// caller calls release then.
func (a *admission) room(ctx context.Context, c *clientState, size int) (release func(), err error) {
	release, ok := a.unread.take(ctx, c.unreadShare(), int64(min(size, unreadShare)))
	if !ok {
		return nil, a.busy(ctx, "answer", metrics.Unread, "too many answers wait for slow readers")
	}
	return release, nil
}

// busy is the refusal that says: not now. A client that has left is not told.
func (a *admission) busy(ctx context.Context, what, why, message string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.metrics.TurnedAway(what, why)
	e := fail(http.StatusServiceUnavailable, "NotEnoughResources", "%s", message)
	e.retryAfter = 2 * admissionWait
	return e
}

// refill is the time in which a budget grows by so many units.
func refill(units float64) time.Duration {
	return time.Duration(units / budget * float64(budgetWindow))
}

// rateHeaders tells a client its budget, as the reference PDS does
// (packages/xrpc-server, rate-limiter). The budget grows all the time, and the moment of
// reset is that in which it is whole.
func rateHeaders(h http.Header, now time.Time, left float64) {
	h["Ratelimit-Limit"], h["Ratelimit-Policy"] = budgetText, policyText
	h["Ratelimit-Remaining"] = []string{strconv.Itoa(int(left))}
	h["Ratelimit-Reset"] = []string{strconv.FormatInt(now.Add(refill(budget-left)).Unix(), 10)}
}

// The headers that are the same in each answer, under their canonical names.
var (
	budgetText = []string{strconv.Itoa(budget)}
	policyText = []string{strconv.Itoa(budget) + ";w=" + strconv.Itoa(int(budgetWindow.Seconds()))}
)

// retrySeconds is the text of Retry-After: whole seconds, and one at least.
func retrySeconds(d time.Duration) string {
	return strconv.Itoa(int(max(1, math.Ceil(d.Seconds()))))
}

// newBudget is the budget of a client that has spent nothing.
func newBudget() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(budget/budgetWindow.Seconds()), budget)
}

// pool is something of which there is only so much, and of which no client gets more
// than its share.
type pool struct {
	all  *semaphore.Weighted
	each int64
}

func newPool(all, each int) pool {
	return pool{semaphore.NewWeighted(int64(all)), int64(each)}
}

// take takes n, first of the client's share and then of all, so that a client waits for
// itself where nobody else stands in line. own is nil for a client without a share.
// ok is false if there was not so much in time. The caller must call release.
func (p *pool) take(ctx context.Context, own *semaphore.Weighted, n int64) (release func(), ok bool) {
	release = func() {
		p.all.Release(n)
		if own != nil {
			own.Release(n)
		}
	}
	if own == nil || own.TryAcquire(n) {
		if p.all.TryAcquire(n) {
			return release, true // as nearly always, without a timer
		}
		if own != nil {
			own.Release(n)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, admissionWait)
	defer cancel()
	if own != nil && own.Acquire(ctx, n) != nil {
		return nil, false
	}
	if p.all.Acquire(ctx, n) != nil {
		if own != nil {
			own.Release(n)
		}
		return nil, false
	}
	return release, true
}
