package outbound

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter caps what a host can ask us to wait.
const MaxRetryAfter = time.Hour

// RetryAfter returns how long the host asks to be left alone: Retry-After or
// else, on status 429, the RateLimit-Reset of the reference PDS in unix seconds
// (or in seconds from now, as other servers send it). Other answers carry that
// header without asking for a pause.
func (r *Response) RetryAfter(now time.Time) time.Duration {
	if wait, ok := retryAfter(r.Header, now); ok || r.Status != http.StatusTooManyRequests {
		return wait
	}
	wait, _ := seconds(r.Header.Get("RateLimit-Reset"), now)
	return wait
}

// RetryAfter returns the pause that the header of that name asks for, in seconds
// or as a date (RFC 9110, section 10.2.3): 0 for none or nonsense, never more
// than MaxRetryAfter.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	wait, _ := retryAfter(h, now)
	return wait
}

func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	text := h.Get("Retry-After")
	if wait, ok = seconds(text, now); ok {
		return wait, true
	}
	at, err := http.ParseTime(strings.TrimSpace(text))
	if err != nil {
		return 0, false
	}
	return max(0, min(at.Sub(now), MaxRetryAfter)), true
}

// unixFrom separates times in unix seconds from pauses in seconds: it is the year
// 1985, or more than fifteen years of waiting. Simulated clocks begin in 2000.
const unixFrom = 500_000_000

// Until returns the pause that a header asks for in seconds, from now or as unix
// time: never negative, nor more than MaxRetryAfter.
func Until(seconds int64, now time.Time) time.Duration {
	if seconds >= unixFrom {
		seconds -= now.Unix()
	}
	return time.Duration(max(0, min(seconds, int64(MaxRetryAfter/time.Second)))) * time.Second
}

func seconds(text string, now time.Time) (time.Duration, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, false
	}
	return Until(n, now), true
}
