package pds

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"railyard/internal/outbound"
)

// RateLimit is what a host says, in the headers of any answer, of how often it
// may be asked (RateLimit-*, as the reference PDS sends them; IETF draft
// ratelimit-headers).
type RateLimit struct {
	// Rate is what its policy allows, in requests per second; 0 if it names none.
	Rate float64
	// Limit and Remaining are of the present window; Remaining is -1 if it does
	// not say.
	Limit, Remaining int64
	// Reset is how long the window lasts, at most outbound.MaxRetryAfter.
	Reset time.Duration
}

type rateLimitKey struct{}

// OnRateLimit returns a context under which the requests of a Client report what
// their answers say of limits. report runs before the method returns, on the same
// goroutine.
func OnRateLimit(ctx context.Context, report func(RateLimit)) context.Context {
	return context.WithValue(ctx, rateLimitKey{}, report)
}

func reportRateLimit(ctx context.Context, resp *outbound.Response, now time.Time) {
	report, ok := ctx.Value(rateLimitKey{}).(func(RateLimit))
	if !ok {
		return
	}
	if l, ok := rateLimitOf(resp.Header, now); ok {
		report(l)
	}
}

// rateLimitOf reads the headers; ok is false where they say nothing that can be
// used.
func rateLimitOf(h http.Header, now time.Time) (l RateLimit, ok bool) {
	l.Rate = policyRate(h.Get("RateLimit-Policy"))
	l.Limit = max(0, number(h.Get("RateLimit-Limit")))
	l.Remaining = -1
	remaining, reset := number(h.Get("RateLimit-Remaining")), number(h.Get("RateLimit-Reset"))
	if remaining >= 0 && reset >= 0 {
		l.Remaining, l.Reset = remaining, outbound.Until(reset, now)
	}
	return l, l.Rate > 0 || l.Remaining >= 0
}

const maxPolicies = 8

// policyRate reads "3000;w=300" or `"name";q=3000;w=300`, or several of them with
// commas between, and returns the strictest in requests per second; 0 if there is
// none.
func policyRate(text string) float64 {
	strictest := math.Inf(1)
	for _, policy := range strings.SplitN(text, ",", maxPolicies) {
		quota, window := int64(-1), int64(-1)
		for i, part := range strings.Split(policy, ";") {
			name, value, named := strings.Cut(strings.TrimSpace(part), "=")
			switch {
			case i == 0 && !named:
				quota = number(name)
			case name == "q":
				quota = number(value)
			case name == "w":
				window = number(value)
			}
		}
		if quota > 0 && window > 0 {
			strictest = min(strictest, float64(quota)/float64(window))
		}
	}
	if math.IsInf(strictest, 1) {
		return 0
	}
	return strictest
}

// number returns -1 for what is no number of reasonable size.
func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return -1
	}
	return n
}
