package ingest

import (
	"context"
	"fmt"
	"time"

	"railyard/internal/gather"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// commitBatches takes proven events in the order of their arrival, batch by batch, until
// the queue is closed. It goes on after ctx has ended, for a while, so that a stop
// commits what was received.
func (in *Ingest) commitBatches(ctx context.Context, slots <-chan *slot) error {
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	next := make([]*slot, 0, in.cfg.Batch)
	for {
		next = gather.Batch(slots, next[:0], in.cfg.Batch, in.cfg.Delay)
		if len(next) == 0 {
			return nil
		}
		if err := in.commit(detached, next); err != nil {
			return err
		}
	}
}

// batch is the state of one transaction.
type batch struct {
	in       *Ingest
	tx       *store.Tx
	outcomes []repostate.Outcome // of each slot
	refused  []store.Refused
	rooms    map[int64]*int64 // by upstream: the unknown DIDs that it may still bring
	births   int
	deaths   int
}

// commit judges a batch in one transaction: heads, rows, queue and cursors change
// together or not at all.
func (in *Ingest) commit(ctx context.Context, slots []*slot) error {
	start := time.Now()
	var b *batch
	var newest map[*upstream]time.Time
	err := in.cfg.Store.Update(ctx, "judge a batch", func(tx *store.Tx) error {
		b = &batch{in: in, tx: tx, outcomes: make([]repostate.Outcome, 0, len(slots))}
		for _, s := range slots {
			outcome, err := b.judge(s)
			if err != nil {
				return fmt.Errorf("%s of %s, seq %d: %w", s.kind, s.frame.DID, s.frame.Seq, err)
			}
			b.outcomes = append(b.outcomes, outcome)
		}
		if err := tx.AddRefusals(b.refused); err != nil {
			return err
		}
		newest = b.newest(slots)
		return b.cursors(slots, newest)
	})
	if err != nil {
		return err
	}
	in.inFlight.Add(-int64(len(slots)))
	b.count(len(slots), time.Since(start))
	progressed(slots, b.outcomes, newest, in.cfg.Now())
	return nil
}

// cursors stores how far each upstream's events are in the file.
func (b *batch) cursors(slots []*slot, newest map[*upstream]time.Time) error {
	last := make(map[*upstream]int64)
	for _, s := range slots {
		if s.cursor != 0 || s.reset {
			last[s.up] = s.cursor
		}
	}
	for up, cursor := range last {
		if err := b.tx.SetCursor(up.id, cursor, newest[up]); err != nil {
			return err
		}
	}
	return nil
}

// newest returns the newest time that an event of each upstream states which was not
// refused.
func (b *batch) newest(slots []*slot) map[*upstream]time.Time {
	newest := make(map[*upstream]time.Time)
	for i, s := range slots {
		if t := s.frame.Time; b.outcomes[i] != repostate.Refused && t.After(newest[s.up]) {
			newest[s.up] = t
		}
	}
	return newest
}

func (b *batch) count(events int, took time.Duration) {
	m := b.in.cfg.Metrics
	counts := make(map[repostate.Outcome]int)
	for _, outcome := range b.outcomes {
		counts[outcome]++
	}
	for outcome, n := range counts {
		m.Outcomes(string(outcome), n)
	}
	for _, r := range b.refused {
		m.Refused(r.Reason)
	}
	m.Changed(store.SourceCommit.String(), b.births, b.deaths)
	m.Batch(events, took.Seconds())
}

// refuse counts a refusal and keeps a sample of it.
func (b *batch) refuse(s *slot, reason refusal.Reason, detail string) {
	s.refused = reason
	b.refused = append(b.refused, store.Refused{
		Reason: reason, Source: s.up.host, DID: s.frame.DID, Detail: detail, At: b.tx.Now().UTC(),
	})
}
