package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

// hostsFile is a file with two hosts and a clock of the test.
type hostsFile struct {
	*testing.T
	*Store
	now  time.Time
	a, b int64 // hosts
}

func newHostsFile(t *testing.T) *hostsFile {
	t.Helper()
	y := &hostsFile{T: t, now: time.Unix(1_800_000_000, 0)}
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

func (y *hostsFile) do(fn func(tx *Tx) error) {
	y.Helper()
	if err := y.Update(y.Context(), "test", fn); err != nil {
		y.Fatal(err)
	}
}

// list lets a host that nobody chose list the accounts from one number up to another.
// Like a page of a crawl it takes as many unknown ones as the host may have.
func (y *hostsFile) list(host int64, from, to int) (found int) {
	y.Helper()
	left := y.candidates(host).Left
	y.do(func(tx *Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.RepoOrNew(numbered(n))
			if err != nil {
				return err
			}
			if r.ID == 0 && int64(found) >= left {
				continue
			}
			if r.ID == 0 {
				found++
			}
			if err := decide(tx, r, repostate.Entry{Active: true, Host: host, Candidate: true}); err != nil {
				return err
			}
		}
		return nil
	})
	return found
}

func (y *hostsFile) count(query string, args ...any) (n int64) {
	y.Helper()
	if err := y.writer.QueryRowContext(y.Context(), query, args...).Scan(&n); err != nil {
		y.Fatal(err)
	}
	return n
}

func (y *hostsFile) candidates(host int64) (c Candidates) {
	y.Helper()
	if err := y.View(y.Context(), func(rx *Rx) (err error) {
		c, err = rx.Candidates(host)
		return err
	}); err != nil {
		y.Fatal(err)
	}
	return c
}

// resolves lets the documents of accounts name a host.
func (y *hostsFile) resolves(host string, from, to int) {
	y.Helper()
	y.do(func(tx *Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.RepoByDID(numbered(n))
			if err == nil {
				_, err = testrepo.SetIdentity(tx, r, testKey, host, false)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// vanishes lets the directory say of accounts that they do not exist, until it is
// believed.
func (y *hostsFile) vanishes(from, to int) {
	y.Helper()
	for range 2 {
		y.do(func(tx *Tx) error {
			for n := from; n < to; n++ {
				r, err := tx.RepoByDID(numbered(n))
				if err == nil {
					err = noSuchDID(tx, r)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		y.now = y.now.Add(time.Hour)
	}
}

// noSuchDID finishes an attempt at a repo with that word of the directory.
func noSuchDID(tx *Tx, r *Repo) error {
	if err := decide(tx, r, repostate.Lease{}); err != nil {
		return err
	}
	a := &Attempt{Repo: r, Step: Resolve, At: tx.now}
	gone := &repostate.Failure{Kind: repostate.FailedNoDID, Cause: errors.New("not found")}
	return decide(tx, r, repostate.Result{Attempt: a, Failure: gone})
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
	y := newHostsFile(t)
	for from := 0; from < 2000; from += 200 {
		if got := y.list(y.a, from, from+200); from > 0 && got != 0 {
			t.Fatalf("page at %d: %d found", from, got)
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
	if got := y.list(y.a, 0, 1000); got != 100 || y.candidates(y.a).Proven {
		t.Errorf("the liar once more: %d found, %+v", got, y.candidates(y.a))
	}
	if got := y.list(y.b, 1000, 2000); got != 100 {
		t.Errorf("another host: %d found", got)
	}
	sound(t, y.Reader)
}

// An honest host may list more and more: one DID more for each account that proves
// right.
func TestTheBudgetGrowsWithWhatProvesRight(t *testing.T) {
	y := newHostsFile(t)
	known := 0
	for _, want := range []int{100, 200, 400, 800} {
		if got := y.list(y.a, 0, 10_000); got != want {
			t.Fatalf("%d were taken, want %d", got, want)
		}
		y.resolves("a.example.com", known, known+want)
		known += want
	}
	if got := y.candidates(y.a).Left; got != int64(100+known) {
		t.Errorf("budget %d after %d", got, known)
	}
	sound(t, y.Reader)
}

// A host lists the accounts of another: they are found, once, and it may list no more
// for it.
func TestAHostThatListsTheAccountsOfOthersGainsNothing(t *testing.T) {
	y := newHostsFile(t)
	y.list(y.a, 0, 100)
	y.resolves("b.example.com", 0, 100)
	if got := y.candidates(y.a).Left; got != 100 {
		t.Errorf("budget %d", got)
	}
	if got := y.candidates(y.b).Left; got != 200 {
		t.Errorf("budget of the named host %d", got)
	}
	sound(t, y.Reader)
}

// A DID that the relay lists too, or whose document names any host, is nobody's
// candidate. One whose document is none of an account stays one.
func TestCandidatesCloseByOtherWays(t *testing.T) {
	y := newHostsFile(t)
	y.list(y.a, 0, 100)
	y.do(func(tx *Tx) error {
		return testrepo.List(tx, map[string]repostate.Entry{numbered(0): {Active: true}})
	})
	if got := y.candidates(y.a).Left; got != 1 {
		t.Errorf("budget %d, want 1", got)
	}
	y.resolves("b.example.com", 0, 2)
	if got := y.candidates(y.a).Left; got != 2 {
		t.Errorf("budget %d, want 2", got)
	}
	sound(t, y.Reader)
}

// A page that fits leaves as many candidates as it has, and says whether documents name
// the host for as many.
func TestAHostIsProvenWhileItHasNoMoreCandidatesThanAccounts(t *testing.T) {
	y := newHostsFile(t)
	for _, c := range []struct {
		from, to int
		proven   bool
	}{{0, 60, false}, {60, 120, true}, {120, 181, false}, {181, 181, false}} {
		y.list(y.a, c.from, c.to)
		if got := y.candidates(y.a); got.Proven != c.proven {
			t.Errorf("%d to %d: %+v, want proven %t", c.from, c.to, got, c.proven)
		}
		if c.to == 60 {
			y.resolves("a.example.com", 0, 60)
		}
	}
}

// What is known of a repo is never deleted, even if the decision was made on less.
func TestOnlyBareRowsAreForgotten(t *testing.T) {
	y := newHostsFile(t)
	y.list(y.a, 0, 2)
	var was [2]*Repo
	y.do(func(tx *Tx) (err error) {
		for n := range was {
			if was[n], err = tx.RepoByDID(numbered(n)); err != nil {
				return err
			}
		}
		return nil
	})
	y.resolves("a.example.com", 0, 1)
	y.do(func(tx *Tx) error {
		for _, r := range was {
			if _, err := tx.Apply(r, repostate.Decision{Repo: r, Forget: true}); err != nil {
				return err
			}
		}
		return nil
	})
	if n := y.count("SELECT repo_id FROM resync_queue"); n != was[0].ID {
		t.Errorf("repo %d is queued, want %d alone", n, was[0].ID)
	}
	if n := y.count("SELECT count(*) FROM resync_queue"); n != 1 {
		t.Errorf("%d rows queued, want 1", n)
	}
	y.list(y.b, 1, 2)
	if n := y.count("SELECT count(*) FROM repo WHERE found_host_id = ?", y.b); n != 1 {
		t.Error("what vanished is not found again")
	}
	sound(t, y.Reader)
}
