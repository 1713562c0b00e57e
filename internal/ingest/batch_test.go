package ingest

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// batch judges events of the upstream in one transaction, as the service does.
func (s *story) batch(slots ...*slot) error {
	s.t.Helper()
	for _, sl := range slots {
		s.seq++
		sl.up, sl.cursor, sl.frame.DID = s.up, s.seq, alice
	}
	s.in.inFlight.Add(int64(len(slots)))
	return s.in.commit(s.t.Context(), slots)
}

func (s *story) cursor() int64 { return s.stats().Upstreams[0].Cursor }

// file opens the file a second time.
func (s *story) file() *sql.DB {
	s.t.Helper()
	raw, err := sql.Open("sqlite", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = raw.Close() })
	return raw
}

// Heads, rows, refusals and the cursor are in the file together, or none of them:
// the process may end between any two statements.
func TestABatchAndItsCursorAreOneTransaction(t *testing.T) {
	for name, fails := range map[string]string{
		"the cursor":  "UPDATE OF cursor ON upstream",
		"the head":    "UPDATE ON repo_head WHEN new.rev = 12",
		"the row":     "INSERT ON membership",
		"the refusal": "INSERT ON refusal",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(posts)
			raw := s.file()
			trigger := "CREATE TRIGGER crash BEFORE " + fails + " BEGIN SELECT raise(ABORT, 'disk full'); END"
			if _, err := raw.ExecContext(t.Context(), trigger); err != nil {
				t.Fatal(err)
			}
			events := func() []*slot {
				return []*slot{
					commit(11, 1, 2, nil, nil),
					commit(12, 2, 3, []string{likes}, []string{posts}),
					refusedWith(commit(13, 3, 4, nil, nil), refusal.BadSignature),
				}
			}
			if err := s.batch(events()...); err == nil || !strings.Contains(err.Error(), "disk full") {
				t.Fatalf("batch: %v, want the failure of the file", err)
			}
			s.wantState(repostate.Synchronized, 10)
			s.wantListed(posts)
			if s.cursor() != 0 || s.in.InFlight() != 3 {
				t.Errorf("cursor %d, %d events in flight", s.cursor(), s.in.InFlight())
			}
			if _, err := raw.ExecContext(t.Context(), "DROP TRIGGER crash"); err != nil {
				t.Fatal(err)
			}
			s.seq = 0 // the upstream sends them again
			if err := s.batch(events()...); err != nil {
				t.Fatal(err)
			}
			s.wantState(repostate.Synchronized, 12)
			s.wantListed(likes)
			if s.in.InFlight() != 3 { // those that failed are still there
				t.Errorf("%d events in flight after the batch", s.in.InFlight())
			}
			if s.cursor() != 3 {
				t.Errorf("cursor %d after the batch, want that of its last event, which was refused", s.cursor())
			}
			if n := s.refused(refusal.BadSignature); n != 1 {
				t.Errorf("%d refusals are counted", n)
			}
		})
	}
}

func (s *story) refused(reason refusal.Reason) (n int64) {
	s.t.Helper()
	if err := s.st.View(s.t.Context(), func(rx *store.Rx) error {
		counts, err := rx.RefusalCounts()
		for _, c := range counts {
			if c.Reason == reason {
				n = c.Count
			}
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// An upstream repeats what it has sent: each event of a batch is judged by what the
// one before it has left.
func TestABatchIsJudgedInTheOrderOfItsArrival(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	gone := &slot{kind: accountEvent, frame: event.Frame{Event: &event.Account{DID: alice, Status: "takendown"}}}
	if err := s.batch(
		commit(11, 1, 2, []string{likes}, nil), commit(11, 1, 2, []string{likes}, nil),
		commit(12, 2, 3, nil, []string{likes}), commit(13, 3, 4, []string{likes}, []string{posts}),
	); err != nil {
		t.Fatal(err)
	}
	s.wantState(repostate.Synchronized, 13)
	s.wantListed(likes)
	if err := s.batch(gone, commit(14, 4, 5, []string{posts}, nil)); err != nil {
		t.Fatal(err)
	}
	s.wantListed()
	s.wantState(repostate.Desynchronized, 13)
}

// A stop in the middle of a batch leaves nothing of it.
func TestABatchThatIsCancelledLeavesNothing(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sl := commit(11, 1, 2, []string{likes}, nil)
	sl.up, sl.cursor, sl.frame.DID = s.up, 1, alice
	if err := s.in.commit(ctx, []*slot{sl}); err == nil {
		t.Fatal("no error")
	}
	s.wantState(repostate.Synchronized, 10)
	s.wantListed(posts)
}
