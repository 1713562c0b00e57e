package pds

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"railyard/internal/outbound"
)

func TestRateLimitHeaders(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		policy, limit, remaining, reset string
		want                            RateLimit
		ok                              bool
	}{
		"none":                   {want: RateLimit{Remaining: -1}},
		"of the reference PDS":   {"3000;w=300", "3000", "2999", "1800000300", RateLimit{10, 3000, 2999, 300 * time.Second}, true},
		"seconds from now":       {"", "100", "3", "30", RateLimit{0, 100, 3, 30 * time.Second}, true},
		"a reset in the past":    {"", "100", "0", "1700000000", RateLimit{0, 100, 0, 0}, true},
		"a reset in a year":      {"", "100", "0", "31536000", RateLimit{0, 100, 0, outbound.MaxRetryAfter}, true},
		"no reset":               {"", "100", "0", "", RateLimit{0, 100, -1, 0}, false},
		"several policies":       {"10;w=1, 1000;w=3600", "", "", "", RateLimit{1000. / 3600, 0, -1, 0}, true},
		"names":                  {`"default";q=60;w=30`, "", "", "", RateLimit{2, 0, -1, 0}, true},
		"no window":              {"3000", "", "", "", RateLimit{Remaining: -1}, false},
		"zero":                   {"0;w=0", "0", "0", "0", RateLimit{0, 0, 0, 0}, true},
		"negative":               {"-5;w=-1", "-1", "-1", "-1", RateLimit{Remaining: -1}, false},
		"nonsense":               {";;=,w", "many", "few", "soon", RateLimit{Remaining: -1}, false},
		"numbers without bounds": {"99999999999999999999;w=1", "99999999999999999999", "5", "99999999999999999999", RateLimit{Remaining: -1}, false},
	} {
		h := http.Header{}
		h.Set("RateLimit-Policy", c.policy)
		h.Set("RateLimit-Limit", c.limit)
		h.Set("RateLimit-Remaining", c.remaining)
		h.Set("RateLimit-Reset", c.reset)
		if got, ok := rateLimitOf(h, now); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

// The clocks of simulations begin in the year 2000.
func TestAResetIsATimeInSimulationsToo(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	h := http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {strconv.FormatInt(now.Unix()+90, 10)}}
	if l, ok := rateLimitOf(h, now); !ok || l.Reset != 90*time.Second {
		t.Errorf("%+v, %t", l, ok)
	}
}
