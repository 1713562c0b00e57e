package store

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/listing"
	"railyard/internal/test/testrepo"
)

// history is a random life of a file, and what its rows must say, kept as plain maps.
type history struct {
	*shelf
	rng    *rand.Rand
	dids   []string
	nsids  []string
	sets   map[string]map[string]bool // by DID
	active map[string]bool
	proven map[string]bool

	conn *sql.DB       // to look at the file with
	rows map[row]int64 // the visible rows and their numbers
	seen int64         // the highest number that any client could hold
}

// row is a visible repo in a collection, or in the listing of all repos if that is "".
type row struct{ nsid, did string }

func newHistory(t *testing.T, seed uint64, dids, nsids []string) *history {
	t.Helper()
	h := &history{
		shelf: newShelf(t), rng: rand.New(rand.NewPCG(seed, 1)), dids: dids, nsids: nsids,
		sets: make(map[string]map[string]bool), active: make(map[string]bool), proven: make(map[string]bool),
	}
	h.connect()
	t.Cleanup(func() { _ = h.conn.Close() })
	return h
}

func (h *history) connect() {
	h.t.Helper()
	var err error
	if h.conn != nil {
		err = h.conn.Close()
	}
	if err == nil {
		h.conn, err = sql.Open("sqlite", dsn(h.path, "mode=ro"))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) clone() *history {
	c := *h
	c.active, c.proven, c.sets = maps.Clone(h.active), maps.Clone(h.proven), make(map[string]map[string]bool)
	for did, set := range h.sets {
		c.sets[did] = maps.Clone(set)
	}
	return &c
}

// act does something to some repos and to the model, in one transaction. Whoever becomes
// visible by it must have a number above all that were seen before.
func (h *history) act(times int) {
	h.t.Helper()
	h.update(func(tx *Tx) error {
		for range times {
			if err := h.actOn(tx, h.dids[h.rng.IntN(len(h.dids))]); err != nil {
				return err
			}
		}
		return nil
	})
	before := h.rows
	h.rows = h.visibleRows()
	highest := h.seen
	for row, seq := range h.rows {
		if before[row] != seq && seq <= h.seen {
			h.t.Errorf("%v became visible with number %d; %d was given before", row, seq, h.seen)
		}
		highest = max(highest, seq)
	}
	h.seen = highest
}

func (h *history) actOn(tx *Tx, did string) error {
	r, err := tx.RepoByDID(did)
	if err != nil {
		return err
	}
	if r == nil {
		h.sets[did], h.active[did] = map[string]bool{}, true
		if r, err = testrepo.Add(tx, did); err != nil {
			return err
		}
		if _, err := testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false); err != nil {
			return err
		}
		if err := testrepo.Enqueue(tx, r, FirstSight, tx.now); err != nil {
			return err
		}
	}
	var some []string
	for _, nsid := range h.nsids {
		if h.rng.IntN(3) == 0 {
			some = append(some, nsid)
		}
	}
	switch h.rng.IntN(8) {
	case 0, 1:
		for _, c := range some {
			h.sets[did][c] = true
		}
		_, err = testrepo.AddMemberships(tx, r, some)
	case 2:
		for _, c := range some {
			delete(h.sets[did], c)
		}
		_, err = testrepo.RemoveMemberships(tx, r, some)
	case 3, 4:
		h.sets[did], h.active[did], h.proven[did] = map[string]bool{}, true, true
		for _, c := range some {
			h.sets[did][c] = true
		}
		head := Head{Rev: atproto.TID(h.rng.Int64N(1 << 40)), Data: atproto.Digest{1}}
		if _, _, err := testrepo.Establish(tx, r, head, some, ProofTree); err != nil {
			return err
		}
		err = testrepo.Done(tx, r)
	case 5:
		h.active[did] = false
		err = testrepo.Hide(tx, r, "deactivated")
	case 6:
		if !r.Active {
			h.active[did], h.proven[did] = true, false
			err = errors.Join(testrepo.Show(tx, r), testrepo.Enqueue(tx, r, Reactivated, tx.now))
		}
	case 7:
		if h.rng.IntN(2) == 0 {
			h.active[did], h.proven[did], h.sets[did] = false, false, map[string]bool{}
			err = testrepo.Leave(tx, r, "deleted")
		} else if r.State != NotFound {
			h.proven[did] = false
			err = errors.Join(testrepo.SetState(tx, r, NotFound), testrepo.Enqueue(tx, r, NotFoundAgain, tx.now))
		}
	}
	return err
}

// fail begins something that is not committed.
func (h *history) fail() {
	h.t.Helper()
	err := h.Update(h.t.Context(), "test", func(tx *Tx) error {
		r, err := tx.RepoByDID(h.dids[h.rng.IntN(len(h.dids))])
		if err != nil || r == nil {
			return errors.Join(err, errors.New("no repo"))
		}
		if _, err := testrepo.AddMemberships(tx, r, []string{"com.example.never", h.nsids[0]}); err != nil {
			return err
		}
		tx.AfterCommit(func() { h.t.Error("after a commit that was not") })
		panic("a fault")
	})
	if err == nil {
		h.t.Error("no error")
	}
}

// visibleRows returns the number of every listed pair and repo.
func (h *history) visibleRows() map[row]int64 {
	t := h.t
	t.Helper()
	rows, err := h.conn.Query(`SELECT c.nsid, r.did, m.seq FROM membership m, collection c, repo r
		WHERE m.seq > 0 AND c.id = m.collection_id AND r.id = m.repo_id UNION ALL SELECT '', did, seq FROM repo WHERE seq > 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	found := make(map[row]int64)
	for rows.Next() {
		var r row
		var seq int64
		if err := rows.Scan(&r.nsid, &r.did, &seq); err != nil {
			t.Fatal(err)
		}
		found[r] = seq
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// Random histories, with failed transactions and restarts, against the model:
// listings, counts, tallies, and birth numbers that only grow for whoever
// becomes visible.
func TestRandomHistoriesEqualAModel(t *testing.T) {
	var dids, nsids []string
	for n := range 6 {
		dids = append(dids, did(n))
	}
	for n := range 8 {
		nsids = append(nsids, fmt.Sprintf("com.example.c%d", n))
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := newHistory(t, seed, dids, nsids)
			for range 300 {
				switch h.rng.IntN(30) {
				case 0:
					h.restart()
				case 1:
					h.fail()
				default:
					h.act(1)
				}
			}
			h.compare()
		})
	}
}

// compare holds the listings, page by page, and the figures to the model.
func (h *history) compare() {
	t := h.t
	t.Helper()
	var want []row
	memberships := 0
	for did, set := range h.sets {
		if h.active[did] && h.proven[did] {
			want = append(want, row{"", did})
			memberships += len(set)
			for nsid := range set {
				want = append(want, row{nsid, did})
			}
		}
	}
	var got []row
	for _, nsid := range append([]string{""}, h.nsids...) {
		var asked []string
		if nsid != "" {
			asked = []string{nsid}
		}
		for after := int64(0); ; {
			page := h.list(asked, after, 2)
			if page.Len() == 0 {
				break
			}
			for _, did := range page.DIDs() {
				got = append(got, row{nsid, did})
			}
			after = page.Last
		}
	}
	order := func(a, b row) int { return cmp.Or(cmp.Compare(a.nsid, b.nsid), cmp.Compare(a.did, b.did)) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
	var st Stats
	if err := h.View(t.Context(), func(rx *Rx) (err error) {
		st, err = rx.Stats()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	active, total := int64(0), int64(0)
	for _, n := range st.Repos {
		total += n
	}
	for _, is := range h.active {
		if is {
			active++
		}
	}
	if st.Memberships != int64(memberships) || st.Active != active || total != int64(len(h.sets)) {
		t.Errorf("stats %+v; want %d memberships, %d active of %d", st, memberships, active, len(h.sets))
	}
	if n := scalar[int](t, h.path, "SELECT count(*) FROM collection WHERE nsid = 'com.example.never'"); n != 0 {
		t.Error("a failed transaction left a row")
	}
}

func (h *history) list(asked []string, after int64, limit int) (page Page) {
	h.t.Helper()
	if err := h.View(h.t.Context(), func(rx *Rx) error { return rx.List(&page, asked, after, limit) }); err != nil {
		h.t.Fatal(err)
	}
	return page
}

// client asks for pages.
type client struct {
	asked  []string
	limit  int
	most   int // entries that a page may pass over
	cursor int64
}

// Clients read on and on, through births and deaths, hidden accounts and those that
// return, collections that come later and go again, restarts and older copies of the file,
// blocks that are split and joined. Every page is what the rows say.
// RAILYARD_HISTORIES is how many lives are tried.
func TestEveryPageIsWhatTheRowsSay(t *testing.T) {
	histories := 10
	if testing.Short() {
		histories = 3
	}
	if text := os.Getenv("RAILYARD_HISTORIES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		histories = n
	}
	var joined int
	for seed := range histories {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { joined += readHistory(t, uint64(seed)) })
	}
	if joined < histories {
		t.Errorf("%d blocks were joined or emptied in %d histories", joined, histories)
	}
}

func readHistory(t *testing.T, seed uint64) (fewer int) {
	var dids []string
	for n := range 60 {
		switch n % 3 {
		case 0:
			dids = append(dids, fmt.Sprintf("did:web:%d.%s.example", n, strings.Repeat("long", 55))) // few fit into a block
		case 1:
			dids = append(dids, fmt.Sprintf("did:plc:%s", strings.Repeat(string([]byte{'a' + byte(n/26), 'a' + byte(n%26)}), 12)))
		default:
			dids = append(dids, fmt.Sprintf("did:web:%d.example", n))
		}
	}
	nsids := []string{"app.example.a", "app.example.b.c", "app.examplex.d", "app.example.b.e", "app.example-x.f", "app.exampl.g", "app.example.b.cc"}
	queries := [][]string{
		nil, {"app.example.a"}, {"app.example.*"}, {"app.example.b.*"}, {"app.example.b.*", "app.example.a"},
		{"app.example.a", "app.example.b.c", "app.examplex.d"}, {"app.examplex.*", "app.exampl.g"}, {"app.example.b.c.*", "app.example.b.e"},
		{"net.rails.nobody", "app.example.b.cc"},
	}
	h := newHistory(t, seed, dids, nil)
	clients := make([]*client, 6)
	for i := range clients {
		clients[i] = &client{asked: queries[h.rng.IntN(len(queries))], limit: 1 + h.rng.IntN(12), most: 1 + h.rng.IntN(10)}
	}
	var older *history
	most := 0
	for step := range 150 {
		h.nsids = nsids[:min(len(nsids), 2+step/20)] // others come later
		switch h.rng.IntN(40) {
		case 0:
			h.now = h.now.Add(time.Second)
			h.restart()
		case 1:
			h.fail()
		case 2:
			h.now = h.now.Add(5 * 24 * time.Hour)
			if err := h.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 3:
			older = h.swap(older)
		case 4: // many at once
			h.act(60)
		default:
			h.act(1 + h.rng.IntN(3))
		}
		blocks := h.blocks()
		fewer, most = fewer+max(most-blocks, 0), blocks
		for _, c := range clients {
			for range h.rng.IntN(3) {
				h.read(c)
			}
			if h.rng.IntN(20) == 0 {
				c.cursor = 0
			}
		}
	}
	h.nsids = nsids
	h.compare()
	return fewer
}

// swap puts an older copy of the file back if there is one, and else makes one.
func (h *history) swap(older *history) *history {
	h.t.Helper()
	if err := errors.Join(h.conn.Close(), h.Close()); err != nil { // the last one to leave empties the WAL
		h.t.Fatal(err)
	}
	from, to := h.path, h.path+".older"
	if older != nil {
		from, to = to, from
	}
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.now = h.now.Add(time.Minute)
	h.open(h.path)
	h.connect()
	if older == nil {
		return h.clone()
	}
	h.sets, h.active, h.proven = older.sets, older.active, older.proven
	h.rows = h.visibleRows()
	return nil
}

// blocks returns how many blocks there are. They may be half empty, but not many of them
// nearly so.
func (h *history) blocks() int {
	h.t.Helper()
	var n, size int
	if err := h.conn.QueryRow("SELECT count(*), coalesce(sum(length(entries)), 0) FROM listing_block").Scan(&n, &size); err != nil {
		h.t.Fatal(err)
	}
	if most := 2*(len(h.nsids)+1) + 2*size/listing.MinBlock; n > most {
		h.t.Errorf("%d blocks for %d bytes, at most %d are expected", n, size, most)
	}
	return n
}

// read takes a page and compares it with the rows: what became visible after the cursor,
// each repo at the first of its numbers in what is asked for. Within a page's bound of
// entries it may have fewer, or one once more that came before.
func (h *history) read(c *client) {
	h.t.Helper()
	first := make(map[string]int64)
	for r, seq := range h.rows {
		if asks(c.asked, r.nsid) && (first[r.did] == 0 || seq < first[r.did]) {
			first[r.did] = seq
		}
	}
	var want []string
	for did, seq := range first {
		if seq > c.cursor {
			want = append(want, did)
		}
	}
	slices.SortFunc(want, func(a, b string) int { return cmp.Compare(first[a], first[b]) })

	bounded := h.rng.IntN(2) == 0
	page := h.list(c.asked, c.cursor, c.limit)
	if bounded && len(c.asked) > 0 {
		if err := h.View(h.t.Context(), func(rx *Rx) error {
			ids, err := rx.matching(c.asked)
			if err == nil {
				page.clear(c.limit)
				err = rx.union(&page, ids, c.cursor, c.limit, c.most)
			}
			return err
		}); err != nil {
			h.t.Fatal(err)
		}
	}
	got := page.DIDs()
	if len(got) == 1 && bounded && 0 < first[got[0]] && first[got[0]] <= c.cursor {
		got = nil
	}
	n := min(len(want), c.limit)
	if len(got) > n || !slices.Equal(got, want[:len(got)]) || len(got) < n && (!bounded || page.Len() == 0) {
		h.t.Errorf("%q after %d by %d, passing over %d: %q, want %q", c.asked, c.cursor, c.limit, c.most, got, want[:n])
	}
	if page.Len() == 0 {
		return
	}
	if len(got) < len(want) && page.Last >= first[want[len(got)]] || len(got) > 0 && page.Last < first[want[len(got)-1]] || page.Last <= c.cursor {
		h.t.Errorf("%q after %d by %d, passing over %d: goes on after %d", c.asked, c.cursor, c.limit, c.most, page.Last)
	}
	c.cursor = page.Last
}

// asks reports whether one of some collections and patterns stands for a collection; none
// of them stands for the listing of all repos.
func asks(asked []string, nsid string) bool {
	if len(asked) == 0 {
		return nsid == ""
	}
	return slices.ContainsFunc(asked, func(a string) bool {
		prefix, pattern := strings.CutSuffix(a, "*")
		return a == nsid || pattern && strings.HasPrefix(nsid, prefix)
	})
}

// What patterns match is bounded, and so is what is looked at to find it.
func TestPatternsThatMatchTooMuchAreRefused(t *testing.T) {
	f := newShelf(t)
	names := func(n int) (nsids []string) {
		for i := range n {
			nsids = append(nsids, fmt.Sprintf("many.example.c%d", i))
		}
		return nsids
	}
	ask := func(pattern string) (page Page, err error) {
		err = f.View(t.Context(), func(rx *Rx) error { return rx.List(&page, []string{pattern}, 0, 10) })
		return page, err
	}
	f.inService(did(0))
	f.with(did(0), proven(names(maxBelow)...))
	if page, err := ask("many.example.*"); err != nil || !slices.Equal(page.DIDs(), []string{did(0)}) {
		t.Errorf("%d collections: %q, %v", maxBelow, page.DIDs(), err)
	}
	f.with(did(0), proven(names(maxBelow+1)...))
	if _, err := ask("many.example.*"); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d collections: %v", maxBelow+1, err)
	}
	f.update(func(tx *Tx) error {
		for i := range maxNames {
			if _, err := tx.collection(fmt.Sprintf("nobody.example.c%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := ask("nobody.example.*"); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d names: %v", maxNames, err)
	}
	if page, err := ask("nobody.example.c.*"); err != nil || page.Len() != 0 {
		t.Errorf("a few names: %q, %v", page.DIDs(), err)
	}
}

// What a page passes over of its own repos costs next to nothing, or a union of many
// collections would have short pages everywhere.
func TestPagesOfManyCollectionsAreFull(t *testing.T) {
	f := newShelf(t)
	const repos, each = 10, 15
	var nsids []string
	for i := range each {
		nsids = append(nsids, fmt.Sprintf("many.example.c%d", i))
	}
	for n := range repos {
		f.inService(did(n))
		f.with(did(n), proven(nsids...))
	}
	for most, full := range map[int]bool{repos * each: true, repos: false} {
		var page Page
		if err := f.View(t.Context(), func(rx *Rx) error {
			ids, err := rx.matching([]string{"many.example.*"})
			if err == nil {
				err = rx.union(&page, ids, 0, repos, most)
			}
			return err
		}); err != nil || (page.Len() == repos) != full || page.Len() == 0 {
			t.Errorf("passing over %d: %d of %d repos, %v", most, page.Len(), repos, err)
		}
	}
}

// A listing whose members leave does not stay behind as many short blocks.
func TestABlockThatShrinksIsJoinedWithItsNeighbour(t *testing.T) {
	var dids []string
	for n := range 200 {
		dids = append(dids, fmt.Sprintf("did:web:%d.%s.example", n, strings.Repeat("long", 55)))
	}
	for seed := range uint64(2) {
		h := newHistory(t, seed, dids, nil)
		h.update(func(tx *Tx) error {
			for _, did := range dids {
				r, err := testrepo.Add(tx, did)
				if err == nil {
					_, err = testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false)
				}
				if err == nil {
					err = proven()(tx, r)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		h.rng.Shuffle(len(dids), func(i, j int) { dids[i], dids[j] = dids[j], dids[i] })
		for i, did := range dids {
			if left := len(dids) - i; left == 20 {
				if got, most := h.blocks(), 2+left*len(did)/listing.MinBlock; got > most {
					t.Errorf("%d of %d are left in %d blocks", left, len(dids), got)
				}
			}
			h.update(func(tx *Tx) error {
				r, err := tx.RepoByDID(did)
				if err != nil {
					return err
				}
				return testrepo.Leave(tx, r, "deleted")
			})
		}
		if got := h.blocks(); got != 0 {
			t.Errorf("nobody is left in %d blocks", got)
		}
	}
}
