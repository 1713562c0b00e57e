package ingest

import (
	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// identity judges an #identity: something about the DID may have changed. Only a
// changed key or host will take the repo out of service.
func (c *court) identity(s *slot) (verdict, error) {
	r, err := c.tx.RepoByDID(s.frame.DID)
	if err != nil {
		return rejected, err
	}
	if r == nil {
		return c.firstSight(s, nil)
	}
	return checked, c.doubtIdentity(s, r, announcedRest)
}

// account judges an #account. The host that the DID document names decides.
// Through a relay a word that means inactive hides at once and the host is asked;
// other words only make us ask (spec: account).
func (c *court) account(s *slot, a *event.Account) (verdict, error) {
	r, err := c.tx.RepoByDID(s.frame.DID)
	if err != nil {
		return rejected, err
	}
	if r == nil || r.Identity == nil {
		return c.firstSight(s, r)
	}
	if s.up.isPDS() {
		if r.Identity.Host != s.up.host {
			c.refuse(s, refusal.WrongHost, "the document names "+r.Identity.Host)
			return rejected, c.doubtIdentity(s, r, identityRest)
		}
		return c.decided(s, r, a.Active, a.Status)
	}
	return c.hearsay(r, a.Active, a.Status)
}

// decided is the word of the host itself.
func (c *court) decided(s *slot, r *store.Repo, active bool, status string) (verdict, error) {
	switch {
	case active && r.Active && r.State != store.NotFound:
		return noted, nil
	case active:
		if err := c.tx.SetActive(r); err != nil {
			return rejected, err
		}
		return checked, c.tx.Enqueue(r, store.Reactivated, c.tx.Now())
	}
	if err := c.tx.Leave(r, status); err != nil {
		return rejected, err
	}
	// The document may name another host by now.
	if c.tx.Now().Sub(r.Identity.FetchedAt) > identityRest {
		if err := c.doubtIdentity(s, r, identityRest); err != nil {
			return rejected, err
		}
	}
	looked, err := c.tx.LookedAt(r)
	if err != nil || !looked {
		return hidden, err
	}
	// What is being fetched is void, and the status is asked for. A row that only
	// waits keeps its pause: copies of one word are no reason to ask more often.
	return hidden, c.tx.Enqueue(r, store.StatusCheck, c.tx.Now())
}

// hearsay is the word of a relay.
func (c *court) hearsay(r *store.Repo, active bool, status string) (verdict, error) {
	switch {
	case active && r.Active:
		return noted, nil
	case active == r.Active && status == r.Status:
		looked, err := c.tx.LookedAt(r)
		if err != nil || !looked {
			return noted, err
		}
		// The question that is under way may have been answered before this.
		return checked, c.tx.Enqueue(r, store.StatusCheck, c.tx.Now())
	}
	v := checked
	if !active && r.Active && meansInactive(status) {
		if err := c.tx.SetInactive(r, status); err != nil {
			return rejected, err
		}
		v = hidden
	}
	return v, c.tx.Enqueue(r, store.StatusCheck, c.tx.Now())
}

// meansInactive: throttled and desynchronized speak of the relay itself, other
// words of nothing that we know.
func meansInactive(status string) bool {
	switch status {
	case "takendown", "suspended", "deactivated", "deleted":
		return true
	}
	return false
}
