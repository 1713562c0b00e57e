package recheck

import (
	"context"
	"errors"
	"strings"

	"railyard/internal/establish"
	"railyard/internal/identity"
	"railyard/internal/pds"
	"railyard/internal/store"
)

// notAsked is why a host or the directory was not asked. Asking later may do.
type notAsked struct{ reason string }

func (e *notAsked) Error() string { return e.reason }

// resolve fetches the DID document as it is now. A directory that goes on failing is
// left alone.
func (c *comparer) resolve(ctx context.Context, did string) (identity.Identity, error) {
	if !strings.HasPrefix(did, "did:plc:") {
		return c.Resolver.Resolve(ctx, did)
	}
	if reason := c.directory.closed(); reason != "" {
		return identity.Identity{}, &notAsked{"the PLC directory was " + reason}
	}
	id, err := c.Resolver.Resolve(ctx, did)
	if ctx.Err() == nil {
		c.directory.answered(unavailable(err))
	}
	return id, err
}

// unavailable words a failure of the directory as one of a host, nil if it answered.
func unavailable(err error) *pds.Error {
	u, failed := errors.AsType[*identity.Unavailable](err)
	if !failed {
		return nil
	}
	return &pds.Error{Outcome: pds.Transient, RetryAfter: u.RetryAfter}
}

// fetch asks the host that the document names for the whole repo. r is the row of
// before.
func (c *comparer) fetch(ctx context.Context, r *row, id identity.Identity) (*establish.Found, error) {
	known, err := c.limits(ctx, r, id.Host)
	if err != nil {
		return nil, err
	}
	p := c.paces.of(id.Host, known)
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	found, _, err := c.establisher.Repo(pds.OnRateLimit(ctx, p.apply), establish.Request{
		DID: r.DID, Host: id.URL(), Key: id.Key, Pace: p.wait, EarlierKeys: c.earlierKeys(r),
	})
	if errors.Is(err, establish.ErrNoMemory) || errors.Is(err, establish.ErrOversized) {
		err = &notAsked{err.Error()}
	}
	if _, left := errors.AsType[*notAsked](err); !left && ctx.Err() == nil {
		failure, _ := errors.AsType[*pds.Error](err)
		p.answered(failure)
	}
	return found, err
}

// limits returns what the file knows of a host: none of one that it does not name.
func (c *comparer) limits(ctx context.Context, r *row, host string) (known store.HostLimits, err error) {
	if r.Identity == nil || r.Identity.Host != host {
		return known, nil
	}
	err = c.Reader.View(ctx, func(rx *store.Rx) error {
		known, err = rx.HostLimits(r.Identity.HostID)
		return err
	})
	return known, err
}

// earlierKeys returns those that count where they do for the service: nothing was
// seen that the present key has signed, or it is the very commit that the file
// holds, whose signature was good when it came. (spec: account migration)
func (c *comparer) earlierKeys(r *row) func(context.Context, establish.Head) ([]identity.EarlierKey, error) {
	return func(ctx context.Context, head establish.Head) ([]identity.EarlierKey, error) {
		switch {
		case r.Identity != nil && r.OldKeysCount() && head.Rev <= r.Identity.EarlierRev:
			keys, err := c.Resolver.EarlierKeys(ctx, r.DID)
			if _, failed := errors.AsType[*identity.Unavailable](err); failed {
				return nil, err
			}
			return keys, nil
		case r.Identity != nil && r.Head != nil && r.Head.CID == head.CID:
			return []identity.EarlierKey{{Key: identity.Key(r.Identity.Key)}}, nil
		}
		return nil, nil
	}
}
