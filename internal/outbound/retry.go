package outbound

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter caps what a host can ask us to wait.
const MaxRetryAfter = time.Hour

// RetryAfter says how long the host asks to be left alone: Retry-After, in
// seconds or as an HTTP date, or else, on status 429, the RateLimit-Reset of the
// reference PDS, in unix seconds (or in seconds from now, as other servers have
// it). That header stands on its other answers too, and asks for nothing there.
// It is 0 if the host asks for nothing and never more than MaxRetryAfter.
func (r *Response) RetryAfter(now time.Time) time.Duration {
	text := strings.TrimSpace(r.Header.Get("Retry-After"))
	if wait, ok := seconds(text, now); ok {
		return wait
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(now), MaxRetryAfter))
	}
	if r.Status != http.StatusTooManyRequests {
		return 0
	}
	wait, _ := seconds(strings.TrimSpace(r.Header.Get("RateLimit-Reset")), now)
	return wait
}

// unixFrom tells seconds since 1970 from seconds of waiting: the year 1985, or
// more than fifteen years of waiting. Clocks of simulations begin in 2000.
const unixFrom = 500_000_000

// Until gives the pause that a header asks for in seconds, from now or of unix time:
// never a negative one, nor more than MaxRetryAfter.
func Until(seconds int64, now time.Time) time.Duration {
	if seconds >= unixFrom {
		seconds -= now.Unix()
	}
	return time.Duration(max(0, min(seconds, int64(MaxRetryAfter/time.Second)))) * time.Second
}

func seconds(text string, now time.Time) (time.Duration, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false
	}
	return Until(n, now), true
}
