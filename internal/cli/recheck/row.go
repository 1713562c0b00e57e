package recheck

import (
	"context"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// membershipsAtOnce is how many rows of a repo's set are read with one query.
const membershipsAtOnce = 1000

// row is what the file says of a repo at one moment.
type row struct {
	*repostate.Repo
	listed bool
	idle   bool
	set    []string // its visible collections, sorted by their bytes
}

// read reads the row of a repo in one transaction.
func (c *comparer) read(ctx context.Context, id int64) (*row, error) {
	r := new(row)
	err := c.Reader.View(ctx, func(rx *store.Rx) (err error) {
		if r.Repo, err = rx.RepoByID(id); err != nil {
			return err
		}
		r.listed, r.idle = r.Seq > 0, r.Idle()
		r.set, err = visible(rx, r.Repo)
		return err
	})
	return r, err
}

func visible(rx *store.Rx, r *repostate.Repo) (set []string, err error) {
	for after := int64(0); ; {
		some, last, err := rx.Memberships(r, after, membershipsAtOnce)
		for _, m := range some {
			if m.Visible {
				set = append(set, m.NSID)
			}
		}
		if err != nil || len(some) < membershipsAtOnce {
			slices.Sort(set)
			return set, err
		}
		after = last
	}
}

// served reports whether the file lists the repo and follows it.
func (r *row) served() bool {
	return r.State == repostate.Synchronized && r.Active && r.listed && r.Head != nil && r.Identity != nil
}

// of reports whether the row is of the state that was fetched.
func (r *row) of(f *establish.Found) bool {
	return r.Head != nil && r.Head.Rev == f.Head.Rev
}

// is reports whether the row says what was fetched.
func (r *row) is(f *establish.Found) bool {
	return r.listed && r.Head != nil && *r.Head == repostate.Head(f.Head) && slices.Equal(r.set, f.Collections)
}

// rev is that of the head, 0 if there is none.
func (r *row) rev() atproto.TID {
	if r.Head == nil {
		return 0
	}
	return r.Head.Rev
}
