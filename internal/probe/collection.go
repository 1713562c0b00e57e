package probe

import (
	"context"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/repo"
)

// Collection finds out with one request whether the repo has any key of a
// collection, and proves it by the commit that it returns.
func (p *Prober) Collection(ctx context.Context, nsid string) (present bool, head *repo.Commit, err error) {
	if _, err := atproto.ParseNSID(nsid); err != nil {
		return false, nil, err
	}
	a, err := p.ask(ctx, question{nsid, lowRkey})
	if err != nil {
		return false, nil, err
	}
	// The place of the smallest record key is visible: a first record of the
	// collection would stand beside it.
	return a.view.Collection(nsid).Presence() == mst.Present, a.commit, nil
}
