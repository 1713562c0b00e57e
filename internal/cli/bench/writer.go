package bench

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"railyard/internal/store"
)

const (
	// writeEvery is how often a writer commits what is due: about as often as the
	// path of events does.
	writeEvery = 5 * time.Millisecond
	// oneInChanges is how many commits there are to one that begins or ends a
	// collection.
	oneInChanges = 20
)

// writer commits to random repos of an index at a rate.
type writer struct {
	done atomic.Int64 // commits
	stop context.CancelFunc
	end  chan error
}

func (s Shape) write(ctx context.Context, st *store.Store, perSecond float64) *writer {
	w := &writer{end: make(chan error, 1)}
	ctx, w.stop = context.WithCancel(ctx)
	go func() { w.end <- w.run(ctx, s, st, perSecond) }()
	return w
}

// close ends the writer.
func (w *writer) close() error {
	w.stop()
	return <-w.end
}

// run commits until ctx ends. What is late is made up for.
func (w *writer) run(ctx context.Context, s Shape, st *store.Store, perSecond float64) error {
	chance, began := s.random(0, forWrites), time.Now()
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		due := min(int64(time.Since(began).Seconds()*perSecond)-w.done.Load(), batch)
		if due <= 0 {
			continue
		}
		if err := st.Update(ctx, "write", func(tx *store.Tx) error {
			for n := range due {
				i := chance.IntN(s.Repos)
				var err error
				switch first, later := s.Collections(i); {
				case chance.IntN(oneInChanges) > 0:
					_, err = s.commit(tx, i, first[:min(1, len(first))], nil)
				case n%2 == 0:
					_, err = s.commit(tx, i, s.lacked(chance.IntN(largeOnes), first, later), nil)
				case len(later) > 0:
					_, err = s.commit(tx, i, nil, later[:1])
				default:
					_, err = s.commit(tx, i, nil, first[:min(1, len(first))])
				}
				if err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		w.done.Add(due)
	}
}

// lacked returns the first large collection from a number on that a repo did not have.
func (s Shape) lacked(from int, has ...[]string) []string {
	for n := range largeOnes {
		nsid := Large((from + n) % largeOnes)
		if !slices.ContainsFunc(has, func(some []string) bool { return slices.Contains(some, nsid) }) {
			return []string{nsid}
		}
	}
	return nil
}
