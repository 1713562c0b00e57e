package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"railyard/db"
)

// ErrStopped is what Update returns after a failure of the file itself.
var ErrStopped = errors.New("the writer has stopped")

// Rx reads inside a transaction.
type Rx struct {
	ctx context.Context
	q   *db.Queries
}

// Tx writes inside the one write transaction.
type Tx struct {
	Rx
	s     *Store
	now   time.Time
	seq   int64            // next birth number
	edits map[int64]*edit  // of the listings of collections
	nsids map[string]int64 // collections added here
	after []func()
	wakes bool // a host may be asked sooner than before
}

// turns let one go after the other, in the order in which they came. It is no
// sync.Mutex because who has the turn may wait for the file, and the clock of a
// simulation (testing/synctest) stands still while anybody waits for a mutex.
type turns chan struct{}

func newTurns() turns { return make(turns, 1) }

func (t turns) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) give() { <-t }

// Update runs fn in the write transaction and commits what it did. An error or
// a panic of fn undoes all of it; the panic becomes an error. why names the
// transaction in errors.
//
// A failure of the disk names the file, and stops the writer if nobody knows any
// more what is in it.
func (s *Store) Update(ctx context.Context, why string, fn func(*Tx) error) error {
	if err := s.turns.take(ctx); err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	defer s.turns.give()
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return s.failed(why, err)
	}
	if s.reload {
		meta, err := s.writer.q.Meta(ctx)
		if err != nil {
			return s.failed(why, err)
		}
		s.seq, s.reload = meta.NextSeq, false
	}
	s.slowDown()
	if s.seq-s.durable >= maxUnsynced {
		if err := s.secure(ctx); err != nil {
			s.reload = true
			return s.failed("sync the birth counter", err)
		}
	}
	if err := s.patiently(ctx, func() error { return s.writer.begin(ctx, "BEGIN IMMEDIATE") }); err != nil {
		return s.failed(why+": begin", err)
	}
	tx := &Tx{Rx: Rx{ctx: ctx, q: s.writer.q}, s: s, now: s.now(), seq: s.seq}
	err := tx.run(fn)
	if err == nil {
		err = tx.flush()
	}
	if err == nil {
		err = s.pass(Point{why, false})
	}
	if err == nil {
		err = s.writer.commit(ctx)
	}
	if err == nil {
		err = s.pass(Point{why, true})
	}
	if err != nil {
		s.reload = true
		s.writer.rollback(ctx)
		return s.failed(why, err)
	}
	s.committed(tx)
	return nil
}

// connect makes sure that the writer has a connection that is of use.
func (s *Store) connect(ctx context.Context) error {
	if s.writer != nil && !s.writer.broken {
		return nil
	}
	if s.writer != nil {
		s.writer.close()
	}
	writer, err := newSession(ctx, s.file)
	if err == nil {
		s.writer = writer
	}
	return err
}

// Stop ends the writer: later Updates fail with the cause.
func (s *Store) Stop(cause error) {
	err := fmt.Errorf("%w: %w", ErrStopped, cause)
	s.stopped.CompareAndSwap(nil, &err)
}

func (tx *Tx) run(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

// flush writes what was gathered: listings, the birth counter, its clock.
func (tx *Tx) flush() error {
	if err := tx.flushListings(); err != nil {
		return err
	}
	if tx.seq == tx.s.seq {
		return nil
	}
	if minute := tx.now.Unix() / 60; minute != tx.s.minute {
		if err := tx.q.TickSeqClock(tx.ctx, db.TickSeqClockParams{Seq: tx.s.seq, Minute: minute}); err != nil {
			return err
		}
	}
	return tx.q.SetNextSeq(tx.ctx, tx.seq)
}

// committed changes what mirrors the file, now that the file has changed.
func (s *Store) committed(tx *Tx) {
	s.commits.Add(1)
	if tx.seq != s.seq {
		s.seq, s.minute = tx.seq, tx.now.Unix()/60
	}
	for nsid, id := range tx.nsids {
		s.nsids.Add(nsid, id)
		s.names.Add(id, nsid)
	}
	for _, fn := range tx.after {
		fn()
	}
	if tx.wakes {
		select {
		case s.wakeup <- struct{}{}:
		default:
		}
	}
}

// Wakeup receives after a commit by which a host may be asked sooner than before.
func (s *Store) Wakeup() <-chan struct{} { return s.wakeup }

// Now is the one time of this transaction.
func (tx *Tx) Now() time.Time { return tx.now }

func (tx *Tx) micros() int64 { return tx.now.UnixMicro() }

// AfterCommit runs fn once the transaction is in the file, and never if it is
// not. fn must not use the store.
func (tx *Tx) AfterCommit(fn func()) { tx.after = append(tx.after, fn) }

// nextSeq takes n birth numbers and returns the first.
func (tx *Tx) nextSeq(n int) int64 {
	first := tx.seq
	tx.seq += int64(n)
	return first
}
