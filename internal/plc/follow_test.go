package plc

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/identity"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

func mustParse(y *testHosts, text string) identity.LogEntry {
	y.Helper()
	e, err := identity.ParseLogEntry([]byte(text))
	if err != nil {
		y.Fatal(err)
	}
	return e
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

// hourAgo is a log of n operations of n DIDs, long ago, many at equal times.
func (y *testHosts) hourAgo(n int) {
	at := ago(1000 * time.Hour)
	for i := range n {
		if i%150 == 0 {
			at = at.Add(time.Second)
		}
		y.export.add(at, did(i), key1, "pds.example.com")
	}
}

// The whole log is read, page after page, also where a page ends within
// operations of one time; what concerns nobody here makes no rows.
func TestTheLogIsReadForThoseWhoHaveARepo(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(3500)
		for i := 0; i < 3500; i += 7 {
			y.find(did(i))
		}
		y.run(time.Minute)
		for i := range 3500 {
			if i%7 == 0 {
				y.names(did(i), key1, "pds.example.com")
			} else if y.repo(did(i)) != nil {
				y.Fatalf("%d has a row", i)
			}
		}
		if got := y.counted("identity"); got != 500 {
			y.Errorf("%d identities were counted", got)
		}
		if got := y.counted("passed"); got != 3000 {
			y.Errorf("%d passed", got)
		}
	})
}

// Each operation is applied once, though the process ends after every page.
func TestARestartGoesOnBehindTheLastTransaction(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(3500)
		for i := range 3500 {
			y.find(did(i))
		}
		for turns := 0; ; turns++ {
			if err := y.follower.begin(y.Context()); err != nil {
				y.Fatal(err)
			}
			_, end, err := y.follower.step(y.Context())
			if err != nil {
				y.Fatal(err)
			}
			if end {
				break
			}
			if turns > 10 {
				y.Fatal("it does not end")
			}
			if err := y.store.Close(); err != nil {
				y.Fatal(err)
			}
			y.open()
			if got := y.due(); got != 0 {
				y.Errorf("%d rows are due", got)
			}
		}
		if got := y.counted("identity"); got != 3500 {
			y.Errorf("%d identities were counted", got)
		}
		if got := y.counted("same") + y.counted("older"); got != 0 {
			y.Errorf("%d operations were read twice", got)
		}
		if got := y.due(); got != 3500 {
			y.Errorf("%d rows are due", got)
		}
	})
}

// Backfill waits until the listings have ended, and then until the log has. What
// the log said of a DID in between is not acted upon.
func TestTheFirstReadingHoldsBackfillBack(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.export.add(ago(900*time.Hour), did(0), key1, "old.example.com")
		y.hourAgo(1000)
		y.export.add(ago(time.Hour), did(0), key2, "new.example.com")
		y.find(did(0)) // before the start
		y.ready = false
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		y.find(did(1), did(2), did(5000))
		y.serve(did(3), "pds.example.com")
		if got := y.due(); got != 0 || y.export.requests() != 0 {
			y.Errorf("%d rows are due and %d pages were read before the listings ended", got, y.export.requests())
		}
		// The server stops after the first page.
		n := 0
		y.export.during(func(w http.ResponseWriter, _ *http.Request) bool {
			if n++; n == 1 {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		y.mu.Lock()
		y.ready = true
		y.mu.Unlock()
		time.Sleep(time.Hour)
		if got := y.due(); got != 0 || !y.follower.Current().IsZero() {
			y.Errorf("%d rows are due in the middle of the log; it is current: %s", got, y.follower.Current())
		}
		y.export.during(nil)
		time.Sleep(time.Hour)
		if got := y.due(); got != 4 {
			y.Errorf("%d rows are due at the end", got)
		}
		y.names(did(0), key2, "new.example.com")
		if y.repo(did(5000)).Identity != nil {
			y.Error("one who is not in the log has an identity")
		}
		if age := time.Since(y.follower.Current()); age > pollMost {
			y.Errorf("current as of %s ago", age)
		}
	})
}

// A listing that never ends must not hold backfill back for ever.
func TestTheFirstReadingDoesNotWaitForEver(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(10)
		y.find(did(0))
		y.ready = false
		stop := y.follow()
		defer stop()
		time.Sleep(readyMost - time.Minute)
		if y.due() != 0 {
			y.Error("not parked")
		}
		time.Sleep(2 * time.Minute)
		if y.due() != 1 {
			y.Error("still parked")
		}
	})
}

// A rotation whose #identity was lost is found within seconds.
func TestTheEndOfTheLogIsFollowed(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(10)
		y.serve(did(0), "pds.example.com")
		y.serve(did(1), "pds.example.com")
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		if y.due() != 0 || y.repo(did(0)).State != repostate.Synchronized {
			y.Fatal("an old operation did something")
		}
		before := y.export.requests()
		time.Sleep(time.Hour)
		if n := y.export.requests() - before; n < 100 || n > 130 {
			y.Errorf("%d idle requests an hour", n)
		}
		changed := time.Now()
		y.export.add(changed, did(0), key2, "pds.example.com")
		time.Sleep(pollMost + time.Second)
		r := y.repo(did(0))
		if r.State != repostate.Desynchronized || r.Identity.Stale {
			y.Errorf("state %s, stale %t", r.State, r.Identity.Stale)
		}
		y.names(did(0), key2, "pds.example.com")
		if age := r.Identity.FetchedAt.Sub(changed); age <= 0 || age > pollMost {
			y.Errorf("the identity is of %s after the change", age)
		}
		if y.due() != 1 || y.forgot[did(0)] != 1 || len(y.forgot) != 1 {
			y.Errorf("%d rows are due; keys forgotten: %v", y.due(), y.forgot)
		}
	})
}

// What a look-up has told since is not overwritten by an operation before it.
func TestAnOlderOperationChangesNothing(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.export.add(ago(time.Hour), did(0), key2, "old.example.com")
		y.export.addOp(ago(time.Hour), did(1), tombstone, false)
		y.serve(did(0), "pds.example.com")
		y.serve(did(1), "pds.example.com")
		y.run(time.Hour)
		for n := range 2 {
			y.names(did(n), key1, "pds.example.com")
			if r := y.repo(did(n)); r.State != repostate.Synchronized || r.Identity.Stale {
				y.Errorf("%d: state %s, stale %t", n, r.State, r.Identity.Stale)
			}
		}
		if y.counted("older") != 2 {
			y.Errorf("%d older ones", y.counted("older"))
		}
		y.update(func(tx *store.Tx) error {
			known, _, err := tx.HostCrawled("old.example.com")
			if known {
				y.Error("the host of before has a row")
			}
			return err
		})
	})
}

// Operations that are undone, that end the DID or that name no PDS have the
// directory asked. A good one behind them on the same page is what counts.
func TestOperationsWithoutIdentityAreAskedAbout(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		for n := range 4 {
			y.serve(did(n), "pds.example.com")
		}
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		y.export.addOp(time.Now(), did(0), operationOf(key2, "pds.example.com"), true)
		y.export.addOp(time.Now(), did(1), tombstone, false)
		y.export.addOp(time.Now(), did(2), `{"type":"plc_operation","verificationMethods":{},"services":{}}`, false)
		y.export.addOp(time.Now(), did(3), operationOf(key2, "evil.example.com"), true)
		y.export.add(time.Now(), did(3), key2, "good.example.com")
		time.Sleep(time.Minute)
		for n := range 3 {
			y.names(did(n), key1, "pds.example.com")
			if r := y.repo(did(n)); r.State != repostate.Synchronized || !r.Identity.Stale {
				y.Errorf("%d: state %s, stale %t", n, r.State, r.Identity.Stale)
			}
		}
		y.names(did(3), key2, "good.example.com")
		if y.due() != 4 || y.counted("doubted") != 3 || y.counted("moved") != 1 {
			y.Errorf("%d due, %d doubted, %d moved", y.due(), y.counted("doubted"), y.counted("moved"))
		}
	})
}

// An operation that got its time before another one may become visible after it.
func TestAnOperationThatBecomesVisibleLate(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.serve(did(0), "pds.example.com")
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		early := time.Now()
		time.Sleep(2 * time.Second)
		y.export.add(time.Now(), did(7), key2, "pds.example.com")
		time.Sleep(pollMost) // and that one is read
		y.export.add(early, did(0), key2, "pds.example.com")
		time.Sleep(pollMost + time.Second)
		y.names(did(0), key2, "pds.example.com")
	})
}

// What is malformed is skipped and counted, and stops nothing: neither single
// lines, nor a whole page of them.
func TestMalformedLinesAreSkipped(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		old := ago(1000 * time.Hour)
		stamp := func(at time.Time) string { return at.UTC().Format(timeForm) }
		for i := range 2500 {
			at := old.Add(time.Duration(i/3) * time.Second)
			y.export.addText(at, fmt.Sprintf(`{"did":"did:plc:%d","createdAt":%q}`, i, stamp(at)))
		}
		y.export.addText(old.Add(time.Hour), "<html>")
		y.export.addText(old.Add(time.Hour), "{}\r")
		y.export.addText(old.Add(time.Hour), "\n")
		y.export.addText(old.Add(time.Hour), strings.Repeat("x", 3*identity.MaxEntry))
		y.export.addText(old.Add(time.Hour), fmt.Sprintf(`{"createdAt":%q,"pad":%q}`, stamp(old), strings.Repeat("x", 2*identity.MaxEntry)))
		y.export.add(ago(time.Hour), did(0), key1, "pds.example.com")
		y.export.addText(ago(time.Hour), fmt.Sprintf(`{"did":%q,"operation":%s,"cid":"bafyfuture","createdAt":%q}`,
			did(0), operationOf(key2, "future.example.com"), stamp(time.Now().Add(time.Hour*1000))))
		y.find(did(0))
		y.run(time.Hour)
		y.names(did(0), key1, "pds.example.com")
		if got := y.counted("malformed"); got != 2505 {
			y.Errorf("%d malformed lines", got)
		}
		if got := int(y.metrics.Sum("refusals_total", "reason", "identity-invalid")); got != 2505 {
			y.Errorf("%d refusals", got)
		}
		if y.due() != 1 {
			y.Error("the end was not reached")
		}
	})
}

// A server that does not answer as it should is asked again, later and later, and
// nothing is lost.
func TestAServerThatFails(t *testing.T) {
	page := strings.Repeat("{}\n", pageLines)
	for name, c := range map[string]struct {
		fault       func(http.ResponseWriter, *http.Request) bool
		least, most int // requests in a day
	}{
		"down": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true }, 144, 320},
		"says when": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3000")
			w.WriteHeader(429)
			return true
		}, 28, 30},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("{}\n{"))
			return true
		}, 144, 320},
		"full pages of nothing": {func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(page)); return true }, 144, 320},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
			return true
		}, 144, 320},
	} {
		t.Run(name, func(t *testing.T) {
			withTestHosts(t, func(y *testHosts) {
				y.hourAgo(100)
				y.find(did(0))
				y.export.during(c.fault)
				stop := y.follow()
				defer stop()
				time.Sleep(24 * time.Hour)
				if n := y.export.requests(); n < c.least || n > c.most {
					y.Errorf("%d requests in a day", n)
				}
				if y.due() != 0 || !y.follower.Current().IsZero() {
					y.Error("the end was reached")
				}
				y.export.during(nil)
				time.Sleep(time.Hour)
				y.names(did(0), key1, "pds.example.com")
				if y.due() != 1 {
					y.Error("the end was not reached")
				}
			})
		})
	}
}

// What came of a page before it broke off is not asked for again.
func TestAPageThatBreaksOff(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(900)
		y.export.mu.Lock()
		var half string
		for _, o := range y.export.log[:450] {
			half += o.text + "\n"
		}
		y.export.mu.Unlock()
		first := true
		y.export.during(func(w http.ResponseWriter, _ *http.Request) bool {
			if !first {
				return false
			}
			first = false
			w.Header().Set("Content-Length", fmt.Sprint(2*len(half)))
			_, _ = w.Write([]byte(half + `{"did":`))
			return true
		})
		for i := range 900 {
			y.find(did(i))
		}
		y.run(time.Hour)
		if got := y.counted("identity"); got != 900 || y.counted("same")+y.counted("older")+y.counted("malformed") != 0 {
			y.Errorf("%d identities, %d the same, %d older", got, y.counted("same"), y.counted("older"))
		}
	})
}

// A page that breaks off is not the end of the log: a later operation of the same
// DID may have been in the rest.
func TestWhatComesBeforeABreakIsNotTheLastWord(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		stop := y.follow()
		defer stop()
		time.Sleep(time.Minute)
		y.find(did(0))
		y.serve(did(1), "pds.example.com")
		time.Sleep(time.Hour)
		changed := time.Now()
		y.export.add(changed, did(0), key1, "pds.example.com")
		y.export.add(changed, did(1), key1, "new.example.com")
		broken := 0
		y.export.during(func(w http.ResponseWriter, _ *http.Request) bool {
			broken++
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write([]byte(y.export.log[0].text + "\n" + y.export.log[1].text + "\n"))
			return true
		})
		time.Sleep(time.Minute)
		if r := y.repo(did(0)); broken == 0 || r.Identity != nil {
			y.Errorf("%d broken pages; repo %+v", broken, r)
		}
		y.names(did(1), key1, "new.example.com")
		if at := y.repo(did(1)).Identity.FetchedAt; !at.Equal(changed.Truncate(instant)) {
			y.Errorf("the identity is of %s after the operation", at.Sub(changed))
		}
	})
}

// A server that returns fewer lines than were asked for has not come to its end.
func TestAServerOfShortPages(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.export.most = 700 // more than may be remembered of an overlap
		y.hourAgo(5000)
		y.find(did(4999))
		if err := y.follower.begin(y.Context()); err != nil {
			y.Fatal(err)
		}
		if _, end, err := y.follower.step(y.Context()); end || err != nil {
			y.Errorf("the end after one page: %t, %v", end, err)
		}
		y.run(time.Minute)
		y.names(did(4999), key1, "pds.example.com")
		if y.due() != 1 {
			y.Error("the end was not reached")
		}
	})
}

// Every request waits for its turn.
func TestRequestsAreSharedWithLookUps(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(5000)
		y.follower.cfg.Pace = func(ctx context.Context) error {
			return backoff.Sleep(ctx, 10*time.Second)
		}
		y.run(35 * time.Second)
		if n := y.export.requests(); n != 3 {
			y.Errorf("%d requests", n)
		}
	})
}

// The position belongs to a server; another one's log is read from its beginning.
func TestAnotherServerIsReadFromItsBeginning(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hourAgo(10)
		y.run(time.Minute)
		y.follower = y.newFollower("http://PLC.sim.test")
		y.find(did(3))
		y.run(time.Minute)
		y.names(did(3), key1, "pds.example.com")
		if firsts := len(y.export.after) - len(slices.DeleteFunc(slices.Clone(y.export.after), func(s string) bool { return s == "" })); firsts != 2 {
			y.Errorf("%d readings began", firsts)
		}
	})
}
