package outbound

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestAHostSaysHowLongToLeaveItAlone(t *testing.T) {
	now := time.Date(2026, 7, 4, 14, 0, 0, 0, time.UTC)
	cases := []struct {
		name   string
		status int
		header map[string]string
		want   time.Duration
	}{
		{"nothing", 429, nil, 0},
		{"seconds", 429, map[string]string{"Retry-After": "30"}, 30 * time.Second},
		{"seconds of a failing server", 503, map[string]string{"Retry-After": " 5 "}, 5 * time.Second},
		{"a date", 429, map[string]string{"Retry-After": "Sat, 04 Jul 2026 14:02:00 GMT"}, 2 * time.Minute},
		{"a date of the past", 429, map[string]string{"Retry-After": "Sat, 04 Jul 2020 14:02:00 GMT"}, 0},
		{"a date of the far future", 429, map[string]string{"Retry-After": "Sat, 04 Jul 2099 14:02:00 GMT"}, time.Hour},
		{"more than an hour", 429, map[string]string{"Retry-After": "86400"}, time.Hour},
		{"the largest number", 429, map[string]string{"Retry-After": "9223372036854775807"}, time.Hour},
		{"less than nothing", 429, map[string]string{"Retry-After": "-9223372036854775808"}, 0},
		{"a number too large", 429, map[string]string{"Retry-After": "99999999999999999999"}, 0},
		{"words", 429, map[string]string{"Retry-After": "soon"}, 0},
		{"a reset at a time", 429, map[string]string{"RateLimit-Reset": "1783173660"}, time.Minute},
		{"a reset in seconds", 429, map[string]string{"RateLimit-Reset": "90"}, 90 * time.Second},
		{"a reset on another answer", 400, map[string]string{"RateLimit-Reset": "1783173660"}, 0},
		{"both", 429, map[string]string{"Retry-After": "7", "RateLimit-Reset": "1783173660"}, 7 * time.Second},
		{"words and a reset", 429, map[string]string{"Retry-After": "soon", "RateLimit-Reset": "90"}, 90 * time.Second},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := Response{Status: tc.status, Header: http.Header{}}
			for name, value := range tc.header {
				r.Header.Set(name, value)
			}
			if got := r.RetryAfter(now); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("30", "")
	f.Add("Sat, 04 Jul 2026 14:02:00 GMT", "1783173660")
	f.Add("-1", "9223372036854775807")
	f.Fuzz(func(t *testing.T, after, reset string) {
		h := http.Header{"Retry-After": {after}, "Ratelimit-Reset": {reset}}
		got := (&Response{Status: 429, Header: h}).RetryAfter(time.Unix(1783173600, 0))
		if got < 0 || got > MaxRetryAfter {
			t.Errorf("got %s", got)
		}
	})
}

// The clocks of simulations begin in the year 2000.
func TestAResetIsATimeInSimulationsToo(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if wait, ok := seconds(strconv.FormatInt(now.Unix()+90, 10), now); !ok || wait != 90*time.Second {
		t.Errorf("%v, %t", wait, ok)
	}
}
