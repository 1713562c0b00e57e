package ingest

import (
	"railyard/internal/repostate"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// What the accounts of one host may cause per second, and at once. Beyond it they
// wait until later: a lying upstream or host must neither flood the queue nor
// take healthy repos out of service.
const (
	lookUpsPerSecond = 2 // of a DID document
	lookUpsBurst     = 300
	hostDesyncs      = 5 // commits that are real but unprovable
	hostDesyncsBurst = 200
	// sights are the unknown DIDs of one upstream that become rows: fewer than the
	// directory answers for per second, so that invented ones do not pile up.
	sights         = 20
	sightsBurst    = 20_000
	limitedSources = 1 << 14
)

// limits hold a token bucket for each source. Only the judge uses them.
type limits struct {
	checks  buckets // by the host of the account
	unknown buckets // attempts at accounts whose host is not known, by upstream
	sights  buckets // rows for unknown DIDs, by upstream
	desyncs buckets // by host
}

type buckets = *lru.Cache[int64, *rate.Limiter]

func newLimits() *limits {
	return &limits{checks: newBuckets(), unknown: newBuckets(), sights: newBuckets(), desyncs: newBuckets()}
}

func newBuckets() buckets {
	b, err := lru.New[int64, *rate.Limiter](limitedSources)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return b
}

// of returns what is left to an upstream, for an account.
func (l *limits) of(upstream int64, r *repostate.Repo, now time.Time) repostate.Budget {
	b := budget{l, upstream, 0, now}
	if r.Identity != nil {
		b.host = r.Identity.HostID
	}
	return b
}

// budget is what is left to one upstream and one host.
type budget struct {
	*limits
	upstream int64
	host     int64
	now      time.Time
}

func (b budget) Sight() bool {
	return take(b.sights, b.upstream, sights, sightsBurst, b.now)
}

func (b budget) Unknown() bool {
	return take(b.unknown, b.upstream, lookUpsPerSecond, lookUpsBurst, b.now)
}

func (b budget) Check() bool {
	return take(b.checks, b.host, lookUpsPerSecond, lookUpsBurst, b.now)
}

func (b budget) Desync() bool {
	return take(b.desyncs, b.host, hostDesyncs, hostDesyncsBurst, b.now)
}

func (b budget) Move() bool { return true } // events are no listings

func take(cache buckets, id int64, perSecond rate.Limit, burst int, now time.Time) bool {
	lim, ok := cache.Get(id)
	if !ok {
		lim = rate.NewLimiter(perSecond, burst)
		cache.Add(id, lim)
	}
	return lim.AllowN(now, 1)
}
