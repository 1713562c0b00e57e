package ingest

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// What the accounts of one host may cause per second, and at once. Beyond it they
// are looked at later: a lying upstream or host must neither flood the queue nor
// take healthy repos out of service.
const (
	identityChecks      = 2 // looks at a DID document
	identityChecksBurst = 300
	hostDesyncs         = 5 // commits that are real but unprovable
	hostDesyncsBurst    = 200
	// sights are the unknown DIDs of one upstream that become rows: fewer than the
	// directory answers for per second, so that invented ones do not pile up.
	sights         = 20
	sightsBurst    = 20_000
	limitedSources = 1 << 14
)

// limits hold a token bucket for each source. Only the judge uses them.
type limits struct {
	checks    buckets // by the host of the account
	strangers buckets // looks at accounts whose host is not known, by upstream
	sights    buckets // rows for unknown DIDs, by upstream
	desyncs   buckets // by host
}

type buckets = *lru.Cache[int64, *rate.Limiter]

func newLimits() *limits {
	return &limits{checks: newBuckets(), strangers: newBuckets(), sights: newBuckets(), desyncs: newBuckets()}
}

func newBuckets() buckets {
	b, err := lru.New[int64, *rate.Limiter](limitedSources)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return b
}

func (l *limits) allowCheck(host int64, now time.Time) bool {
	return take(l.checks, host, identityChecks, identityChecksBurst, now)
}

func (l *limits) allowStranger(upstream int64, now time.Time) bool {
	return take(l.strangers, upstream, identityChecks, identityChecksBurst, now)
}

func (l *limits) allowSight(upstream int64, now time.Time) bool {
	return take(l.sights, upstream, sights, sightsBurst, now)
}

func (l *limits) allowDesync(host int64, now time.Time) bool {
	return take(l.desyncs, host, hostDesyncs, hostDesyncsBurst, now)
}

func take(cache buckets, id int64, perSecond rate.Limit, burst int, now time.Time) bool {
	lim, ok := cache.Get(id)
	if !ok {
		lim = rate.NewLimiter(perSecond, burst)
		cache.Add(id, lim)
	}
	return lim.AllowN(now, 1)
}
