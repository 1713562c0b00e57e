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
	y.do(func(tx *Tx) (err error) {
		err = errors.Join(tx.ListHost("a.example.com", false, "active"), tx.ListHost("b.example.com", false, "active"))
		return err
	})
	hosts := y.due()
	y.a, y.b = hosts[0].ID, hosts[1].ID
	return y
}

func (y *yard) do(fn func(tx *Tx) error) {
	y.Helper()
	if err := y.Update(y.Context(), "test", fn); err != nil {
		y.Fatal(err)
	}
}

func (y *yard) due() (due []HostWalk) {
	y.Helper()
	if err := y.View(y.Context(), func(rx *Rx) (err error) {
		due, err = rx.DueHosts(y.now, 100)
		return err
	}); err != nil {
		y.Fatal(err)
	}
	return due
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

func (y *yard) room(host int64) int64 {
	return y.count("SELECT room FROM host WHERE id = ?", host)
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
	if got := y.list(y.a, 0, 1000); got.Found != 0 || y.room(y.a) != 0 {
		t.Errorf("a liar has room for %d, and %d were taken", y.room(y.a), got.Found)
	}
	if got := y.list(y.b, 0, 1000); got.Found != 100 {
		t.Errorf("another host had no room: %+v", got)
	}
	sound(t, y.Reader)
}

// An honest host is walked faster and faster: each account that proves right
// makes room for four more.
func TestRoomGrowsWithWhatProvesRight(t *testing.T) {
	y := newYard(t)
	known := 0
	for _, want := range []int{100, 500, 2500} {
		got := y.list(y.a, 0, 10_000)
		if got.Found != want || !got.Full {
			t.Fatalf("%d were taken, want %d", got.Found, want)
		}
		y.resolves("a.example.com", known, known+got.Found)
		known += got.Found
	}
	if got := y.room(y.a); got != int64(100+4*known) {
		t.Errorf("room %d after %d", got, known)
	}
	sound(t, y.Reader)
}

// A host lists the accounts of another: they are found, once, and count against
// it. What it says of accounts that are known as others' is nothing: no status
// check, no sweep, however often it is said.
func TestAHostThatListsTheAccountsOfOthersGainsNothing(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 100)
	y.resolves("b.example.com", 0, 100)
	if got := y.room(y.a); got != 0 {
		t.Errorf("room %d", got)
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

// A candidate that the relay lists too, or whose document is none of an account,
// is open no longer; the latter counts against the host.
func TestCandidatesCloseByOtherWays(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 100)
	y.do(func(tx *Tx) error {
		_, err := tx.AddListed([]Listed{{DID: numbered(0), Active: true}})
		r, err2 := tx.RepoByDID(numbered(1))
		return errors.Join(err, err2, tx.RejectCandidate(r))
	})
	if got := y.room(y.a); got != 1 {
		t.Errorf("room %d, want 1", got)
	}
	if misled := y.count("SELECT misled FROM host WHERE id = ?", y.a); misled != 1 {
		t.Errorf("%d misses, want 1", misled)
	}
	y.do(func(tx *Tx) error { // both were closed before: nothing is counted twice
		r, err := tx.RepoByDID(numbered(1))
		return errors.Join(err, tx.RejectCandidate(r))
	})
	y.resolves("a.example.com", 0, 2)
	if got := y.count("SELECT proven + misled FROM host WHERE id = ?", y.a); got != 1 {
		t.Errorf("%d were counted, want 1", got)
	}
	sound(t, y.Reader)
}

// The walk of a host that is full waits at its page, and goes on by itself when
// half of the candidates are resolved.
func TestAFullWalkGoesOnWhenHalfIsResolved(t *testing.T) {
	y := newYard(t)
	y.list(y.a, 0, 1000)
	y.do(func(tx *Tx) error {
		return errors.Join(tx.SetHostCursor(y.a, "7"), tx.PauseHostWalk(y.a, y.now.Add(time.Hour)))
	})
	isDue := func() bool {
		for _, h := range y.due() {
			if h.ID == y.a {
				return h.Cursor == "7"
			}
		}
		return false
	}
	for n := 0; n < 10; n++ { // each makes room for 5: 10, then 90 wait and there is room for 50
		y.resolves("a.example.com", n, n+1)
		if isDue() {
			t.Fatalf("it goes on after %d of 100", n+1)
		}
	}
	y.resolves("a.example.com", 10, 17)
	if !isDue() {
		t.Errorf("it does not go on: %d candidates, room %d", y.count("SELECT candidates FROM host WHERE id = ?", y.a), y.room(y.a))
	}
	sound(t, y.Reader)
}

// A host whose candidates all were wrong has no room and nothing that could make
// some. Half of its misses are forgiven at each pause: fifty DIDs a time, no
// flood.
func TestALiarGetsAnotherChanceAndNoMore(t *testing.T) {
	y := newYard(t)
	total := 0
	for range 10 {
		got := y.list(y.a, total, total+1000)
		y.vanishes(total, total+got.Found)
		total += got.Found
		y.do(func(tx *Tx) error { return tx.PauseHostWalk(y.a, y.now.Add(24*time.Hour)) })
	}
	if total < 500 || total > 600 {
		t.Errorf("%d DIDs in ten turns", total)
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
