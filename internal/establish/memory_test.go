package establish

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// No memory is left: a fetch waits a moment before it gives up.
func TestAFetchWithoutMemoryGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := holding(t, small)
		e := s.establisher(WholeRepo)
		if !e.memory.TryAcquire(nodeBudget) {
			t.Fatal("somebody holds memory")
		}
		start := time.Now()
		_, _, err := e.Repo(t.Context(), s.request())
		if took := time.Since(start); !errors.Is(err, ErrNoMemory) || took != memoryPatience || len(s.methods) != 0 {
			t.Errorf("%v after %s and %d requests", err, took, len(s.methods))
		}
		time.AfterFunc(memoryPatience/2, func() { e.memory.Release(nodeBudget) })
		if _, _, err := e.Repo(t.Context(), s.request()); err != nil {
			t.Error(err)
		}
	})
}

// A repo that does not fit is fetched again with more memory, and one that fits
// nowhere in the common budget waits for its turn as the only oversized one.
func TestALargerRepoGetsMoreMemory(t *testing.T) {
	const much = 1 << 20
	for name, c := range map[string]struct {
		tiers   []repo.SnapshotLimits
		busy    bool // another oversized one is being fetched
		fetches int
		want    error
	}{
		"at once":              {[]repo.SnapshotLimits{{Bytes: much, NodeBytes: much}}, true, 1, nil},
		"the second time":      {[]repo.SnapshotLimits{{Bytes: much, NodeBytes: 40}, {Bytes: much, NodeBytes: much}}, true, 2, nil},
		"by its bytes":         {[]repo.SnapshotLimits{{Bytes: 300, NodeBytes: much}, {Bytes: much, NodeBytes: much}}, true, 2, nil},
		"oversized":            {[]repo.SnapshotLimits{{Bytes: much, NodeBytes: 40}, {Bytes: much, NodeBytes: 60}}, false, 3, nil},
		"another one is there": {[]repo.SnapshotLimits{{Bytes: much, NodeBytes: 40}}, true, 1, ErrOversized},
	} {
		t.Run(name, func(t *testing.T) {
			s := holding(t, small)
			e := s.establisher(WholeRepo)
			e.tiers = c.tiers
			if c.busy {
				e.oversized <- struct{}{}
			}
			_, _, err := e.Repo(t.Context(), s.request())
			if !errors.Is(err, c.want) || len(s.methods) != c.fetches {
				t.Errorf("%v after %d fetches, want %v after %d", err, len(s.methods), c.want, c.fetches)
			}
			if !e.memory.TryAcquire(nodeBudget) || len(e.oversized) > 0 != c.busy {
				t.Error("memory was not given back")
			}
		})
	}
}

// An answer that is longer than any repo may be is not oversized: it would be read
// twice as far in vain.
func TestAnEndlessRepoIsNotOversized(t *testing.T) {
	s := holding(t, small)
	e := s.establisher(WholeRepo)
	e.tiers = []repo.SnapshotLimits{{Bytes: 300, NodeBytes: 1 << 20}, {Bytes: 301, NodeBytes: 1 << 20}}
	_, _, err := e.Repo(t.Context(), s.request())
	wantReason(t, err, refusal.AnswerTooBig)
	if len(s.methods) != 2 {
		t.Errorf("%d fetches, want 2", len(s.methods))
	}
}

// The trees of all fetches together stay under the budget, however many run.
func TestFetchesStayUnderTheMemoryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := holding(t, small)
		now, most := 0, 0
		s.fetch = func() {
			s.mu.Lock()
			now++
			most = max(most, now)
			s.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			s.mu.Lock()
			now--
			s.mu.Unlock()
		}
		e := s.establisher(WholeRepo)
		e.memory = semaphore.NewWeighted(2*tiers()[0].NodeBytes + 5)
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if _, _, err := e.Repo(t.Context(), s.request()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most != 2 {
			t.Errorf("%d fetches at once in memory for two", most)
		}
	})
}
