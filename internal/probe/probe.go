package probe

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"railyard/internal/mst"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Source asks the host of one repo.
type Source interface {
	// GetRecord gives the answer of com.atproto.sync.getRecord, a CAR that proves
	// a record to be there or not to be there. A *pds.Error with the Outcome
	// NoRecord means that the host refuses keys that are not there.
	GetRecord(ctx context.Context, collection, rkey string) ([]byte, error)
}

// Config says which repo is probed and how far.
type Config struct {
	DID    string
	Source Source

	// Verify checks a commit's signature under the keys that count for the
	// account. It is required, and called whenever an answer shows another commit
	// than the one before.
	Verify func(*repo.Commit) error

	// Policy looks at the size of a tree that one answer does not show whole; nil
	// means to go on with any.
	Policy func(Size) Advice

	MaxRequests    int // getRecord requests of the Prober; 0 means 2000
	MaxCollections int // of the repo; 0 means 10,000
	MaxRestarts    int // how often the repo may move meanwhile; 0 means never
}

func (c Config) withDefaults() Config {
	if c.MaxRequests == 0 {
		c.MaxRequests = 2000
	}
	if c.MaxCollections == 0 {
		c.MaxCollections = 10_000
	}
	return c
}

// Prober probes one repo. It serves one caller at a time; Stats may be called
// meanwhile.
type Prober struct {
	cfg    Config
	signed *repo.Commit // the last one that was verified

	requests, restarts, bytes atomic.Int64
}

// New makes a prober.
func New(cfg Config) *Prober { return &Prober{cfg: cfg.withDefaults()} }

// Stats counts the work of a Prober so far, of failed calls too.
type Stats struct {
	Requests int   // getRecord
	Restarts int   // answers that showed another tree, or another head around a description
	Bytes    int64 // of the answers
}

// Stats tells how far the work is.
func (p *Prober) Stats() Stats {
	return Stats{Requests: int(p.requests.Load()), Restarts: int(p.restarts.Load()), Bytes: p.bytes.Load()}
}

// ask sends one question. Its answer shows the place of the asked key.
func (p *Prober) ask(ctx context.Context, q question) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.requests.Load() >= int64(p.cfg.MaxRequests) {
		return nil, fmt.Errorf("%w: %d", ErrRequests, p.cfg.MaxRequests)
	}
	p.requests.Add(1)
	b, err := p.cfg.Source.GetRecord(ctx, q.collection, q.rkey)
	if e, ok := errors.AsType[*pds.Error](err); ok && e.Outcome == pds.NoRecord {
		return nil, fmt.Errorf("%w: %w", ErrNoAbsenceProof, err)
	}
	if err != nil {
		return nil, err
	}
	p.bytes.Add(int64(len(b)))
	a, err := p.read(b)
	if err != nil {
		return nil, err
	}
	if _, presence := a.view.Get(q.path()); presence == mst.Unknown {
		return nil, refusal.New(refusal.AnswerPartial, "%w: the place of %.100s is hidden", ErrNoAbsenceProof, q.path())
	}
	return a, nil
}
