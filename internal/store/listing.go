package store

import (
	"fmt"
	"slices"
	"strings"

	"railyard/db"
	"railyard/internal/listing"
)

const (
	// maxBelow bounds the collections that a page merges, and maxNames the names that are
	// looked at to find those of a pattern.
	maxBelow = 1000
	maxNames = 20_000
	// maxPassed bounds the entries that a page of several collections passes over because
	// their repos were listed before. One of a repo of the same page costs next to
	// nothing. To look up one of an earlier page takes some microseconds, and it counts
	// as lookUp of them.
	maxPassed = 200_000
	lookUp    = 20
	// perBlock is about how many entries a block has, and maxPiece how many blocks of one
	// collection are read at once where several are merged.
	perBlock = 160
	maxPiece = 64
	// atOnce is how many repos are looked up at once, or more if more are asked for.
	atOnce = 100
)

// ErrTooMany is what List returns where patterns match more collections than a page is
// made of.
var ErrTooMany = fmt.Errorf("more than %d collections", maxBelow)

// Page is one page of a listing of repos. It may be filled again, which uses its memory
// again.
type Page struct {
	Last int64 // birth number to go on after, of no meaning if the page is empty

	text []byte // the DIDs, one behind the other
	ends []int  // of each of them
}

// Len returns the number of repos.
func (p *Page) Len() int { return len(p.ends) }

// Bytes returns the size of all DIDs together.
func (p *Page) Bytes() int { return len(p.text) }

// DID returns the DID of a repo, which is not to be changed.
func (p *Page) DID(i int) []byte {
	start := 0
	if i > 0 {
		start = p.ends[i-1]
	}
	return p.text[start:p.ends[i]]
}

// DIDs returns the DIDs of all.
func (p *Page) DIDs() []string {
	dids := make([]string, p.Len())
	for i := range dids {
		dids[i] = string(p.DID(i))
	}
	return dids
}

func (p *Page) add(r *listing.Reader) {
	p.text = r.AppendDID(p.text)
	p.ends = append(p.ends, len(p.text))
}

// clear empties a page and makes room for so many repos.
func (p *Page) clear(limit int) {
	p.Last, p.text, p.ends = 0, slices.Grow(p.text[:0], 32*limit), slices.Grow(p.ends[:0], limit)
}

// List fills a page with up to limit visible repos, in the order of their birth numbers, after a
// birth number: those with a record in any of the collections, or all of them if none is
// given. A collection may be a pattern: "app.example.*" stands for all those that begin
// with "app.example.". A repo comes once, at the first of its births among the
// collections.
//
// A page is empty only at the end, and has fewer than limit repos only there or behind
// entries that it passed over (maxPassed). If it found none that far, it lists the last of
// those once more.
func (rx *Rx) List(p *Page, collections []string, after int64, limit int) (err error) {
	p.clear(limit)
	after = max(after, 0)
	ids := []int64{allRepos}
	if len(collections) > 0 {
		if ids, err = rx.matching(collections); err != nil {
			return err
		}
	}
	if len(ids) == 1 {
		return rx.pageOf(p, ids[0], after, limit)
	}
	return rx.union(p, ids, after, limit, maxPassed)
}

// matching returns the ids of the collections that are meant and have members, each once.
func (rx *Rx) matching(collections []string) (ids []int64, err error) {
	var names []string
	for _, c := range collections {
		prefix, pattern := strings.CutSuffix(c, ".*")
		if !pattern {
			names = append(names, c)
			continue
		}
		// "/" is the byte behind the dot.
		below, err := rx.q.CollectionsBelow(rx.ctx, db.CollectionsBelowParams{Prefix: prefix + ".", Behind: prefix + "/", Examined: maxNames})
		if err != nil {
			return nil, err
		}
		if len(below) == maxNames {
			return nil, ErrTooMany
		}
		for _, c := range below {
			if c.Members > 0 {
				ids = append(ids, c.ID)
			}
		}
	}
	if len(names) > 0 {
		named, err := rx.q.CollectionsByName(rx.ctx, jsonTexts(names))
		if err != nil {
			return nil, err
		}
		ids = append(ids, named...)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > maxBelow {
		return nil, ErrTooMany
	}
	return ids, nil
}

// pageOf reads a page of one collection.
func (rx *Rx) pageOf(p *Page, id, after int64, limit int) error {
	s := &source{rx: rx, id: id, after: after, piece: limit/perBlock + 2}
	for p.Len() < limit {
		more, err := s.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		p.add(&s.Reader)
	}
	p.Last = s.Seq
	return nil
}

// union merges collections. What it passes over costs most or a little more (maxPassed).
//
// An entry is passed over if its repo has a lower number in one of the collections: on
// this page, where it was seen, or up to after. The latter is looked up, and only for
// repos that were listed at all by then.
func (rx *Rx) union(p *Page, ids []int64, after int64, limit, most int) error {
	m, err := rx.merge(ids, after)
	if err != nil {
		return err
	}
	set := jsonIDs(ids)
	seen := make(map[int64]struct{}, limit)
	var found []listing.Reader // with the first entry of each repo
	var asked []int64
	var last listing.Reader // the last entry that was decided on
	for passed := 0; p.Len() < limit && passed < most && len(m) > 0; {
		found, asked = found[:0], asked[:0]
		for len(found) < max(limit-p.Len(), atOnce) && passed < most && len(m) > 0 {
			last = m[0].Reader
			if _, ok := seen[last.RepoID]; ok {
				passed++
			} else {
				seen[last.RepoID] = struct{}{}
				found = append(found, last)
				if last.Listed <= after {
					asked = append(asked, last.RepoID)
				}
			}
			if err := m.advance(); err != nil {
				return err
			}
		}
		told, err := rx.listedBefore(asked, set, after)
		if err != nil {
			return err
		}
		for i := range found {
			if _, ok := told[found[i].RepoID]; ok {
				passed += lookUp
				continue
			}
			p.add(&found[i])
			if p.Len() == limit {
				last = found[i]
				break
			}
		}
	}
	if p.Len() == 0 && len(m) > 0 {
		p.add(&last)
	}
	p.Last = last.Seq
	return nil
}

// listedBefore returns those of some repos that have a number up to one in any of the
// collections of a set.
func (rx *Rx) listedBefore(repos []int64, set string, upto int64) (map[int64]struct{}, error) {
	if len(repos) == 0 {
		return nil, nil
	}
	ids, err := rx.q.ListedBefore(rx.ctx, db.ListedBeforeParams{RepoIds: jsonIDs(repos), CollectionIds: set, Upto: upto})
	told := make(map[int64]struct{}, len(ids))
	for _, id := range ids {
		told[id] = struct{}{}
	}
	return told, err
}

// source reads the entries of a collection behind a number, some blocks at a time.
type source struct {
	listing.Reader
	rx     *Rx
	id     int64
	after  int64
	piece  int // blocks to read at once
	blocks []db.BlocksFromRow
	begun  bool
	first  int64 // of the block that is read
}

// next moves to the next entry. It returns false at the end.
func (s *source) next() (more bool, err error) {
	for {
		for s.Next() {
			if s.Seq > s.after {
				return true, nil
			}
		}
		if err := s.Err(); err != nil {
			return false, unreadable(s.id, s.first, err)
		}
		if len(s.blocks) == 0 {
			if err := s.read(); err != nil || len(s.blocks) == 0 {
				return false, err
			}
		}
		s.first = s.blocks[0].FirstSeq
		s.Reader = listing.Read(s.first, s.blocks[0].Entries)
		s.blocks = s.blocks[1:]
	}
}

func (s *source) read() (err error) {
	if !s.begun {
		s.begun = true
		s.blocks, err = s.rx.q.BlocksFrom(s.rx.ctx, db.BlocksFromParams{CollectionID: s.id, After: s.after, MaxRows: int64(s.piece)})
		return err
	}
	s.piece = min(2*s.piece, maxPiece)
	rows, err := s.rx.q.BlocksBehind(s.rx.ctx, db.BlocksBehindParams{CollectionID: s.id, FirstSeq: s.first, MaxRows: int64(s.piece)})
	for _, row := range rows {
		s.blocks = append(s.blocks, db.BlocksFromRow(row))
	}
	return err
}

// merge reads collections together, in the order of the numbers: a heap, whose first is
// at the lowest.
type merge []*source

func (rx *Rx) merge(ids []int64, after int64) (merge, error) {
	m := make(merge, 0, len(ids))
	for _, id := range ids {
		s := &source{rx: rx, id: id, after: after, piece: 2}
		more, err := s.next()
		if err != nil {
			return nil, err
		}
		if more {
			m = append(m, s)
		}
	}
	for i := len(m)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// advance moves on to the next number.
func (m *merge) advance() error {
	h := *m
	more, err := h[0].next()
	if err != nil {
		return err
	}
	if !more {
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		*m = h
	}
	h.down(0)
	return nil
}

func (m merge) down(i int) {
	for {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(m) && m[child].Seq < m[least].Seq {
				least = child
			}
		}
		if least == i {
			return
		}
		m[i], m[least] = m[least], m[i]
		i = least
	}
}

// VisibleRows returns every visible membership, and every listed repo under the
// empty collection.
func (rx *Rx) VisibleRows(row func(nsid, did string)) error {
	names := make(map[int64]string)
	if err := rx.eachCollection(func(c db.CollectionDigestsRow) { names[c.ID] = c.NSID }); err != nil {
		return err
	}
	return rx.visible(func(r *db.ListedReposRow, collection, _ int64) { row(names[collection], r.DID) })
}

// reposAtOnce is how many repos visible reads in a piece.
const reposAtOnce = 1000

// visible calls row with every listed repo, in the order of their ids: with its own number
// under allRepos, then with each of its visible rows.
func (rx *Rx) visible(row func(r *db.ListedReposRow, collection, seq int64)) error {
	for after := int64(0); ; {
		repos, err := rx.q.ListedRepos(rx.ctx, db.ListedReposParams{After: after, MaxRows: reposAtOnce})
		if err != nil || len(repos) == 0 {
			return err
		}
		upto := repos[len(repos)-1].ID
		rows, err := rx.q.VisibleBetween(rx.ctx, db.VisibleBetweenParams{After: after, Upto: upto})
		if err != nil {
			return err
		}
		for i := range repos {
			r := &repos[i]
			row(r, allRepos, r.Seq)
			for len(rows) > 0 && rows[0].RepoID <= r.ID {
				if rows[0].RepoID == r.ID {
					row(r, rows[0].CollectionID, rows[0].Seq)
				}
				rows = rows[1:]
			}
		}
		after = upto
	}
}

// eachCollection calls fn with every collection, that of all repos too.
func (rx *Rx) eachCollection(fn func(db.CollectionDigestsRow)) error {
	for after := int64(-1); ; {
		rows, err := rx.q.CollectionDigests(rx.ctx, db.CollectionDigestsParams{After: after, MaxRows: namesAtOnce})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, c := range rows {
			after = c.ID
			fn(c)
		}
	}
}
