package firehose

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstWait and maxWait bound the pause between two connections: it is drawn
	// evenly from nothing to a ceiling that doubles up to maxWait, so that the
	// followers of a relay that restarts do not come back as one.
	firstWait = time.Second
	maxWait   = time.Minute
	// stable is how long a connection must have been open to count as a success.
	stable = time.Minute
	// maxRetryAfter bounds what an upstream can ask for.
	maxRetryAfter = 10 * time.Minute
)

// reconnects counts the failures since the last stable connection.
type reconnects struct{ failures int }

// ended records the end of a connection, or of an attempt to open one, and gives
// the pause before the next.
func (b *reconnects) ended(open, retryAfter time.Duration) time.Duration {
	if open >= stable {
		b.failures = 0
	}
	wait := rand.N(ceiling(b.failures) + 1)
	b.failures++
	return max(wait, retryAfter)
}

// ceiling is the longest pause after this many failures.
func ceiling(failures int) time.Duration {
	return min(firstWait<<min(failures, 10), maxWait)
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110,
// section 10.2.3). Nonsense is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
