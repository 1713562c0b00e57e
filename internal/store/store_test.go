package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"railyard"
	"railyard/internal/test/testrepo"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func scalar[T any](t *testing.T, path, query string) (v T) {
	t.Helper()
	d, err := sql.Open("sqlite", dsn(path, "mode=ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func TestOpenMakesAFileThatSaysWhatItIs(t *testing.T) {
	for _, name := range []string{"index.db", "a ? strange # name %41.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		if len(s.IndexID()) != 13 {
			t.Errorf("index id %q", s.IndexID())
		}
		if got := scalar[int](t, path, "PRAGMA application_id"); got != applicationID {
			t.Errorf("application id %#x", got)
		}
		if got := scalar[int](t, path, "PRAGMA user_version"); got != schemaVersion {
			t.Errorf("schema version %d", got)
		}
		if got := scalar[string](t, path, "PRAGMA journal_mode"); got != "wal" {
			t.Errorf("journal mode %s", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if again := open(t, path); again.IndexID() != s.IndexID() || again.seq <= s.seq {
			t.Errorf("after a restart: index %s, seq %d; before %s, %d", again.IndexID(), again.seq, s.IndexID(), s.seq)
		}
	}
}

// A client may hold any number that was ever given. An older copy of the file, of the
// same run or of runs ago, goes on above all of them.
func TestNumbersThatWereTakenBackAreNotGivenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run := func(later time.Duration) (first, next int64) {
		t.Helper()
		now = now.Add(later)
		s, err := Open(t.Context(), Config{Path: path, Version: "test", Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		first = s.seq
		err = s.Update(t.Context(), "take numbers", func(tx *Tx) error { tx.nextSeq(1000); return nil })
		next = s.seq
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		return first, next
	}
	var copies [][]byte
	var highest int64
	for _, later := range []time.Duration{0, time.Minute, 0, time.Hour, time.Second, 24 * time.Hour} {
		first, next := run(later)
		if first <= highest {
			t.Errorf("at %s the numbers begin with %d, below %d", now, first, highest)
		}
		highest = next
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, data)
	}
	for i, data := range copies {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		first, next := run(time.Minute)
		if first <= highest {
			t.Errorf("on the copy of run %d the numbers begin with %d, below %d", i, first, highest)
		}
		highest = next
	}
	// A clock that was set back is of no help against a restore. Against a power cut
	// the leap is.
	if first, _ := run(-1000 * time.Hour); first < highest+seqLeap {
		t.Errorf("after the clock was set back the numbers begin with %d, below %d", first, highest+seqLeap)
	}
}

func TestOpenRefuses(t *testing.T) {
	sqlite := func(script string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			d, err := sql.Open("sqlite", dsn(path))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			if _, err := d.Exec(script); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    error
	}{
		"another application's file": {sqlite("CREATE TABLE a (b); PRAGMA application_id=7"), ErrForeign},
		"a file without application": {sqlite("CREATE TABLE a (b)"), ErrForeign},
		"a newer version":            {sqlite(fmt.Sprintf("CREATE TABLE a (b); PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, schemaVersion+1)), ErrNewer},
		"a file of a former schema":  {sqlite(fmt.Sprintf("CREATE TABLE a (b); PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, firstSchema-1)), ErrFormer},
		"what is no database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database, ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrForeign},
		"a file in use": {func(t *testing.T, path string) { open(t, path) }, ErrInUse},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			tc.prepare(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Config{Path: path, Version: "test"})
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if s != nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("store %v, error %q", s, err)
			}
			if after, _ := os.ReadFile(path); !slices.Equal(after, before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestMigrationsLeadStepByStepToTheNewestVersion(t *testing.T) {
	const first = firstSchema
	file := func(n int, name string) string { return fmt.Sprintf("db/migrations/%04d_%s.sql", first+n, name) }
	steps := fstest.MapFS{
		file(1, "more"): {Data: []byte("ALTER TABLE a ADD COLUMN c")},
		file(2, "less"): {Data: []byte("ALTER TABLE a DROP COLUMN b; CREATE TABLE d (e)")},
		file(3, "bad"):  {Data: []byte("CREATE TABLE f (g); ALTER TABLE nothing ADD COLUMN x")},
	}
	path := filepath.Join(t.TempDir(), "x.db")
	d, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	st := &Store{file: d}
	if err := st.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer st.writer.close()
	version := func() (v int) {
		if err := d.QueryRow("PRAGMA user_version").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if err := st.upgrade(t.Context(), steps, "CREATE TABLE a (b)", first, nil); err != nil || version() != first {
		t.Fatal(err, version())
	}
	if err := st.upgrade(t.Context(), steps, "", first+2, nil); err != nil || version() != first+2 {
		t.Fatal(err, version())
	}
	if _, err := d.Exec("INSERT INTO a (c) VALUES (1); INSERT INTO d (e) VALUES (1)"); err != nil {
		t.Error(err)
	}
	if err := st.upgrade(t.Context(), steps, "", first+3, nil); err == nil || version() != first+2 {
		t.Errorf("a bad step: %v, version %d", err, version())
	}
	if _, err := d.Exec("SELECT g FROM f"); err == nil {
		t.Error("half of a bad step stayed")
	}
	if err := st.upgrade(t.Context(), fstest.MapFS{}, "", first+3, nil); err == nil || !strings.Contains(err.Error(), "0 migrations") {
		t.Errorf("a missing step: %v", err)
	}
}

// The comments of the schema are the file's documentation: they must be in it.
func TestTheFileExplainsItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	open(t, path)
	d, err := sql.Open("sqlite", dsn(path, "mode=ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	rows, err := d.Query("SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		n++
		if !strings.Contains(text, "\n  -- ") {
			t.Errorf("%s does not say what it holds", name)
		}
		if strings.HasPrefix(text, "CREATE TABLE") && !strings.Contains(text, "STRICT") {
			t.Errorf("%s is not STRICT", name)
		}
	}
	if n < 20 {
		t.Errorf("only %d tables and views", n)
	}
	for _, view := range []string{"repos_by_collection", "repo_collections", "collection_stats", "repo_info", "resync_backlog", "host_health"} {
		if _, err := d.Exec("SELECT * FROM " + view); err != nil {
			t.Errorf("view %s: %v", view, err)
		}
	}
}

var (
	argument = regexp.MustCompile(`sqlc\.n?arg\((\w+)\)`)
	ascii    = regexp.MustCompile(`^[\x00-\x7f]*$`)
	notTable = regexp.MustCompile(`^SCAN (CONSTANT ROW|\(subquery)`)
)

// Every query must find its rows by an index. Scanning is for tables that have
// a handful of rows, and for the queries of the check and of people.
func TestNoQueryScansATable(t *testing.T) {
	small := map[string]bool{
		"Meta": true, "Invariants": true, "RepoTally": true, "QueueTally": true, "Upstreams": true, "MembershipTally": true,
		"RefusalCounts": true, "FailingHosts": true, // a few dozen reasons; thousands of hosts, for status alone
		"HostHeads": true, "ReadyHosts": true, "NextReady": true, // six priorities, each of which is sought
		"ForgetAttempts": true, "ClampHosts": true, // all hosts, at a start
		"PlanCrawls": true, "UnplanCrawls": true, // all crawls, at a start
	}
	d, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	d.SetMaxOpenConns(1)
	if _, err := d.Exec(railyard.Schema); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !ascii.Match(text) {
			t.Errorf("%s is not ASCII: sqlc counts its offsets wrong", file)
		}
		for _, q := range strings.Split(string(text), "-- name: ")[1:] {
			head, body, _ := strings.Cut(q, "\n")
			name, _, _ := strings.Cut(head, " ")
			plan := planOf(t, d, name, argument.ReplaceAllString(body, "NULL"))
			if small[name] || strings.HasPrefix(name, "Check") || name == "Violations" {
				continue
			}
			for _, step := range plan {
				if strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "VIRTUAL TABLE") && !notTable.MatchString(step) && !strings.Contains(step, "SCAN d") {
					t.Errorf("%s: %s", name, step)
				}
			}
		}
	}
}

func planOf(t *testing.T, d *sql.DB, name, query string) (steps []string) {
	t.Helper()
	rows, err := d.Query("EXPLAIN QUERY PLAN " + query)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	return steps
}

func did(n int) string { return "did:plc:" + strings.Repeat(string(rune('a'+n)), 24) }

// The change feed, replayed, gives the visible rows, but for first backfills.
func TestTheChangeFeedHasEveryTransition(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	path := filepath.Join(t.TempDir(), "index.db")
	s, err := Open(t.Context(), Config{Path: path, Version: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	step := func(fn func(tx *Tx, r *Repo) error) {
		t.Helper()
		if err := s.Update(t.Context(), "test", func(tx *Tx) error {
			r, err := tx.RepoByDID(did(0))
			if r == nil && err == nil {
				r, err = testrepo.Add(tx, did(0))
			}
			if err != nil {
				return err
			}
			return fn(tx, r)
		}); err != nil {
			t.Fatal(err)
		}
	}
	establish := func(nsids ...string) func(tx *Tx, r *Repo) error {
		return func(tx *Tx, r *Repo) error {
			_, _, err := testrepo.Establish(tx, r, Head{Rev: 5}, nsids, ProofTree)
			return err
		}
	}
	step(establish("a.b.c"))
	step(func(tx *Tx, r *Repo) error { _, err := testrepo.AddMemberships(tx, r, []string{"a.b.d"}); return err })
	step(func(tx *Tx, r *Repo) error {
		_, err := testrepo.RemoveMemberships(tx, r, []string{"a.b.c"})
		return err
	})
	step(func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") })
	step(func(tx *Tx, r *Repo) error { return testrepo.Show(tx, r) })
	step(establish("a.b.d", "a.b.e"))
	step(establish("a.b.e", "a.b.f"))
	step(func(tx *Tx, r *Repo) error { return testrepo.SetState(tx, r, NotFound) })
	got := scalar[string](t, path, `SELECT group_concat(nsid || visible || cause, ' ')
		FROM (SELECT iif(c.id = 0, 'repo', nsid) AS nsid, m.visible, m.cause
		      FROM membership_change m JOIN collection c ON c.id = m.collection_id ORDER BY m.seq)`)
	want := "repo15 a.b.d11 a.b.c02 repo03 repo14 a.b.d02 a.b.f11 repo06"
	if got != want {
		t.Errorf("feed %q, want %q", got, want)
	}
	now = now.Add(changesKept + time.Minute)
	if err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, path, "SELECT count(*) FROM membership_change"); n != 0 {
		t.Errorf("%d changes after a week", n)
	}
}

// Names can be invented at will: a collection that nobody has had for a week goes, and
// comes back as another one. Whoever was in the middle of its pages misses nobody.
func TestCollectionsThatNobodyHasGo(t *testing.T) {
	f := newShelf(t)
	for n := range 3 {
		f.inService(did(n))
	}
	change := func(n int, add bool, nsid string) {
		f.with(did(n), func(tx *Tx, r *Repo) error {
			if !add {
				_, err := testrepo.RemoveMemberships(tx, r, []string{nsid})
				return err
			}
			_, err := testrepo.AddMemberships(tx, r, []string{nsid})
			return err
		})
	}
	const junk, hidden, late = "junk.example.a", "junk.example.hidden", "junk.example.late"
	change(0, true, junk)
	change(1, true, hidden)
	f.with(did(1), func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") })
	list := func(after int64) (page Page) {
		err := f.View(t.Context(), func(rx *Rx) error { return rx.List(&page, []string{junk}, after, 10) })
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := list(0)
	change(0, false, junk)
	has := func(nsid string) bool {
		return scalar[int](t, f.path, "SELECT count(*) FROM collection WHERE nsid = '"+nsid+"'") == 1
	}
	for day := range 8 {
		if err := f.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !has(junk) {
			t.Fatalf("it is gone after %d days", day)
		}
		f.now = f.now.Add(24 * time.Hour)
		if day == 6 { // in one transaction it comes and goes
			f.with(did(2), func(tx *Tx, r *Repo) error {
				_, err := testrepo.AddMemberships(tx, r, []string{late})
				if err == nil {
					_, err = testrepo.RemoveMemberships(tx, r, []string{late})
				}
				return err
			})
		}
	}
	if err := f.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has(junk) || !has(hidden) || !has(late) {
		t.Errorf("%s %t, %s %t, %s %t", junk, has(junk), hidden, has(hidden), late, has(late))
	}
	last := scalar[int](t, f.path, "SELECT max(id) FROM collection")
	f.now = f.now.Add(8 * 24 * time.Hour)
	if err := f.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(2, true, junk)
	if again := scalar[int](t, f.path, "SELECT id FROM collection WHERE nsid = '"+junk+"'"); has(late) || again <= last {
		t.Errorf("id %d, after %d had been given", again, last)
	}
	if next := list(page.Last); len(next.DIDs()) != 1 || next.DIDs()[0] != did(2) {
		t.Errorf("behind the page of before: %v", next)
	}
}

func TestRefusalsAreCountedAndSampled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	for i := range 5 {
		if err := s.Update(t.Context(), "test", func(tx *Tx) error {
			var list []Refused
			for j := range 3 {
				list = append(list, Refused{Reason: "bad-car", Source: "s", Detail: fmt.Sprint(i, j)}, Refused{Reason: "bad-op", Source: "s"})
			}
			return tx.AddRefusals(list)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := scalar[int](t, path, "SELECT count FROM refusal WHERE reason = 'bad-car'"); n != 15 {
		t.Errorf("count %d", n)
	}
	if n := scalar[int](t, path, "SELECT json_array_length(sample) FROM refusal WHERE reason = 'bad-car'"); n != maxSamples {
		t.Errorf("%d samples", n)
	}
	if last := scalar[string](t, path, "SELECT json_extract(sample, '$[#-1].detail') FROM refusal WHERE reason = 'bad-car'"); last != "4 2" {
		t.Errorf("last sample %q", last)
	}
}

func TestAStoppedWriterSaysWhy(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "index.db"))
	cause := errors.New("disk on fire")
	s.Stop(cause)
	err := s.Update(t.Context(), "test", func(*Tx) error { return nil })
	if !errors.Is(err, ErrStopped) || !errors.Is(err, cause) || !errors.Is(s.Err(), cause) {
		t.Errorf("error %v", err)
	}
}
