package store

import (
	"errors"
	"testing"

	"railyard/internal/atproto"
)

// The head moves by compare-and-swap: from the data, or the rev, that a commit starts
// from, to a newer rev, and only of a repo that is in service.
func TestAHeadMovesOnlyFromWhereACommitStarts(t *testing.T) {
	tree := func(n byte) atproto.Digest { return atproto.Digest{n} }
	inService := func(*Tx, *Repo) error { return nil }
	for name, c := range map[string]struct {
		before func(tx *Tx, r *Repo) error
		prev   atproto.Digest
		rev    atproto.TID
		moved  bool
	}{
		"that follows":              {inService, tree(1), 11, true},
		"from another tree":         {inService, tree(2), 11, false},
		"of the same rev":           {inService, tree(1), 10, false},
		"after one that is missing": {inService, tree(2), 12, false},
		"that is older":             {inService, tree(1), 9, false},
		"of another rev, same tree": {inService, tree(1), 11, true},
		"of an inactive account":    {func(tx *Tx, r *Repo) error { return tx.SetInactive(r, "suspended") }, tree(1), 11, false},
		"of a repo that waits":      {func(tx *Tx, r *Repo) error { return tx.Desynchronize(r, Discontinuity) }, tree(1), 11, false},
		"of one that is fetched":    {func(tx *Tx, r *Repo) error { return tx.SetState(r, Resyncing) }, tree(1), 11, false},
		"of one that is not found":  {func(tx *Tx, r *Repo) error { return tx.SetState(r, NotFound) }, tree(1), 11, false},
		"of a hidden repo in service": {func(tx *Tx, r *Repo) error {
			return errors.Join(tx.SetInactive(r, "suspended"), tx.SetState(r, Synchronized))
		}, tree(1), 11, false},
	} {
		t.Run("a commit "+name, func(t *testing.T) {
			f := newShelf(t)
			f.inService(did(0))
			f.undone(did(0), func(tx *Tx, r *Repo) error {
				if _, _, err := tx.Establish(r, Head{Rev: 10, Data: tree(1)}, []string{"com.example.a"}, ProofTree); err != nil {
					return err
				}
				if err := c.before(tx, r); err != nil {
					return err
				}
				head := Head{Rev: c.rev, Data: tree(3)}
				moved, err := tx.Advance(r, c.prev, head)
				if err != nil {
					return err
				}
				after, err := tx.RepoByID(r.ID)
				if err == nil && (moved != c.moved || (after.Head.Data == head.Data) != c.moved || *r.Head != *after.Head) {
					t.Errorf("moved: %t; the head is at rev %d", moved, after.Head.Rev)
				}
				return err
			})
		})
	}
}

// Questions about one repo add up in its row, in whichever order they come.
func TestQuestionsAddUp(t *testing.T) {
	for name, order := range map[string][]int{"as asked": {0, 1, 2, 3}, "the other way round": {3, 2, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			f := newShelf(t)
			f.inService(did(0))
			for _, i := range order {
				f.with(did(0), func(tx *Tx, r *Repo) error {
					switch i {
					case 0:
						return tx.Enqueue(r, StatusCheck, tx.now.Add(2*clockSkew))
					case 1:
						return tx.EnqueueSweep(r, tx.now.Add(clockSkew), 7)
					case 2:
						return tx.EnqueueSweep(r, tx.now, 9)
					}
					return tx.Enqueue(r, IdentityCheck, tx.now.Add(3*clockSkew))
				})
			}
			f.with(did(0), func(tx *Tx, r *Repo) error {
				tasks, err := leaseDue(tx, func(*Task) Step { return Nothing })
				if err != nil || len(tasks) != 1 {
					t.Fatalf("%d tasks are due, %v", len(tasks), err)
				}
				if got := tasks[0]; !got.AskStatus || got.WantRev != 9 || got.Looks != identityLooks {
					t.Errorf("task %+v", got)
				}
				if _, later, _ := tx.Queued(r); later {
					t.Error("it counts as a second look")
				}
				if err := tx.DropWish(tasks[0], r, 8); err != nil {
					return err
				}
				row, err := tx.q.QueueRow(tx.ctx, r.ID)
				if deref(row.WantRev) != 9 || tasks[0].WantRev != 9 {
					t.Error("the wish for a newer rev is dropped")
				}
				return err
			})
		})
	}
}
