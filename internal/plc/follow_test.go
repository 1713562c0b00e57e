package plc

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
		y.hourAgo(2500)
		for i := range 2500 {
			y.find(did(i))
		}
		for turns := 0; ; turns++ {
			if err := y.follower.begin(y.Context(), false); err != nil {
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
		if got := y.counted("identity"); got != 2500 {
			y.Errorf("%d identities were counted", got)
		}
		if got := y.counted("same") + y.counted("older"); got != 0 {
			y.Errorf("%d operations were read twice", got)
		}
		if got := y.due(); got != 2500 {
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

// Operations that end the DID, name no PDS or are of the future have the directory asked.
// A good one behind them on the same page is what counts.
func TestOperationsWithoutIdentityAreAskedAbout(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		for n := range 4 {
			y.serve(did(n), "pds.example.com")
		}
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		const nothing = `{"type":"plc_operation","verificationMethods":{},"services":{}}`
		y.export.addOp(time.Now(), did(1), tombstone, false)
		y.export.addOp(time.Now(), did(2), nothing, false)
		y.export.addOp(time.Now(), did(3), nothing, false)
		y.export.add(time.Now().Add(time.Millisecond), did(3), key2, "good.example.com")
		doubted := 2
		if y.form == bySeq { // by time it cannot be told when it is to be read
			doubted++
			y.export.add(time.Now().Add(time.Hour), did(0), key2, "future.example.com")
		}
		time.Sleep(time.Minute)
		for n := range 3 {
			y.names(did(n), key1, "pds.example.com")
			if r := y.repo(did(n)); r.State != repostate.Synchronized || r.Identity.Stale != (n > 0 || doubted == 3) {
				y.Errorf("%d: state %s, stale %t", n, r.State, r.Identity.Stale)
			}
		}
		y.names(did(3), key2, "good.example.com")
		if y.due() != doubted+1 || y.counted("doubted") != doubted || y.counted("moved") != 1 {
			y.Errorf("%d due, %d doubted, %d moved", y.due(), y.counted("doubted"), y.counted("moved"))
		}
	})
}

// follows is an operation of a key and a host behind another one.
func follows(prev, key, host string) string {
	return strings.Replace(operationOf(key, host), "{", fmt.Sprintf(`{"prev":%q,`, prev), 1)
}

// An operation that was nullified is not believed: the directory says so itself, or what
// took its place is on the page.
func TestNullifiedOperations(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		for n := range 3 {
			y.serve(did(n), "pds.example.com")
		}
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		ms := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Millisecond) }
		y.export.addOp(ms(0), did(0), follows("before", key2, "thief.example.com"), true)     // bafy000000
		y.export.addOp(ms(1), did(1), follows("before", key2, "thief.example.com"), true)     // bafy000001
		y.export.addOp(ms(2), did(1), follows("before", key2, "owner.example.com"), false)    // bafy000002
		y.export.addOp(ms(3), did(2), follows("before", key2, "good.example.com"), false)     // bafy000003
		y.export.addOp(ms(4), did(2), follows("bafy000003", key1, "thief.example.com"), true) // bafy000004
		y.export.addOp(ms(5), did(2), follows("bafy000003", key2, "owner.example.com"), false)
		y.export.addOp(ms(6), did(2), follows("bafy000004", key1, "thief.example.com"), true)
		time.Sleep(time.Minute)
		y.names(did(1), key2, "owner.example.com")
		y.names(did(2), key1, "pds.example.com") // the last line is of the thief
		if !y.repo(did(2)).Identity.Stale {
			y.Error("the directory is not asked about what follows a nullified operation")
		}
		if y.form == byTime { // else nobody can know
			y.names(did(0), key1, "pds.example.com")
		}
	})
}

func TestNullifiedByPrev(t *testing.T) {
	type op struct{ cid, prev string }
	for name, c := range map[string]struct {
		log  []op
		want string // the CIDs of the nullified ones
	}{
		"a chain":                           {[]op{{"a", ""}, {"b", "a"}, {"c", "b"}}, ""},
		"a chain that begins before":        {[]op{{"b", "a"}, {"c", "b"}}, ""},
		"one":                               {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}}, "b"},
		"several":                           {[]op{{"a", ""}, {"b", "a"}, {"c", "b"}, {"x", "a"}}, "bc"},
		"from before the page":              {[]op{{"b", "a"}, {"c", "b"}, {"x", "a"}}, "bc"},
		"twice":                             {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}, {"y", "a"}}, "bx"},
		"and it goes on":                    {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}, {"y", "x"}}, "b"},
		"what follows a nullified one":      {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}, {"c", "b"}}, "bc"},
		"what follows that":                 {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}, {"c", "b"}, {"d", "c"}}, "bcd"},
		"a good one behind a nullified one": {[]op{{"a", ""}, {"b", "a"}, {"x", "a"}, {"c", "b"}, {"y", "x"}}, "bc"},
	} {
		var lines []line
		for i, o := range c.log {
			for n := range 2 { // of two DIDs, which have nothing to do with each other
				e, err := identity.ParseLogEntry(fmt.Appendf(nil, `{"did":%q,"operation":{"prev":%q},"cid":%q,"createdAt":%q}`,
					did(n), o.prev, o.cid, day.Format(timeForm)))
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, line{id: e.CID, key: int64(i), did: e.DID, entry: e})
			}
			lines = append(lines, line{id: "malformed"})
		}
		nullify(lines)
		got := ""
		for _, l := range lines {
			if l.did == did(0) && l.entry.Nullified {
				got += l.id
			}
		}
		if got != c.want {
			t.Errorf("%s: %q are nullified, want %q", name, got, c.want)
		}
	}
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
		malformed := 2505
		if y.form == byTime {
			y.names(did(0), key1, "pds.example.com")
		} else {
			malformed-- // the one of the future, which has the directory asked
		}
		if got := y.counted("malformed"); got != malformed {
			y.Errorf("%d malformed lines", got)
		}
		if got := int(y.metrics.Sum("refusals_total", "reason", "identity-invalid")); got != malformed {
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
		first := true
		y.export.during(func(w http.ResponseWriter, r *http.Request) bool {
			lines, ok := y.export.page(r.URL.Query().Get("after"))
			if !ok || !first {
				return false
			}
			first = false
			half := strings.Join(lines[:450], "\n") + "\n"
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
		y.export.during(func(w http.ResponseWriter, r *http.Request) bool {
			lines, ok := y.export.page(r.URL.Query().Get("after"))
			if !ok {
				return false
			}
			broken++
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write([]byte(strings.Join(lines, "\n") + "\n"))
			return true
		})
		time.Sleep(time.Minute)
		if r := y.repo(did(0)); broken == 0 || r.Identity != nil {
			y.Errorf("%d broken pages; repo %+v", broken, r)
		}
		y.names(did(1), key1, "new.example.com")
		if at := y.repo(did(1)).Identity.FetchedAt; !at.Equal(changed.Truncate(time.Millisecond)) {
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
		if err := y.follower.begin(y.Context(), false); err != nil {
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
		if firsts := y.export.askedFor("0"); firsts != 2 {
			y.Errorf("%d readings began", firsts)
		}
	})
}

// asOldServers answers as a server that takes any number for a time: small ones are years.
func (x *export) asOldServers(w http.ResponseWriter, r *http.Request) bool {
	n, err := strconv.Atoi(r.URL.Query().Get("after"))
	switch {
	case err != nil:
		return false
	case n == 0:
		lines, _ := x.page("2000-01-01T00:00:00.000Z")
		_, _ = w.Write([]byte(strings.Join(lines, "\n")))
	case n > 275760:
		w.WriteHeader(http.StatusBadRequest)
	}
	return true
}

// A server that was exchanged, set back or renumbered is read from the beginning of its
// log, after a while: it may be a replica that lags.
func TestAServerThatHasAnotherLog(t *testing.T) {
	refuses := func(x *export) {
		x.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if _, err := strconv.Atoi(r.URL.Query().Get("after")); err == nil {
				return false
			}
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
	}
	for _, c := range []struct {
		name   string
		of     *form
		change func(x *export)
		then   store.LogForm // that it is read by
	}{
		{"numbers otherwise", bySeq, func(x *export) { x.shift = 7 }, store.BySeq},
		{"numbers from far above", bySeq, func(x *export) { x.shift = 1_000_000 }, store.BySeq},
		{"numbers from below", bySeq, func(x *export) { x.shift = -900 }, store.BySeq},
		{"has lost its last operations", bySeq, func(x *export) { x.log = x.log[:1000] }, store.BySeq},
		{"has begun anew", bySeq, func(x *export) { x.log = x.log[:1] }, store.BySeq},
		{"knows no numbers any more", bySeq, func(x *export) { x.timeOnly = true }, store.ByTime},
		{"takes numbers for years", bySeq, func(x *export) { x.timeOnly, x.fault = true, x.asOldServers }, store.ByTime},
		{"knows no times any more", byTime, func(x *export) { x.timeOnly = false; refuses(x) }, store.BySeq},
		{"has begun anew, by time", byTime, func(x *export) { x.log = x.log[:1] }, store.ByTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			withServer(t, c.of, func(y *testHosts) {
				y.hourAgo(1500)
				y.serve(did(7), "pds.example.com")
				stop := y.follow()
				defer stop()
				time.Sleep(time.Hour)
				y.export.change(c.change)
				y.export.add(time.Now(), did(7), key2, "new.example.com")
				time.Sleep(strangeMost - time.Minute)
				if n := y.export.askedFor("0"); n != 1 {
					t.Errorf("%d readings began in the first half hour", n)
				}
				time.Sleep(time.Hour)
				y.names(did(7), key2, "new.example.com")
				if n := y.export.askedFor("0"); n < 2 || n > 3 { // one more to see that there is a log
					t.Errorf("%d readings began", n)
				}
				if age := time.Since(y.follower.Current()); age > pollMost {
					t.Errorf("current as of %s ago", age)
				}
				y.update(func(tx *store.Tx) error {
					l, err := tx.PLCLog()
					if l.Form != c.then || !l.Done {
						t.Errorf("the log is read by %q, done %t", l.Form, l.Done)
					}
					return err
				})
			})
		})
	}
}

// A replica that lags, and one that has no log for a while, do not make the reading begin anew.
func TestAServerThatHasTheLogAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(x *export)
		during time.Duration
	}{
		"lags":        {func(x *export) { x.log = x.log[:1000] }, 20 * time.Minute},
		"has nothing": {func(x *export) { x.log = nil }, time.Hour},
		"is not found": {func(x *export) {
			x.fault = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }
		}, time.Hour},
		"numbers wrongly": {func(x *export) { x.shift = 1 }, 20 * time.Minute},
		"numbers wrongly, and is down in between": {func(x *export) {
			began := time.Now()
			x.shift, x.fault = 1, func(w http.ResponseWriter, _ *http.Request) bool {
				if since := time.Since(began); since < time.Minute || since > 45*time.Minute {
					return false
				}
				w.WriteHeader(503)
				return true
			}
		}, 65 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			withTestHosts(t, func(y *testHosts) {
				y.hourAgo(1500)
				y.serve(did(7), "pds.example.com")
				stop := y.follow()
				defer stop()
				time.Sleep(10 * time.Minute)
				whole := y.export.log
				read := y.counted("passed") + y.counted("older")
				for range 2 {
					y.export.change(c.change)
					time.Sleep(c.during)
					y.export.change(func(x *export) { x.log, x.fault, x.shift = whole, nil, 0 })
					time.Sleep(10 * time.Minute)
				}
				y.export.add(time.Now(), did(7), key2, "new.example.com")
				time.Sleep(time.Minute)
				y.names(did(7), key2, "new.example.com")
				if got := y.counted("passed") + y.counted("older"); got != read {
					t.Errorf("%d operations were read again", got-read)
				}
			})
		})
	}
}

// A number that is given before another one and becomes visible after it is not missed, and
// lines that come twice or in another order are applied once, in the right one.
func TestNumbersThatComeLateTwiceOrInAnotherOrder(t *testing.T) {
	withServer(t, bySeq, func(y *testHosts) {
		for n := range 3 {
			y.serve(did(n), "pds.example.com")
		}
		stop := y.follow()
		defer stop()
		time.Sleep(time.Hour)
		y.export.add(time.Now(), did(0), key2, "late.example.com")
		y.export.change(func(x *export) { x.late = x.log[0] })
		for range 20 {
			y.export.add(time.Now(), did(9), key2, "pds.example.com")
		}
		y.export.change(func(x *export) { x.log = x.log[1:] })
		time.Sleep(pollMost + time.Second)
		y.export.change(func(x *export) { x.log = append(x.log, x.late) })
		time.Sleep(pollMost + time.Second)
		y.names(did(0), key2, "late.example.com")

		y.export.during(func(w http.ResponseWriter, r *http.Request) bool {
			lines, _ := y.export.page(r.URL.Query().Get("after"))
			slices.Reverse(lines)
			_, _ = w.Write([]byte(strings.Join(append(lines, lines...), "\n")))
			return true
		})
		y.export.add(time.Now(), did(1), key2, "first.example.com")
		y.export.add(time.Now().Add(time.Millisecond), did(1), key2, "second.example.com")
		time.Sleep(pollMost + time.Second)
		y.names(did(1), key2, "second.example.com")
		if got := y.counted("moved"); got != 2 {
			y.Errorf("%d moves", got)
		}
	})
}

// A server that fails at its first question is not taken for one without numbers.
func TestTheFormIsNotGuessed(t *testing.T) {
	withServer(t, bySeq, func(y *testHosts) {
		y.hourAgo(10)
		status := []int{503, 429, 403, 500}
		y.export.during(func(w http.ResponseWriter, _ *http.Request) bool {
			if len(status) == 0 {
				return false
			}
			w.WriteHeader(status[0])
			status = status[1:]
			return true
		})
		y.run(time.Hour)
		if n := y.export.askedFor(""); n != 0 || y.follower.pos.form != bySeq {
			y.Errorf("%d questions by time", n)
		}
	})
}
