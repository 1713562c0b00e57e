package firehose

import (
	"time"

	"railyard/internal/backoff"
)

const (
	// firstWait and maxWait bound the pause between two connections.
	firstWait = time.Second
	maxWait   = time.Minute
	// stable is how long a connection must have been open to count as a success.
	stable = time.Minute
	// maxRetryAfter bounds what an upstream can ask for.
	maxRetryAfter = 10 * time.Minute
)

// reconnects counts the failures since the last stable connection.
type reconnects struct{ failures int }

// ended records the end of a connection, or of an attempt to open one, and
// returns the pause before the next.
func (r *reconnects) ended(open, retryAfter time.Duration) time.Duration {
	if open >= stable {
		r.failures = 0
	}
	wait := backoff.Delay(firstWait, maxWait, r.failures)
	r.failures++
	return max(wait, min(retryAfter, maxRetryAfter))
}
