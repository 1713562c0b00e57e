package sim

import (
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/refusal"
	"railyard/internal/test/simnet"
)

// each is what can be seen of one fault that acts alone, at one place.
type each struct {
	at    string // the host that it befalls, and the query: "pds1/getRepo"; or anyUpstream
	times int    // that it acts at most; 1 if 0
	away  bool   // it acts while the service is cut off
	then  int    // commits that follow
	// What is counted meanwhile, each at least once and nothing else: reasons of
	// refusals, outcomes beside applied and noted, outcomes beside synchronized,
	// resolved and confirmed. "a|b" is one of the two or both, "a?" may be.
	refused, judged, attempts string
	again                     int           // connections that are opened at least
	crawls                    bool          // the upstream's listing is crawled
	most                      time.Duration // until all is well again; a minute if 0, never asked if negative
	proven                    time.Duration // after which claims are proven, if it shows only then
	also                      func(*watched)
}

// anyUpstream stands for the relay or, at odd seeds, a PDS that is followed.
const anyUpstream = "upstream"

// watched is a run under one fault.
type watched struct {
	*running
	each
	fault  simnet.Fault
	names  []string // of the upstreams
	before map[string]float64
}

func (w *watched) host() string  { host, _, _ := strings.Cut(w.at, "/"); return host }
func (w *watched) query() string { _, query, _ := strings.Cut(w.at, "/"); return query }

// streams reports whether the fault acts on events, so that the service runs before.
func (w *watched) streams() bool {
	return w.fault.Where == simnet.OnStream || w.query() == "subscribeRepos"
}

// Every fault of the table, alone, leaves the traces that it should and no others;
// once it is over, the rows are those of the truth.
func TestEachFaultAlone(t *testing.T) {
	table := eachFault()
	for _, f := range simnet.Faults() {
		if len(table[f.Name]) == 0 {
			t.Errorf("%s: nothing says what is seen of it", f.Name)
		}
		for _, e := range table[f.Name] {
			for seed := range eachSeeds(t) {
				t.Run(fmt.Sprintf("%s, %s, seed %d", f.Name, e.at, seed), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { (&watched{each: e, fault: f}).story(t, seed) })
				})
			}
		}
	}
}

// eachSeeds is how many histories each fault is tried in: one, or RAILYARD_SEEDS.
func eachSeeds(t *testing.T) uint64 {
	if os.Getenv("RAILYARD_SEEDS") == "" {
		return 1
	}
	return seeds(t)
}

func (w *watched) story(t *testing.T, seed uint64) {
	s := newSim(t, simnet.Config{Seed: seed + 5, PDS: 2, Accounts: 12, Records: 60, Relay: true, Start: time.Now()})
	if w.at == anyUpstream {
		w.at = []string{"relay", "pds1"}[seed%2]
	}
	pds := 0
	if w.names = []string{"relay"}; w.host() == "pds1" && (w.streams() || w.query() == "listRepos") {
		pds, w.names = 2, []string{"pds1", "pds2"}
	}
	s.configure = w.configure(s)
	w.running = &running{sim: s}
	w.commit(20)
	s.rotateOne()
	if w.streams() {
		w.running = s.start("index.db", s.upstreams(pds)...)
		time.Sleep(time.Minute)
		w.commit(20)
		w.settle(w.names...)
		w.act()
	} else {
		w.act(func() { w.running = s.start("index.db", s.upstreams(pds)...) })
	}
	healed := w.heals()
	if s.net.Fired(w.fault.Name) == 0 || len(s.net.FiredAll()) != 1 {
		t.Fatalf("fired: %v", s.net.FiredAll())
	}
	most := max(w.most, time.Minute)
	t.Logf("all is well again after %v of %v", healed, most)
	if healed > most && w.most >= 0 {
		t.Errorf("all is well again after %v, at most %v are expected", healed, most)
	}
	w.check(healed)
	s.net.SwitchOff()
	time.Sleep(time.Minute)
	s.live(5)
	time.Sleep(20 * time.Minute)
	w.settle(w.names...)
	w.same()
	w.end()
}

// rotateOne gives an account another key, so that there is an older document.
func (s *sim) rotateOne() {
	s.t.Helper()
	for _, did := range s.net.DIDs() {
		if s.net.RotateKey(did) == nil {
			return
		}
	}
	s.t.Fatal("no account is left")
}

func (w *watched) configure(s *sim) func(*daemon.Config) {
	return func(c *daemon.Config) {
		c.SweepEvery = 6 * time.Minute
		switch w.query() {
		case "describeRepo":
			c.ResyncMethod = establish.Describe
		case "getRepo":
			c.ResyncMethod = establish.WholeRepo
		case "listHosts":
			c.Crawl = daemon.Deep
		case "export":
			c.PLCExport = s.net.PLC()
		}
	}
}

// act lets the fault act. begin starts a service that is not there before.
func (w *watched) act(begin ...func()) {
	w.before = w.counts()
	rule := simnet.Rule{Fault: w.fault.Name, Host: w.host(), On: w.query(), Times: max(1, w.times)}
	if w.away {
		rule.Skip = 3
	}
	if err := w.net.Switch(rule); err != nil {
		w.t.Fatal(err)
	}
	for _, f := range begin {
		f()
	}
	if w.away {
		w.net.SetDown(w.host(), true)
		w.commit(5) // what will be lost
	} else if w.query() == "subscribeRepos" {
		w.net.Disconnect(w.host())
	}
	for range 200 {
		if !w.streams() || w.net.Fired(w.fault.Name) > 0 {
			break
		}
		w.commit(1)
	}
	if w.away {
		w.net.SetDown(w.host(), false)
	}
	w.commit(w.then)
}

// commit lets accounts commit, one a second.
func (w *watched) commit(times int) {
	w.t.Helper()
	for range times {
		w.commits(1)
		time.Sleep(time.Second)
		synctest.Wait()
	}
}

// heals waits until the service says that all is well, and returns how long that took.
func (w *watched) heals() time.Duration {
	began, pause := time.Now(), 5*time.Second
	for time.Since(began) < 6*time.Hour {
		time.Sleep(pause)
		synctest.Wait()
		if w.net.Fired(w.fault.Name) > 0 && (w.most < 0 || w.settled(w.names)) {
			break
		}
		if time.Since(began) >= time.Minute {
			pause = 30 * time.Second
		}
	}
	took := time.Since(began)
	time.Sleep(2*time.Minute + w.proven) // what is put off on purpose
	return took
}

// counted are the counters that a fault may move.
func counted() map[string][]string {
	var reasons []string
	for _, e := range refusal.All() {
		reasons = append(reasons, string(e.Reason))
	}
	return map[string][]string{
		"refusals_total reason":        reasons,
		"event_outcomes_total outcome": strings.Fields("buffered stale waits desynchronized hidden checked unseen refused"),
		"resyncs_total outcome": strings.Fields("reactivated gone not-found too-young rate-limited transient invalid " +
			"stale identity-failed superseded cancelled internal"),
	}
}

// counts returns all counters, by "counter label value".
func (w *watched) counts() map[string]float64 {
	all := map[string]float64{}
	if w.service == nil {
		return all
	}
	page := httptest.NewRecorder()
	w.service.Metrics().Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for counter, values := range counted() {
		name, label, _ := strings.Cut(counter, " ")
		for _, v := range values {
			line := fmt.Sprintf("\nrailyard_%s{%s=%q} ", name, label, v)
			if _, rest, found := strings.Cut(page.Body.String(), line); found {
				number, _, _ := strings.Cut(rest, "\n")
				n, err := strconv.ParseFloat(number, 64)
				if err != nil {
					w.t.Fatal(err)
				}
				all[counter+" "+v] = n
			}
		}
	}
	all["connections"] = float64(w.net.Traffic(w.host()).Requests["subscribeRepos"])
	all["crawls"] = float64(w.net.Traffic(w.host()).Requests["listRepos"])
	return all
}

// check compares the traces that the fault has left with those that are expected.
func (w *watched) check(healed time.Duration) {
	w.t.Helper()
	after := w.counts()
	for counter, want := range map[string]string{
		"refusals_total reason": w.refused, "event_outcomes_total outcome": w.judged, "resyncs_total outcome": w.attempts,
	} {
		var moved []string
		for _, v := range counted()[counter] {
			if after[counter+" "+v] > w.before[counter+" "+v] {
				moved = append(moved, v)
			}
		}
		if !suits(moved, want) {
			w.t.Errorf("%s: %q, want %q", counter, strings.Join(moved, " "), want)
		}
	}
	if !w.streams() {
		return
	}
	if n := after["connections"] - w.before["connections"]; n < float64(w.again) || w.again == 0 && n > 0 {
		w.t.Errorf("%g connections were opened again, want %d", n, w.again)
	}
	if crawled := after["crawls"] > w.before["crawls"]; crawled != w.crawls && (w.crawls || healed < time.Minute) {
		w.t.Errorf("the listing was crawled: %t", crawled)
	}
	if w.also != nil {
		w.also(w)
	}
}

// suits reports whether what was counted is what is wanted. (each)
func suits(got []string, want string) bool {
	left := map[string]bool{}
	for _, v := range got {
		left[v] = true
	}
	for _, term := range strings.Fields(want) {
		optional := strings.HasSuffix(term, "?")
		found := false
		for _, v := range strings.Split(strings.TrimSuffix(term, "?"), "|") {
			found = found || slices.Contains(got, v)
			delete(left, v)
		}
		if !found && !optional {
			return false
		}
	}
	return len(left) == 0
}

func TestSuits(t *testing.T) {
	for _, c := range []struct {
		got, want string
		suits     bool
	}{
		{"", "", true}, {"a", "", false}, {"", "a", false}, {"a b", "b a", true}, {"a b", "a", false},
		{"", "a?", true}, {"a", "a?", true}, {"b", "a|b", true}, {"a b", "a|b", true}, {"", "a|b", false}, {"", "a|b?", true}, {"c", "a|b?", false},
	} {
		if suits(strings.Fields(c.got), c.want) != c.suits {
			t.Errorf("%q for %q is not %t", c.got, c.want, c.suits)
		}
	}
}
