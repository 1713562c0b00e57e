package verify

import (
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repo"
)

// Tolerance is how far a rev may be ahead of our clock (spec: sync, "a few
// minutes").
const Tolerance = 5 * time.Minute

// Proof is what an event proves.
//
// After a refusal whose reason is given after the signature only Rev, Commit and
// Data are set; after any other refusal nothing is.
type Proof struct {
	Rev    atproto.TID
	Commit atproto.Digest
	Data   atproto.Digest
	// Prev is the tree from which the ops lead to Data.
	Prev atproto.Digest
	// Present collections were created or updated in, and have a key after.
	Present []string
	// Died collections were deleted from and have no key left.
	Died []string
	// Born collections had no key before and have one now; of BirthUnknown ones
	// the message does not show whether they had. All are in Present.
	Born         []string
	BirthUnknown []string
	// Shown is the outline of the new tree. It shares no memory with the event.
	Shown mst.Outline
}

// prover is the memory of a proof, which the next one reuses.
type prover struct {
	car    repo.CAR
	commit repo.Commit
	trees  mst.Loader
	paths  []byte   // the ops' paths, as the tree wants them
	names  []string // the ops' collections
}

// provers keeps as many provers as there are proofs at once, each with the slices
// of one event, until the garbage collector comes.
var provers = sync.Pool{New: func() any { return new(prover) }}

// usualBytes is the length of a message's blocks up to which the memory that its
// proof took is worth keeping.
const usualBytes = 64 << 10

// release gives the prover back after a message with these blocks. After a panic
// it is not called: nobody knows what state that left.
func (pr *prover) release(blocks []byte) {
	if len(blocks) <= usualBytes {
		provers.Put(pr)
	}
}

// Sync proves a #sync: the signature over the repo's present state. Only Rev,
// Commit and Data are set.
func Sync(s *event.Sync, key atcrypto.PublicKey, now time.Time) (p Proof, err error) {
	defer recovered(&p, &err)
	if err := checkRev(s.Rev, now); err != nil {
		return Proof{}, err
	}
	pr := provers.Get().(*prover)
	p, err = pr.proveHead(s, key)
	pr.release(s.Blocks)
	return p, err
}

func (pr *prover) proveHead(s *event.Sync, key atcrypto.PublicKey) (Proof, error) {
	if err := pr.open(s.Blocks, s.DID); err != nil {
		return Proof{}, err
	}
	if err := pr.matches(s.DID, s.Rev); err != nil {
		return Proof{}, err
	}
	if err := pr.commit.Verify(key); err != nil {
		return Proof{}, err
	}
	return pr.head(), nil
}

// recovered turns a panic into a refusal; it is deferred.
func recovered(p *Proof, err *error) {
	if r := recover(); r != nil {
		*p, *err = Proof{}, refusal.New(refusal.Internal, "panic in a proof: %v", r)
	}
}

func checkRev(rev atproto.TID, now time.Time) error {
	if rev.Time().After(now.Add(Tolerance)) {
		return refusal.New(refusal.FutureRev, "rev %s is of %s", rev, rev.Time().UTC().Format(time.RFC3339))
	}
	return nil
}

// open reads a message's CAR and the commit at its root. A commit of another
// account than the message's is found by matches.
func (pr *prover) open(blocks []byte, did string) error {
	if err := pr.car.Parse(blocks, repo.MessageLimits()); err != nil {
		return err
	}
	root := pr.car.Root()
	block, ok := pr.car.Block(root)
	if !ok {
		return refusal.New(refusal.BadCommit, "the commit block %s is absent", root)
	}
	return pr.commit.Parse(block, root, did)
}

// matches compares the commit with its message.
func (pr *prover) matches(did string, rev atproto.TID) error {
	c := &pr.commit
	if c.DID != did {
		return refusal.New(refusal.CommitMismatch, "a commit of %s in a message of %s", c.DID, did)
	}
	if c.Rev != rev {
		return refusal.New(refusal.CommitMismatch, "a commit with rev %s in a message with %s", c.Rev, rev)
	}
	return nil
}

// head is what the commit block alone says.
func (pr *prover) head() Proof {
	c := &pr.commit
	return Proof{Rev: c.Rev, Commit: c.CID, Data: c.Data}
}
