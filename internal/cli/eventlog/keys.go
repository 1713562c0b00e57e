package eventlog

import (
	"context"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/identity"
	"railyard/internal/refusal"
)

const (
	maxKeys = 100_000
	// keyAge is how long a key is believed without a sign that it changed.
	keyAge = 24 * time.Hour
	// refusedAge is how long a DID without a usable document is left alone.
	refusedAge = 10 * time.Minute
	// freshAge is how old a key must be for a bad signature to put it in doubt.
	freshAge = time.Minute
)

// Resolver finds the identity of a DID.
type Resolver interface {
	Resolve(ctx context.Context, did string) (identity.Identity, error)
}

// keys are the signing keys of accounts, each looked up once by however many
// ask.
type keys struct {
	resolver Resolver

	mu    sync.Mutex
	known map[string]*knownKey
}

// knownKey is one look-up. The fields below ready are set when that is closed.
type knownKey struct {
	ready chan struct{}
	key   atcrypto.PublicKey
	err   error
	at    time.Time
}

func newKeys(r Resolver) *keys { return &keys{resolver: r, known: make(map[string]*knownKey)} }

// get gives the key of a DID and how it was found. An error that is no refusal
// says nothing about the DID.
func (k *keys) get(ctx context.Context, did string) *knownKey {
	k.mu.Lock()
	e := k.known[did]
	if e != nil && !e.expired() {
		k.mu.Unlock()
		select {
		case <-e.ready:
			return e
		case <-ctx.Done():
			return &knownKey{err: ctx.Err()}
		}
	}
	if e == nil && len(k.known) >= maxKeys {
		for any := range k.known {
			delete(k.known, any)
			break
		}
	}
	e = &knownKey{ready: make(chan struct{})}
	k.known[did] = e
	k.mu.Unlock()
	k.resolve(ctx, did, e)
	return e
}

// resolve fills in a look-up. Failures that say nothing about the DID are not
// kept.
func (k *keys) resolve(ctx context.Context, did string, e *knownKey) {
	defer close(e.ready)
	id, err := k.resolver.Resolve(ctx, did)
	if err == nil {
		e.key, err = id.Key.Public()
	}
	e.err, e.at = err, time.Now()
	if _, isRefusal := refusal.ReasonOf(err); err != nil && !isRefusal {
		k.forget(did, e)
	}
}

// expired tells whether a look-up that has ended is too old.
func (e *knownKey) expired() bool {
	select {
	case <-e.ready:
	default:
		return false
	}
	if e.err != nil {
		return time.Since(e.at) > refusedAge
	}
	return time.Since(e.at) > keyAge
}

// forget drops a look-up if it is still the one that counts; any, if e is nil.
func (k *keys) forget(did string, e *knownKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e == nil || k.known[did] == e {
		delete(k.known, did)
	}
}
