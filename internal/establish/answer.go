package establish

import (
	"bytes"

	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// answerLimits bounds one answer: a record of the most bytes, and the nodes on a
// path, of which an honest tree has about ten. Some hosts add nodes.
var answerLimits = repo.CARLimits{Bytes: 3 << 19, Blocks: 8192}

// answer is one verified answer. Its view shares memory with the CAR; what is to
// outlive the answer is copied out of it.
type answer struct {
	commit *repo.Commit
	view   *mst.View
	height int // depth of the root, -1 where it is absent
}

// read reads an answer and verifies all of it. Blocks that do not belong to the
// tree are ignored.
func (p *prober) read(b []byte) (a *answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			a, err = nil, refusal.New(refusal.Internal, "panic in a probe: %v", r)
		}
	}()
	car, err := repo.ParseCAR(b, answerLimits)
	if err != nil {
		return nil, err
	}
	commit, err := p.commitOf(car)
	if err != nil {
		return nil, err
	}
	tree, view, err := mst.Load(commit.Data, car)
	if err != nil {
		return nil, refusal.New(refusal.BadTree, "%w", err)
	}
	return &answer{commit: commit, view: view, height: tree.Height()}, nil
}

// commitOf returns the verified commit of a CAR. One that equals the last one by
// its CID has been verified.
func (p *prober) commitOf(car *repo.CAR) (*repo.Commit, error) {
	block, ok := car.Block(car.Root())
	if !ok {
		return nil, refusal.New(refusal.BadCommit, "the commit block %s is absent", car.Root())
	}
	if p.signed != nil && p.signed.CID == car.Root() {
		return p.signed, nil
	}
	commit, err := repo.ParseCommit(bytes.Clone(block))
	if err != nil {
		return nil, err
	}
	if commit.DID != p.cfg.did {
		return nil, refusal.New(refusal.AnswerWrongDID, "a record of %s", commit.DID)
	}
	if err := p.cfg.verify(commit); err != nil {
		return nil, err
	}
	p.signed = commit
	return commit, nil
}

// collections are those of the visible keys.
func (a *answer) collections() []string {
	var names mst.Collections
	for _, key := range a.view.Keys() {
		names.Add(key.Path)
	}
	return names.Sorted()
}
