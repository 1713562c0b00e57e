package eventlog

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	lru "github.com/hashicorp/golang-lru/v2"

	"railyard/internal/identity"
	"railyard/internal/refusal"
)

const (
	maxKeys = 100_000
	// keyAge is how long a key is used without a sign that it changed.
	keyAge = 24 * time.Hour
	// refusedAge is how long a DID without a usable document is not asked for again.
	refusedAge = 10 * time.Minute
	// freshAge is the age up to which a key is not looked up again after a bad
	// signature.
	freshAge = time.Minute
)

// Resolver finds the identity of a DID.
type Resolver interface {
	Resolve(ctx context.Context, did string) (identity.Identity, error)
}

// keys caches the signing keys of accounts. Concurrent callers share a look-up.
type keys struct {
	resolver Resolver
	known    *lru.Cache[string, *knownKey]
}

// knownKey is one look-up. The fields below ready are set when that is closed.
type knownKey struct {
	ready chan struct{}
	key   atcrypto.PublicKey
	err   error
	at    time.Time
}

func newKeys(r Resolver) *keys {
	known, err := lru.New[string, *knownKey](maxKeys)
	if err != nil {
		panic(err) // only if maxKeys is not positive
	}
	return &keys{resolver: r, known: known}
}

// get returns the key of a DID and how it was found. An error that is not a
// refusal says nothing about the DID and is not cached.
func (k *keys) get(ctx context.Context, did string) *knownKey {
	e := &knownKey{ready: make(chan struct{})}
	earlier, found, _ := k.known.PeekOrAdd(did, e)
	if !found {
		k.resolve(ctx, did, e)
		return e
	}
	<-earlier.ready
	if earlier.expired() {
		k.forget(did, earlier)
		return k.get(ctx, did)
	}
	return earlier
}

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

func (e *knownKey) expired() bool {
	if e.err != nil {
		return time.Since(e.at) > refusedAge
	}
	return time.Since(e.at) > keyAge
}

// forget drops the look-up e of a DID, unless another has replaced it.
func (k *keys) forget(did string, e *knownKey) {
	if current, found := k.known.Peek(did); found && current == e {
		k.known.Remove(did)
	}
}
