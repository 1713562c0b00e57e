package ingest

import (
	"strings"
	"time"

	"railyard/internal/repostate"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// What the accounts of one host may cause per second, and at once. Beyond it they
// wait until later: a lying upstream or host must neither flood the queue nor
// take healthy repos out of service.
const (
	lookUpsPerSecond = 2 // of a DID document that may be old
	lookUpsBurst     = 300
	hostDesyncs      = 5 // commits that are real but unprovable
	hostDesyncsBurst = 200
	limitedSources   = 1 << 14
)

// Anybody can invent DIDs, and each costs a request. So each upstream has a line in
// which the DIDs that it alone brings wait for their first look-up: as long as the
// lines together are slower than whoever is asked, nobody waits for another upstream.
const (
	// sightsPart is the part of the directory's rate that goes to the lines. As much
	// goes to urgent look-ups of documents that may be old, and the rest to all others.
	sightsPart = 3
	// sightsBurst is what a line holds back nothing of: what would be looked up in so
	// many seconds.
	sightsBurst = 3
	// webSights is the rate of did:web, for all lines together. The hosts of invented
	// ones may hang until the timeout, 15 seconds, and an eighth of the workers asks them.
	webSights      = 0.25
	webSightsBurst = 4
	// longestLine is when a line is full. What comes then leaves no row, and a crawl
	// finds it.
	longestLine = 30 * time.Minute
)

// limits hold a token bucket for each source. Only the judge uses them.
type limits struct {
	perSecond rate.Limit // look-ups at the directory that one upstream causes, of unknown DIDs and of known ones
	web       rate.Limit // the same at the hosts of did:web

	checks         buckets // by the host of the account
	upstreamChecks buckets
	sights         buckets // by upstream
	webSights      buckets // by upstream
	desyncs        buckets // by host
}

type buckets = *lru.Cache[int64, *rate.Limiter]

// newLimits returns the limits of so many upstreams, for a directory that is asked qps
// times a second.
func newLimits(qps float64, upstreams int) *limits {
	n := rate.Limit(max(1, upstreams))
	return &limits{
		perSecond: rate.Limit(qps) / sightsPart / n, web: webSights / n,
		checks: newBuckets(), upstreamChecks: newBuckets(), sights: newBuckets(), webSights: newBuckets(), desyncs: newBuckets(),
	}
}

// burst is what an upstream causes at once of what it may cause per second.
func (l *limits) burst() int { return max(1, int(sightsBurst*l.perSecond)) }

func newBuckets() buckets {
	b, err := lru.New[int64, *rate.Limiter](limitedSources)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return b
}

// of returns what is left to an upstream, for an account.
func (l *limits) of(upstream int64, r *repostate.Repo, now time.Time) budget {
	b := budget{limits: l, upstream: upstream, repo: r, now: now}
	if r.Identity != nil {
		b.host = r.Identity.HostID
	}
	return b
}

// budget is what is left to one upstream and one host.
type budget struct {
	*limits
	upstream int64
	repo     *repostate.Repo
	host     int64
	room     *int64 // how many unknown DIDs more the upstream may bring; nil if this one is known
	now      time.Time
}

func (b budget) Sight() (wait time.Duration, ok bool) {
	if b.room != nil && *b.room <= 0 {
		return 0, false
	}
	line := bucket(b.sights, b.upstream, b.perSecond, b.burst())
	if strings.HasPrefix(b.repo.DID, "did:web:") {
		line = bucket(b.webSights, b.upstream, b.web, webSightsBurst)
	}
	if wait, ok = place(line, b.now); ok && b.room != nil {
		*b.room--
	}
	return wait, ok
}

func (b budget) Check() (wait time.Duration, ok bool) {
	if !take(b.checks, b.host, lookUpsPerSecond, lookUpsBurst, b.now) {
		return 0, false
	}
	return place(bucket(b.upstreamChecks, b.upstream, b.perSecond, b.burst()), b.now)
}

// place takes a place in a line and returns the wait, unless the line is full.
func place(line *rate.Limiter, now time.Time) (wait time.Duration, ok bool) {
	r := line.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > longestLine {
		r.CancelAt(now)
		return 0, false
	}
	return wait, true
}

func (b budget) Desync() bool {
	return take(b.desyncs, b.host, hostDesyncs, hostDesyncsBurst, b.now)
}

func (b budget) Move() bool { return true } // events are no listings

func take(cache buckets, id int64, perSecond rate.Limit, burst int, now time.Time) bool {
	return bucket(cache, id, perSecond, burst).AllowN(now, 1)
}

func bucket(cache buckets, id int64, perSecond rate.Limit, burst int) *rate.Limiter {
	lim, ok := cache.Get(id)
	if !ok {
		lim = rate.NewLimiter(perSecond, burst)
		cache.Add(id, lim)
	}
	return lim
}
