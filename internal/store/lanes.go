package store

import (
	"database/sql"
	"errors"
	"math"
	"time"

	"railyard/db"
)

// Lanes of the queue that are no host's id: who is asked for a DID document.
const (
	DirectoryLane int64 = 0  // the PLC directory
	WebLane       int64 = -1 // the hosts of did:web
)

// Priorities is how many priorities the queue has; the most urgent is 1.
const Priorities = prioBackground

// Manners is what the row of a host says of how it may be asked.
type Manners struct {
	Cooling  time.Time // no request before then
	Failures int       // failed requests in a row
	Answered bool      // it has served a repo at least once
	Rate     float64   // requests per second that it allows; 0 = it did not say
}

// LaneHead tells when the first row of a lane and priority is due that nobody
// works on. (schema.sql, resync_queue.lane)
type LaneHead struct {
	Lane      int64
	Priority  int64
	NotBefore time.Time
	Manners   Manners // of the host; zero where the lane is none
}

// LaneHeads reads up to n heads in the order of lane and priority, beginning
// behind one. Fewer than n are the last ones.
func (rx *Rx) LaneHeads(after LaneHead, n int) ([]LaneHead, error) {
	heads := make([]LaneHead, 0, n)
	for len(heads) < n {
		// SQLite seeks with >= and reads all that is equal with >.
		row, err := rx.q.NextLaneHead(rx.ctx, db.NextLaneHeadParams{Lane: after.Lane, Priority: after.Priority + 1})
		if errors.Is(err, sql.ErrNoRows) {
			return heads, nil
		}
		if err != nil {
			return nil, err
		}
		after = headOf(row)
		heads = append(heads, after)
	}
	return heads, nil
}

// BeforeLanes is where LaneHeads begins to find all of them.
func BeforeLanes() LaneHead { return LaneHead{Lane: math.MinInt64} }

func headOf(row db.NextLaneHeadRow) LaneHead {
	return LaneHead{
		Lane: row.Lane, Priority: row.Priority, NotBefore: time.UnixMicro(row.NotBefore),
		Manners: manners(deref(row.CooldownUntil), deref(row.Failures), deref(row.Answers), row.Rate),
	}
}

func manners(cooldown, failures, answers int64, rate *float64) Manners {
	return Manners{Cooling: time.UnixMicro(cooldown), Failures: int(failures), Answered: answers > 0, Rate: deref(rate)}
}

// News is what commits have changed for whoever chooses the rows to be claimed.
type News struct {
	Heads []LaneHead        // rows that became due, perhaps earlier than any known one
	Hosts map[int64]Manners // of the hosts of these lanes, and of those that changed
	// Lost: there was more than is kept, or counted. The heads must be read again.
	Lost bool
}

// maxNews bounds the lanes and the hosts whose news are kept.
const maxNews = 1 << 15

// News gives what was committed since it was asked for last. Wakeup tells when
// there is some.
func (s *Store) News() News {
	s.newsMu.Lock()
	defer s.newsMu.Unlock()
	news := News{Hosts: s.newHosts, Lost: s.newsLost}
	for _, h := range s.newHeads {
		news.Heads = append(news.Heads, h)
	}
	s.newHeads, s.newHosts, s.newsLost = nil, nil, false
	return news
}

// laneKey names the head of a lane and priority.
type laneKey struct{ lane, priority int64 }

// tell keeps the news of a commit until they are asked for.
func (s *Store) tell(heads []LaneHead, hosts map[int64]Manners, uncounted bool) {
	if len(heads) == 0 && len(hosts) == 0 && !uncounted {
		return
	}
	s.newsMu.Lock()
	defer s.newsMu.Unlock()
	s.newsLost = s.newsLost || uncounted
	if s.newHeads == nil {
		s.newHeads, s.newHosts = make(map[laneKey]LaneHead), make(map[int64]Manners)
	}
	for _, h := range heads {
		key := laneKey{h.Lane, h.Priority}
		old, known := s.newHeads[key]
		if known && old.NotBefore.Before(h.NotBefore) {
			h.NotBefore = old.NotBefore
		}
		if !known && len(s.newHeads) >= maxNews {
			s.newsLost = true
			continue
		}
		s.newHeads[key] = h
		if h.Lane > 0 {
			s.newHosts[h.Lane] = h.Manners
		}
	}
	for id, m := range hosts {
		if _, known := s.newHosts[id]; !known && len(s.newHosts) >= maxNews {
			s.newsLost = true
			continue
		}
		s.newHosts[id] = m
	}
}

// touch notes that the queue row of a repo may have changed its place.
func (tx *Tx) touch(r *Repo) { tx.touched = append(tx.touched, r.ID) }

// touchMany notes that rows have changed their places of which nobody kept count.
func (tx *Tx) touchMany() { tx.uncounted = true }

// touchHost notes that the manners of a host may have changed.
func (tx *Tx) touchHost(id int64) { tx.hosts = append(tx.hosts, id) }

// gatherNews reads what this transaction makes of the rows that it has touched.
func (tx *Tx) gatherNews() error {
	if len(tx.touched) > 0 {
		rows, err := tx.q.TouchedHeads(tx.ctx, jsonIDs(tx.touched))
		if err != nil {
			return err
		}
		for _, row := range rows {
			tx.heads = append(tx.heads, headOf(db.NextLaneHeadRow(row)))
		}
	}
	if len(tx.hosts) == 0 {
		return nil
	}
	rows, err := tx.q.TouchedHosts(tx.ctx, jsonIDs(tx.hosts))
	if err != nil {
		return err
	}
	tx.manners = make(map[int64]Manners, len(rows))
	for _, row := range rows {
		tx.manners[row.ID] = manners(row.CooldownUntil, row.Failures, row.Answers, row.Rate)
	}
	return nil
}
