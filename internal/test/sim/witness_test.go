package sim

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// witness knows the history of the visible rows of an index. It reads the tables
// at moments, and between two of them the change feed; the code that makes pages has
// no part in it. A tick is one snapshot.
type witness struct {
	t       *testing.T
	tick    int
	feed    int64 // last number of the change feed that was read
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
	feed []told                      // in the order of their numbers
	last int64                       // highest of those
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

// told is a row of the change feed. Without a collection it is about the whole repo.
type told struct {
	change
	number int64
	birth  bool
}

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
			if err := scan(&c.number, &c.did, &c.nsid, &c.visible, &c.birth); err != nil {
				return err
			}
			l.feed, l.last = append(l.feed, c), c.number
			return nil
		}, `SELECT h.seq, r.did, c.nsid, h.visible, h.cause = 1 FROM membership_change h, collection c, repo r
			WHERE h.seq > ? AND c.id = h.collection_id AND r.id = h.repo_id ORDER BY h.seq`, w.feed))
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

// see reads the same file again. Who applies the feed to what was there must have what
// is there, and what came must have a number above all before it.
func (w *witness) see(l snapshot) {
	w.t.Helper()
	w.tick++
	w.changes, w.feed = nil, l.last
	mirror := make(map[string]map[string]bool) // the visible rows of repos that the feed names
	met := make(map[[2]string]told)            // the last change of a row
	for i, c := range l.feed {
		if mirror[c.did] == nil {
			mirror[c.did] = make(map[string]bool)
			for nsid, r := range w.rows[c.did] {
				if r.seq > 0 {
					mirror[c.did][nsid] = true
				}
			}
		}
		rows := mirror[c.did]
		if rows[c.nsid] == c.visible {
			w.t.Errorf("the feed says twice that %s in %q: visible %t", c.did, c.nsid, c.visible)
		}
		about := map[string]bool{c.nsid: true}
		switch {
		case c.nsid == "" && c.visible:
			about = l.shown(i)
		case c.nsid == "":
			about = maps.Clone(rows)
		}
		for nsid := range about {
			w.changes = append(w.changes, change{c.did, nsid, c.visible})
			met[[2]string{c.did, nsid}] = c
			if rows[nsid] = true; !c.visible {
				delete(rows, nsid)
			}
		}
	}
	w.eachRow(l, func(did, nsid string, r *row, now int64) {
		c, changed := met[[2]string{did, nsid}]
		switch {
		case changed && mirror[did][nsid] != (now > 0):
			w.t.Errorf("the feed ends with %s in %q: visible %t, but its number is %d", did, nsid, c.visible, now)
		case changed && c.birth && c.number != now:
			w.t.Errorf("%s in %q was born with the number %d by the feed, and has %d", did, nsid, c.number, now)
		case !changed && r.seq != now:
			w.t.Errorf("%s in %q had the number %d and has %d, and the feed does not say why", did, nsid, r.seq, now)
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

// shown returns what a repo had when a row of the feed said that it became visible: what it
// has in the end, or had when it was hidden the next time, less what came since and plus
// what went.
func (l snapshot) shown(at int) map[string]bool {
	did := l.feed[at].did
	later := l.feed[at+1:]
	rows := make(map[string]bool)
	if i := slices.IndexFunc(later, func(c told) bool { return c.did == did && c.nsid == "" }); i >= 0 {
		later = later[:i] // what it had then is not known, but for what went before
	} else {
		for nsid := range l.rows[did] {
			rows[nsid] = true
		}
	}
	for _, c := range slices.Backward(later) {
		switch {
		case c.did != did:
		case c.visible:
			delete(rows, c.nsid)
		default:
			rows[c.nsid] = true
		}
	}
	rows[""] = true
	return rows
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

// asksFor reports whether a query sees repos by a collection: one that it names, or that
// one of its patterns matches. If it names none, by the listing of all.
func asksFor(asked []string, nsid string) bool {
	if len(asked) == 0 || nsid == "" {
		return len(asked) == 0 && nsid == ""
	}
	return slices.ContainsFunc(asked, func(a string) bool {
		prefix, pattern := strings.CutSuffix(a, "*")
		return a == nsid || pattern && strings.HasPrefix(nsid, prefix)
	})
}

// first returns the number under which a query lists a repo, the lowest of those that
// it has in the collections; 0 if it is no member.
func (w *witness) first(did string, nsids []string) (number int64) {
	for nsid, r := range w.rows[did] {
		if r.seq > 0 && (number == 0 || r.seq < number) && asksFor(nsids, nsid) {
			number = r.seq
		}
	}
	return number
}

// lastOf returns the latest tick that a function names for the rows of a repo in the
// collections.
func (w *witness) lastOf(did string, nsids []string, of func(*row) int) (tick int) {
	for nsid, r := range w.rows[did] {
		if asksFor(nsids, nsid) {
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
	count := make(map[string]int)
	for i := len(w.changes) - 1; i >= 0; i-- { // backwards: from what is so now
		c := w.changes[i]
		if !asksFor(nsids, c.nsid) {
			continue
		}
		n, known := count[c.did]
		if !known {
			for nsid, r := range w.rows[c.did] {
				if r.seq > 0 && asksFor(nsids, nsid) {
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
