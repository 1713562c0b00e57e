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

// Tolerance is how far a rev may be ahead of our clock (spec: sync, "a few
// minutes").
const Tolerance = 5 * time.Minute

// Proof is what an event proves.
//
// After a refusal whose reason is given after the signature only DID, Rev,
// Commit and Data are set, but see Legacy; after any other refusal nothing is.
type Proof struct {
	DID string
	Rev atproto.TID
	// Since is the message's claim, unsigned and unproven.
	Since  *atproto.TID
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
	// Sync11: the message named the tree before it (prevData), as Sync 1.1 asks.
	Sync11 bool
	// Legacy: a commit of Sync 1.0, without prevData. It is refused with NoPrevData,
	// but its ops are true of its tree, so Present and Died hold and Shown is set.
	// Unsure are the collections that it deletes from without showing whether a key
	// is left. Prev is set if Inverted: the ops alone lead back to one tree.
	Legacy   bool
	Inverted bool
	Unsure   []string
	// Shown are the collections that the new tree visibly holds, and where others
	// may hide.
	Shown mst.Outline
	// Unchecked: nobody looked at the signature. The commit leaves the set of
	// collections as it was in the tree Prev, whoever made it.
	Unchecked bool
	// Complete: the whole tree is visible, and Collections are all it has.
	Complete    bool
	Collections []string
}

// Sync proves a #sync: the signature over the repo's present state. Only DID,
// Rev, Commit and Data are set.
func Sync(s *event.Sync, key atcrypto.PublicKey, now time.Time) (p Proof, err error) {
	defer recovered(&p, &err)
	if err := checkRev(s.Rev, now); err != nil {
		return Proof{}, err
	}
	_, c, err := open(s.Blocks)
	if err != nil {
		return Proof{}, err
	}
	if err := matches(c, s.DID, s.Rev); err != nil {
		return Proof{}, err
	}
	if err := c.Verify(key); err != nil {
		return Proof{}, err
	}
	return proofOf(c), nil
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

// open reads a message's CAR and the commit at its root.
func open(blocks []byte) (*repo.CAR, *repo.Commit, error) {
	car, err := repo.ParseCAR(blocks, repo.MessageLimits())
	if err != nil {
		return nil, nil, err
	}
	block, ok := car.Block(car.Root())
	if !ok {
		return nil, nil, refusal.New(refusal.BadCommit, "the commit block %s is absent", car.Root())
	}
	c, err := repo.ParseCommit(block)
	return car, c, err
}

// matches compares a commit with its message.
func matches(c *repo.Commit, did string, rev atproto.TID) error {
	if c.DID != did {
		return refusal.New(refusal.CommitMismatch, "a commit of %s in a message of %s", c.DID, did)
	}
	if c.Rev != rev {
		return refusal.New(refusal.CommitMismatch, "a commit with rev %s in a message with %s", c.Rev, rev)
	}
	return nil
}

func proofOf(c *repo.Commit) Proof {
	return Proof{DID: c.DID, Rev: c.Rev, Commit: c.CID, Data: c.Data}
}

// refuse keeps of a proof what a refusal of this reason leaves true.
func (p Proof) refuse(err error) (Proof, error) {
	if p.Legacy {
		return p, err
	}
	if e, ok := errors.AsType[*refusal.Error](err); ok && e.Reason.AfterSignature() {
		return Proof{DID: p.DID, Rev: p.Rev, Commit: p.Commit, Data: p.Data}, err
	}
	return Proof{}, err
}
