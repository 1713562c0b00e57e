package establish

import (
	"context"
	"errors"
	"fmt"

	"railyard/internal/mst"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// source asks the host of one repo.
type source interface {
	// GetRecord returns the answer of com.atproto.sync.getRecord, a CAR that proves
	// a record to be there or not to be there. A *pds.Error with the Outcome
	// NoRecord means that the host refuses keys that are not there.
	GetRecord(ctx context.Context, collection, rkey string) ([]byte, error)
}

// probeConfig says which repo is probed and how far.
type probeConfig struct {
	did    string
	source source

	// verify checks a commit's signature. It is called whenever an answer shows
	// another commit than the one before.
	verify func(*repo.Commit) error

	// budget returns how many requests a tree of about so many records may
	// cost that one answer does not show whole; nil means maxRequests.
	budget func(records int64) int

	maxRequests    int
	maxCollections int
	maxRestarts    int // how often the repo may move meanwhile
}

// prober establishes which collections a repo has without fetching the repo, by
// com.atproto.sync.getRecord: its answer for a key that is not there is the signed
// commit and the path of tree nodes to the key's place, which shows both neighbours
// of that place.
//
// All answers must show the same tree. Another one begins the work again, or ends it
// with errMoved. Every commit has the DID that was asked for and has passed verify,
// every block its hash, every node the rules of the tree.
//
// Errors:
//   - errNoAbsenceProof, errExpensive, errMoved;
//   - refusals: BadCAR, BadBlock, BadCommit, BadTree, AnswerWrongDID, AnswerPartial
//     (together with errNoAbsenceProof), AnswerTooBig, AnswerInvalid (together with
//     errDescription), Internal, and those of verify;
//   - the errors of the source and of the context, as they are.
type prober struct {
	cfg    probeConfig
	signed *repo.Commit // the last one that was verified

	requests, restarts int
	limit              int // of requests
}

func newProber(cfg probeConfig) *prober { return &prober{cfg: cfg, limit: cfg.maxRequests} }

// afford sets the limit of requests by the size of a tree.
func (p *prober) afford(records int64) error {
	if p.cfg.budget == nil {
		return nil
	}
	more := p.cfg.budget(records)
	if more == 0 {
		return fmt.Errorf("%w: about %d records", errExpensive, records)
	}
	p.limit = min(p.requests+more, p.cfg.maxRequests)
	return nil
}

// ask sends one question. Its answer shows the place of the asked key.
func (p *prober) ask(ctx context.Context, q question) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.requests >= p.limit {
		return nil, fmt.Errorf("%w: %d requests were not enough", errExpensive, p.requests)
	}
	p.requests++
	b, err := p.cfg.source.GetRecord(ctx, q.collection, q.rkey)
	if e, ok := errors.AsType[*pds.Error](err); ok && e.Outcome == pds.NoRecord {
		return nil, fmt.Errorf("%w: %w", errNoAbsenceProof, err)
	}
	if err != nil {
		return nil, err
	}
	a, err := p.read(b)
	if err != nil {
		return nil, err
	}
	if _, presence := a.view.Get(q.path()); presence == mst.Unknown {
		return nil, refusal.New(refusal.AnswerPartial, "%w: the place of %.100s is hidden", errNoAbsenceProof, q.path())
	}
	return a, nil
}
