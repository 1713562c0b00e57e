package resync

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// mostAtOnce is how many attempts may ask one host at once. (schema.sql, host_queue.share)
const mostAtOnce = 4

// A large host has 100,000 rows in front of everybody else's. The others are served
// at their own rate all the same, and so is the large one.
func TestALargeHostCrowdsOutNobody(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8}, func(w *testHosts) {
		large := w.host(1, true, nil)
		w.accounts(1, 100_000, 4)
		for id := 2; id <= 51; id++ {
			w.host(id, true, nil)
			w.accounts(id, 16, 4)
		}
		w.run()
		time.Sleep(2500 * time.Millisecond)
		for id := 2; id <= 51; id++ {
			if n := w.waiting(id); n != 0 {
				t.Errorf("host %d: %d of 16 rows wait after two seconds and a half", id, n)
			}
		}
		time.Sleep(7500 * time.Millisecond)
		if n := len(w.times(large)); n < 75 || n > 83 {
			t.Errorf("the large host was asked %d times in ten seconds at 8 a second", n)
		}
	})
}

// One worker, three hosts: the priority of a row decides over all hosts, and among
// equals it is the turn of the host that was not served for longest.
func TestTheMostUrgentRowsGoFirst(t *testing.T) {
	withTestHosts(t, Config{Workers: 1}, func(w *testHosts) {
		for id := 1; id <= 3; id++ {
			w.host(id, true, nil)
			w.accounts(id, 2, 6)
			w.accounts(id, 1, 4)
		}
		w.accounts(2, 2, 1)
		w.accounts(3, 1, 2)
		w.accounts(1, 1, 3)
		w.run()
		time.Sleep(time.Second)
		// one of priority 1, one of 2, 3; three of 4; three of 6 in turns
		want := "h2 h2 h3 h1 h2 h3 h1 h2 h3 h1 h2 h3 h1"
		if got := strings.Join(w.turns(), " "); got != want {
			t.Errorf("order %s\nwant  %s", got, want)
		}
	})
}

// A row of high priority becomes due while its host waits for its turn, which
// would come in a second: it goes first.
func TestWhatBecomesDueIsNotOvertaken(t *testing.T) {
	withTestHosts(t, Config{Workers: 1}, func(w *testHosts) {
		for id := 1; id <= 50; id++ {
			w.host(id, true, nil)
			w.accounts(id, 3, 4)
		}
		w.write()
		script(w, w.path, fmt.Sprintf("UPDATE resync_queue SET priority = 1, not_before = %d WHERE repo_id = 150",
			w.start.Add(300*time.Millisecond).UnixMicro()))
		w.run()
		time.Sleep(400 * time.Millisecond)
		if n := w.number("SELECT count(*) FROM resync_queue WHERE repo_id = 150"); n != 0 {
			t.Error("the urgent row waits")
		}
		if n := w.waiting(50); n != 2 {
			t.Errorf("%d other rows of its host wait: the test tests nothing", n)
		}
	})
}

// Ten thousand live discontinuities of accounts on one dead host: the workers
// knock now and then, with one request at a time, and everybody else's rows, less
// urgent ones, are done at the hosts' own rate.
func TestADeadHostDelaysNobody(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8, Workers: 16}, func(w *testHosts) {
		dead := w.host(1, true, silent)
		w.accounts(1, 10_000, 1)
		for id := 2; id <= 21; id++ {
			w.host(id, true, nil)
			w.accounts(id, 40, 4)
		}
		w.count = func(name string) bool { return name == dead }
		w.run()
		time.Sleep(5500 * time.Millisecond)
		for id := 2; id <= 21; id++ {
			if n := w.waiting(id); n != 0 {
				t.Errorf("host %d: %d of 40 rows wait", id, n)
			}
		}
		first := len(w.times(dead))
		if first > mostAtOnce {
			t.Errorf("%d requests to the dead host before the first one has failed", first)
		}
		time.Sleep(6 * time.Hour)
		if n := len(w.times(dead)); n > first+12 || n < first+4 {
			t.Errorf("%d more requests to the dead host in six hours", n-first)
		}
	})
}

// Five hundred hosts that nobody knows answer byte by byte or not at all. They hold
// half of the workers, and the hosts that are known to answer use the others.
func TestUnprovenHostsTakeHalfOfTheWorkers(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8, Workers: 8}, func(w *testHosts) {
		drip := func(rw http.ResponseWriter, r *http.Request) {
			for {
				_, _ = rw.Write([]byte(" "))
				_ = http.NewResponseController(rw).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(time.Second):
				}
			}
		}
		for id := 1; id <= 500; id++ {
			w.host(id, false, drip)
			w.accounts(id, 3, 1)
		}
		for id := 501; id <= 504; id++ {
			w.host(id, true, nil)
			w.accounts(id, 80, 4)
		}
		w.count = func(name string) bool { return len(name) < 4 || name <= "h500" }
		w.run()
		time.Sleep(11 * time.Second)
		for id := 501; id <= 504; id++ {
			if n := w.waiting(id); n != 0 {
				t.Errorf("host %d: %d of 80 rows wait", id, n)
			}
		}
		if n := w.most(); n != 4 {
			t.Errorf("%d of 8 workers were taken by unproven hosts", n)
		}
		for id := 1; id <= 500; id++ {
			if n := busiest(w.times(fmt.Sprintf("h%d", id)), 5*time.Second); n > 1 {
				t.Errorf("unproven host %d was asked %d times at once", id, n)
			}
		}
	})
}

// A host that answers is proven: it gets its whole share at once.
func TestAHostThatAnswersIsProven(t *testing.T) {
	withTestHosts(t, Config{}, func(w *testHosts) {
		name := w.host(1, false, nil)
		w.accounts(1, 100, 4)
		w.count = func(string) bool { return true }
		w.run()
		time.Sleep(time.Second)
		if n := w.waiting(1); n != 0 || w.most() != mostAtOnce {
			t.Errorf("%d rows wait after %d requests, %d at once", n, len(w.times(name)), w.most())
		}
	})
}

// No host sees more requests than its rate, in any window, and it sees as many as
// it may.
func TestAHostNeverSeesMoreThanItsRate(t *testing.T) {
	for _, qps := range []float64{0.5, 3, 8, 40} {
		withTestHosts(t, Config{HostQPS: qps}, func(w *testHosts) {
			name := w.host(1, true, nil)
			w.accounts(1, int(qps*40), 4)
			w.run()
			time.Sleep(30 * time.Second)
			times := w.times(name)
			for _, window := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
				most := int(qps*window.Seconds()+max(1, qps/4)) + 1
				if n := busiest(times, window); n > most {
					t.Errorf("%g a second: %d requests in %s", qps, n, window)
				}
			}
			if least := int(qps * 30 * 0.9); len(times) < least {
				t.Errorf("%g a second: %d requests in 30 s", qps, len(times))
			}
		})
	}
}

// Retry-After and the host's own rate are its row's: another process keeps them.
func TestHostLimitsSurviveARestart(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8}, func(w *testHosts) {
		refuse := true
		limited := w.host(1, true, func(rw http.ResponseWriter, r *http.Request) {
			if refuse {
				rw.Header().Set("Retry-After", "600")
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			}
			active(rw, r)
		})
		polite := w.host(2, true, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("RateLimit-Policy", "60;w=60")
			active(rw, r)
		})
		w.accounts(1, 20, 1)
		w.accounts(2, 500, 4)
		w.run()
		time.Sleep(60 * time.Second)
		w.close()
		refuse = false
		before := len(w.times(limited))
		if before == 0 || before > mostAtOnce {
			t.Errorf("the host that refused was asked %d times", before)
		}
		w.run()
		time.Sleep(530 * time.Second)
		if n := len(w.times(limited)) - before; n != 0 {
			t.Errorf("%d requests after the restart while the host cools down", n)
		}
		time.Sleep(20 * time.Second)
		if n := w.waiting(1); n != 0 {
			t.Errorf("%d rows wait after the cooldown", n)
		}
		if n := busiest(w.times(polite)[mostAtOnce:], time.Minute); n > 61 {
			t.Errorf("%d requests in a minute to a host that allows 60", n)
		}
		if n := w.waiting(2); n != 0 {
			t.Errorf("%d rows of the polite host wait", n)
		}
	})
}

// A host asks for a rate above the operator's: it gets the operator's.
func TestAHostCannotRaiseItsRate(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 4}, func(w *testHosts) {
		name := w.host(1, true, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("RateLimit-Policy", "100000;w=1")
			active(rw, r)
		})
		w.accounts(1, 400, 4)
		w.run()
		time.Sleep(20 * time.Second)
		if n := len(w.times(name)); n > 82 {
			t.Errorf("%d requests in 20 s at 4 a second", n)
		}
	})
}

// Little of the window remains: the host is left alone until it ends.
func TestAWindowThatIsNearlyUsedUpIsWaitedFor(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8}, func(w *testHosts) {
		left := 25
		name := w.host(1, true, func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			left--
			rw.Header().Set("RateLimit-Limit", "100")
			rw.Header().Set("RateLimit-Remaining", fmt.Sprint(left))
			rw.Header().Set("RateLimit-Reset", "200")
			w.mu.Unlock()
			active(rw, r)
		})
		w.accounts(1, 60, 4)
		w.run()
		time.Sleep(190 * time.Second)
		if n := len(w.times(name)); n < 20 || n > 24 {
			t.Errorf("%d requests while 25 remained", n)
		}
		w.mu.Lock()
		left = 100
		w.mu.Unlock()
		time.Sleep(30 * time.Second)
		if n := w.waiting(1); n != 0 {
			t.Errorf("%d rows wait in the next window", n)
		}
	})
}

// A proxy refuses with a page and no header: it is asked less and less, with one
// request, and no row counts a failure.
func TestBareRefusalsByRateGrow(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8}, func(w *testHosts) {
		name := w.host(1, true, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusTooManyRequests)
			_, _ = rw.Write([]byte("<html>too many"))
		})
		w.accounts(1, 50, 1)
		w.run()
		time.Sleep(4 * time.Hour)
		times := w.times(name)
		if n := len(times); n < 6 || n > 18 {
			t.Errorf("%d requests in four hours", n)
		}
		if last := len(times) - 1; times[last]-times[last-1] < cooldownMost/2 {
			t.Errorf("the last pause is %s", times[last]-times[last-1])
		}
		if n := w.number("SELECT max(attempts) FROM resync_queue"); n != 0 {
			t.Errorf("a row counts %d failures", n)
		}
	})
}

// A server that is down for maintenance says for how long.
func TestAFailureThatNamesATimeIsHeeded(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 8}, func(w *testHosts) {
		name := w.host(1, true, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Retry-After", "300")
			rw.WriteHeader(http.StatusServiceUnavailable)
		})
		w.accounts(1, 50, 1)
		w.run()
		time.Sleep(299 * time.Second)
		if n := len(w.times(name)); n == 0 || n > mostAtOnce {
			t.Errorf("%d requests", n)
		}
		time.Sleep(3 * time.Second)
		if n := len(w.times(name)); n > mostAtOnce+1 {
			t.Errorf("%d requests, and it still fails", n)
		}
	})
}

// A row that is due in a second is not forgotten because another one of its kind
// comes that is due in an hour.
func TestALaterRowDoesNotHideAnEarlierOne(t *testing.T) {
	withTestHosts(t, Config{}, func(w *testHosts) {
		w.host(1, true, nil)
		w.accounts(1, 2, 6)
		w.write()
		script(w, w.path, fmt.Sprintf("UPDATE resync_queue SET not_before = %d * 1000000",
			w.start.Add(5*time.Second).Unix()))
		w.run()
		time.Sleep(time.Second)
		if err := w.st.Update(w.Context(), "test", func(tx *store.Tx) error {
			r, err := tx.RepoByID(1)
			if err != nil {
				return err
			}
			return testrepo.Retry(tx, r, repostate.MissedRev, tx.Now().Add(time.Hour), false, true)
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if n := w.waiting(1); n != 1 {
			t.Errorf("%d rows wait, want the later one", n)
		}
	})
}

// A row came into the file without a word to the dispatcher. It is found all the same.
func TestARowWithoutAWakeIsFound(t *testing.T) {
	withTestHosts(t, Config{}, func(w *testHosts) {
		for id := 1; id <= 300; id++ {
			w.host(id, true, nil)
		}
		w.accounts(1, 1, 4) // something that is due much later
		w.write()
		script(w, w.path, fmt.Sprintf("UPDATE resync_queue SET not_before = %d", w.start.Add(time.Hour).UnixMicro()))
		w.run()
		time.Sleep(10 * time.Second)
		for id := 1; id <= 300; id++ {
			w.accounts(id, 1, 4)
		}
		w.write()
		time.Sleep(30 * time.Second)
		if len(w.turns()) != 0 {
			t.Fatal("somebody woke it")
		}
		time.Sleep(mostPause)
		if n := w.number("SELECT count(*) FROM resync_queue"); n != 1 {
			t.Errorf("%d rows wait, want the one that is due later", n)
		}
	})
}

// Rows that need no request, because what was heard of has arrived, do not wait for
// the host's pace.
func TestAnAttemptWithoutARequestIsNotPaced(t *testing.T) {
	withTestHosts(t, Config{HostQPS: 1}, func(w *testHosts) {
		name := w.host(1, true, nil)
		w.accounts(1, 100, 6)
		w.write()
		script(w, w.path, "UPDATE resync_queue SET ask_status = 0")
		w.run()
		time.Sleep(5 * time.Second)
		if n := w.waiting(1); n != 0 || len(w.times(name)) != 0 {
			t.Errorf("%d rows wait after %d requests", n, len(w.times(name)))
		}
	})
}

// A stop cancels what is under way, gives the leases back, and counts no failure.
func TestAStopDrains(t *testing.T) {
	withTestHosts(t, Config{Workers: 40}, func(w *testHosts) {
		for id := 1; id <= 20; id++ {
			w.host(id, true, silent)
			w.accounts(id, 5, 1)
		}
		w.run()
		time.Sleep(time.Second)
		if n := w.number("SELECT count(*) FROM resync_queue WHERE lease IS NOT NULL"); n != 40 {
			t.Errorf("%d attempts are under way", n)
		}
		begun := time.Now()
		w.close()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the stop took %s", took)
		}
		if n := w.number("SELECT sum(attempts) + (SELECT sum(failures) FROM host_queue) FROM resync_queue"); n != 0 {
			t.Errorf("%d failures were counted", n)
		}
	})
}
