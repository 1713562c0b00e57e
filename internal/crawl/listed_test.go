package crawl

import (
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
)

// host makes the row of a host and returns who lists: one that nobody chose.
func (y *testHosts) host(name string) lister {
	y.Helper()
	var id store.CrawlID
	y.update(func(tx *store.Tx) (err error) {
		id, err = tx.ListHost(name, false, "active")
		return err
	})
	return lister{hosts: []int64{id.Server}, capped: true}
}

// list takes a page that lists the accounts from one number up to another.
func (y *testHosts) list(from lister, first, to int, of func(n int) repostate.Entry) (t taken) {
	y.Helper()
	page := make([]listed, 0, to-first)
	for n := first; n < to; n++ {
		page = append(page, listed{numbered(n), of(n)})
	}
	y.update(func(tx *store.Tx) (err error) {
		t, err = takePage(tx, from, page)
		return err
	})
	return t
}

func (y *testHosts) left(host lister) int64 {
	y.Helper()
	var c store.Candidates
	y.update(func(tx *store.Tx) (err error) {
		c, err = tx.Candidates(host.host(nil))
		return err
	})
	return c.Left
}

func active(int) repostate.Entry { return repostate.Entry{Active: true} }

// A host lists DIDs that nobody has ever made, page after page. It leaves its cap
// of rows, the directory says that they do not exist, and it leaves none.
func TestInventedDIDsLeaveNoMoreThanTheCapAndThenNothing(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		a, b := y.host("a.example.com"), y.host("b.example.com")
		for from := 0; from < 5000; from += 1000 {
			if got := y.list(a, from, from+1000, active); !got.full || (from > 0 && got.found != 0) || len(got.known) != 0 {
				y.Fatalf("page at %d: %+v", from, got)
			}
		}
		if n := y.count("SELECT count(*) FROM repo"); n != 100 {
			y.Errorf("%d rows, want the cap of 100", n)
		}
		if n := y.resolve(at("")); n != 100 {
			y.Errorf("%d documents were asked for", n)
		}
		if n := y.count("SELECT (SELECT count(*) FROM repo) + (SELECT count(*) FROM resync_queue)"); n != 0 {
			y.Errorf("%d rows are left", n)
		}
		if got := y.list(a, 0, 1000, active); got.found != 100 || got.proven {
			y.Errorf("the liar once more: %+v", got)
		}
		if got := y.list(b, 1000, 2000, active); got.found != 100 {
			y.Errorf("another host: %+v", got)
		}
		y.sound()
	})
}

// An honest host may list more and more: one DID more for each account that proves
// right.
func TestTheBudgetGrowsWithWhatProvesRight(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		a := y.host("a.example.com")
		known := 0
		for _, want := range []int{100, 200, 400, 800} {
			got := y.list(a, 0, 2000, active)
			if got.found != want || !got.full {
				y.Fatalf("%d were taken, want %d", got.found, want)
			}
			known += y.resolve(at("a.example.com"))
		}
		if got := y.left(a); got != int64(100+known) {
			y.Errorf("%d more may be listed after %d", got, known)
		}
		y.sound()
	})
}

// A host lists the accounts of another: they are found, once, and it may list no more
// for it. What it says of accounts that are known as others' is nothing: no status
// check, no fetch, however often it is said.
func TestAHostThatListsTheAccountsOfOthersGainsNothing(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		a, b := y.host("a.example.com"), y.host("b.example.com")
		y.list(a, 0, 100, active)
		y.hold("b.example.com", 0, 100, 5)
		if got := y.left(a); got != 100 {
			y.Errorf("%d more may be listed", got)
		}
		newer := func(n int) repostate.Entry { return repostate.Entry{Rev: 50, Active: n%2 == 0} }
		queued := func() int64 { return y.count("SELECT count(*) FROM resync_queue") }
		if got := y.list(a, 0, 100, newer); got.foreign != 100 || len(got.known) != 0 || queued() != 0 {
			y.Errorf("another host's listing: %+v, %d rows queued", got, queued())
		}
		// Two hours later an #identity may have been lost: a few documents are looked up
		// again, in the background.
		time.Sleep(2 * time.Hour)
		got := y.list(a, 0, 100, newer)
		refreshed := y.count("SELECT count(*) FROM resync_queue WHERE reason = ? AND priority = ?", int64(repostate.Refresh), repostate.PriorityBackground)
		if got.foreign != 100 || refreshed != maxMoved || queued() != maxMoved {
			y.Errorf("another host's listing: %d foreign, %d rows queued, %d documents looked up", got.foreign, queued(), refreshed)
		}
		if n := y.count("SELECT count(*) FROM repo WHERE state <> ?", int64(repostate.Synchronized)); n != 0 {
			y.Errorf("%d repos are out of service", n)
		}
		y.hold("b.example.com", 0, 100, 5)
		if got := y.list(b, 0, 100, newer); got.foreign != 0 || len(got.known) != 100 || queued() != 100 {
			y.Errorf("the named host's listing: %d foreign, %d known, %d rows queued", got.foreign, len(got.known), queued())
		}
		y.sound()
	})
}

// One page of a relay is worth few look-ups of documents, too.
func TestARelayThatIsBehindCausesFewLookUps(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("a.example.com", 0, maxMoved+10, 5)
		time.Sleep(day)
		if got := y.list(lister{}, 0, maxMoved+10, func(int) repostate.Entry { return repostate.Entry{Rev: 4, Active: true} }); len(got.known) != maxMoved+10 {
			y.Errorf("%d are known", len(got.known))
		}
		if n := y.count("SELECT count(*) FROM resync_queue"); n != maxMoved {
			y.Errorf("%d documents are to be looked up, want %d", n, maxMoved)
		}
	})
}

// A DID that the relay lists too, or whose document names any host, is nobody's
// candidate.
func TestCandidatesCloseByOtherWays(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		a := y.host("a.example.com")
		y.list(a, 0, 100, active)
		if got := y.list(lister{}, 0, 1, active); len(got.known) != 1 || got.found != 0 {
			y.Errorf("the relay lists it too: %+v", got)
		}
		if got := y.left(a); got != 1 {
			y.Errorf("%d more may be listed, want 1", got)
		}
		y.hold("b.example.com", 0, 2, 5)
		if got := y.left(a); got != 2 {
			y.Errorf("%d more may be listed, want 2", got)
		}
		y.sound()
	})
}

// A page that fits leaves as many candidates as it has, and says whether documents name
// the host for as many.
func TestAHostIsProvenWhileItHasNoMoreCandidatesThanAccounts(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		a := y.host("a.example.com")
		for _, c := range []struct {
			from, to int
			proven   bool
		}{{0, 60, false}, {60, 120, true}, {120, 181, false}, {181, 181, false}} {
			if got := y.list(a, c.from, c.to, active); got.proven != c.proven {
				y.Errorf("%d to %d: %+v, want proven %t", c.from, c.to, got, c.proven)
			}
			if c.to == 60 {
				y.resolve(at("a.example.com"))
			}
		}
	})
}
