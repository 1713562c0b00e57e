package sim

import (
	"database/sql"
	"slices"
	"strings"

	"railyard/internal/test/simnet"
)

// chronicle is what was true of every repo after each event, to hold a file against
// that ends in the middle.
type chronicle struct {
	pages []chroniclePage
	revs  map[string]map[int64][]string // by DID: the collections at a rev
}

// chroniclePage is what was true up to a number of the relay's firehose.
type chroniclePage struct {
	seq  int64
	revs map[string]int64 // of active accounts
}

// note writes down what is true now.
func (c *chronicle) note(n *simnet.Network) error {
	if c.revs == nil {
		c.revs = map[string]map[int64][]string{}
	}
	page := chroniclePage{n.LastSeq("relay"), map[string]int64{}}
	for _, did := range n.DIDs() {
		repo, err := n.Repo(did)
		if err != nil {
			return err
		}
		if repo.Rev == 0 {
			continue
		}
		if c.revs[did] == nil {
			c.revs[did] = map[int64][]string{}
		}
		c.revs[did][int64(repo.Rev)] = repo.Collections
		if repo.Status == "" {
			page.revs[did] = int64(repo.Rev)
		}
	}
	c.pages = append(c.pages, page)
	return nil
}

// upTo is what was true when an event was the relay's last one.
func (c *chronicle) upTo(seq int64) map[string]int64 {
	at, found := slices.BinarySearchFunc(c.pages, seq, func(p chroniclePage, seq int64) int { return int(p.seq - seq) })
	for found && at+1 < len(c.pages) && c.pages[at+1].seq == seq {
		at++
	}
	if !found {
		at--
	}
	if at < 0 {
		return nil
	}
	return c.pages[at].revs
}

// servedRepo is a repo as a file has it.
type servedRepo struct {
	rev         int64
	collections []string
	waits       bool // an attempt at it is queued
}

// inService reads the synchronized repos of active accounts.
func inService(d *sql.DB) (map[string]servedRepo, error) {
	rows, err := d.Query(`
		SELECT r.did, h.rev, EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id),
		       coalesce((SELECT group_concat(c.nsid) FROM membership m JOIN collection c ON c.id = m.collection_id
		                 WHERE m.repo_id = r.id AND m.seq > 0), '')
		FROM repo r JOIN repo_head h ON h.repo_id = r.id WHERE r.state = 3 AND r.active = 1`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	served := map[string]servedRepo{}
	for rows.Next() {
		var did, collections string
		var one servedRepo
		if err := rows.Scan(&did, &one.rev, &one.waits, &collections); err != nil {
			return nil, err
		}
		if collections != "" {
			one.collections = strings.Split(collections, ",")
		}
		slices.Sort(one.collections)
		served[did] = one
	}
	return served, rows.Err()
}

// holdAgainst compares a file that was left with what was true. The rows of a repo
// are those of its head, whichever that is; what came up to the cursor is in the
// file or somebody will ask; and in an
// exact story nothing is that came later.
func (g *scenario) holdAgainst(file string) {
	g.t.Helper()
	d := g.open(file)
	defer func() { _ = d.Close() }()
	served, err := inService(d)
	if err != nil {
		g.t.Fatal(err)
	}
	for did, r := range served {
		if want, known := g.revs[did][r.rev]; known && !slices.Equal(r.collections, want) {
			g.t.Errorf("%s at rev %d has %q, want %q", did, r.rev, r.collections, want)
		}
	}
	var cursor sql.NullInt64
	var crawled bool
	err = d.QueryRow("SELECT u.cursor, coalesce(c.started_at IS NULL AND c.again = 0, 0) FROM upstream u LEFT JOIN crawl c ON c.kind = 'upstream' AND c.server_id = u.id").Scan(&cursor, &crawled)
	if err == sql.ErrNoRows || (err == nil && !cursor.Valid) || g.lossy {
		return
	}
	if err != nil {
		g.t.Fatal(err)
	}
	for did, rev := range g.upTo(cursor.Int64) {
		switch r, ok := served[did]; {
		case !ok && g.exact:
			g.t.Errorf("%s is not in service", did)
		case ok && r.rev < rev && !r.waits:
			g.t.Errorf("%s is at rev %d, and the events up to %d say %d", did, r.rev, cursor.Int64, rev)
		case ok && r.rev > rev && g.exact:
			g.t.Errorf("%s is at rev %d, which comes after event %d", did, r.rev, cursor.Int64)
		}
		if crawled && g.count(d, "SELECT count(*) FROM repo WHERE did = ?", did) == 0 {
			g.t.Errorf("nothing is known of %s, and nobody will ask", did)
		}
	}
}
