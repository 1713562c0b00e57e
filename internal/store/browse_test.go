package store

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"railyard/internal/test/testrepo"
	"slices"
	"testing"
	"time"
)

// read runs fn over one state of the file.
func read(t *testing.T, s *Store, fn func(*Rx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// onRepo runs fn over the repo of a DID, which is added if it is new.
func onRepo(t *testing.T, s *Store, did string, fn func(tx *Tx, r *Repo) error) {
	t.Helper()
	err := s.Update(t.Context(), "test", func(tx *Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil && r == nil {
			r, err = testrepo.Add(tx, did)
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func proven(nsids ...string) func(*Tx, *Repo) error {
	return func(tx *Tx, r *Repo) error {
		_, _, err := testrepo.Establish(tx, r, Head{Rev: 5}, nsids, ProofTree)
		return err
	}
}

// after asks for a page of collections and expects a place to go on after.
func after(rx *Rx, name string, limit int, wantNext string) func() ([]Collection, error) {
	return func() ([]Collection, error) {
		page, next, err := rx.Collections(name, limit)
		if err == nil && next != wantNext {
			err = fmt.Errorf("goes on after %q, want %q", next, wantNext)
		}
		return page, err
	}
}

func TestCollectionsWithoutVisibleMembersAreInNoList(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	onRepo(t, s, did(1), proven("com.example.a", "com.example.b", "com.example.C"))
	onRepo(t, s, did(2), proven("com.example.a", "com.example.gone"))
	onRepo(t, s, did(3), proven("com.example.b", "com.example.hidden"))
	onRepo(t, s, did(4), proven("com.example.a"))
	onRepo(t, s, did(2), func(tx *Tx, r *Repo) error {
		_, err := testrepo.RemoveMemberships(tx, r, []string{"com.example.gone"})
		return err
	})
	onRepo(t, s, did(3), func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") })
	read(t, s, func(rx *Rx) error {
		for _, c := range []struct {
			name string
			ask  func() ([]Collection, error)
			want []Collection
		}{
			{"all", after(rx, "", 10, ""), []Collection{{"com.example.C", 1}, {"com.example.a", 3}, {"com.example.b", 1}}},
			{"a page", after(rx, "com.example.C", 1, "com.example.a"), []Collection{{"com.example.a", 3}}},
			{"the end", after(rx, "com.example.b", 10, ""), nil},
			{"named", func() ([]Collection, error) {
				return rx.CollectionsNamed([]string{"com.example.hidden", "com.example.b", "com.example.never"})
			}, []Collection{{"com.example.b", 1}}},
			{"largest", func() ([]Collection, error) { return rx.Largest(2) }, []Collection{{"com.example.a", 3}, {"com.example.C", 1}}},
		} {
			if got, err := c.ask(); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
			}
		}
		return nil
	})
}

// Names can be minted and left: a page looks at so many and no more, and says
// where to go on.
func TestAPageOfCollectionsReadsABoundedNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	d, err := sql.Open("sqlite", dsn(path, "_pragma=busy_timeout(5000)"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.Exec(`INSERT INTO collection (nsid, members, first_seen_at)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= ?)
		SELECT printf('com.example.n%06d', i), i > ?, 0 FROM n`, maxExamined, maxExamined); err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprintf("com.example.n%06d", maxExamined)
	read(t, s, func(rx *Rx) error {
		if page, err := after(rx, "", 10, last)(); err != nil || len(page) != 0 {
			t.Errorf("the names without members: %v, %v", page, err)
		}
		page, err := after(rx, last, 10, "")()
		if want := fmt.Sprintf("com.example.n%06d", maxExamined+1); err != nil || len(page) != 1 || page[0].NSID != want {
			t.Errorf("the one behind them: %v, %v", page, err)
		}
		return nil
	})
}

func TestMembershipsSayWhenTheirNumberWasSet(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	now := start.Add(30 * time.Second)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	bear := func(nsid string) {
		onRepo(t, s, did(1), func(tx *Tx, r *Repo) error { _, err := testrepo.AddMemberships(tx, r, []string{nsid}); return err })
	}
	onRepo(t, s, did(1), proven("com.example.z"))
	now = start.Add(10 * time.Minute)
	bear("com.example.b")
	now = start.Add(10*time.Minute + 59*time.Second)
	bear("com.example.a")
	onRepo(t, s, did(2), proven("com.example.z"))
	late := start.Add(10 * time.Minute)
	read(t, s, func(rx *Rx) error {
		r, err := rx.RepoByDID(did(1))
		if err != nil {
			return err
		}
		want := []Membership{
			{"com.example.z", true, "resync", start}, {"com.example.b", true, "commit", late}, {"com.example.a", true, "commit", late},
		}
		got, last, err := rx.Memberships(r, 0, 2)
		if err != nil || !slices.Equal(got, want[:2]) {
			t.Errorf("first page %v, %v; want %v", got, err, want[:2])
		}
		if got, _, err := rx.Memberships(r, last, 2); err != nil || !slices.Equal(got, want[2:]) {
			t.Errorf("second page %v, %v; want %v", got, err, want[2:])
		}
		return nil
	})
	onRepo(t, s, did(1), func(tx *Tx, r *Repo) error { return testrepo.SetState(tx, r, NotFound) })
	read(t, s, func(rx *Rx) error {
		r, err := rx.RepoByDID(did(1))
		if err != nil {
			return err
		}
		got, _, err := rx.Memberships(r, 0, 10)
		if err != nil || len(got) != 3 || got[0].Visible || !got[0].Since.Equal(start) {
			t.Errorf("hidden rows %v, %v", got, err)
		}
		return nil
	})
}

func TestWaitingIsTheRowOfTheQueue(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	due := now.Add(time.Hour)
	onRepo(t, s, did(1), func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, Backfill, due) })
	onRepo(t, s, did(2), proven())
	onRepo(t, s, did(3), func(tx *Tx, r *Repo) error { return testrepo.Enqueue(tx, r, MissedRev, due) })
	for n, want := range map[int]*Waiting{
		1: {Reason: Backfill, Priority: 4, QueuedAt: now, NotBefore: due, Generation: 1}, 2: nil, 3: {Reason: MissedRev, Priority: 6, QueuedAt: now, NotBefore: due},
	} {
		read(t, s, func(rx *Rx) error {
			r, err := rx.RepoByDID(did(n))
			if err != nil {
				return err
			}
			got := r.Waiting
			if err != nil || (got == nil) != (want == nil) || (got != nil && *got != *want) {
				t.Errorf("repo %d: %+v, %v; want %+v", n, got, err, want)
			}
			return nil
		})
	}
}

func TestKnownReposComeInTheOrderOfTheirIDs(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	for n := range 6 {
		onRepo(t, s, did(n), func(*Tx, *Repo) error { return nil }) // 5 stays a candidate
	}
	for _, n := range []int{4, 3, 2, 1, 0} {
		onRepo(t, s, did(n), proven("com.example.a"))
	}
	onRepo(t, s, did(1), func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") })
	onRepo(t, s, did(2), func(tx *Tx, r *Repo) error { return testrepo.Leave(tx, r, "deleted") })
	onRepo(t, s, did(3), func(tx *Tx, r *Repo) error { return testrepo.SetState(tx, r, NotFound) })
	read(t, s, func(rx *Rx) error {
		var got []string
		for after := int64(0); ; {
			page, err := rx.KnownRepos(after, 2)
			if err != nil || len(page) == 0 {
				want := []string{
					did(0) + " 5 synchronized true ", did(1) + " 5 desynchronized false suspended",
					did(3) + " 5 not_found true ", did(4) + " 5 synchronized true ",
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q\nwant %q", got, want)
				}
				return err
			}
			for _, r := range page {
				got = append(got, fmt.Sprint(r.DID, " ", int64(r.Rev), " ", r.State, " ", r.Active, " ", r.Status))
				after = r.ID
			}
		}
	})
}

func TestHostsCountTheAccountsThatNameThem(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	at := func(host string) func(*Tx, *Repo) error {
		return func(tx *Tx, r *Repo) error {
			_, err := testrepo.SetIdentity(tx, r, testKey, host, false)
			return errors.Join(err, proven("com.example.a")(tx, r))
		}
	}
	for n := range 4 {
		onRepo(t, s, did(n), at("a.example.com"))
	}
	onRepo(t, s, did(1), at("b.example.com"))
	onRepo(t, s, did(2), at("a.example.com")) // looked up again
	read(t, s, func(rx *Rx) error {
		all, err := rx.HostsAfter(0, 10)
		if err != nil {
			return err
		}
		if len(all) != 2 || all[0].Name != "a.example.com" || all[0].Accounts != 3 || all[1].Accounts != 1 {
			t.Errorf("hosts %+v", all)
		}
		behind, err := rx.HostsAfter(all[0].ID, 1)
		if err != nil {
			return err
		}
		one, err := rx.HostNamed("b.example.com")
		if err != nil || len(behind) != 1 || behind[0] != *one || *one != all[1] {
			t.Errorf("behind the first %+v, by its name %+v: %v", behind, one, err)
		}
		none, err := rx.HostNamed("c.example.com")
		if none != nil {
			t.Errorf("a host that nobody has named: %+v", none)
		}
		return err
	})
	sound(t, s.Reader)
}
