package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"railyard/db"
)

// yard is a file with two hosts and a clock of the test.
type yard struct {
	*testing.T
	*Store
	now  time.Time
	a, b int64 // hosts
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{T: t, now: time.Unix(1_800_000_000, 0)}
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test", Now: func() time.Time { return y.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	y.Store = s
	y.do(func(tx *Tx) error {
		a, err := tx.ListHost("a.example.com", false, "active")
		b, err2 := tx.ListHost("b.example.com", false, "active")
		y.a, y.b = a.Server, b.Server
		return errors.Join(err, err2)
	})
	return y
}

func (y *yard) do(fn func(tx *Tx) error) {
	y.Helper()
	if err := y.Update(y.Context(), "test", fn); err != nil {
		y.Fatal(err)
	}
}

// list lets a host list the accounts from one number up to another.
func (y *yard) list(host int64, from, to int) (t Taken) {
	y.Helper()
	page := make([]Listed, 0, to-from)
	for n := from; n < to; n++ {
		page = append(page, Listed{DID: numbered(n), Active: true})
	}
	y.do(func(tx *Tx) (err error) {
		t, err = tx.TakeListed(Lister{Host: host, Capped: true}, page)
		return err
	})
	return t
}

func (y *yard) count(query string, args ...any) (n int64) {
	y.Helper()
	if err := y.writer.QueryRowContext(y.Context(), query, args...).Scan(&n); err != nil {
		y.Fatal(err)
	}
	return n
}

// establish puts the accounts below a number into service, with a head of rev 5.
func (y *yard) establish(n int) {
	y.Helper()
	y.do(func(tx *Tx) error {
		for i := range n {
			r, err := tx.RepoByDID(numbered(i))
			if err == nil {
				_, _, err = tx.Establish(r, Head{Rev: 5}, nil, ProofTree)
			}
			if err = errors.Join(err, tx.Done(r)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (y *yard) budget(host int64) (n int64) {
	y.Helper()
	if err := y.View(y.Context(), func(rx *Rx) (err error) {
		n, err = rx.CandidateBudget(host)
		return err
	}); err != nil {
		y.Fatal(err)
	}
	return n
}

// resolves lets the documents of accounts name a host.
func (y *yard) resolves(host string, from, to int) {
	y.Helper()
	y.do(func(tx *Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.RepoByDID(numbered(n))
			if err == nil {
				_, err = tx.PutIdentity(r, testKey, host, false)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// vanishes lets the directory say of accounts that they do not exist.
func (y *yard) vanishes(from, to int) {
	y.Helper()
	y.do(func(tx *Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.RepoByDID(numbered(n))
			if err != nil {
				return err
			}
			if gone, err := tx.Vanish(r); err != nil || !gone {
				return fmt.Errorf("%s is still there: %w", r.DID, err)
			}
		}
		return nil
	})
}

// numbered is the DID of an account; there is no end of them.
func numbered(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	text := []byte("did:plc:" + strings.Repeat("a", 24))
	for i := len(text) - 1; n > 0; i, n = i-1, n/32 {
		text[i] = letters[n%32]
	}
	return string(text)
}

// A host lists DIDs that nobody has ever made, page after page. It leaves its cap
// of rows, the directory says that they do not exist, and it leaves none.
func TestInventedDIDsLeaveNoMoreThanTheCapAndThenNothing(t *testing.T) {
	y := newYard(t)
	for from := 0; from < 20_000; from += 1000 {
		if got := y.list(y.a, from, from+1000); !got.Full || (from > 0 && got.Found != 0) {
			t.Fatalf("page at %d: %+v", from, got)
		}
	}
	if n := y.count("SELECT count(*) FROM repo"); n != 100 {
		t.Errorf("%d rows, want the cap of 100", n)
	}
	y.vanishes(0, 100)
	for _, table := range []string{"repo", "resync_queue"} {
		if n := y.count("SELECT count(*) FROM " + table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	if got := y.list(y.a, 0, 1000); got.Found != 100 || got.Proven {
		t.Errorf("the liar once more: %+v", got)
	}
	if got := y.list(y.b, 1000, 2000); got.Found != 100 {
		t.Errorf("another host: %+v", got)
	}
	sound(t, y.Reader)
}

// An honest host may list more and more: one DID more for each account that proves
// right.
func TestTheBudgetGrowsWithWhatProvesRight(t *testing.T) {
	y := newYard(t)
	known := 0
	for _, want := range []int{100, 200, 400, 800} {
		got := y.list(y.a, 0, 10_000)
		if got.Found != want || !got.Full {
			t.Fatalf("%d were taken, want %d", got.Found, want)
		}
		y.resolves("a.example.com", known, known+got.Found)
		known += got.Found
	}
	if got := y.budget(y.a); got != int64(100+known) {
		t.Errorf("budget %d after %d", got, known)
	}
	sound(t, y.Reader)
}

// A host lists the accounts of another: they are found, once, and it may list no more
// for it. What it says of accounts that are known as others' is nothing: no status
// check, no sweep, however often it is said.
func TestAHostThatListsTheAccountsOfOthersGainsNothing(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 100)
	y.resolves("b.example.com", 0, 100)
	if got := y.budget(y.a); got != 100 {
		t.Errorf("budget %d", got)
	}
	y.establish(100)
	page := make([]Listed, 100)
	for n := range page {
		page[n] = Listed{DID: numbered(n), Rev: 50, Active: n%2 == 0}
	}
	take := func(host int64) (got Taken) {
		y.do(func(tx *Tx) (err error) {
			got, err = tx.TakeListed(Lister{Host: host, Capped: true}, page)
			return err
		})
		return got
	}
	if got := take(y.a); got.Foreign != 100 || len(got.Known) != 0 || y.count("SELECT count(*) FROM resync_queue") != 0 {
		t.Errorf("a stranger's listing: %+v, %d rows queued", got, y.count("SELECT count(*) FROM resync_queue"))
	}
	// Two hours later an #identity may have been lost: a few documents are looked at
	// again, in the background.
	y.now = y.now.Add(2 * time.Hour)
	if got := take(y.a); got.Foreign != 100 || y.count("SELECT count(*) FROM resync_queue WHERE reason = ? AND background = 1", int64(Refresh)) != maxMoved {
		t.Errorf("a stranger's listing: %d foreign, %d rows queued", got.Foreign, y.count("SELECT count(*) FROM resync_queue"))
	}
	if n := y.count("SELECT count(*) FROM repo WHERE state <> 3"); n != 0 {
		t.Errorf("%d repos are out of service", n)
	}
	y.do(func(tx *Tx) error {
		for n := range 100 {
			r, err := tx.RepoByDID(numbered(n))
			if err == nil {
				_, err = tx.PutIdentity(r, testKey, "b.example.com", false)
			}
			if err == nil {
				err = tx.q.SetIdentityStale(tx.ctx, db.SetIdentityStaleParams{RepoID: r.ID})
			}
			if err = errors.Join(err, tx.Done(r)); err != nil {
				return err
			}
		}
		return nil
	})
	if got := take(y.b); got.Foreign != 0 || len(got.Known) != 100 || y.count("SELECT count(*) FROM resync_queue") != 100 {
		t.Errorf("the named host's listing: %d foreign, %d known, %d rows queued", got.Foreign, len(got.Known), y.count("SELECT count(*) FROM resync_queue"))
	}
	sound(t, y.Reader)
}

// A host lists as inactive what our document gives to another. With an old rev it is
// one that the account has left; with a new one the account may have moved there.
func TestAnInactiveListingElsewhereCountsByItsRev(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 2)
	y.resolves("a.example.com", 0, 2)
	y.establish(2)
	y.now = y.now.Add(2 * movedAge)
	y.do(func(tx *Tx) error {
		_, err := tx.TakeListed(Lister{Host: y.b}, []Listed{{DID: numbered(0), Rev: 4}, {DID: numbered(1), Rev: 6}})
		return err
	})
	if n := y.count("SELECT sum(repo_id) FROM resync_queue WHERE reason = ?", int64(Refresh)); n != 2 {
		t.Errorf("documents are looked at of the repos with sum %d, want that of the second", n)
	}
	sound(t, y.Reader)
}

// A relay lists a rev below the head. Mostly it is a moment behind; if the document is
// old, the account may have moved, and the relay follows it there.
func TestARelayThatIsBehindIsAReasonToLookAtAnOldDocument(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 30)
	y.resolves("a.example.com", 0, 30)
	y.establish(30)
	page := make([]Listed, 30)
	for n := range page {
		page[n] = Listed{DID: numbered(n), Rev: 4, Active: true}
	}
	for _, c := range []struct {
		name   string
		from   Lister
		after  time.Duration
		queued int64
	}{
		{"a moment behind", Lister{}, time.Hour, 0},
		{"the host itself, of an old document", Lister{Host: y.a}, 2 * laggardAge, 0},
		{"a relay, and an old document", Lister{}, 0, maxMoved},
	} {
		y.now = y.now.Add(c.after)
		y.do(func(tx *Tx) error { _, err := tx.TakeListed(c.from, page); return err })
		if n := y.count("SELECT count(*) FROM resync_queue WHERE reason = ? AND background = 1", int64(Refresh)); n != c.queued {
			t.Errorf("%s: %d documents are to be looked at, want %d", c.name, n, c.queued)
		}
	}
	if n := y.count("SELECT count(*) FROM repo WHERE state <> 3"); n != 0 {
		t.Errorf("%d repos are out of service", n)
	}
	sound(t, y.Reader)
}

// A DID that the relay lists too, or whose document names any host, is nobody's
// candidate. One whose document is none of an account stays one.
func TestCandidatesCloseByOtherWays(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 100)
	y.do(func(tx *Tx) error {
		_, err := tx.AddListed([]Listed{{DID: numbered(0), Active: true}})
		return err
	})
	if got := y.budget(y.a); got != 1 {
		t.Errorf("budget %d, want 1", got)
	}
	y.resolves("b.example.com", 0, 2)
	if got := y.budget(y.a); got != 2 {
		t.Errorf("budget %d, want 2", got)
	}
	sound(t, y.Reader)
}

// A page that fits leaves as many candidates as it has, and says whether documents name
// the host for as many.
func TestAHostIsProvenWhileItHasNoMoreCandidatesThanAccounts(t *testing.T) {
	y := newYard(t)
	for _, c := range []struct {
		from, to int
		proven   bool
	}{{0, 60, false}, {60, 120, true}, {120, 181, false}, {181, 181, false}} {
		if got := y.list(y.a, c.from, c.to); got.Proven != c.proven {
			t.Errorf("%d to %d: %+v, want proven %t", c.from, c.to, got, c.proven)
		}
		if c.to == 60 {
			y.resolves("a.example.com", 0, 60)
		}
	}
}

// What is known of a repo is never deleted, whatever the directory says.
func TestOnlyBareRowsVanish(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 2)
	y.resolves("a.example.com", 0, 1)
	for n, want := range []bool{false, true} {
		y.do(func(tx *Tx) error {
			r, err := tx.RepoByDID(numbered(n))
			if err != nil {
				return err
			}
			if gone, err := tx.Vanish(r); err != nil || gone != want {
				t.Errorf("account %d: gone %t, %v", n, gone, err)
			}
			return nil
		})
	}
	if n := y.count("SELECT count(*) FROM resync_queue"); n != 1 {
		t.Errorf("%d rows queued, want 1", n)
	}
	y.list(y.b, 1, 2)
	if n := y.count("SELECT count(*) FROM repo WHERE found_at = ?", y.b); n != 1 {
		t.Error("what vanished is not found again")
	}
	sound(t, y.Reader)
}
