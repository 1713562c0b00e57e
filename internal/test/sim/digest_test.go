package sim

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/test/simnet"
)

// untold are the columns that say when something was written or heard, how it was gone
// about, or what name was drawn for the file: they may differ between two runs of one
// history.
var untold = []string{
	"index_id", "proven_at", "error_at", "said_at", "fetched_at", "status_asked_at", "changed_at", "last_event_at", "lag", "last_at", "sample", "answers",
	"due_at", "started_at", "finished_at", "created_at", "first_seen_at", "cooldown_until",
}

// dump writes every row of every table of a file, without the columns of untold.
func dump(t *testing.T, file string) map[string][]string {
	t.Helper()
	d := open(t, file)
	tables := map[string][]string{}
	for _, table := range column(t, d, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name") {
		switch table {
		case "seq_clock", "host_queue", "listing_block": // the minutes of numbers; when each host was asked; where blocks end
			continue
		}
		var kept []string
		for _, name := range column(t, d, "SELECT name FROM pragma_table_info('"+table+"') ORDER BY cid") {
			if !slices.Contains(untold, name) {
				kept = append(kept, "quote("+name+")")
			}
		}
		tables[table] = column(t, d, "SELECT "+strings.Join(kept, "||' '||")+" FROM "+table+" ORDER BY 1")
	}
	if len(tables) < 12 || len(tables["membership"]) < 20 {
		t.Fatalf("%d tables, %d memberships", len(tables), len(tables["membership"]))
	}
	return tables
}

func open(t *testing.T, file string) *sql.DB {
	t.Helper()
	d, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func column(t *testing.T, d *sql.DB, query string) (out []string) {
	t.Helper()
	rows, err := d.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// contents are the facts of a file, without its numbers: which repos there are,
// what they are, and which collections they have. How far the hidden repo of an
// inactive account was followed is none, nor is a key that nobody has signed with:
// if its #identity was lost, it may be a week until it is looked for.
func contents(t *testing.T, file string) map[string][]string {
	t.Helper()
	d := open(t, file)
	return map[string][]string{
		"repos": column(t, d, `SELECT concat_ws(' ', did, state, rev, data, "commit", host) FROM repo_info WHERE visible ORDER BY did`),
		"gone":  column(t, d, "SELECT concat_ws(' ', did, active, status) FROM repo_info WHERE NOT visible ORDER BY did"),
		"rows":  column(t, d, "SELECT did || ' ' || nsid FROM repo_collections WHERE visible ORDER BY did, nsid"),
		"names": column(t, d, "SELECT nsid || ' ' || members FROM collection_stats ORDER BY nsid"),
	}
}

func digest(tables map[string][]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		_, _ = fmt.Fprintf(h, "%s\n%s\n", name, strings.Join(tables[name], "\n"))
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// shape is what must not matter.
type shape struct{ provers, batch, workers int }

var shapes = []shape{{1, 1, 1}, {8, 1, 128}, {1, 1000, 128}, {8, 1000, 1}}

func (h shape) fit(c *daemon.Config) {
	c.Provers, c.Batch, c.ResyncWorkers = h.provers, h.batch, h.workers
}

// One history of commits on one file: every table is the same to the last number,
// whoever proves and however the events are grouped.
func TestRowsDoNotDependOnProversOrBatches(t *testing.T) {
	for seed := range (seeds(t) + 1) / 2 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var first map[string][]string
			for i, h := range shapes {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 20, Records: 20, Relay: true, Start: time.Now()})
					s.configure = func(c *daemon.Config) {
						// One worker sees the repos in one order.
						c.Provers, c.Batch, c.ResyncWorkers = h.provers, h.batch, 1
					}
					r := s.start("index.db", s.net.Relay())
					time.Sleep(time.Minute)
					r.settle("relay")
					if err := s.net.Switch(simnet.Rule{Fault: simnet.Repeat, Chance: 0.1}, simnet.Rule{Fault: simnet.UnknownType, Chance: 0.1}); err != nil {
						t.Fatal(err)
					}
					s.commits(300)
					r.settle("relay")
					r.same()
					r.end()
					got := dump(t, r.file)
					if i == 0 {
						first = got
					}
					compare(t, h, got, first)
				})
			}
		})
	}
}

// A whole life with lies and losses: who came first may differ, not what is so.
func TestContentsDoNotDependOnWorkersOrBatches(t *testing.T) {
	for seed := range (seeds(t) + 1) / 2 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var first map[string][]string
			for i, h := range shapes {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, simnet.Config{Seed: seed, PDS: 2, Accounts: 20, Records: 20, Relay: true, Churn: true, Start: time.Now()})
					s.configure = h.fit
					r := s.start("index.db", s.net.Relay())
					time.Sleep(time.Minute)
					if err := s.net.Switch(simnet.Mixture(seed, 0.05, simnet.OnStream)...); err != nil {
						t.Fatal(err)
					}
					for range 4 {
						s.live(75)
						time.Sleep(time.Minute)
					}
					s.net.SwitchOff()
					time.Sleep(time.Minute)
					s.live(50)
					time.Sleep(25 * time.Hour)
					r.settle("relay")
					r.same()
					r.end()
					got := contents(t, r.file)
					if i == 0 {
						first = got
					}
					compare(t, h, got, first)
				})
			}
		})
	}
}

func compare(t *testing.T, h shape, got, want map[string][]string) {
	t.Helper()
	if digest(got) == digest(want) {
		return
	}
	for _, table := range slices.Sorted(maps.Keys(want)) {
		a, b := got[table], want[table]
		if slices.Equal(a, b) {
			continue
		}
		t.Errorf("%+v: %s has %d rows, with %+v %d", h, table, len(a), shapes[0], len(b))
		shown := 0
		for _, row := range a {
			if !slices.Contains(b, row) && shown < 3 {
				shown++
				t.Errorf("  %s", row)
			}
		}
		for _, row := range b {
			if !slices.Contains(a, row) && shown < 6 {
				shown++
				t.Errorf("  not %s", row)
			}
		}
	}
}
