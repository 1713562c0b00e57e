package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// A connection on which a transaction was left open would refuse every other one.
func TestABrokenSessionIsNotUsedAgain(t *testing.T) {
	st := open(t, filepath.Join(t.TempDir(), "x.db"))
	if err := st.writer.begin(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	nothing := func(*Tx) error { return nil }
	if err := st.Update(t.Context(), "a test", nothing); err == nil {
		t.Error("a transaction within a transaction")
	}
	if err := st.Update(t.Context(), "a test", nothing); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
	if err := st.with(t.Context(), func(sn *session) error { return sn.begin(t.Context(), "BEGIN") }); err != nil {
		t.Fatal(err)
	}
	see := func(rx *Rx) error {
		_, err := rx.q.Meta(rx.ctx)
		return err
	}
	if err := st.View(t.Context(), see); err == nil {
		t.Error("a view within a transaction")
	}
	if err := st.View(t.Context(), see); err != nil {
		t.Errorf("the next view: %v", err)
	}
}

// Who asks when every connection is in use waits, but no longer than it wants to.
func TestAViewWaitsForAConnection(t *testing.T) {
	st := open(t, filepath.Join(t.TempDir(), "x.db"))
	ctx, cancel := context.WithCancel(t.Context())
	var nested func(n int) error
	nested = func(n int) error {
		return st.View(ctx, func(*Rx) error {
			if n++; n == Readers {
				cancel()
			}
			return nested(n)
		})
	}
	if err := nested(0); !errors.Is(err, context.Canceled) {
		t.Errorf("with %d connections in use: %v", Readers, err)
	}
	if n := len(st.idle); n != Readers {
		t.Errorf("%d of %d connections came back", n, Readers)
	}
}

// A request whose client has gone costs no connection, and does not wait for its turn.
func TestWhoHasGoneBreaksNoConnection(t *testing.T) {
	st := open(t, filepath.Join(t.TempDir(), "x.db"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	writer := st.writer
	for range 20 { // the turn or the end of ctx, by chance
		if err := st.Update(gone, "a test", func(*Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("an Update: %v", err)
		}
		if err := st.View(gone, func(*Rx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a View: %v", err)
		}
	}
	if err := st.Update(t.Context(), "a test", func(*Tx) error { return nil }); err != nil || st.writer != writer || len(st.idle) != 1 {
		t.Errorf("%v; the writer's connection is another one: %t; %d of readers", err, st.writer != writer, len(st.idle))
	}
	if err := st.turns.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer st.turns.give()
	if err := st.Update(gone, "a test", func(*Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("an Update that has to wait: %v", err)
	}
}
