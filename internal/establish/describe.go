package establish

import (
	"context"
	"maps"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// describer says what a host says a repo holds.
type describer interface {
	// DescribeRepo returns the list of com.atproto.repo.describeRepo, valid NSIDs
	// only.
	DescribeRepo(ctx context.Context) ([]string, error)
}

// describe takes the host's word for the collections of the repo. The word has
// no rev: it counts for the signed commit that an answer to getRecord shows
// before and after it. Another commit with the same tree does not do, because the
// word may be about one between them. What both answers show must not contradict
// it. If they alone say it all, the result is not described but proven.
func (p *prober) describe(ctx context.Context, d describer) (*result, error) {
	w := &walk{p: p, open: everything()}
	for {
		q, more := w.next()
		if !more {
			return w.result(), nil
		}
		before := w.head
		var listed []string
		if before != nil {
			var err error
			if listed, err = d.DescribeRepo(ctx); err != nil {
				return nil, err
			}
		}
		a, err := p.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		same, err := w.take(a)
		switch {
		case err != nil:
			return nil, err
		case !same:
		case a.commit.CID == before.CID:
			return w.described(listed)
		default:
			if err := p.again(before, a.commit); err != nil {
				return nil, err
			}
		}
	}
}

// described makes a result of a host's list, unless it is wrong as far as the tree is
// known.
func (w *walk) described(listed []string) (*result, error) {
	if _, more := w.next(); !more {
		return w.result(), nil
	}
	if len(listed) == 0 {
		return nil, refusal.New(refusal.AnswerInvalid, "%w: an empty list of a repo with records", errDescription)
	}
	names := make(map[string]bool, len(listed))
	for _, nsid := range listed {
		names[nsid] = true
		if !w.names[nsid] && !w.mayHide(nsid) {
			return nil, refusal.New(refusal.AnswerInvalid, "%w: no record of %s", errDescription, nsid)
		}
	}
	for nsid := range w.names {
		if !names[nsid] {
			return nil, refusal.New(refusal.AnswerInvalid, "%w: %s is not in the list", errDescription, nsid)
		}
	}
	if most := w.p.cfg.maxCollections; len(names) > most {
		return nil, refusal.New(refusal.AnswerTooBig, "a description of %d collections", len(names))
	}
	return &result{w.head, slices.Sorted(maps.Keys(names)), ByDescription}, nil
}

// mayHide reports whether a collection of which no key is known can have one.
func (w *walk) mayHide(nsid string) bool {
	return slices.ContainsFunc(w.open, func(g gap) bool { return g.holds(question{nsid, atproto.LowestRkey}.path()) })
}
