package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"railyard/internal/test/testrepo"
	"testing"
	"time"
)

// rowsOf returns the visible rows by collection, the listed repos under "".
func rowsOf(t *testing.T, s *Store) map[string]map[string]bool {
	rows := make(map[string]map[string]bool)
	read(t, s, func(rx *Rx) error {
		return rx.VisibleRows(func(nsid, did string) {
			if rows[nsid] == nil {
				rows[nsid] = make(map[string]bool)
			}
			rows[nsid][did] = true
		})
	})
	return rows
}

// Repos come, go, hide and return while the clock moves by minutes and days: each step has
// what the rows were at its end, and what became of them in it.
func TestHistoryIsWhatTheRowsWere(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 13))
		start := time.Unix(1_800_000_000, 0)
		now := start
		s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "index.db"), Version: "test", Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		nsids := []string{"com.example.a", "com.example.b", "com.example.c"}
		type key struct {
			nsid string
			hour int64
		}
		want := make(map[key]Step) // births and deaths of the hours, and the members at the end of those that changed something
		first := make(map[string]int64)
		before := rowsOf(t, s)
		for range 120 {
			now = now.Add(time.Duration(rng.IntN(100)) * time.Minute)
			if rng.IntN(30) == 0 {
				now = now.Add(50 * time.Hour)
			}
			onRepo(t, s, did(rng.IntN(8)), func(tx *Tx, r *Repo) error {
				set := nsids[:rng.IntN(len(nsids)+1)]
				switch rng.IntN(5) {
				case 0:
					_, err := testrepo.AddMemberships(tx, r, set)
					return err
				case 1:
					_, err := testrepo.RemoveMemberships(tx, r, set)
					return err
				case 2:
					return testrepo.Hide(tx, r, "suspended")
				case 3:
					return testrepo.Show(tx, r)
				}
				return proven(set...)(tx, r)
			})
			after := rowsOf(t, s)
			for _, nsid := range append([]string{""}, nsids...) {
				k := key{nsid, now.Unix() / 3600}
				w := want[k]
				for did := range after[nsid] {
					if !before[nsid][did] {
						w.Births++
					}
				}
				for did := range before[nsid] {
					if !after[nsid][did] {
						w.Deaths++
					}
				}
				w.Members = int64(len(after[nsid]))
				want[k] = w
				if _, ok := first[nsid]; !ok && w.Births > 0 {
					first[nsid] = k.hour
				}
			}
			before = after
		}
		for _, nsid := range append([]string{""}, nsids...) {
			for _, hours := range []int64{1, 24} {
				var h History
				from := start.Add(time.Duration(rng.IntN(40)-10) * time.Hour)
				upto := now.Add(-time.Duration(rng.IntN(20)) * time.Hour)
				read(t, s, func(rx *Rx) (err error) {
					h, err = rx.History(nsid, from, upto, time.Duration(hours)*time.Hour)
					return err
				})
				if got := h.Since.Unix() / 3600 / hours; got != first[nsid]/hours {
					t.Errorf("seed %d, %q: since %v", seed, nsid, h.Since)
				}
				n := max(from.Unix()/3600/hours, first[nsid]/hours)
				if got := int64(len(h.Steps)); got != upto.Unix()/3600/hours-n+1 {
					t.Fatalf("seed %d, %q, %d hours: %d steps", seed, nsid, hours, got)
				}
				var members int64
				for hour := start.Unix() / 3600; hour < n*hours; hour++ {
					if w, ok := want[key{nsid, hour}]; ok {
						members = w.Members
					}
				}
				for _, got := range h.Steps {
					w := Step{Start: time.Unix(n*hours*3600, 0).UTC()}
					for hour := n * hours; hour < (n+1)*hours; hour++ {
						if c, ok := want[key{nsid, hour}]; ok {
							members, w.Births, w.Deaths = c.Members, w.Births+c.Births, w.Deaths+c.Deaths
						}
					}
					if w.Members = members; got != w {
						t.Errorf("seed %d, %q, %d hours: %+v, want %+v", seed, nsid, hours, got, w)
					}
					n++
				}
			}
		}
	}
}

func TestHistoryOfWhatIsNotThereIsEmpty(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	onRepo(t, s, did(1), proven("com.example.a"))
	now := time.Now()
	for _, c := range []struct {
		nsid       string
		from, upto time.Time
		known      bool
	}{
		{"com.example.never", now, now, false},
		{"com.example.a", now.Add(-9 * time.Hour), now.Add(-5 * time.Hour), true},
	} {
		read(t, s, func(rx *Rx) error {
			h, err := rx.History(c.nsid, c.from, c.upto, time.Hour)
			if err == nil && (len(h.Steps) != 0 || h.Since.IsZero() == c.known) {
				t.Errorf("%s: %+v", c.nsid, h)
			}
			return err
		})
	}
}

func TestDistinctCountsEachRepoOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	rng := rand.New(rand.NewPCG(1, 2))
	nsids := []string{"com.example.a", "com.example.b.c", "com.example.d", "com.examples.e", "org.example.f"}
	for n := range 12 {
		var set []string
		for _, nsid := range nsids {
			if rng.IntN(3) == 0 {
				set = append(set, nsid)
			}
		}
		onRepo(t, s, did(n), proven(set...))
	}
	onRepo(t, s, did(3), func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") })
	rows := rowsOf(t, s)
	for _, c := range []struct{ asked, means []string }{
		{[]string{"com.example.a"}, nsids[:1]},
		{[]string{"com.example.a", "com.example.d"}, []string{"com.example.a", "com.example.d"}},
		{[]string{"com.example.*"}, nsids[:3]},
		{[]string{"com.example.*", "com.example.a", "org.example.f"}, []string{nsids[0], nsids[1], nsids[2], nsids[4]}},
		{[]string{"com.example.b.*", "com.example.never"}, nsids[1:2]},
		{[]string{"com.example.never", "org.example.f"}, nsids[4:]},
		{[]string{"com.example.never"}, nil},
	} {
		set := make(map[string]bool)
		for _, nsid := range c.means {
			maps.Copy(set, rows[nsid])
		}
		read(t, s, func(rx *Rx) error {
			n, err := rx.Distinct(c.asked)
			if err == nil && n != int64(len(set)) {
				t.Errorf("%v: %d, want %d", c.asked, n, len(set))
			}
			return err
		})
	}
	read(t, s, func(rx *Rx) error {
		counts, err := rx.Counts([]string{"com.example.*", "com.example.a", "com.example.never", ""})
		var below Count
		for _, nsid := range nsids[:3] {
			if n := int64(len(rows[nsid])); n > 0 {
				below.Collections, below.Members = below.Collections+1, below.Members+n
			}
		}
		want := fmt.Sprint([]Count{below, {1, int64(len(rows[nsids[0]]))}, {}, {1, int64(len(rows[""]))}})
		if fmt.Sprint(counts) != want {
			t.Errorf("counts %v, want %s", counts, want)
		}
		return err
	})
}

// What is too large is refused before it is read.
func TestDistinctIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	onRepo(t, s, did(1), proven("com.example.a", "com.example.b"))
	for _, c := range []struct {
		members int64
		want    error
	}{{maxCounted - 1, nil}, {maxCounted, ErrTooLarge}} {
		raw(t, path, fmt.Sprintf("UPDATE collection SET members = %d WHERE nsid = 'com.example.a'", c.members))
		read(t, s, func(rx *Rx) error {
			if _, err := rx.Distinct([]string{"com.example.a", "com.example.b"}); !errors.Is(err, c.want) {
				t.Errorf("%d members: %v", c.members, err)
			}
			return nil
		})
	}
}
