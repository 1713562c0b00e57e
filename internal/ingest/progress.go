package ingest

import (
	"sync/atomic"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// Progress is how well an upstream is followed.
type Progress struct {
	URL       string
	Relay     bool
	Connected bool      // as Connected returns
	Heard     time.Time // when the last message came, or the first connection was made; zero = never
	Applied   time.Time // when an event was last applied that states its time
	Lag       time.Duration
	// Refused counts the events that were refused since the last one that was not, those
	// of one account in a row once; Reason is that of the last of them.
	Refused int64
	Reason  refusal.Reason
}

// progress is what is known of it between two questions.
type progress struct {
	heard   atomic.Int64 // Unix ns
	applied atomic.Int64 // Unix ns
	lag     atomic.Int64 // ns
	refused atomic.Int64
	reason  atomic.Value // refusal.Reason

	refusedDID string // that of the last refused event; only batches use it
}

// Progress returns how well each upstream is followed.
func (in *Ingest) Progress() []Progress {
	list := make([]Progress, len(in.upstreams))
	for i, u := range in.upstreams {
		kind, _ := u.kind.Load().(store.Kind)
		reason, _ := u.progress.reason.Load().(refusal.Reason)
		list[i] = Progress{
			URL: u.base, Relay: kind == store.KindRelay, Connected: u.connected(),
			Heard: nanos(u.progress.heard.Load()), Applied: nanos(u.progress.applied.Load()), Lag: time.Duration(u.progress.lag.Load()),
			Refused: u.progress.refused.Load(), Reason: reason,
		}
	}
	return list
}

func nanos(n int64) (t time.Time) {
	if n != 0 {
		t = time.Unix(0, n)
	}
	return t
}

// progressed notes what became of events, once they are in the file. newest is when the
// newest event of each upstream happened, by its own words.
func progressed(slots []*slot, outcomes []repostate.Outcome, newest map[*upstream]time.Time, now time.Time) {
	for up, t := range newest {
		up.progress.applied.Store(now.UnixNano())
		up.progress.lag.Store(int64(max(0, now.Sub(t))))
	}
	for i, s := range slots {
		p := &s.up.progress
		switch {
		case outcomes[i] == repostate.Refused:
			p.refuse(s)
		case s.kind == otherEvent: // it says nothing of a repo
		default:
			p.refused.Store(0)
		}
	}
}

// refuse counts a refused event, unless it is of the same account as the one before: what
// is wrong with one account is not wrong with its host.
func (p *progress) refuse(s *slot) {
	if did := s.frame.DID; did == "" || did != p.refusedDID {
		p.refused.Add(1)
		p.refusedDID = did
	}
	if s.refused != "" {
		p.reason.Store(s.refused)
	}
}
