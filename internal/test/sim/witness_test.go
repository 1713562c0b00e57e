package sim

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// witness knows the history of the visible rows of an index. It reads the tables
// at moments, and between two of them the change feed; the code that makes pages has
// no part in it. A tick is one snapshot.
type witness struct {
	t       *testing.T
	tick    int
	feed    int64 // last id of the change feed that was read
	high    int64 // highest number ever seen: nobody holds a higher one
	rows    map[string]map[string]*row
	changes []change // what happened between the last two reads, in order
}

// row is a repo in a collection, or in the listing of all repos if that is "".
type row struct {
	seq     int64 // its number; 0 = it is not visible
	ended   int   // tick at which it was last seen to have died or been hidden, 0 = never
	revived int   // tick at which an older copy of the file brought it back, 0 = never
}

// change is one row that came or went.
type change struct {
	did, nsid string
	visible   bool
}

// snapshot is what the file holds at a moment.
type snapshot struct {
	rows map[string]map[string]int64 // numbers of visible rows by DID and collection
	feed []told                      // in the order of their ids
	last int64                       // highest id
}

// highest returns the highest number of all rows, or one that is higher.
func (l snapshot) highest(number int64) int64 {
	for _, numbers := range l.rows {
		for _, n := range numbers {
			number = max(number, n)
		}
	}
	return number
}

type told struct {
	change
	cause int
}

// Causes of a change that hide every row of a repo. (schema.sql)
const (
	accountInactive = 3
	repoNotFound    = 6
)

func newWitness(t *testing.T) *witness {
	return &witness{t: t, rows: make(map[string]map[string]*row)}
}

// at returns what is known of a row, which may never have been visible.
func (w *witness) at(did, nsid string) *row {
	if w.rows[did] == nil {
		w.rows[did] = make(map[string]*row)
	}
	if w.rows[did][nsid] == nil {
		w.rows[did][nsid] = new(row)
	}
	return w.rows[did][nsid]
}

// snapshot reads a file on a connection of one's own.
func (w *witness) snapshot(conn *sql.Conn) snapshot {
	w.t.Helper()
	l := snapshot{rows: make(map[string]map[string]int64), last: w.feed}
	err := errors.Join(
		eachRow(conn, func(scan func(...any) error) error {
			var did, nsid string
			var seq int64
			if err := scan(&did, &nsid, &seq); err != nil {
				return err
			}
			if l.rows[did] == nil {
				l.rows[did] = make(map[string]int64)
			}
			l.rows[did][nsid] = seq
			return nil
		}, `SELECT r.did, c.nsid, m.seq FROM membership m, collection c, repo r
			WHERE m.seq > 0 AND c.id = m.collection_id AND r.id = m.repo_id
			UNION ALL SELECT did, '', seq FROM repo WHERE seq > 0`),
		eachRow(conn, func(scan func(...any) error) error {
			var c told
			if err := scan(&l.last, &c.did, &c.nsid, &c.visible, &c.cause); err != nil {
				return err
			}
			l.feed = append(l.feed, c)
			return nil
		}, `SELECT h.id, r.did, c.nsid, h.visible, h.cause FROM membership_change h, collection c, repo r
			WHERE h.id > ? AND c.id = h.collection_id AND r.id = h.repo_id ORDER BY h.id`, w.feed))
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// eachRow calls fn for every row of a query.
func eachRow(conn *sql.Conn, fn func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := conn.QueryContext(context.Background(), query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// see reads the same file again. The feed must have every change but
// those of a first backfill, and what came must have a number above all before it.
func (w *witness) see(l snapshot) {
	w.t.Helper()
	w.tick++
	w.changes, w.feed = nil, l.last
	met := make(map[[2]string]change) // the last change of a row in the feed
	for _, c := range l.feed {
		key := [2]string{c.did, c.nsid}
		before, again := met[key]
		if again && before.visible == c.visible || !again && c.visible && w.at(c.did, c.nsid).seq > 0 {
			w.t.Errorf("the feed says twice that %s in %s: visible %t", c.did, c.nsid, c.visible)
		}
		met[key] = c.change
		w.changes = append(w.changes, c.change)
		if c.cause == accountInactive || c.cause == repoNotFound {
			met[[2]string{c.did, ""}] = change{c.did, "", false}
		}
	}
	w.eachRow(l, func(did, nsid string, r *row, now int64) {
		c, changed := met[[2]string{did, nsid}]
		switch {
		case nsid == "" && (changed || r.seq != now):
			w.changes = append(w.changes, change{did, "", false}, change{did, "", now > 0})
		case nsid == "":
		case changed && c.visible != (now > 0):
			w.t.Errorf("the feed ends with %s in %s: visible %t, but its number is %d", did, nsid, c.visible, now)
		case !changed && r.seq > 0 && r.seq != now:
			w.t.Errorf("%s in %s had the number %d and has %d, and the feed does not say why", did, nsid, r.seq, now)
		case !changed && r.seq != now: // of a first backfill
			w.changes = append(w.changes, change{did, nsid, true})
		}
		if now > 0 && now <= w.high && (r.seq != now || changed) {
			w.t.Errorf("%s in %q came between the ticks %d and %d with the number %d, and clients may hold %d",
				did, nsid, w.tick-1, w.tick, now, w.high)
		}
		r.seq = now
	})
	w.high = l.highest(w.high)
	for _, c := range w.changes {
		if !c.visible {
			w.at(c.did, c.nsid).ended = w.tick
		}
	}
}

// seeRestored reads an older copy of the file, of which nobody has taken a page
// since it was put back. What it lacks has died; what it has and what was not there
// at the last read has come back, under an old number.
func (w *witness) seeRestored(l snapshot) {
	w.tick++
	w.changes, w.feed = nil, l.last
	var back []change
	w.eachRow(l, func(did, nsid string, r *row, now int64) {
		if r.seq == now {
			return
		}
		if r.seq > 0 {
			r.ended = w.tick
			w.changes = append(w.changes, change{did, nsid, false})
		}
		if now > 0 {
			r.revived = w.tick
			back = append(back, change{did, nsid, true})
		}
		r.seq = now
	})
	w.changes = append(w.changes, back...)
}

// eachRow calls fn for every row that is visible now or ever was, with its number
// now. A row that is visible for the first time is among them.
func (w *witness) eachRow(l snapshot, fn func(did, nsid string, r *row, now int64)) {
	for did, numbers := range l.rows {
		for nsid := range numbers {
			w.at(did, nsid)
		}
	}
	for did, rows := range w.rows {
		for nsid, r := range rows {
			fn(did, nsid, r, l.rows[did][nsid])
		}
	}
}

// keys are the collections under which a query sees a repo: those that it asks for,
// or the listing of all.
func keys(nsids []string) []string {
	if len(nsids) == 0 {
		return []string{""}
	}
	return nsids
}

// first returns the number under which a query lists a repo, the lowest of those that
// it has in the collections; 0 if it is no member.
func (w *witness) first(did string, nsids []string) (number int64) {
	for _, nsid := range keys(nsids) {
		r := w.rows[did][nsid]
		if r != nil && r.seq > 0 && (number == 0 || r.seq < number) {
			number = r.seq
		}
	}
	return number
}

// lastOf returns the latest tick that a function names for the rows of a repo in the
// collections.
func (w *witness) lastOf(did string, nsids []string, of func(*row) int) (tick int) {
	for _, nsid := range keys(nsids) {
		if r := w.rows[did][nsid]; r != nil {
			tick = max(tick, of(r))
		}
	}
	return tick
}

type member struct {
	did    string
	number int64
}

// members returns the members of a set of collections that were born after a number,
// in the order of their births.
func (w *witness) members(nsids []string, after int64) (found []member) {
	for did := range w.rows {
		if n := w.first(did, nsids); n > after {
			found = append(found, member{did, n})
		}
	}
	slices.SortFunc(found, func(a, b member) int { return cmp.Compare(a.number, b.number) })
	return found
}

// lapses calls fn for each repo that has been without membership in the collections
// at some time between the last two reads, or was until then.
func (w *witness) lapses(nsids []string, fn func(did string)) {
	asked := keys(nsids)
	count := make(map[string]int)
	for i := len(w.changes) - 1; i >= 0; i-- { // backwards: from what is so now
		c := w.changes[i]
		if !slices.Contains(asked, c.nsid) {
			continue
		}
		n, known := count[c.did]
		if !known {
			for _, nsid := range asked {
				if r := w.rows[c.did][nsid]; r != nil && r.seq > 0 {
					n++
				}
			}
		}
		if n == 0 {
			fn(c.did)
		}
		if c.visible {
			n--
		} else {
			n++
		}
		if n == 0 {
			fn(c.did)
		}
		count[c.did] = n
	}
}

// observe opens the file to read it and for what fn does at that moment. It fails
// if something is written meanwhile.
func (w *witness) observe(file, mode string, fn func(snapshot)) {
	w.t.Helper()
	d, err := sql.Open("sqlite", fmt.Sprintf("file:%s?mode=%s", file, mode))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	conn, err := d.Conn(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	before := w.version(conn)
	fn(w.snapshot(conn))
	if w.version(conn) != before {
		w.t.Fatal("somebody has written to the file in the middle of a moment")
	}
}

// version changes when another connection writes to the file.
func (w *witness) version(conn *sql.Conn) (v int64) {
	w.t.Helper()
	if err := conn.QueryRowContext(context.Background(), "PRAGMA data_version").Scan(&v); err != nil {
		w.t.Fatal(err)
	}
	return v
}
