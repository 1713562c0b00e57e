package verify

import (
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Commit proves a #commit that package event has decoded.
func Commit(c *event.Commit, key atcrypto.PublicKey, now time.Time) (p Proof, err error) {
	defer recovered(&p, &err)
	pr := provers.Get().(*prover)
	p, _, err = pr.prove(c, key, now)
	pr.release(c.Blocks)
	return p, err
}

// prove is Commit. It also returns the new tree's view, which is good until the
// prover's next proof.
func (pr *prover) prove(c *event.Commit, key atcrypto.PublicKey, now time.Time) (Proof, *mst.View, error) {
	ops, err := netOps(c.Ops)
	if err != nil {
		return Proof{}, nil, err
	}
	if err := checkRev(c.Rev, now); err != nil {
		return Proof{}, nil, err
	}
	if err := pr.open(c.Blocks, c.DID); err != nil {
		return Proof{}, nil, err
	}
	if pr.commit.CID != c.CID {
		err := refusal.New(refusal.CommitMismatch, "commit %s in a message of %s", pr.commit.CID, c.CID)
		return Proof{}, nil, err
	}
	if err := pr.matches(c.DID, c.Rev); err != nil {
		return Proof{}, nil, err
	}
	if err := pr.commit.Verify(key); err != nil {
		return Proof{}, nil, err
	}
	p := pr.head()
	view, err := pr.proveTree(&p, c, ops)
	if err != nil {
		return pr.head(), view, err
	}
	return p, view, nil
}

// proveTree does what follows the signature: the tree's rules, the ops against
// the tree, the inversion, and what they prove.
func (pr *prover) proveTree(p *Proof, c *event.Commit, ops []event.Op) (*mst.View, error) {
	tree, view, err := pr.trees.Load(p.Data, &pr.car)
	if err != nil {
		return nil, refusal.New(refusal.BadTree, "%w", err)
	}
	if err := agree(ops, view, &pr.car); err != nil {
		return nil, err
	}
	if err := pr.invert(p, c, ops, tree); err != nil {
		return view, err
	}
	pr.memberships(p, ops, view)
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

// invert undoes the ops in the tree. The root that comes out is the tree that the
// commit starts from; if the message names one (prevData), it must be that (spec:
// sync). Whether the index holds it is the caller's question, so a commit of Sync
// 1.0, which names none, needs no rule of its own. Ops come as netOps orders them.
func (pr *prover) invert(p *Proof, c *event.Commit, ops []event.Op, tree *mst.Tree) error {
	if op := withoutPrev(ops); op != nil {
		return refusal.New(refusal.NoPrev, "no prev of %s", op.Path)
	}
	if err := pr.undo(ops, tree); errors.Is(err, mst.ErrHidden) {
		return refusal.New(refusal.InversionBlocked, "%w", err)
	} else if err != nil {
		return refusal.New(refusal.InversionFailed, "%w", err)
	}
	p.Prev = tree.Root()
	switch {
	case c.PrevData == nil, p.Prev == *c.PrevData:
		return nil
	case tree.RootHidden() && len(ops) > 0:
		return refusal.New(refusal.InversionBlocked, "the root before is behind %s", p.Prev)
	}
	return refusal.New(refusal.InversionFailed, "undone to %s instead of %s", p.Prev, *c.PrevData)
}

// withoutPrev finds an update or delete that does not name the record before.
func withoutPrev(ops []event.Op) *event.Op {
	for i := range ops {
		if ops[i].Action != event.Create && ops[i].Prev == nil {
			return &ops[i]
		}
	}
	return nil
}

func (pr *prover) undo(ops []event.Op, tree *mst.Tree) error {
	pr.paths = pr.paths[:0]
	for i := range ops {
		op := &ops[i]
		at := len(pr.paths)
		pr.paths = append(pr.paths, op.Path...)
		path := pr.paths[at:len(pr.paths):len(pr.paths)]
		var err error
		switch op.Action {
		case event.Delete:
			err = tree.Insert(path, op.Prev)
		case event.Update:
			err = tree.Set(path, op.Prev)
		default:
			err = tree.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
