package probe

import (
	"errors"
	"fmt"

	"railyard/internal/repo"
)

var (
	// ErrNoAbsenceProof is wrapped when the host refuses keys that are not there,
	// or does not show the place where they would be: it cannot be probed.
	ErrNoAbsenceProof = errors.New("the host does not prove the absence of keys")

	// ErrRequests is wrapped when MaxRequests did not suffice.
	ErrRequests = errors.New("more requests than allowed")

	// ErrClaim is wrapped when the signed tree shows that the host's description
	// of a repo is wrong.
	ErrClaim = errors.New("the description contradicts the signed tree")
)

// Moved is a tree that changed while it was looked at, oftener than allowed.
// Both commits are verified.
type Moved struct {
	Before, After *repo.Commit
}

func (e *Moved) Error() string {
	return fmt.Sprintf("the repo moved from rev %s to %s while it was probed", e.Before.Rev, e.After.Rev)
}

// Unsuited is the caller's own policy that this tree is not to be probed.
type Unsuited struct {
	Advice Advice
	Size   Size
	Commit *repo.Commit // verified
}

func (e *Unsuited) Error() string {
	return fmt.Sprintf("%s to be probed: height %d, about %d records", e.Advice, e.Size.Height, e.Size.Records)
}
