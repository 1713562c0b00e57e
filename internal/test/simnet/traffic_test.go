package simnet

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestARateIsStatedAndEnforced(t *testing.T) {
	for _, bare := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := plug(t, Config{Seed: 1, Accounts: 1, Records: 8})
			p.SetRate("pds1", Rate{Requests: 3, Window: 5 * time.Minute, Bare: bare})
			query := "/xrpc/com.atproto.sync.getLatestCommit?did=" + p.DIDs()[0]
			for window := range 2 {
				for i := range 5 {
					r := p.get(t, p.PDS(0), query)
					left := r.header.Get("RateLimit-Remaining")
					if (r.status == http.StatusOK) != (i < 3) || (r.status == http.StatusTooManyRequests) != (i >= 3) {
						t.Errorf("window %d, request %d: %d", window, i, r.status)
					}
					if want := fmt.Sprint(max(2-i, 0)); bare != (left == "") || !bare && left != want {
						t.Errorf("request %d: %q left, want %s", i, left, want)
					}
					after := r.header.Get("Retry-After")
					if seconds, _ := strconv.Atoi(after); bare || i < 3 {
						if after != "" {
							t.Errorf("request %d: Retry-After %q", i, after)
						}
					} else if want := int(time.Until(time.Unix(reset(r), 0)).Seconds()); seconds < want-1 || seconds > want+1 || seconds > 300 {
						t.Errorf("request %d: Retry-After %d, reset in %d", i, seconds, want)
					}
					time.Sleep(10 * time.Second)
				}
				time.Sleep(5*time.Minute - 50*time.Second)
			}
			if got := p.Traffic("pds1"); got.Refused != 4 || got.Requests["getLatestCommit"] != 10 {
				t.Errorf("%+v", got)
			}
			p.SetRate("pds1", Rate{})
			if r := p.get(t, p.PDS(0), query); r.status != http.StatusOK || r.header.Get("RateLimit-Limit") != "" {
				t.Errorf("status %d without a rate", r.status)
			}
		})
	}
}

func reset(r reply) int64 {
	at, _ := strconv.ParseInt(r.header.Get("RateLimit-Reset"), 10, 64)
	return at
}

func TestRequestsAWindowApartAreNotInOne(t *testing.T) {
	var p peak
	for range 5 {
		p.add(time.Unix(0, 0), time.Second)
	}
	p.add(time.Unix(1, 0), time.Second)
	if p.most != 5 || len(p.times) != 1 {
		t.Errorf("%d at most, %d now", p.most, len(p.times))
	}
}

func TestTrafficIsCountedByQueryAndItsPeaksAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, Accounts: 2, Records: 8})
		did := p.DIDs()[0]
		for range 4 {
			p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getLatestCommit?did="+did)
			time.Sleep(100 * time.Millisecond)
		}
		for range 7 {
			p.get(t, p.PDS(0), "/xrpc/_health")
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getLatestCommit?did="+did)
		p.dial(t, p.PDS(0), "")
		want := Traffic{
			Requests: map[string]int64{"getLatestCommit": 5, "_health": 7, "subscribeRepos": 1},
			Peak:     map[time.Duration]int{time.Second: 5, 10 * time.Second: 9, time.Minute: 11, 5 * time.Minute: 11},
		}
		if got := p.Traffic("pds1"); !maps.Equal(got.Requests, want.Requests) || !maps.Equal(got.Peak, want.Peak) || got.Refused != 0 {
			t.Errorf("%+v, want %+v", got, want)
		}
		for _, path := range []string{"/" + did, "/" + p.DIDs()[1], "/" + did + "/log/audit", "/export"} {
			p.get(t, p.PLC(), path)
		}
		if got := p.Traffic("plc").Requests; !maps.Equal(got, map[string]int64{"did": 2, "log": 1, "export": 1}) {
			t.Errorf("the directory: %v", got)
		}
		for i := range 3 * knownQueries {
			p.get(t, p.PDS(0), fmt.Sprintf("/xrpc/com.example.n%d", i))
		}
		if got := len(p.Traffic("pds1").Requests); got > knownQueries+1 {
			t.Errorf("%d names are counted", got)
		}
		if got := p.Traffic("nobody"); got.Requests == nil || len(got.Requests) != 0 {
			t.Errorf("%+v", got)
		}
	})
}
