package identity

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoDocument is in the chain of the refusal IdentityUnresolved when the
// directory or the did:web host said that there is no document: unknown or
// tombstoned (PLC answers both with 404, by its API text the second with 410).
var ErrNoDocument = errors.New("no DID document")

var (
	errNoKey = errors.New("no usable #atproto key")
	errNoPDS = errors.New("no #atproto_pds service")
)

// Unavailable is a look-up that failed for reasons that say nothing about the
// DID: the network, a timeout, a rate limit, a failing server. A document known
// from before stays in use.
type Unavailable struct {
	Status     int           // HTTP status; 0 if there was no answer
	RetryAfter time.Duration // as the server asked; 0 if it did not
	Err        error         // the cause, or nil if there was an answer
}

func (e *Unavailable) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("identity unavailable: %v", e.Err)
	}
	return fmt.Sprintf("identity unavailable: status %d", e.Status)
}

// Unwrap returns the cause.
func (e *Unavailable) Unwrap() error { return e.Err }
