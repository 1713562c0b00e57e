package establish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/verify"
)

// Hosts asks PDSes.
type Hosts interface {
	GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error)
	GetRecord(ctx context.Context, base, did, collection, rkey string) ([]byte, error)
	DescribeRepo(ctx context.Context, base, did string) (pds.RepoDescription, error)
}

// Config is what an Establisher needs.
type Config struct {
	Hosts  Hosts
	Method Method           // empty means Auto
	Now    func() time.Time // nil means time.Now
}

// Establisher establishes repos. It may be used by many goroutines at once, which
// share its memory budget.
type Establisher struct {
	cfg       Config
	memory    *semaphore.Weighted // of the tree nodes of all fetches but an oversized one's
	tiers     []repo.SnapshotLimits
	oversized chan struct{} // held by the one fetch that may use much memory
}

// New returns an Establisher with a memory budget of its own.
func New(cfg Config) *Establisher {
	if cfg.Method == "" {
		cfg.Method = Auto
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Establisher{
		cfg: cfg, memory: semaphore.NewWeighted(nodeBudget), tiers: tiers(), oversized: make(chan struct{}, 1),
	}
}

// Request says which repo is to be established, and what is known already.
type Request struct {
	DID  string
	Host string       // base URL of the PDS
	Key  identity.Key // the account's present signing key

	// Pace is called before each request to the host. It waits until the host may
	// be asked; an error stops the attempt.
	Pace func(ctx context.Context) error

	Attempts  int  // of this repo that have failed
	MustProve bool // the host's word is of no use
	New       bool // the caller has no proven set of the repo

	NoAbsenceProofs  bool // as Observed has it, of the host
	WrongDescription bool

	// KnownHead is a commit whose signature the caller knows to be good, whichever key
	// made it. Zero means none.
	KnownHead atproto.Digest
	// EarlierKeys returns the account's earlier keys, if they count for a head that
	// the present one has not signed. Nil means that they do not.
	EarlierKeys func(ctx context.Context, head Head) ([]identity.EarlierKey, error)
}

// Head is a signed commit.
type Head struct {
	Rev  atproto.TID
	Data atproto.Digest // root of the tree
	CID  atproto.Digest // the commit
}

// Proof is how good a set of collections is.
type Proof byte

// The proofs.
const (
	ByTree        Proof = iota // the whole tree was seen
	ByProbes                   // answers of getRecord show that there is no other collection
	ByDescription              // the host's word, which the tree does not contradict as far as it was seen
)

// Found is what a repo is.
type Found struct {
	Head        Head
	Collections []string // each once, sorted by their bytes
	Proof       Proof
	OldKey      bool // an earlier key has signed the head, or it is Request.KnownHead
}

// Observed is what was seen of the host beside the repo, or beside an error.
type Observed struct {
	AbsenceProofs    bool           // its getRecord proves the absence of keys
	NoAbsenceProofs  bool           // it does not, of a repo that is there
	WrongDescription bool           // its describeRepo contradicts the signed tree
	Invalid          *refusal.Error // an answer that was refused; the repo was fetched instead
}

// attempt is one Request.
type attempt struct {
	*Establisher
	Request
	signer
}

// Repo establishes one repo.
func (e *Establisher) Repo(ctx context.Context, q Request) (*Found, Observed, error) {
	key, err := q.Key.Public()
	if err != nil {
		return nil, Observed{}, fmt.Errorf("signing key: %w", err)
	}
	a := &attempt{e, q, signer{key: key, known: q.KnownHead, earlierKeys: q.EarlierKeys}}
	method := e.cfg.Method.choose(&q)
	if method == WholeRepo {
		found, err := a.fetch(ctx)
		return found, Observed{}, err
	}
	found, err := a.probe(ctx, method)
	if err == nil {
		return found, Observed{AbsenceProofs: true}, nil
	}
	if !wantsRepo(err) {
		return nil, Observed{}, err
	}
	l := Observed{WrongDescription: errors.Is(err, errDescription)}
	l.Invalid, _ = errors.AsType[*refusal.Error](err)
	found, fetchErr := a.fetch(ctx)
	l.NoAbsenceProofs = fetchErr == nil && l.Invalid == nil && errors.Is(err, errNoAbsenceProof)
	return found, l, fetchErr
}

// probe asks for less than the whole repo.
func (a *attempt) probe(ctx context.Context, m Method) (*Found, error) {
	cfg := probeConfig{
		did: a.DID, source: a, verify: func(c *repo.Commit) error { return a.verify(ctx, c) },
		maxRequests: maxProbes, maxCollections: refusal.MaxCollections, maxRestarts: maxRestarts,
	}
	if a.cfg.Method == Auto {
		cfg.budget = budget
	}
	p := newProber(cfg)
	prove := p.collections
	if m == Describe {
		prove = func(ctx context.Context) (*result, error) { return p.describe(ctx, a) }
	}
	r, err := prove(ctx)
	if err != nil {
		return nil, err
	}
	return a.found(r)
}

// GetRecord implements source.
func (a *attempt) GetRecord(ctx context.Context, collection, rkey string) ([]byte, error) {
	if err := a.Pace(ctx); err != nil {
		return nil, err
	}
	return a.cfg.Hosts.GetRecord(ctx, a.Host, a.DID, collection, rkey)
}

// DescribeRepo implements describer.
func (a *attempt) DescribeRepo(ctx context.Context) ([]string, error) {
	if err := a.Pace(ctx); err != nil {
		return nil, err
	}
	d, err := a.cfg.Hosts.DescribeRepo(ctx, a.Host, a.DID)
	return d.Collections, err
}

// found refuses a rev of the future.
func (a *attempt) found(r *result) (*Found, error) {
	head := headOf(r.commit)
	if head.Rev > atproto.TIDAt(a.cfg.Now().Add(verify.Tolerance)) {
		return nil, refusal.New(refusal.FutureRev, "rev %s is of %s", head.Rev, head.Rev.Time().UTC().Format(time.RFC3339))
	}
	return &Found{Head: head, Collections: r.collections, Proof: r.proof, OldKey: a.old[head.CID]}, nil
}
