package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	lru "github.com/hashicorp/golang-lru/v2"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/store"
	"railyard/internal/verify"
)

// proof is what the judge needs of a proven event.
type proof = verify.Proof

// kind of an event, for the judge.
type kind byte

const (
	otherEvent kind = iota // also info, error frames and unknown types
	commitEvent
	syncEvent
	identityEvent
	accountEvent
)

func (k kind) String() string {
	return [...]string{"other", "commit", "sync", "identity", "account"}[k]
}

// signed kinds carry a signature.
func (k kind) signed() bool { return k == commitEvent || k == syncEvent }

func kindOf(e event.Event) kind {
	switch e.(type) {
	case *event.Commit:
		return commitEvent
	case *event.Sync:
		return syncEvent
	case *event.Identity:
		return identityEvent
	case *event.Account:
		return accountEvent
	}
	return otherEvent
}

// statedBy returns the rev that a signed event states, and the size of its blocks.
func statedBy(e event.Event) (rev atproto.TID, blocks int) {
	switch e := e.(type) {
	case *event.Commit:
		return e.Rev, len(e.Blocks)
	case *event.Sync:
		return e.Rev, len(e.Blocks)
	}
	return 0, 0
}

// prove verifies events until there is no more work.
func (in *Ingest) prove(ctx context.Context) {
	for s := range in.work {
		in.proveOne(ctx, s)
		// What waits for its batch is small: the frame goes, and what the proof says that
		// only "railyard firehose" shows.
		s.frame.Event = nil
		s.proof.Born, s.proof.BirthUnknown = nil, nil
		in.memory.Release(s.size)
		close(s.done)
	}
}

// proveOne checks everything about an event that needs no stored state. Without
// a key nothing can be proven: the judge queues the repo. A key that cannot be read is
// the file's failure, and the batch's.
func (in *Ingest) proveOne(ctx context.Context, s *slot) {
	key, err := in.keys.get(context.WithoutCancel(ctx), s.frame.DID)
	switch {
	case errors.Is(err, errStoredKey):
		in.cfg.Log.Error("parse a signing key", "err", err)
		return
	case err != nil:
		s.fault = fmt.Errorf("read the signing key: %w", err)
		return
	}
	s.key = key.raw
	if key.raw == "" {
		return
	}
	now := in.cfg.Now()
	switch e := s.frame.Event.(type) {
	case *event.Commit:
		s.proof, err = verify.Commit(e, key.public, now)
	case *event.Sync:
		s.proof, err = verify.Sync(e, key.public, now)
	}
	if err != nil {
		var ok bool
		if s.refusal, ok = errors.AsType[*refusal.Error](err); !ok {
			s.refusal = refusal.New(refusal.Internal, "%w", err)
		}
	}
}

// cachedKeys bounds the parsed keys in memory: about 300 bytes each.
const cachedKeys = 1 << 17

// keyCache holds parsed signing keys over the identity rows of the file.
//
// A key that is read while its row changes must not stay: every invalidation
// moves the epoch, and what was read in an older epoch is used once and not kept.
// Using it once is safe, because the judge compares it with the row.
type keyCache struct {
	store *store.Store
	keys  *lru.Cache[string, cachedKey]
	mu    sync.Mutex // a key is kept, or the epoch moves
	epoch atomic.Int64
}

type cachedKey struct {
	raw    string // empty: none is known
	public atcrypto.PublicKey
}

func newKeyCache(s *store.Store) *keyCache {
	keys, err := lru.New[string, cachedKey](cachedKeys)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return &keyCache{store: s, keys: keys}
}

// errStoredKey is what get returns for a key that is none. That is one repo's matter.
var errStoredKey = errors.New("stored key")

// get returns an account's key, as stored and parsed.
func (c *keyCache) get(ctx context.Context, did string) (cachedKey, error) {
	if k, ok := c.keys.Get(did); ok {
		return k, nil
	}
	epoch := c.epoch.Load()
	var raw string
	err := c.store.OwnView(ctx, func(rx *store.Rx) (err error) {
		raw, err = rx.SigningKey(did)
		return err
	})
	if err != nil || raw == "" {
		return cachedKey{}, err
	}
	public, err := identity.Key(raw).Public()
	if err != nil {
		return cachedKey{}, fmt.Errorf("%w of %s: %w", errStoredKey, did, err)
	}
	k := cachedKey{raw, public}
	c.keep(did, k, epoch)
	return k, nil
}

func (c *keyCache) keep(did string, k cachedKey, epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Load() == epoch {
		c.keys.Add(did, k)
	}
}

func (c *keyCache) forget(did string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	c.keys.Remove(did)
}

// ForgetKey drops a cached signing key. It is called after the commit of a
// changed identity.
func (in *Ingest) ForgetKey(did string) { in.keys.forget(did) }
