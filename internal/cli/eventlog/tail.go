package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"
	"railyard/internal/verify"
)

const (
	// workers look up keys and prove at once: most of the time they wait for a
	// directory.
	workers = 16
	// waiting bounds the events that are read and not printed. One may have five
	// megabytes.
	waiting = 128
)

// Config says what to follow.
type Config struct {
	Firehose firehose.Config
	// Resolver finds the keys for the verification; nil: nothing is verified.
	Resolver Resolver
	// Collections: only commits with an op in one of them, and notices. Empty:
	// everything.
	Collections []string
}

// Run follows the stream and passes each line to print, on one goroutine at a
// time. It returns nil when ctx has ended, and the error of print when that
// failed; by then nothing is running any more. What was proven before the end of
// ctx is still printed.
func Run(ctx context.Context, cfg Config, print func(Line) error) error {
	consumer, err := firehose.New(cfg.Firehose)
	if err != nil {
		return err
	}
	t := &tail{collections: cfg.Collections}
	if cfg.Resolver == nil {
		return consumer.Run(ctx, func(_ context.Context, it firehose.Item) error {
			if !t.wanted(it) {
				return nil
			}
			return print(newLine(it))
		})
	}
	t.keys = newKeys(cfg.Resolver)
	return t.verified(ctx, consumer, print)
}

type tail struct {
	collections []string
	keys        *keys
}

// wanted reports whether an item gets a line.
func (t *tail) wanted(it firehose.Item) bool {
	if len(t.collections) == 0 || it.Notice != firehose.None {
		return true
	}
	c, ok := it.Frame.Event.(*event.Commit)
	return ok && slices.ContainsFunc(c.Ops, func(op event.Op) bool {
		nsid, _ := atproto.CollectionOf(op.Path)
		return slices.Contains(t.collections, nsid)
	})
}

// slot keeps the place of an event while it is proven.
type slot struct {
	event event.Event
	line  Line
	cut   bool          // the end came first: the line is not good
	done  chan struct{} // closed when line and cut are
}

// verified runs the consumer, the workers and the printer.
func (t *tail) verified(ctx context.Context, consumer *firehose.Consumer, print func(Line) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	order, work := make(chan *slot, waiting), make(chan *slot)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for s := range work {
				t.prove(ctx, s)
			}
		})
	}
	var failed error
	running.Go(func() {
		failed = printAll(order, print)
		cancel()
		for range order { // so that nobody waits for a place
		}
	})
	err := consumer.Run(ctx, func(ctx context.Context, it firehose.Item) error {
		return t.take(ctx, it, order, work)
	})
	close(work)
	close(order)
	running.Wait()
	return errors.Join(err, failed)
}

// printAll prints until the channel is closed, the first slot that was cut off,
// or an error.
func printAll(order <-chan *slot, print func(Line) error) error {
	for s := range order {
		<-s.done
		if s.cut {
			return nil
		}
		if err := print(s.line); err != nil {
			return err
		}
	}
	return nil
}

// take puts an item in its place in the order and, if there is something to prove,
// to a worker.
func (t *tail) take(ctx context.Context, it firehose.Item, order, work chan<- *slot) error {
	if id, ok := it.Frame.Event.(*event.Identity); ok {
		t.keys.known.Remove(id.DID)
	}
	if !t.wanted(it) {
		return nil
	}
	s := &slot{event: it.Frame.Event, line: newLine(it), done: make(chan struct{})}
	select {
	case order <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch s.event.(type) {
	case *event.Commit, *event.Sync:
	default:
		close(s.done)
		return nil
	}
	select {
	case work <- s:
		return nil
	case <-ctx.Done():
		s.cut = true
		close(s.done)
		return ctx.Err()
	}
}

// prove verifies the event of a slot and completes its line.
func (t *tail) prove(ctx context.Context, s *slot) {
	defer close(s.done)
	proof, err := t.proof(ctx, s.line.DID, s.event)
	s.event = nil
	if ctx.Err() != nil && err != nil {
		s.cut = true
		return
	}
	good := err == nil
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		s.line.Refused = refused(e)
	} else if err != nil {
		s.line.Undecided = fmt.Sprintf("%.300v", err)
		return
	}
	s.line.Verified = &good
	if good && s.line.Ops != nil {
		s.line.Present, s.line.Died = names(proof.Present), names(proof.Died)
		s.line.Born, s.line.BirthUnknown = names(proof.Born), names(proof.BirthUnknown)
	}
}

// names makes a list that JSON does not leave out.
func names(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// proof proves an event. A signature that is bad under a key that was known for
// a while gets a second try with the key of now.
func (t *tail) proof(ctx context.Context, did string, e event.Event) (p verify.Proof, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = refusal.New(refusal.Internal, "panic in a proof: %v", r)
		}
	}()
	known := t.keys.get(ctx, did)
	if known.err != nil {
		return p, known.err
	}
	p, err = check(e, known.key)
	if reason, _ := refusal.ReasonOf(err); reason != refusal.BadSignature || time.Since(known.at) < freshAge {
		return p, err
	}
	t.keys.forget(did, known)
	if known = t.keys.get(ctx, did); known.err != nil {
		return p, known.err
	}
	return check(e, known.key)
}

func check(e event.Event, key atcrypto.PublicKey) (verify.Proof, error) {
	switch e := e.(type) {
	case *event.Commit:
		return verify.Commit(e, key, time.Now())
	case *event.Sync:
		return verify.Sync(e, key, time.Now())
	}
	return verify.Proof{}, refusal.New(refusal.Internal, "%T cannot be proven", e)
}
