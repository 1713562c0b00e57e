package ingest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"railyard/internal/atproto"
	"railyard/internal/store"
)

// With Config.Changes a commit's signature is checked only where it matters for
// the rows: where the set of collections changes. What is left unchecked is that
// the account itself made a commit that leaves its set as it is. Whoever can put
// frames onto the stream can so move a head to a tree that the account never had;
// its next real commit does not follow, and the repo is fetched. No row is ever
// written on the word of an unchecked commit.

const (
	// watchTime is how long a host's accounts have every signature checked after one
	// of them was wrong, or a head was contradicted.
	watchTime = 24 * time.Hour
	// defaultSample: one in so many signatures is checked although it need not be.
	defaultSample = 64
	// remembered bounds the unchecked commits that are known to be applied.
	remembered = 1 << 16
)

// unchecked remembers what concerns commits whose signature is not checked.
type unchecked struct {
	sample  int
	applied *lru.Cache[atproto.Digest, struct{}] // by commit CID; the judge's

	mu      sync.Mutex
	watched map[int64]time.Time // hosts, until when
}

func newUnchecked(ctx context.Context, st *store.Store, sample int, now time.Time) (*unchecked, error) {
	if sample == 0 {
		sample = defaultSample
	}
	applied, err := lru.New[atproto.Digest, struct{}](remembered)
	if err != nil {
		return nil, err
	}
	u := &unchecked{sample: sample, applied: applied}
	return u, st.OwnView(ctx, func(rx *store.Rx) (err error) {
		u.watched, err = rx.WatchedHosts(now)
		return err
	})
}

// skips tells whether the signature of a commit of a host's account may go
// unchecked, if the commit changes no collection.
func (u *unchecked) skips(host int64, now time.Time) bool {
	if rand.IntN(u.sample) == 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.watched[host].After(now)
}

func (u *unchecked) watch(host int64, until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched[host] = until
}

// watch has every signature of a repo's host checked for a while.
func (c *court) watch(r *store.Repo) error {
	if !c.in.cfg.Changes {
		return nil
	}
	host, until := r.Identity.HostID, c.tx.Now().Add(watchTime)
	c.tx.AfterCommit(func() { c.in.unchecked.watch(host, until) })
	return c.tx.Watch(host, until)
}

// repeats tells whether a commit is not newer than our head and for that reason
// alone is nothing new. An unchecked head proves nothing about the revs below it:
// only commits that are known to be its own past are repetitions.
func (c *court) repeats(s *slot, r *store.Repo) bool {
	switch {
	case r.Head == nil || s.rev > r.Head.Rev:
		return false
	case !r.Unchecked:
		return s.rev < r.Head.Rev
	case s.rev <= r.SeenRev && s.rev < r.Head.Rev: // the last head that was checked, or below it
		return true
	}
	cid := s.cid
	if s.kind == syncEvent {
		cid = s.proof.Commit // zero if it was refused
	}
	return c.applied[cid] || c.in.unchecked.applied.Contains(cid)
}

// remember keeps the CID of an unchecked commit that is applied, or will be at the
// end of a fetch.
func (c *court) remember(s *slot) {
	if c.applied == nil {
		c.applied = make(map[atproto.Digest]bool)
	}
	cid := s.proof.Commit
	c.applied[cid] = true
	c.tx.AfterCommit(func() { c.in.unchecked.applied.Add(cid, struct{}{}) })
}

// saw remembers the rev of a signed event that is not applied. That of an
// unchecked one is a hint for the look that waits, and no reason for an earlier one.
func (c *court) saw(s *slot, r *store.Repo) error {
	if s.proof.Unchecked {
		return c.tx.Wish(r, s.proof.Rev)
	}
	return c.tx.Saw(r, s.proof.Rev)
}
