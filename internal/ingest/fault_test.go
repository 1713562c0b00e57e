package ingest

import (
	"strings"
	"testing"

	"railyard/internal/event"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// A key that cannot be read says nothing about the event: the batch fails, and the
// cursor stays where it is.
func TestAKeyThatCannotBeReadFailsTheBatch(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known("com.example.a")
	s.want(s.judge(commit(11, 1, 2, nil, nil)), repostate.Applied)
	unread := &slot{up: s.up, kind: commitEvent, cursor: 99, done: make(chan struct{})}
	unread.frame.DID, unread.frame.Event = alice, new(event.Commit)
	gone := newStory(t, store.KindRelay)
	if err := gone.st.Close(); err != nil {
		t.Fatal(err)
	}
	s.in.keys = gone.in.keys
	s.in.proveOne(t.Context(), unread)
	if unread.fault == nil || unread.refusal != nil {
		t.Fatalf("fault %v, refusal %v", unread.fault, unread.refusal)
	}
	if err := s.in.commit(t.Context(), []*slot{unread}); err == nil || !strings.Contains(err.Error(), "read the signing key") {
		t.Errorf("the batch ended with %v", err)
	}
	if cursor := s.stats().Upstreams[0].Cursor; cursor != s.seq {
		t.Errorf("the cursor is %d, want %d", cursor, s.seq)
	}
	s.wantState(repostate.Synchronized, 11)
}

// A stored key that is none concerns one repo: it waits to be looked up.
func TestAStoredKeyThatIsNoneStopsNobody(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known("com.example.a")
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err == nil {
			_, err = testrepo.SetIdentity(tx, r, "no key", "pds.test", false)
		}
		return err
	})
	sl := commit(11, 1, 2, nil, nil)
	sl.key = ""
	sl.frame.DID, sl.frame.Event = alice, new(event.Commit)
	s.in.proveOne(t.Context(), sl)
	if sl.fault != nil || sl.key != "" {
		t.Errorf("fault %v, key %q", sl.fault, sl.key)
	}
}
