package recheck

import (
	"context"
	"errors"
	"fmt"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/refusal"
)

// subject is a repo that is compared.
type subject struct {
	id       int64
	seen     Finding
	row      *row               // as it was read last
	document *identity.Identity // as it was resolved last, nil if it never was
	got      *establish.Found   // of a repo that is behind: the file may reach it
	done     bool               // the verdict is sure, or asking again is of no use
	failures int
	gone     int // attempts in a row that found it so
}

// open reports whether another attempt may bring more.
func (s *subject) open() bool { return !s.done || s.seen.StaleIdentity != "" }

// finding is what all attempts have shown.
func (s *subject) finding() Finding {
	f := s.seen
	f.Contradiction = f.Verdict == Gone && s.gone >= surelyGone && s.row.idle && f.StaleIdentity == ""
	return f
}

// attempt finds out about a repo what can be found out now.
func (c *comparer) attempt(ctx context.Context, s *subject) error {
	before, err := c.read(ctx, s.id)
	if err != nil {
		return err
	}
	s.row, s.seen.DID = before, before.DID
	if s.done {
		return c.lookAtIdentity(ctx, s)
	}
	if s.decidedByFile() {
		return nil
	}
	id, err := c.resolve(ctx, before.DID)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.unresolved(err)
		return nil
	}
	s.document, s.seen.Host = &id, id.Host
	got, err := c.fetch(ctx, before, id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	after, readErr := c.read(ctx, s.id)
	if readErr != nil {
		return readErr
	}
	s.row = after
	s.compareIdentity()
	if err != nil {
		s.notFetched(err)
		return nil
	}
	s.finish(before, after, got)
	return nil
}

// lookAtIdentity waits for the identity row to become what the document says.
func (c *comparer) lookAtIdentity(ctx context.Context, s *subject) error {
	id, err := c.resolve(ctx, s.row.DID)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		s.document = &id
	}
	s.compareIdentity()
	return nil
}

// decidedByFile reports whether nobody need be asked: the file has reached what was
// fetched, or stands where it stood, or has the repo out of service.
func (s *subject) decidedByFile() bool {
	if s.document != nil {
		s.compareIdentity()
	}
	if !s.row.served() {
		if s.seen.Verdict != Gone {
			s.seen.Verdict, s.seen.Missing, s.seen.Extra = Moved, nil, nil
		}
		s.seen.Detail = movedText(s.row)
		return true
	}
	if s.got == nil {
		return false
	}
	verdict, _ := judge(s.row, s.row, s.got)
	if !verdict.sure() && verdict != Behind {
		s.got = nil
		return false
	}
	s.finish(s.row, s.row, s.got)
	return true
}

func (s *subject) finish(before, after *row, got *establish.Found) {
	verdict, decider := judge(before, after, got)
	s.seen.Verdict, s.done, s.gone, s.got = verdict, verdict.sure(), 0, nil
	s.seen.compared(decider, got)
	if verdict == Behind {
		s.got = got
	}
}

// unresolved: the DID document could not be read.
func (s *subject) unresolved(err error) {
	_, refused := refusal.ReasonOf(err)
	_, unavailable := errors.AsType[*identity.Unavailable](err)
	switch {
	case errors.Is(err, identity.ErrNoDocument):
		s.isGone("its DID has no document")
	case refused && !unavailable: // an answer that came too late is both
		s.failed(Refused, err)
	default:
		s.failed(Unreachable, err)
	}
}

// notFetched: the host did not serve the repo.
func (s *subject) notFetched(err error) {
	e, answered := errors.AsType[*pds.Error](err)
	_, refused := refusal.ReasonOf(err)
	switch {
	case answered && (e.Outcome.Gone() || e.Outcome == pds.NotFound):
		s.isGone(fmt.Sprintf("its host says %s", e.Outcome))
	case answered || !refused:
		s.failed(Unreachable, err)
	default:
		s.failed(Refused, err)
	}
}

func (s *subject) isGone(why string) {
	s.gone++
	s.got = nil
	s.seen.Verdict, s.seen.Detail = Gone, why
	s.seen.FileRev, s.seen.HostRev, s.seen.Missing, s.seen.Extra = s.row.rev(), 0, nil, nil
}

// failed notes what cannot be compared. Where the host was not even asked, asking
// later may do.
func (s *subject) failed(v Verdict, err error) {
	_, left := errors.AsType[*notAsked](err)
	s.gone, s.got = 0, nil
	if !left || s.seen.Verdict != v { // why it failed says more than that it was not tried again
		s.seen.Verdict, s.seen.Detail = v, err.Error()
	}
	s.seen.FileRev, s.seen.HostRev, s.seen.Missing, s.seen.Extra = s.row.rev(), 0, nil, nil
	if left {
		return
	}
	if s.failures++; s.failures >= mostFailures || v == Refused && s.failures >= mostRefusals {
		s.done = true
	}
}

// compareIdentity holds the identity row against the document. A row that asks for
// another look-up by itself promises nothing.
func (s *subject) compareIdentity() {
	file, now := s.row.Identity, s.document
	s.seen.StaleIdentity = ""
	switch {
	case file == nil || file.Stale || now == nil:
	case file.Host != now.Host || file.Insecure != now.Insecure:
		s.seen.StaleIdentity = fmt.Sprintf("the file has host %s, the document names %s", file.URL(), now.URL())
	case file.Key != string(now.Key):
		s.seen.StaleIdentity = fmt.Sprintf("the file has key %s, the document names %s", identity.Key(file.Key), now.Key)
	}
}
