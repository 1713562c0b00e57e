package firehose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"railyard/internal/event"
	"railyard/internal/refusal"
)

const (
	// maxStrikes is how often one message may break the connection before it is
	// stepped over: a PDS that sent it once sends it again at the same cursor.
	maxStrikes = 3
	// patience is how long, after a message was stepped over, others are so at once: what
	// the upstream makes is malformed, and to open connections anew would only delay
	// what stands between.
	patience = time.Hour
)

// Names of errors and infos (spec: event stream).
const (
	futureCursor   = "FutureCursor"
	outdatedCursor = "OutdatedCursor"
)

// brokenError ends a connection on which a message was no frame.
type brokenError struct{ refused *refusal.Error }

func (e *brokenError) Error() string { return e.refused.Error() }

// follow reads one connection to its end.
func (c *Consumer) follow(ctx context.Context, s *socket) error {
	c.seq.last = 0
	for {
		b, err := s.read()
		f := event.Frame{Break: true}
		if refused, ok := errors.AsType[*refusal.Error](err); ok {
			f.Refusal = refused
		} else if err != nil {
			return err
		} else {
			f = event.Decode(b)
		}
		if err := c.frame(ctx, f); err != nil {
			return err
		}
	}
}

// frame delivers what one message brought. An error ends the connection.
func (c *Consumer) frame(ctx context.Context, f event.Frame) error {
	if f.Break {
		return c.broken(ctx, f)
	}
	switch e := f.Event.(type) {
	case *event.StreamError:
		return c.streamError(ctx, f, e)
	case *event.Info:
		return c.info(ctx, f, e)
	}
	return c.event(ctx, f)
}

// event delivers a frame at its place in the sequence. Refused and unknown ones
// move the cursor like all others.
func (c *Consumer) event(ctx context.Context, f event.Frame) error {
	if f.Seq == 0 {
		return c.hand(ctx, Item{Frame: f})
	}
	place, missed := c.seq.take(f.Seq)
	switch place {
	case known:
		return nil
	case repeated:
		c.cfg.Count(refusal.SequenceRepeated)
		return c.hand(ctx, Item{Frame: f})
	}
	c.strikes = 0
	it := Item{Frame: f, Cursor: f.Seq, Missed: missed}
	if place == reset {
		c.cfg.Count(refusal.SequenceReset)
		it.Notice, it.ResetCursor = Reset, true
	}
	return c.hand(ctx, it)
}

// info passes on that events are lost; other infos mean nothing to the index.
func (c *Consumer) info(ctx context.Context, f event.Frame, e *event.Info) error {
	if e.Name != outdatedCursor {
		c.log.Debug("info", "name", e.Name, "message", e.Message)
		return nil
	}
	c.cfg.Count(refusal.SequenceGap)
	return c.hand(ctx, Item{Frame: f, Notice: Gap})
}

// streamError ends the connection. After FutureCursor, which can only be the
// answer to a cursor, the next one begins live; after all others, ConsumerTooSlow
// among them, at the cursor reached.
func (c *Consumer) streamError(ctx context.Context, f event.Frame, e *event.StreamError) error {
	ended := fmt.Errorf("the upstream ended the stream: %q: %q", e.Name, e.Message)
	if e.Name != futureCursor || c.seq.cursor == 0 || c.seq.last != 0 {
		c.cfg.Count(refusal.FrameError)
		return ended
	}
	c.cfg.Count(refusal.SequenceFuture)
	if err := c.hand(ctx, Item{Frame: f, Notice: Future, ResetCursor: true}); err != nil {
		return err
	}
	c.seq.cursor, c.strikes = 0, 0
	return ended
}

// broken answers a message that is no frame: the connection must be dropped
// (spec: event stream). Where that has not helped, or there is no cursor to return to, the
// message is stepped over. What follows it on the same connection shows where its number
// was; until then the cursor moves by one, which its number cannot be below.
func (c *Consumer) broken(ctx context.Context, f event.Frame) error {
	patient := time.Since(c.skipped) < patience
	if c.strikes++; c.strikes < maxStrikes && !patient && c.seq.cursor > 0 {
		c.cfg.Count(f.Refusal.Reason)
		return &brokenError{f.Refusal}
	}
	if c.seq.cursor > 0 && c.seq.cursor < event.MaxSeq && f.Refusal.Reason != refusal.FrameNotBinary {
		if c.seq.last == 0 {
			c.seq.last = c.seq.cursor // what comes above is no repetition, and sets the cursor right
		}
		c.seq.cursor++
	}
	it, level := Item{Frame: f, Cursor: c.seq.cursor}, slog.LevelDebug
	if c.owed = patient; !patient {
		c.skipped = time.Now()
		it.Notice, level = Skipped, slog.LevelWarn
	}
	c.log.Log(ctx, level, "message stepped over", "cursor", c.seq.cursor, "error", f.Refusal)
	it.Frame.Refusal = refusal.New(refusal.FrameSkipped, "%w", f.Refusal)
	return c.hand(ctx, it)
}

// hand delivers an item. The first one after the hour in which messages were stepped over
// silently has the Notice that they lacked.
func (c *Consumer) hand(ctx context.Context, it Item) error {
	if c.owed && it.Notice == None && time.Since(c.skipped) >= patience {
		it.Notice = Skipped
	}
	if it.Notice != None {
		c.owed = false
	}
	if err := c.deliver(ctx, it); err != nil {
		return &deliveryError{err}
	}
	return nil
}
