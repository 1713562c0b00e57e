package store

import (
	"fmt"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
)

// Listed is what a listing says of a repo: hints, all of it.
type Listed struct {
	DID    string
	Rev    atproto.TID // 0 = not said
	Active bool
}

// Lister is a server whose listing is taken.
type Lister struct {
	// Host is the PDS that lists its own repos; what it says of the repos of others
	// is nothing. 0 is a relay, which lists those of all hosts.
	Host int64
	// Capped: a DID that nobody else has told of is a candidate of the host, which may
	// have only so many of them (CandidateBudget).
	Capped bool
}

// Taken is what came of a page.
type Taken struct {
	Found   int     // repos that were unknown
	Known   []int64 // repos that the server may speak for
	Foreign int     // repos whose document names another host
	Full    bool    // more were unknown than the host may have candidates: the page must come again
	Proven  bool    // the host has no more candidates than documents name it; a relay needs none
	moved   int     // looks at documents that the page has caused
}

// SweepGrace is how long a listed rev may be ahead of our head before it counts
// as a lost event: commits are in flight.
const SweepGrace = 30 * time.Second

// AddListed takes one page of a relay's listing. found is the number of unknown
// repos.
func (tx *Tx) AddListed(page []Listed) (found int, err error) {
	t, err := tx.TakeListed(Lister{}, page)
	return t.Found, err
}

// TakeListed takes one page of a listing: unknown repos are queued; of known ones
// those are queued that the listing contradicts.
func (tx *Tx) TakeListed(from Lister, page []Listed) (t Taken, err error) {
	budget := int64(len(page))
	if from.Capped {
		if budget, err = tx.CandidateBudget(from.Host); err != nil {
			return t, err
		}
	}
	for _, l := range page {
		r, err := tx.RepoByDID(l.DID)
		switch {
		case err != nil:
		case r != nil:
			err = tx.takeKnown(from, r, l, &t)
		case int64(t.Found) >= budget:
			t.Full = true
		default:
			t.Found++
			var id int64
			if id, err = tx.addFound(from, l.DID); !from.Capped {
				t.Known = append(t.Known, id)
			}
		}
		if err != nil {
			return t, fmt.Errorf("%s: %w", l.DID, err)
		}
	}
	t.Proven = !from.Capped || budget-int64(t.Found) >= unprovenCandidates
	return t, nil
}

// takeKnown compares what is listed with what is known.
func (tx *Tx) takeKnown(from Lister, r *Repo, l Listed, t *Taken) error {
	switch {
	case r.Identity == nil && from.Capped: // its document has not been seen yet
		return nil
	case r.Identity == nil:
		if err := tx.ConfirmCandidate(r); err != nil {
			return err
		}
	case from.Host != 0 && r.Identity.HostID != from.Host:
		return tx.takeForeign(r, l, t)
	}
	t.Known = append(t.Known, r.ID)
	if from.Host == 0 && r.Identity != nil && l.trails(r) {
		return tx.perhapsMoved(r, laggardAge, t)
	}
	return tx.compare(r, l)
}

// trails tells whether a repo in service is listed as it is, but for an older rev than
// that of its head.
func (l Listed) trails(r *Repo) bool {
	return r.State == Synchronized && l.Active == r.Active && l.Rev != 0 && r.Head != nil && l.Rev < r.Head.Rev
}

const (
	// movedAge is how old a document must be for the listing of a host that it does
	// not name to be a reason to look at it again, and maxMoved how many such looks
	// one page is worth.
	movedAge = time.Hour
	maxMoved = 20
	// laggardAge is the same for the listing of a relay that is behind our head: most
	// often a commit came while the page was read.
	laggardAge = 6 * time.Hour
)

// perhapsMoved looks at a document again that is older than an age. A relay that is
// behind our head may follow the host where the account lives now, while we listen
// to the one that it has left.
func (tx *Tx) perhapsMoved(r *Repo, age time.Duration, t *Taken) error {
	if t.moved >= maxMoved || r.Identity.Stale || tx.now.Sub(r.Identity.FetchedAt) < age {
		return nil
	}
	t.moved++
	return tx.Refresh(r, tx.now)
}

// takeForeign: a host lists a repo that is another host's by the document that we
// have. It has no say in it; but if it lists as active what is inactive here, or a rev
// that is not held, the account may have moved there and its #identity was lost. (Hosts
// that an account has left list it as inactive, with an old rev.)
func (tx *Tx) takeForeign(r *Repo, l Listed, t *Taken) error {
	t.Foreign++
	ahead := r.Head != nil && l.Rev > r.Head.Rev || l.Active && (!r.Active || r.State == NotFound || !r.Reached(l.Rev))
	if !ahead {
		return nil
	}
	return tx.perhapsMoved(r, movedAge, t)
}

// addFound makes the row of an unknown repo and queues it.
func (tx *Tx) addFound(from Lister, did string) (int64, error) {
	if !from.Capped {
		r, err := tx.AddRepo(did)
		if err != nil {
			return 0, err
		}
		return r.ID, tx.Enqueue(r, Backfill, tx.now)
	}
	id, err := tx.q.AddCandidate(tx.ctx, db.AddCandidateParams{DID: did, HostID: &from.Host})
	if err != nil {
		return 0, err
	}
	return id, tx.Enqueue(&Repo{ID: id, DID: did, Active: true}, Backfill, tx.now)
}

func (tx *Tx) compare(r *Repo, l Listed) error {
	switch {
	case r.State == Candidate && r.Active && (r.Identity == nil || r.Identity.Stale):
		return nil // its first look is to come, perhaps not before the PLC directory's log was read
	case r.State == NotFound && l.Active:
		return tx.Enqueue(r, Backfill, tx.now)
	case r.State == NotFound:
		return nil
	case l.Active != r.Active:
		if err := tx.MarkStale(r); err != nil { // perhaps it is another host's word now
			return err
		}
		return tx.Enqueue(r, StatusCheck, tx.now)
	case (r.State == Synchronized || r.State == Resyncing) && (r.Head == nil || !r.Reached(l.Rev)):
		harmless, err := tx.q.HarmlessRev(tx.ctx, r.ID)
		if err != nil || (harmless != nil && atproto.TID(*harmless) == l.Rev) {
			return err
		}
		// A fetch under way may have read an older tree; it stays good, and the rev
		// is looked for at its end.
		return tx.EnqueueSweep(r, tx.now.Add(SweepGrace), l.Rev)
	}
	return nil
}

// harmlessAge is how old a listed rev is at least that its host does not have, for
// it to be remembered as harmless. A younger one may be on its way to a replica.
const harmlessAge = time.Hour

// Harmless remembers a rev that was listed and that the host itself does not have:
// a listing that goes on with it is no reason to look. Any other rev is one.
func (tx *Tx) Harmless(r *Repo, rev atproto.TID) error {
	if age := tx.now.Sub(rev.Time()); rev == 0 || (age < harmlessAge && age > -harmlessAge) {
		return nil
	}
	v := int64(rev)
	return tx.q.SetHarmlessRev(tx.ctx, db.SetHarmlessRevParams{RepoID: r.ID, Rev: &v})
}

// ConfirmCandidate notes that more is known of a DID than that one host lists it,
// whose candidate it is no longer.
func (tx *Tx) ConfirmCandidate(r *Repo) error { return tx.q.ConfirmCandidate(tx.ctx, r.ID) }

// Vanish removes a DID that does not exist and never did: the row, and what waits
// for it. It tells whether that was so: a repo of which anything was ever known
// stays.
func (tx *Tx) Vanish(r *Repo) (bool, error) {
	n, err := tx.q.DeleteBareRepo(tx.ctx, r.ID)
	if err != nil || n == 0 {
		return false, err
	}
	if err := tx.q.ClearBuffer(tx.ctx, r.ID); err != nil {
		return true, err
	}
	return true, tx.q.DeleteQueueRow(tx.ctx, r.ID)
}
