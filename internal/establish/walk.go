package establish

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// result is the set of collections of a repo under one signed tree.
type result struct {
	commit      *repo.Commit // verified; the newest one seen with this tree
	collections []string     // with at least one key, each once, sorted by their bytes
	proof       Proof
}

// collections establishes all collections of the repo and proves that there are no
// others. It needs about one request more than there are collections, fewer
// where neighbouring collections come into view together.
func (p *prober) collections(ctx context.Context) (*result, error) {
	w := &walk{p: p, open: everything()}
	for {
		q, more := w.next()
		if !more {
			return w.result(), nil
		}
		a, err := p.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		if _, err := w.take(a); err != nil {
			return nil, err
		}
	}
}

// walk is what the answers about one tree have shown together.
type walk struct {
	p      *prober
	head   *repo.Commit // nil before the first answer
	whole  bool         // one answer showed all of it
	names  map[string]bool
	open   []gap // in order: where unknown collections can be
	closed int   // gaps that were found to have no place for any
}

func everything() []gap { return []gap{{}} }

// next finds the first gap for which a request is to be made.
func (w *walk) next() (question, bool) {
	for len(w.open) > 0 {
		if q, ok := w.open[0].question(); ok {
			return q, true
		}
		w.open = w.open[1:]
		w.closed++
	}
	return question{}, false
}

// take adds what an answer shows. One of another tree begins the walk again, if
// that is still allowed; one that is older than what has been seen comes from a
// stale replica and shows nothing. same reports whether the tree is still the one
// of the answers before.
func (w *walk) take(a *answer) (same bool, err error) {
	if w.head == nil {
		return false, w.begin(a)
	}
	if a.commit.Data == w.head.Data {
		if a.commit.Rev > w.head.Rev {
			w.head = a.commit
		}
		return true, w.narrow(a)
	}
	if err := w.p.again(w.head, a.commit); err != nil {
		return false, err
	}
	if a.commit.Rev < w.head.Rev {
		return false, nil
	}
	return false, w.begin(a)
}

// again counts one more start, if that is still allowed.
func (p *prober) again(before, after *repo.Commit) error {
	if p.restarts >= p.cfg.maxRestarts {
		return fmt.Errorf("%w: from rev %s to %s", errMoved, before.Rev, after.Rev)
	}
	p.restarts++
	return nil
}

// begin forgets what was known of another tree.
func (w *walk) begin(a *answer) error {
	w.head, w.whole = a.commit, a.view.Complete()
	w.names, w.open, w.closed = make(map[string]bool), everything(), 0
	if !w.whole {
		if err := w.p.afford(a.records()); err != nil {
			return err
		}
	}
	return w.narrow(a)
}

// narrow takes out of the gaps what an answer shows. Keys that belong to no
// collection bound gaps too: their number is bounded like that of collections.
func (w *walk) narrow(a *answer) error {
	for _, nsid := range a.collections() {
		w.names[nsid] = true
	}
	var open []gap
	for _, g := range w.open {
		open = g.within(a.view, open)
	}
	w.open = open
	if most := w.p.cfg.maxCollections; len(w.names) > most || len(w.open)+w.closed > most+1 {
		return refusal.New(refusal.AnswerTooBig, "a repo with more than %d collections", most)
	}
	return nil
}

func (w *walk) result() *result {
	proof := ByProbes
	if w.whole {
		proof = ByTree
	}
	return &result{w.head, slices.Sorted(maps.Keys(w.names)), proof}
}
