package crawl

import (
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

func TestACrawlQueuesEveryUnknownRepoOfEveryPage(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := pages(3)
		y.crawl(l)
		if want := []string{"", "1", "2"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("asked for %q, want %q", l.cursors(), want)
		}
		if got := y.known(5); !slices.Equal(got, []int{0, 1, 2}) {
			y.Errorf("known accounts %v", got)
		}
		for did, w := range y.queued() {
			if w.reason != repostate.Backfill || w.after != 0 {
				y.Errorf("%s: %v after %s", did, w.reason, w.after)
			}
		}
		if row := y.row(); row.Wanted() || row.Cursor != "" || row.Finished.IsZero() || !row.Due.IsZero() {
			y.Errorf("after the crawl: %+v", row)
		}
	})
}

func TestNothingIsCrawledBeforeItIsWantedAndTheSocketIsOpen(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := pages(3)
		y.crawl(l) // the socket opens; nobody wants a crawl
		if len(l.cursors()) != 0 {
			y.Errorf("crawled without being asked: %q", l.cursors())
		}
		y.want()
		c := y.crawler(l)
		stop := y.start(c)
		time.Sleep(time.Hour)
		if len(l.cursors()) != 0 || c.Busy(y.up) {
			y.Errorf("crawled before the socket was open: %q, busy %t", l.cursors(), c.Busy(y.up))
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

func TestAnInterruptedCrawlGoesOnAtItsNextPage(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		broken := &listing{page: func(cursor string) (pds.ReposPage, error) {
			if cursor == "2" {
				return pds.ReposPage{}, errors.New("connection reset")
			}
			return pageOf(cursor, 4), nil
		}}
		y.crawl(broken)
		if got, row := y.known(4), y.row(); !slices.Equal(got, []int{0, 1}) || row.Cursor != "2" || !row.Wanted() {
			y.Fatalf("after the interruption: accounts %v, %+v", got, row)
		}
		time.Sleep(retryFirst)
		l := pages(4)
		y.crawl(l)
		if want := []string{"2", "3"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("went on with %q, want %q", l.cursors(), want)
		}
		if got := y.known(5); !slices.Equal(got, []int{0, 1, 2, 3}) {
			y.Errorf("known accounts %v", got)
		}
	})
}

func TestAPageAndItsCursorAreOneTransaction(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		// The last statement of the second page fails.
		_, err := y.raw.ExecContext(y.Context(), `CREATE TRIGGER crash BEFORE UPDATE OF cursor ON crawl
			WHEN new.cursor = '2' BEGIN SELECT raise(ABORT, 'disk full'); END`)
		if err != nil {
			y.Fatal(err)
		}
		c := y.crawler(pages(4))
		c.Wake(y.up)
		if err := c.Run(y.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
			y.Fatalf("Run: %v, want the failure of the file", err)
		}
		if got, row := y.known(4), y.row(); !slices.Equal(got, []int{0}) || row.Cursor != "1" {
			y.Fatalf("after the crash: accounts %v, cursor %q", got, row.Cursor)
		}
		if _, err := y.raw.ExecContext(y.Context(), `DROP TRIGGER crash`); err != nil {
			y.Fatal(err)
		}
		l := pages(4)
		y.crawl(l)
		if want := []string{"1", "2", "3"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("went on with %q, want %q", l.cursors(), want)
		}
		if got := y.known(5); !slices.Equal(got, []int{0, 1, 2, 3}) {
			y.Errorf("known accounts %v", got)
		}
	})
}

func TestARequestNewerThanAnInterruptedCrawlStartsItAnew(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		y.crawl(&listing{page: func(cursor string) (pds.ReposPage, error) {
			if cursor == "2" {
				return pds.ReposPage{}, errors.New("connection reset")
			}
			return pageOf(cursor, 3), nil
		}})
		y.want()
		l := pages(3)
		y.crawl(l)
		if want := []string{"", "1", "2"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("asked for %q, want %q", l.cursors(), want)
		}
	})
}

func TestListingsThatLeadNowhereEndAndAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		page func(cursor string) (pds.ReposPage, error)
		most int // pages that may be asked for
	}{
		"the same cursor again": {func(cursor string) (pds.ReposPage, error) {
			p := pageOf(cursor, 3)
			if cursor == "1" {
				p.Cursor = "1"
			}
			return p, nil
		}, 2},
		"a ring of cursors": {func(cursor string) (pds.ReposPage, error) {
			p := pageOf(cursor, 6)
			if p.Cursor == "" {
				p.Cursor = "2"
			}
			return p, nil
		}, 30},
		"empty pages without end": {func(cursor string) (pds.ReposPage, error) {
			i, _ := strconv.Atoi(cursor)
			return pds.ReposPage{Cursor: strconv.Itoa(i + 1)}, nil
		}, emptyPages},
	} {
		t.Run(name, func(t *testing.T) {
			withTestHosts(t, func(y *testHosts) {
				y.want()
				l := &listing{}
				l.page = func(cursor string) (pds.ReposPage, error) {
					if len(l.cursors()) > 1000 {
						return pds.ReposPage{}, nil // the test ends, and fails
					}
					return c.page(cursor)
				}
				y.crawl(l)
				if len(l.cursors()) > c.most {
					y.Errorf("%d pages were asked for, want at most %d", len(l.cursors()), c.most)
				}
				if row := y.row(); row.Wanted() || row.Cursor != "" {
					y.Errorf("the crawl is not over: %+v", row)
				}
				if got := y.metric(`railyard_refusals_total{reason="answer-loop"}`); got != "1" {
					y.Errorf("%s loops were counted, want 1", got)
				}
			})
		})
	}
}

func TestAFewEmptyPagesAreNoEnd(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		y.crawl(&listing{page: func(cursor string) (pds.ReposPage, error) {
			p := pageOf(cursor, 12)
			if cursor != "0" && p.Cursor != "" {
				p.Repos = nil
			}
			return p, nil
		}})
		if y.repo(didOf(11)) == nil {
			y.Error("the account after the empty pages is unknown")
		}
		if got := y.metric(`railyard_refusals_total{reason="answer-loop"}`); got != "0" {
			y.Errorf("%s loops were counted, want 0", got)
		}
	})
}

func TestAFailedRequestIsRepeatedAfterAGrowingPause(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := &listing{}
		l.page = func(cursor string) (pds.ReposPage, error) {
			if cursor == "1" && len(l.times("1")) <= 8 {
				return pds.ReposPage{}, errors.New("503")
			}
			return pageOf(cursor, 3), nil
		}
		c := y.crawler(l)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(l.times("1")); n != 1 || !c.Busy(y.up) {
			y.Errorf("within a second %d requests, busy %t", n, c.Busy(y.up))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := y.known(4); !slices.Equal(got, []int{0, 1, 2}) || c.Busy(y.up) {
			y.Errorf("accounts %v, busy %t", got, c.Busy(y.up))
		}
		times := l.times("1")
		if len(times) != 9 {
			y.Fatalf("%d requests, want 9", len(times))
		}
		for i := range len(times) - 1 {
			most := min(retryFirst<<i, retryMost)
			if pause := times[i+1].Sub(times[i]); pause < most/2 || pause > most {
				y.Errorf("pause %d is %s, want %s to %s", i, pause, most/2, most)
			}
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

func TestWhatAListingSaysOfKnownReposIsAReasonToAsk(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		rev := atproto.TIDAt(time.Now())
		const (
			same = iota
			newer
			older
			noRev
			badRev
			nowInactive
			nowActive
			gone
			returned
			unknownInactive
		)
		y.update(func(tx *store.Tx) error {
			for i := range unknownInactive {
				r, err := testrepo.Add(tx, didOf(i))
				if err == nil {
					_, _, err = testrepo.Establish(tx, r, repostate.Head{Rev: rev}, []string{"app.bsky.feed.post"}, repostate.ProofTree)
				}
				if err == nil && i == nowActive {
					err = testrepo.Hide(tx, r, "deactivated")
				}
				if err == nil && (i == gone || i == returned) {
					err = testrepo.SetState(tx, r, repostate.NotFound)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		entry := func(i int, rev string, active bool) pds.RepoEntry {
			return pds.RepoEntry{DID: didOf(i), Rev: rev, Active: active}
		}
		y.want()
		y.crawl(&listing{page: func(string) (pds.ReposPage, error) {
			return pds.ReposPage{Refused: []*refusal.Error{refusal.New(refusal.BadDID, "a"), refusal.New(refusal.BadDID, "b"), refusal.New(refusal.AnswerInvalid, "c")}, Repos: []pds.RepoEntry{
				entry(same, rev.String(), true), entry(newer, (rev + 5).String(), true), entry(older, (rev - 5).String(), true),
				entry(noRev, "", true), entry(badRev, "not-a-tid", true), entry(nowInactive, (rev + 5).String(), false),
				entry(nowActive, "", true), entry(gone, "", false), entry(returned, "", true), entry(unknownInactive, "", false),
			}}, nil
		}})
		want := map[string]work{
			didOf(newer):           {repostate.MissedRev, rev + 5, repostate.MissedGrace},
			didOf(nowInactive):     {repostate.StatusCheck, 0, 0},
			didOf(nowActive):       {repostate.StatusCheck, 0, 0},
			didOf(returned):        {repostate.Backfill, 0, 0},
			didOf(unknownInactive): {repostate.Backfill, 0, 0},
		}
		got := y.queued()
		for i := range unknownInactive + 1 {
			if got[didOf(i)] != want[didOf(i)] {
				y.Errorf("account %d: queued %+v, want %+v", i, got[didOf(i)], want[didOf(i)])
			}
		}
		if r := y.repo(didOf(nowInactive)); !r.Active || !r.Listed() {
			y.Error("a listing's word has hidden an account")
		}
		if r := y.repo(didOf(newer)); r.State != repostate.Synchronized {
			y.Errorf("a listed rev has taken a repo out of service: %v", r.State)
		}
		if got := y.metric(`railyard_refusals_total{reason="bad-did"}`); got != "2" {
			y.Errorf("%s invalid entries were counted, want 2", got)
		}
	})
}

// A listing whose next page cannot be asked for ends with the page that it has brought.
func TestAPageCountsAlthoughItsCursorIsOfNoUse(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := &listing{page: func(string) (pds.ReposPage, error) {
			return pds.ReposPage{Stuck: true, Repos: []pds.RepoEntry{{DID: didOf(1), Active: true}},
				Refused: []*refusal.Error{refusal.New(refusal.AnswerInvalid, "cursor is a list")}}, nil
		}}
		y.crawl(l)
		if got := y.queued(); len(got) != 1 || got[didOf(1)].reason != repostate.Backfill || len(l.cursors()) != 1 {
			y.Errorf("queued %v after %d pages", got, len(l.cursors()))
		}
		for _, reason := range []string{"answer-loop", "answer-invalid"} {
			if got := y.metric(`railyard_refusals_total{reason="` + reason + `"}`); got != "1" {
				y.Errorf("%s was counted %s times", reason, got)
			}
		}
	})
}

func TestARequestDuringACrawlIsFollowedByAnotherCrawl(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		var c *Crawler
		l := &listing{}
		l.page = func(cursor string) (pds.ReposPage, error) {
			if len(l.cursors()) == 2 {
				y.want()
				c.Wake(y.up)
				c.Wake(y.up)
			}
			if !c.Busy(y.up) {
				y.Errorf("not busy at page %d", len(l.cursors()))
			}
			return pageOf(cursor, 3), nil
		}
		c = y.crawler(l)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"", "1", "2", "", "1", "2"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("asked for %q, want %q", l.cursors(), want)
		}
		if row := y.row(); c.Busy(y.up) || row.Wanted() {
			y.Errorf("busy %t after both crawls, %+v", c.Busy(y.up), row)
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

func TestAnUpstreamIsBusyFromTheWakeToTheEndOfItsCrawl(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		c := y.crawler(pages(2))
		if c.Busy(y.up) {
			y.Error("busy before anything")
		}
		c.Wake(y.up)
		if !c.Busy(y.up) {
			y.Error("not busy although a crawl is wanted")
		}
		stop := y.start(c)
		synctest.Wait()
		if c.Busy(y.up) {
			y.Error("busy after the crawl")
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

func TestAWakeAtTheEndOfACrawlLeavesTheUpstreamBusy(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		c := y.crawler(pages(1))
		for range 100 {
			waked := make(chan struct{})
			go func() {
				c.Wake(y.up)
				close(waked)
			}()
			if _, _, err := c.take(y.Context()); err != nil {
				y.Fatal(err)
			}
			<-waked
			if !c.woken[y.up] && c.busy[y.up] {
				y.Fatal("the upstream was read and is busy, though nothing is wanted")
			}
			if _, _, err := c.take(y.Context()); err != nil {
				y.Fatal(err)
			}
			if c.Busy(y.up) {
				y.Fatal("no crawl is wanted and the upstream is busy")
			}
		}
	})
}

func TestPagesOfOneUpstreamKeepThePace(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := pages(5)
		c := New(Config{Store: y.store, Lister: l, QPS: 0.5, Log: slog.New(slog.DiscardHandler)}, []int64{y.up})
		stop := y.start(c)
		c.Wake(y.up)
		for i, want := range []int{1, 2, 3, 4, 5} {
			synctest.Wait()
			if len(l.cursors()) != want {
				y.Errorf("after %d seconds %d pages, want %d", 2*i, len(l.cursors()), want)
			}
			time.Sleep(2 * time.Second)
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

func TestAStoppedWriterEndsTheCrawlerWithItsCause(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		c := y.crawler(&listing{page: func(cursor string) (pds.ReposPage, error) {
			y.store.Stop(errors.New("disk full"))
			return pageOf(cursor, 3), nil
		}})
		c.Wake(y.up)
		if err := c.Run(y.Context()); !errors.Is(err, store.ErrStopped) {
			y.Errorf("Run: %v", err)
		}
	})
}

// The machine's clock is set back by an hour after a crawl began, and then events
// are lost: the request for a crawl carries an older time than the crawl. It is not
// taken for one that the crawl has fulfilled.
func TestARequestAfterTheClockWasSetBackIsNotLost(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		var c *Crawler
		l := &listing{}
		l.page = func(cursor string) (pds.ReposPage, error) {
			if len(l.cursors()) == 2 {
				y.shift.Add(-int64(time.Hour))
				y.want()
				c.Wake(y.up)
			}
			return pageOf(cursor, 3), nil
		}
		c = y.crawler(l)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"", "1", "2", "", "1", "2"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("asked for %q, want %q", l.cursors(), want)
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
	})
}

// The clock is an hour ahead when a crawl is wanted, and is set right before it
// begins: the crawl fulfils the request all the same, and is not repeated for ever.
func TestARequestOfTheFutureIsFulfilledOnce(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.shift.Add(int64(time.Hour))
		y.want()
		y.shift.Add(-int64(time.Hour))
		l := pages(2)
		y.crawl(l)
		y.crawl(l)
		if want := []string{"", "1"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("asked for %q, want %q", l.cursors(), want)
		}
		if row := y.row(); row.Wanted() {
			y.Errorf("the request is still there: %+v", row)
		}
	})
}
