package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"railyard/internal/store"
)

// deadFile is the file of processes that die. It is read between two of them.
type deadFile struct {
	path  string
	made  bool         // a process has made the schema
	rows  map[row]bool // visible at the last death
	known map[row]bool // ever seen
	most  int64        // the highest birth number ever seen, in the file or a cursor

	// Deaths before it was made, within fetches and within a crawl.
	unmade, leased, crawled int
}

// row is a visible row: a repo in a collection, or in the listing of all, and the
// number of its birth.
type row struct {
	nsid, did string
	seq       int64
}

// examine holds the file to its own rules, and reads the rows that it lists. Until a
// process has named the index it may be empty, or a schema and no more.
func (f *deadFile) examine(ctx context.Context) error {
	if !f.made {
		if f.made = f.named(ctx); !f.made {
			f.unmade++
			return nil
		}
	}
	rd, err := store.OpenReader(ctx, f.path)
	if err != nil {
		return err
	}
	_, broken, err := rd.Check(ctx)
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	for _, v := range broken {
		err = errors.Join(err, fmt.Errorf("%s: %s: %d: %s", v.Invariant, v.Explanation, v.Count, strings.Join(v.Rows, "; ")))
	}
	return errors.Join(err, f.reload(ctx))
}

// named reports whether the file says which index it is.
func (f *deadFile) named(ctx context.Context) bool {
	d, err := sql.Open("sqlite", "file:"+f.path+"?mode=ro")
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }()
	var name string
	return d.QueryRowContext(ctx, "SELECT index_id FROM meta").Scan(&name) == nil
}

// reload reads the file with plain SQL.
func (f *deadFile) reload(ctx context.Context) error {
	d, err := sql.Open("sqlite", "file:"+f.path+"?mode=ro")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	var leased, crawled bool
	err = d.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM resync_queue WHERE lease IS NOT NULL),
		EXISTS (SELECT 1 FROM crawl WHERE cursor IS NOT NULL)`).Scan(&leased, &crawled)
	if err != nil {
		return err
	}
	if leased {
		f.leased++
	}
	if crawled {
		f.crawled++
	}
	return f.read(ctx, d)
}

// read takes the rows as they are now. A row that was not there before has a birth
// number above all that were ever seen.
func (f *deadFile) read(ctx context.Context, d *sql.DB) error {
	rows, err := d.QueryContext(ctx, `SELECT nsid, did, seq FROM repos_by_collection UNION ALL SELECT '', did, seq FROM repo WHERE seq > 0`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	f.rows = make(map[row]bool)
	most := f.most
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.nsid, &r.did, &r.seq); err != nil {
			return err
		}
		if !f.known[r] && r.seq <= f.most {
			return fmt.Errorf("%s in %q was born under %d, and numbers up to %d were given before", r.did, r.nsid, r.seq, f.most)
		}
		f.rows[r], f.known[r] = true, true
		most = max(most, r.seq)
	}
	f.most = most
	return rows.Err()
}

// passTime makes everything in the file as much older: as if nobody had run it for
// so long. What is parked for the directory's log stays so.
const passTime = `
UPDATE resync_queue SET not_before = not_before - :d, queued_at = queued_at - :d, said_since = said_since - :d;
UPDATE host_queue SET served_at = max(0, served_at - :d), next_at = max(0, next_at - :d), cooldown_until = max(0, cooldown_until - :d);
UPDATE host SET error_at = error_at - :d;
UPDATE identity SET fetched_at = fetched_at - :d, status_asked_at = status_asked_at - :d;
UPDATE upstream SET last_event_at = last_event_at - :d;
UPDATE crawl SET due_at = max(0, due_at - :d), started_at = started_at - :d, finished_at = finished_at - :d;
UPDATE repo SET proven_at = proven_at - :d, error_at = error_at - :d;
UPDATE membership_change SET changed_at = changed_at - :d;
UPDATE seq_clock SET minute = minute - :d / 60000000;`

// wantCrawl makes the crawls of the upstreams due at the next start.
const wantCrawl = `UPDATE crawl SET again = 1, due_at = :d WHERE kind = 'upstream';`

// pass lets time pass for the file.
func (f *deadFile) pass(ctx context.Context, d time.Duration) error {
	return f.write(ctx, passTime, d.Microseconds())
}

// wantCrawls makes the crawls due in the next run.
func (f *deadFile) wantCrawls(ctx context.Context) error {
	return f.write(ctx, wantCrawl, time.Now().UnixMicro())
}

func (f *deadFile) write(ctx context.Context, script string, d int64) error {
	if !f.made {
		return nil
	}
	db, err := sql.Open("sqlite", f.path)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	script = strings.ReplaceAll(script, ":d", fmt.Sprint(d))
	if _, err := db.ExecContext(ctx, "BEGIN; "+script+" COMMIT"); err != nil {
		return fmt.Errorf("let time pass: %w", err)
	}
	return nil
}

// claims counts the listed repos whose set nobody has proven.
func (f *deadFile) claims(ctx context.Context) (n int, err error) {
	d, err := sql.Open("sqlite", "file:"+f.path+"?mode=ro")
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }()
	return n, d.QueryRowContext(ctx, "SELECT count(*) FROM repo_info WHERE visible AND proof = 'claim'").Scan(&n)
}
