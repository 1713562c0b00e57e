package verify

import (
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Commit proves a #commit that package event has decoded.
func Commit(c *event.Commit, key atcrypto.PublicKey, now time.Time) (p Proof, err error) {
	defer recovered(&p, &err)
	p, _, err = prove(c, key, now)
	return p, err
}

// prove is Commit that also gives the new tree's view.
func prove(c *event.Commit, key atcrypto.PublicKey, now time.Time) (Proof, *mst.View, error) {
	ops, err := settle(c.Ops)
	if err != nil {
		return Proof{}, nil, err
	}
	if err := checkRev(c.Rev, now); err != nil {
		return Proof{}, nil, err
	}
	car, commit, err := open(c.Blocks)
	if err != nil {
		return Proof{}, nil, err
	}
	if commit.CID != c.CID {
		err := refusal.New(refusal.CommitMismatch, "commit %s in a message of %s", commit.CID, c.CID)
		return Proof{}, nil, err
	}
	p, err := signed(commit, c.DID, c.Rev, key)
	if err != nil {
		return Proof{}, nil, err
	}
	view, err := proveTree(&p, c, ops, car)
	if err != nil {
		p, err = p.refuse(err)
	}
	return p, view, err
}

// proveTree does what follows the signature: the tree's rules, the ops against
// the tree, the inversion, and what they prove.
func proveTree(p *Proof, c *event.Commit, ops []event.Op, car *repo.CAR) (*mst.View, error) {
	tree, view, err := mst.Load(p.Data, car)
	if err != nil {
		return nil, refusal.New(refusal.BadTree, "%w", err)
	}
	if err := agree(ops, view, car); err != nil {
		return nil, err
	}
	if p.Prev, err = invert(c, ops, tree); err != nil {
		return nil, err
	}
	p.Since = c.Since
	p.conclude(ops, view)
	return view, nil
}

// agree compares the ops with the new tree. What the tree hides is left to the
// inversion, which cannot do without it either.
func agree(ops []event.Op, view *mst.View, car *repo.CAR) error {
	for i := range ops {
		op := &ops[i]
		value, presence := view.Get(op.Path)
		if op.Action == event.Delete {
			if presence == mst.Present {
				return refusal.New(refusal.OpsMismatch, "%s is deleted and in the tree", op.Path)
			}
			continue
		}
		if presence == mst.Absent {
			return refusal.New(refusal.OpsMismatch, "%s is written and not in the tree", op.Path)
		}
		if presence == mst.Present && string(value) != string(op.CID) {
			return refusal.New(refusal.OpsMismatch, "%s has another CID in the tree", op.Path)
		}
		if err := checkRecord(op, car); err != nil {
			return err
		}
	}
	return nil
}

// checkRecord wants the record of a create or update (spec: sync).
func checkRecord(op *event.Op, car *repo.CAR) error {
	record, ok := car.BlockOf(op.CID)
	if !ok {
		return refusal.New(refusal.RecordMissing, "the record of %s is absent", op.Path)
	}
	if len(record) > event.MaxRecord {
		return refusal.New(refusal.RecordMissing, "the record of %s has %d bytes", op.Path, len(record))
	}
	return nil
}

// invert undoes the ops in the tree and compares the root with what the message
// names as the tree before (spec: sync). Ops come as settle orders them.
//
// The first commit of a repo names none: undone, it is the empty tree. A message
// without since and prevData that leaves other keys is not a first commit, so it
// is one of Sync 1.0.
func invert(c *event.Commit, ops []event.Op, tree *mst.Tree) (atproto.Digest, error) {
	first := c.Since == nil && c.PrevData == nil
	if c.PrevData == nil && !first {
		return atproto.Digest{}, refusal.New(refusal.NoPrevData, "no prevData")
	}
	for i := range ops {
		if ops[i].Action != event.Create && ops[i].Prev == nil {
			return atproto.Digest{}, refusal.New(refusal.NoPrevData, "no prev of %s", ops[i].Path)
		}
	}
	err := undo(ops, tree)
	switch {
	case err != nil && first:
		return atproto.Digest{}, refusal.New(refusal.NoPrevData, "neither prevData nor a first commit: %w", err)
	case errors.Is(err, mst.ErrHidden):
		return atproto.Digest{}, refusal.New(refusal.InversionBlocked, "%w", err)
	case err != nil:
		return atproto.Digest{}, refusal.New(refusal.InversionFailed, "%w", err)
	}
	root := tree.Root()
	switch {
	case first && root != atproto.EmptyTree:
		return root, refusal.New(refusal.NoPrevData, "neither prevData nor a first commit")
	case first || root == *c.PrevData:
		return root, nil
	case tree.RootHidden() && len(ops) > 0:
		return root, refusal.New(refusal.InversionBlocked, "the root before is behind %s", root)
	}
	return root, refusal.New(refusal.InversionFailed, "undone to %s instead of %s", root, *c.PrevData)
}

func undo(ops []event.Op, tree *mst.Tree) error {
	for i := range ops {
		op := &ops[i]
		var err error
		switch op.Action {
		case event.Delete:
			err = tree.Insert([]byte(op.Path), op.Prev)
		case event.Update:
			err = tree.Set([]byte(op.Path), op.Prev)
		default:
			err = tree.Remove([]byte(op.Path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
