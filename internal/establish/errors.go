package establish

import "errors"

// Why a repo could not be probed. Fetching it may do.
var (
	// errNoAbsenceProof: the host refuses keys that are not there, or does not show
	// the place where they would be.
	errNoAbsenceProof = errors.New("the host does not prove the absence of keys")
	// errExpensive: fetching the repo costs less than going on.
	errExpensive = errors.New("the repo costs less than its proofs")
	// errMoved: the tree changed while it was looked at, more often than allowed.
	errMoved = errors.New("the repo moved while it was probed")
	// errDescription: the signed tree shows that the host's description is wrong.
	errDescription = errors.New("the description contradicts the signed tree")
)
