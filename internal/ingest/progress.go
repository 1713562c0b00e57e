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
	Heard     time.Time // when the last message came, or the connection was made; zero = never
	Applied   time.Time // when an event was last applied that states its time
	Lag       time.Duration
	// Refused counts the events that were refused since the last one that was not, and
	// Reason is that of the last of them.
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
}

// Progress returns how well each upstream is followed.
func (in *Ingest) Progress() []Progress {
	list := make([]Progress, len(in.upstreams))
	for i, u := range in.upstreams {
		kind, _ := u.kind.Load().(store.Kind)
		reason, _ := u.progress.reason.Load().(refusal.Reason)
		list[i] = Progress{
			URL: u.base, Relay: kind == store.KindRelay, Connected: in.Connected(u.id),
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

// progressed notes what became of events, once they are in the file.
func progressed(slots []*slot, outcomes []repostate.Outcome, now time.Time) {
	for i, s := range slots {
		p := &s.up.progress
		if t := s.frame.Time; !t.IsZero() {
			p.applied.Store(now.UnixNano())
			p.lag.Store(int64(max(0, now.Sub(t))))
		}
		switch {
		case s.kind == otherEvent: // it says nothing of a repo
		case outcomes[i] != repostate.Refused:
			p.refused.Store(0)
		default:
			p.refused.Add(1)
			if s.refused != "" {
				p.reason.Store(s.refused)
			}
		}
	}
}
