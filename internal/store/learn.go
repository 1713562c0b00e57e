package store

import (
	"database/sql"
	"errors"
	"time"
)

// Logged is the last operation of a DID in a piece of the PLC directory's log.
type Logged struct {
	Key      string // multicodec prefix and compressed point; empty = it gives no usable identity
	Host     string
	Insecure bool
	At       time.Time // when the directory took it
	// AsOf is when the log was asked and gave all that it had: the operation is
	// what the directory would have answered then. Zero = there may be later ones.
	AsOf time.Time
}

// Learned is what became of an operation of the log.
type Learned string

// What becomes of one.
const (
	LearnedNothing  Learned = "ignored"  // a look-up of the DID comes anyway
	LearnedOlder    Learned = "older"    // than what is known
	LearnedSame     Learned = "same"     // what is known is so still
	LearnedIdentity Learned = "identity" // the first one, or one that nothing depends on yet
	LearnedMove     Learned = "moved"    // key or host are others now
	LearnedDoubt    Learned = "doubted"  // the directory is asked
)

// clockSkew is how far the directory's clock may be from ours, and how far a
// replica that answered us may have lagged: an operation that is older than the
// identity by less, and says otherwise, is asked about.
const clockSkew = 10 * time.Minute

// Knows tells whether a DID has a repo in the file.
func (rx *Rx) Knows(did string) (bool, error) {
	_, err := rx.q.KnownDID(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Learn takes an operation of the PLC directory's log for what it is: the answer
// to a look-up at its time. A change takes the repo out of service like that of a
// document that was looked up; what is older changes nothing.
//
// A row that is held back stays so: there may be later operations, and until the
// log was read to its end the identity is stale, for whoever needs it sooner.
func (tx *Tx) Learn(r *Repo, op Logged) (Learned, error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	held := err == nil && row.NotBefore == heldUntil.UnixMicro()
	claimed := err == nil && row.Claim != nil
	known := r.Identity
	switch {
	case known == nil && (op.Key == "" || !held && op.AsOf.IsZero()):
		return LearnedNothing, nil
	case known != nil && !op.At.After(known.FetchedAt):
		if op.tells(known) || known.FetchedAt.Sub(op.At) > clockSkew {
			return LearnedOlder, nil
		}
		return LearnedDoubt, tx.doubt(r)
	case op.Key == "":
		return LearnedDoubt, tx.doubt(r)
	}
	changed, err := tx.putIdentity(r, op.Key, op.Host, op.Insecure, op.asOf(tx.now))
	if err != nil {
		return "", err
	}
	if held || claimed && (changed || known == nil) {
		// A look at the document that is under way may end with an older one.
		if err := tx.MarkStale(r); err != nil {
			return "", err
		}
	}
	switch {
	case known == nil && !held:
		return LearnedIdentity, tx.Enqueue(r, Backfill, tx.now)
	case known == nil, held && changed:
		return LearnedIdentity, nil
	case changed:
		return LearnedMove, tx.Moved(r)
	}
	return LearnedSame, nil
}

// asOf is the time for which the operation is the answer to a look-up.
func (op Logged) asOf(now time.Time) time.Time {
	at := op.At
	if op.AsOf.After(at) {
		at = op.AsOf
	}
	if at.After(now) {
		return now
	}
	return at
}

// tells: the operation says what is known.
func (op Logged) tells(known *Identity) bool {
	return op.Key == known.Key && op.Host == known.Host && op.Insecure == known.Insecure
}

// doubt asks for a look at the DID document.
func (tx *Tx) doubt(r *Repo) error {
	if err := tx.MarkStale(r); err != nil {
		return err
	}
	return tx.Enqueue(r, IdentityCheck, tx.now)
}
