package ingest

import (
	"context"
	"fmt"
	"time"

	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// verdict is what was done with an event, for the metrics.
type verdict string

// The verdicts.
const (
	applied        verdict = "applied"        // the head moved
	buffered       verdict = "buffered"       // kept until the fetch is done
	stale          verdict = "stale"          // our head is there already
	waits          verdict = "waits"          // the repo is queued; a fetch will see it
	desynchronized verdict = "desynchronized" // does not follow our head: queued
	hidden         verdict = "hidden"         // the account is inactive
	checked        verdict = "checked"        // a look at identity or status is queued
	noted          verdict = "noted"          // nothing to do
	unseen         verdict = "unseen"         // an unknown DID over the limit: a walk of the listing finds it
	rejected       verdict = "refused"        // see refusals_total
)

// judge takes proven events in the order of their arrival, batch by batch, until
// the queue is closed. It goes on after ctx has ended, for a while, so that a
// stop commits what was received.
func (in *Ingest) judge(ctx context.Context, slots <-chan *slot) error {
	commit, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	batch := make([]*slot, 0, in.cfg.Batch)
	for {
		batch = gather(slots, batch[:0], in.cfg.Batch, in.cfg.Delay)
		if len(batch) == 0 {
			return nil
		}
		if err := in.commit(commit, batch); err != nil {
			return err
		}
	}
}

// gather waits for one slot and then takes what comes until the batch is full or
// its time is over. An empty batch means that the queue is closed.
func gather(slots <-chan *slot, batch []*slot, most int, delay time.Duration) []*slot {
	first, ok := <-slots
	if !ok {
		return batch
	}
	batch = append(batch, first)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for len(batch) < most {
		select {
		case s, ok := <-slots:
			if !ok {
				return batch
			}
			batch = append(batch, s)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// court is the state of one batch.
type court struct {
	in       *Ingest
	tx       *store.Tx
	verdicts map[verdict]int
	refused  []store.Refused
	births   int
	deaths   int
}

// commit judges a batch in one transaction: heads, rows, queue and cursors change
// together or not at all.
func (in *Ingest) commit(ctx context.Context, batch []*slot) error {
	start := time.Now()
	var c *court
	err := in.cfg.Store.Update(ctx, "judge a batch", func(tx *store.Tx) error {
		c = &court{in: in, tx: tx, verdicts: make(map[verdict]int)}
		for _, s := range batch {
			v, err := c.judge(s)
			if err != nil {
				return fmt.Errorf("%s of %s, seq %d: %w", s.kind, s.frame.DID, s.frame.Seq, err)
			}
			c.verdicts[v]++
		}
		if err := tx.AddRefusals(c.refused); err != nil {
			return err
		}
		return c.cursors(batch)
	})
	if err != nil {
		return err
	}
	in.inFlight.Add(-int64(len(batch)))
	c.count(len(batch), time.Since(start))
	return nil
}

// cursors stores how far each upstream's events are in the file.
func (c *court) cursors(batch []*slot) error {
	type position struct {
		cursor int64
		set    bool
	}
	last := make(map[*upstream]position)
	for _, s := range batch {
		if s.cursor != 0 || s.reset {
			last[s.up] = position{s.cursor, true}
		}
	}
	for up, p := range last {
		if err := c.tx.SetCursor(up.id, p.cursor); err != nil {
			return err
		}
	}
	return nil
}

func (c *court) count(events int, took time.Duration) {
	m := c.in.cfg.Metrics
	for v, n := range c.verdicts {
		m.Verdicts(string(v), n)
	}
	for _, r := range c.refused {
		m.Refused(r.Reason)
	}
	m.Changed(store.SourceCommit.String(), c.births, c.deaths)
	m.Batch(events, took.Seconds())
}

// refuse counts a refusal and keeps a sample of it.
func (c *court) refuse(s *slot, reason refusal.Reason, detail string) {
	c.refused = append(c.refused, store.Refused{
		Reason: reason, Source: s.up.host, DID: s.frame.DID, Detail: detail, At: c.tx.Now().UTC(),
	})
}

// judge decides one event.
func (c *court) judge(s *slot) (verdict, error) {
	if s.fault != nil {
		return rejected, s.fault
	}
	if err := c.notice(s); err != nil {
		return rejected, err
	}
	if !s.kind.proven() && s.refusal != nil {
		c.refuse(s, s.refusal.Reason, s.refusal.Detail)
		return rejected, nil
	}
	switch s.kind {
	case commitEvent, syncEvent:
		return c.signedEvent(s)
	case identityEvent:
		return c.identity(s)
	case accountEvent:
		return c.account(s, s.frame.Event.(*event.Account))
	}
	return noted, nil
}

// missedNumbers is how many sequence numbers between our cursor and the first
// event of a connection count as lost events. Gaps are legal, but a relay that
// does not say that a cursor is too old shows it only by them.
const missedNumbers = 1000

// notice handles what the stream itself shows: events are lost, or the upstream
// was reset. A walk of its listing then finds the repos that have moved on.
func (c *court) notice(s *slot) error {
	switch s.notice {
	case firehose.None:
		if s.missed < missedNumbers {
			return nil
		}
		c.refuse(s, refusal.SequenceGap, fmt.Sprintf("the stream goes on %d numbers behind our cursor", s.missed))
	case firehose.Reset:
		c.refuse(s, refusal.SequenceReset, fmt.Sprintf("the stream began at %d, below our cursor", s.frame.Seq))
	case firehose.Gap:
		c.refuse(s, refusal.SequenceGap, "OutdatedCursor")
	case firehose.Future:
		c.refuse(s, refusal.SequenceFuture, "FutureCursor")
	case firehose.Skipped: // its frame carries the refusal
	}
	up, notice := s.up, s.notice
	c.tx.AfterCommit(func() {
		c.in.cfg.Log.Warn("events are lost; the upstream's repos are walked", "upstream", up.base, "notice", notice, "missed", s.missed)
		c.in.wakeCrawl(up)
	})
	return c.tx.WantCrawl(store.CrawlID{Kind: store.OfUpstream, Server: up.id})
}
