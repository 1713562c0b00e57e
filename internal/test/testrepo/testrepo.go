// Package testrepo brings repos of a file into the states that tests begin with, by the
// one way in which a file changes: decisions that are applied. It decides nothing itself;
// what the service would do is package repostate's matter.
package testrepo

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
)

// Tx is the store's write transaction.
type Tx interface {
	Now() time.Time
	Env() repostate.Env
	RepoOrNew(did string) (*repostate.Repo, error)
	IdentityAtHost(key, host string, insecure bool) (*repostate.Identity, error)
	Apply(was *repostate.Repo, d repostate.Decision) (repostate.Changes, error)
}

// apply makes the file and r what change makes of r.
func apply(tx Tx, r *repostate.Repo, d repostate.Decision, change func(*repostate.Repo)) (repostate.Changes, error) {
	next := clone(r)
	if change != nil {
		change(next)
	}
	d.Repo = next
	c, err := tx.Apply(r, d)
	if err == nil {
		*r = *d.Repo
	}
	return c, err
}

func clone(r *repostate.Repo) *repostate.Repo {
	c := *r
	if r.Identity != nil {
		i := *r.Identity
		c.Identity = &i
	}
	if r.Waiting != nil {
		w := *r.Waiting
		c.Waiting = &w
	}
	return &c
}

// Add makes the row of a DID that was never seen: a candidate for which nobody waits.
func Add(tx Tx, did string) (*repostate.Repo, error) {
	r := &repostate.Repo{DID: did, Active: true}
	if err := Enqueue(tx, r, repostate.FirstSight, tx.Now()); err != nil {
		return nil, err
	}
	return r, Done(tx, r)
}

// Enqueue lets the repo wait for a reason, or adds the reason to those for which it does.
func Enqueue(tx Tx, r *repostate.Repo, why repostate.Reason, at time.Time) error {
	return enqueue(tx, r, why, at, 0)
}

// EnqueueMissed lets the repo wait for a rev that it is said to have.
func EnqueueMissed(tx Tx, r *repostate.Repo, at time.Time, rev atproto.TID) error {
	return enqueue(tx, r, repostate.MissedRev, at, rev)
}

func enqueue(tx Tx, r *repostate.Repo, why repostate.Reason, at time.Time, want atproto.TID) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { wait(r, why, at, want, tx.Now()) })
	return err
}

func wait(r *repostate.Repo, why repostate.Reason, at time.Time, want atproto.TID, now time.Time) {
	if r.Waiting == nil {
		r.Waiting = &repostate.Waiting{Reason: why, Priority: why.Priority(), NotBefore: at, QueuedAt: now}
	}
	w := r.Waiting
	if p := why.Priority(); p < w.Priority {
		w.Reason, w.Priority = why, p
	}
	if at.Before(w.NotBefore) {
		w.NotBefore = at
	}
	w.Parked = false
	w.WantRev = max(w.WantRev, want)
	w.AskStatus = w.AskStatus || why == repostate.StatusCheck
	switch why {
	case repostate.IdentityCheck:
		w.IdentityChecks = 2
	case repostate.MissedRev, repostate.Prove, repostate.Refresh:
	default:
		w.Generation++
	}
}

// Desynchronize takes the repo out of service, for a reason.
func Desynchronize(tx Tx, r *repostate.Repo, why repostate.Reason) error {
	_, err := apply(tx, r, repostate.Decision{Unbuffer: true}, func(r *repostate.Repo) {
		if r.InService() {
			r.State = repostate.Desynchronized
		}
		wait(r, why, tx.Now(), 0, tx.Now())
	})
	return err
}

// SetIdentity stores what a DID document says, as if it had been looked up now. It
// reports whether key or host differ from what was known.
func SetIdentity(tx Tx, r *repostate.Repo, key, host string, insecure bool) (changed bool, err error) {
	id, err := tx.IdentityAtHost(key, host, insecure)
	if err != nil {
		return false, err
	}
	id.FetchedAt = tx.Now()
	if old := r.Identity; old != nil {
		changed = old.Key != id.Key || old.HostID != id.HostID
		id.Stale, id.StatusAskedAt, id.EarlierRev = old.Stale, old.StatusAskedAt, old.EarlierRev
		if old.Key != id.Key {
			id.EarlierRev = r.Floor()
		}
	}
	_, err = apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { r.Identity, r.FoundHostID = id, 0 })
	return changed, err
}

// SignedEarlier notes that what was seen up to a rev may be signed by an earlier key.
func SignedEarlier(tx Tx, r *repostate.Repo, rev atproto.TID) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { r.Identity.EarlierRev = rev })
	return err
}

// MarkStale asks for another look-up of the document.
func MarkStale(tx Tx, r *repostate.Repo) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) {
		if r.Identity != nil {
			r.Identity.Stale = true
		}
	})
	return err
}

// Establish puts the repo into service with a set of collections.
func Establish(tx Tx, r *repostate.Repo, head repostate.Head, nsids []string, p repostate.Proof) (births, deaths int, err error) {
	d := repostate.Decision{Unbuffer: true, Set: &repostate.Set{Collections: nsids, First: r.ProvenAt.IsZero()}}
	c, err := apply(tx, r, d, func(r *repostate.Repo) {
		r.Head, r.State, r.Active, r.Status, r.SeenRev = &head, repostate.Synchronized, true, "", 0
		r.StatusFrom, r.StatusAt = 0, time.Time{}
		r.Proof, r.ProvenAt, r.Error, r.ErrorAt = p, tx.Now(), "", time.Time{}
	})
	return c.ResyncBirths, c.ResyncDeaths, err
}

// Advance moves the head, as a commit from prev does. It reports whether it moved.
func Advance(tx Tx, r *repostate.Repo, prev atproto.Digest, head repostate.Head) (bool, error) {
	if r.Head == nil || r.State != repostate.Synchronized || !r.Active || r.Head.Data != prev || head.Rev <= r.Head.Rev {
		return false, nil
	}
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { r.Head = &head })
	return err == nil, err
}

// AddMemberships adds collections to the set, as a commit does.
func AddMemberships(tx Tx, r *repostate.Repo, nsids []string) (births int, err error) {
	c, err := apply(tx, r, repostate.Decision{Commits: []repostate.Commit{{Present: nsids}}}, nil)
	return c.CommitBirths, err
}

// RemoveMemberships removes collections from the set, as a commit does.
func RemoveMemberships(tx Tx, r *repostate.Repo, nsids []string) (deaths int, err error) {
	c, err := apply(tx, r, repostate.Decision{Commits: []repostate.Commit{{Died: nsids}}}, nil)
	return c.CommitDeaths, err
}

// Buffer keeps a commit of a repo that is being fetched.
func Buffer(tx Tx, r *repostate.Repo, c repostate.Commit) error {
	_, err := apply(tx, r, repostate.Decision{Buffer: &c}, func(r *repostate.Repo) { r.SeenRev = max(r.SeenRev, c.Head.Rev) })
	return err
}

// Saw notes a rev that the account has signed and that was not applied.
func Saw(tx Tx, r *repostate.Repo, rev atproto.TID) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { r.SeenRev = max(r.SeenRev, rev) })
	return err
}

// SetState changes the state. A repo that its host does not have loses its proof.
func SetState(tx Tx, r *repostate.Repo, s repostate.State) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) {
		if r.State = s; s == repostate.NotFound {
			r.Proof = 0
		}
	})
	return err
}

// Hide makes the account inactive.
func Hide(tx Tx, r *repostate.Repo, status string) error {
	_, err := apply(tx, r, repostate.Decision{Unbuffer: true}, func(r *repostate.Repo) { hide(tx, r, status) })
	return err
}

func hide(tx Tx, r *repostate.Repo, status string) {
	if r.State != repostate.Candidate && r.State != repostate.NotFound {
		r.State = repostate.Desynchronized
	}
	r.Active, r.Status, r.StatusFrom, r.StatusAt = false, status, repostate.FromHost, tx.Now()
}

// Leave makes the account inactive by the word of its host. What is deleted loses its set.
func Leave(tx Tx, r *repostate.Repo, status string) error {
	if status != "deleted" {
		return Hide(tx, r, status)
	}
	_, err := apply(tx, r, repostate.Decision{Unbuffer: true, Set: &repostate.Set{}}, func(r *repostate.Repo) {
		hide(tx, r, status)
		r.State, r.Head, r.SeenRev, r.Proof = repostate.Candidate, nil, 0, 0
	})
	return err
}

// Show makes the account active again; its proof is void.
func Show(tx Tx, r *repostate.Repo) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) {
		r.Active, r.Status, r.StatusFrom, r.StatusAt, r.Proof = true, "", 0, time.Time{}, 0
	})
	return err
}

// Done removes the row of the queue.
func Done(tx Tx, r *repostate.Repo) error {
	_, err := apply(tx, r, repostate.Decision{}, func(r *repostate.Repo) { r.Waiting = nil })
	return err
}

// Retry lets the repo wait for a reason from a time on, whatever it waited for; failed
// counts an attempt, later lets it wait behind all other work.
func Retry(tx Tx, r *repostate.Repo, why repostate.Reason, at time.Time, failed, later bool) error {
	_, err := apply(tx, r, repostate.Decision{Unbuffer: r.State == repostate.Resyncing}, func(r *repostate.Repo) {
		w := r.Waiting
		w.Reason, w.Priority, w.NotBefore, w.Leased = why, why.Priority(), at, false
		if failed {
			w.Attempts++
		}
		if later {
			w.Priority = repostate.PriorityBackground
		}
		unlease(r)
	})
	return err
}

// Release releases a leased row.
func Release(tx Tx, r *repostate.Repo, at time.Time) error {
	_, err := apply(tx, r, repostate.Decision{Unbuffer: r.State == repostate.Resyncing}, func(r *repostate.Repo) {
		r.Waiting.NotBefore, r.Waiting.Leased = at, false
		unlease(r)
	})
	return err
}

func unlease(r *repostate.Repo) {
	if r.State == repostate.Resyncing {
		r.State = repostate.Desynchronized
		if r.Head == nil {
			r.State = repostate.Candidate
		}
	}
}

// List takes a page of a relay's listing.
func List(tx Tx, entries map[string]repostate.Entry) error {
	env := tx.Env()
	env.Budget = Unlimited{}
	for did, e := range entries {
		r, err := tx.RepoOrNew(did)
		if err != nil {
			return err
		}
		if _, err := tx.Apply(r, repostate.Decide(r, e, env)); err != nil {
			return err
		}
	}
	return nil
}

// Unlimited grants everything.
type Unlimited struct{}

// Sight is repostate.Budget.
func (Unlimited) Sight() (time.Duration, bool) { return 0, true }

// Check is repostate.Budget.
func (Unlimited) Check() (time.Duration, bool) { return 0, true }

// Desync is repostate.Budget.
func (Unlimited) Desync() bool { return true }

// Move is repostate.Budget.
func (Unlimited) Move() bool { return true }
