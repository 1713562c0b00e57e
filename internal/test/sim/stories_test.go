package sim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// sweepEvery is the time between the crawls of stories that are about them.
const sweepEvery = 2 * time.Minute

// The stories. Together they pass every point.
var (
	firstStart = &story{
		name: "a first start", records: 60,
		configure: func(c *daemon.Config) { c.ResyncMethod = establish.Describe },
		run: func(g *scenario) {
			g.wait(300 * time.Millisecond)
			for range 3 {
				g.write()
				g.wait(10 * time.Second)
			}
		},
	}
	onlyCommits = &story{
		name: "commits", prepare: (*scenario).settled, exact: true,
		run: func(g *scenario) {
			g.wait(5300 * time.Millisecond)
			for range 12 {
				g.write()
				g.wait(time.Duration(g.dice.IntN(40)) * time.Millisecond)
			}
			g.wait(time.Second)
		},
	}
	atWork = &story{
		name: "a working day", prepare: (*scenario).settled, lossy: true,
		configure: func(c *daemon.Config) { c.ResyncMethod = establish.WholeRepo },
		run:       workingDay,
	}
	crawling = &story{
		name: "crawls again", prepare: (*scenario).settled,
		configure: func(c *daemon.Config) { c.SweepEvery = sweepEvery },
		run: func(g *scenario) {
			g.wait(10 * time.Second)
			g.fault(simnet.Rule{Fault: simnet.HTMLPage, Host: "relay", On: "listRepos", Times: 1})
			g.wait(sweepEvery * 5 / 4)
			g.net.SetHook("relay", simnet.Hook{HTTP: listsNobody})
			g.wait(sweepEvery * 5 / 4)
		},
	}
	deeply = &story{
		name:      "a deep crawl",
		configure: func(c *daemon.Config) { c.Crawl, c.SweepEvery = daemon.Deep, sweepEvery },
		run:       deepCrawl,
	}
	fromTheLog = &story{
		name:      "the log of the directory",
		configure: func(c *daemon.Config) { c.PLCExport = c.PLCURL },
		prepare: func(g *scenario) { // repos are queued before the log is heard of
			configured := g.sim.configure
			g.sim.configure = wired
			g.dieFirst(store.Point{Step: "a page of a crawl", Done: true})
			g.sim.configure = configured
			g.exec(indexFile, fmt.Sprintf("UPDATE resync_queue SET not_before = %d", time.Now().Add(30*24*time.Hour).UnixMicro()))
		},
		run: func(g *scenario) {
			g.net.SetHook("plc", simnet.Hook{HTTP: g.addsNonsense})
			g.wait(300 * time.Millisecond)
			g.write()
			g.wait(30 * time.Second)
			g.must(g.net.RotateKey(g.active(0)))
			g.wait(time.Minute)
		},
	}
	logGivenUp = &story{
		name: "a log that is given up",
		prepare: func(g *scenario) {
			configured := g.sim.configure
			g.sim.configure = func(c *daemon.Config) { wired(c); c.PLCExport = c.PLCURL }
			g.net.SetHook("plc", simnet.Hook{HTTP: hasNoLog})
			r := g.run(nil)
			time.Sleep(time.Minute)
			r.end()
			g.net.SetHook("plc", simnet.Hook{})
			g.sim.configure = configured
		},
		run: func(g *scenario) { g.wait(300 * time.Millisecond); g.write(); g.wait(10 * time.Second) },
	}
	leasesLeft = &story{
		name:    "leases of a dead process",
		prepare: func(g *scenario) { g.dieFirst(store.Point{Step: "lease resyncs", Done: true}) },
		run:     func(g *scenario) { g.wait(2 * time.Second) },
	}
	longAgo = &story{
		name: "after a long time",
		prepare: func(g *scenario) {
			g.settled()
			g.exec(indexFile, `UPDATE identity SET fetched_at = fetched_at - 8 * 86400 * 1000000;
			                   UPDATE seq_clock SET minute = minute - 8 * 1440`)
		},
		run: func(g *scenario) { g.wait(130 * time.Second) },
	}
	largeLog = &story{
		name: "a large write-ahead log", prepare: (*scenario).settled,
		configure: func(c *daemon.Config) { c.LogSize = 4 << 10 }, // each commit makes it too large
		run: func(g *scenario) {
			g.wait(300 * time.Millisecond)
			g.write()
			g.wait(4 * time.Second)
		},
	}
	movedAway = &story{
		name: "keys that nobody has signed with yet",
		prepare: func(g *scenario) {
			for _, did := range g.net.DIDs()[:3] {
				g.must(g.net.Rotate(did, simnet.Rotation{Unsigned: true}))
			}
		},
		run: func(g *scenario) { g.wait(10 * time.Second) },
	}
)

// workingDay: whatever sends repos through the queue.
func workingDay(g *scenario) {
	g.wait(5300 * time.Millisecond)
	for i := range 3 {
		g.write()
		g.wait(time.Second)
		g.must(g.net.EmitSync(g.active(i)))
		g.fault(simnet.Rule{Fault: simnet.Drop, Host: "relay", On: "#commit", Times: 1})
		g.write()
		g.write()
		g.wait(time.Second)
		g.must(g.net.RotateKey(g.active(3 + i)))
		g.wait(time.Second)
		g.fault(simnet.Rule{Fault: simnet.TextMessage, Host: "relay", Times: 1})
		g.write()
		g.wait(2 * time.Second)
		g.live(5)
		g.wait(5 * time.Second)
	}
	g.must(g.net.Deactivate(g.active(0)))
	g.wait(20 * time.Second)
}

// active is the nth active account, of which there are always some.
func (g *scenario) active(n int) string {
	truth := g.net.Truth()
	dids := slices.DeleteFunc(g.net.DIDs(), func(did string) bool { return truth[did] == nil })
	return dids[n%len(dids)]
}

// deepCrawl: hosts fail in all ways that a deep crawl distinguishes.
func deepCrawl(g *scenario) {
	g.net.SetHook("pds2", simnet.Hook{HTTP: listsInvented})
	g.fault(
		simnet.Rule{Fault: simnet.HTMLPage, Host: "relay", On: "listHosts", Skip: 1, Times: 1},
		simnet.Rule{Fault: simnet.RateLimited, Host: "pds1", On: "listRepos", Times: 1},
		simnet.Rule{Fault: simnet.ServerError, Host: "pds1", On: "listRepos", Skip: 1, Times: 3},
	)
	g.wait(300 * time.Millisecond)
	g.write()
	g.wait(30 * time.Second)
	g.requestCrawl("stranger.sim.test")
	for range 8 {
		g.write()
		g.wait(30 * time.Second)
	}
}

// requestCrawl asks the service to crawl a host, which may be dead.
func (g *scenario) requestCrawl(host string) {
	if !g.alive() {
		return
	}
	resp, err := g.r.client.Post(g.r.base+"/xrpc/com.atproto.sync.requestCrawl", "application/json",
		strings.NewReader(`{"hostname":"`+host+`"}`))
	if err == nil {
		_ = resp.Body.Close()
	}
}

// dieFirst leaves the file of a process that died at the first pass of a point of a
// first start.
func (g *scenario) dieFirst(at store.Point) {
	g.t.Helper()
	r := g.run(func(p store.Point) bool { return p == at })
	g.wait(time.Minute)
	if g.alive() {
		g.t.Fatalf("%v is not passed", at)
	}
	r.bury()
}

func listsNobody(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, ".listRepos") {
		return false
	}
	_, _ = io.WriteString(w, `{"repos":[]}`)
	return true
}

// listsInvented lists more accounts than a host may have candidates.
func listsInvented(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, ".listRepos") {
		return false
	}
	var body bytes.Buffer
	body.WriteString(`{"repos":[`)
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for i := range 400 {
		if i > 0 {
			body.WriteString(",")
		}
		body.WriteString(`{"did":"did:plc:` + strings.Repeat("a", 22) + letters[i/20:i/20+1] + letters[i%20:i%20+1] + `","head":"x","rev":"","active":true}`)
	}
	body.WriteString(`]}`)
	_, _ = w.Write(body.Bytes())
	return true
}

func hasNoLog(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/export" {
		return false
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// addsNonsense puts a line into the log that has no time.
func (g *scenario) addsNonsense(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/export" {
		_, _ = io.WriteString(w, "{\"did\":\"nonsense\"}\n")
	}
	return false
}
