package probe

import (
	"context"
	"maps"
	"slices"

	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Result is the set of collections of a repo under one signed tree.
type Result struct {
	Commit      *repo.Commit // verified; the newest one seen with this tree
	Collections []string     // with at least one key, each once, sorted by their bytes
	Requests    int          // getRecord requests of the Prober so far
	Height      int          // depth of the tree's root
	WholeTree   bool         // one answer showed it all
	Claimed     bool         // the host's word, not proven
}

// Collections finds all collections of the repo and proves that there are no
// others. It needs about one request more than there are collections, fewer
// where neighbouring collections come into view together.
func (p *Prober) Collections(ctx context.Context) (*Result, error) {
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
	p      *Prober
	head   *repo.Commit // nil before the first answer
	height int
	whole  bool
	names  map[string]bool
	open   []gap // in order: where unknown collections can be
	closed int   // gaps that were found to have no place for any
}

func everything() []gap { return []gap{{}} }

// next finds the first gap that is worth a request.
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
// stale replica and shows nothing. same tells whether the tree is still the one
// of the answers before.
func (w *walk) take(a *answer) (same bool, err error) {
	if w.head == nil {
		return false, w.begin(a)
	}
	if a.commit.Data == w.head.Data {
		if a.commit.Rev > w.head.Rev {
			w.head = a.commit
		}
		return true, w.learn(a)
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
func (p *Prober) again(before, after *repo.Commit) error {
	if p.restarts.Load() >= int64(p.cfg.MaxRestarts) {
		return &Moved{Before: before, After: after}
	}
	p.restarts.Add(1)
	return nil
}

// begin forgets what was known of another tree.
func (w *walk) begin(a *answer) error {
	w.head, w.height, w.whole = a.commit, a.height, a.view.Complete()
	w.names, w.open, w.closed = make(map[string]bool), everything(), 0
	if policy := w.p.cfg.Policy; policy != nil && !w.whole {
		size := a.size()
		if advice := policy(size); advice != GoOn {
			return &Unsuited{Advice: advice, Size: size, Commit: a.commit}
		}
	}
	return w.learn(a)
}

// learn takes out of the gaps what an answer shows. Keys that belong to no
// collection bound gaps too: their number is bounded like that of collections.
func (w *walk) learn(a *answer) error {
	for _, nsid := range a.collections() {
		w.names[nsid] = true
	}
	var open []gap
	for _, g := range w.open {
		open = g.within(a.view, open)
	}
	w.open = open
	if most := w.p.cfg.MaxCollections; len(w.names) > most || len(w.open)+w.closed > most+1 {
		return refusal.New(refusal.AnswerTooBig, "a repo with more than %d collections", most)
	}
	return nil
}

func (w *walk) result() *Result {
	return &Result{
		Commit:      w.head,
		Collections: slices.Sorted(maps.Keys(w.names)),
		Requests:    w.p.Stats().Requests,
		Height:      w.height,
		WholeTree:   w.whole,
	}
}
