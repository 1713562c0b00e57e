package crawl

import (
	"fmt"
	"slices"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
)

// lister is a server whose listing is taken.
type lister struct {
	// hosts are the rows of the PDS that lists its own repos, one for each name that it
	// has; what it says of the repos of others is nothing. None is a relay, which lists
	// those of all hosts.
	hosts []int64
	// capped: a DID that nobody else has told of is a candidate of the host, which may
	// have only so many of them.
	capped bool
}

// host returns the row of the server, 0 for a relay. Of the names of a PDS it is that of
// the document, if that has one of them.
func (l lister) host(named *repostate.Identity) int64 {
	switch {
	case len(l.hosts) == 0:
		return 0
	case named != nil && slices.Contains(l.hosts, named.HostID):
		return named.HostID
	}
	return l.hosts[0]
}

// listed is an entry of a listing.
type listed struct {
	did string
	repostate.Entry
}

// taken is what came of a page.
type taken struct {
	found   int     // repos that were unknown
	known   []int64 // repos that the server may speak for
	foreign int     // repos whose document names another host
	full    bool    // more were unknown than the host may have candidates: the page must come again
	proven  bool    // the host has no more candidates than documents name it; a relay needs none
}

// maxMoved is how many look-ups of documents one page may cause.
const maxMoved = 20

// pageBudget grants the look-ups of a page. Nothing else about a listing is limited by
// its source: hosts are by their candidates.
type pageBudget struct{ moved int }

func (b *pageBudget) Sight() (time.Duration, bool) { return 0, true }
func (b *pageBudget) Check() (time.Duration, bool) { return 0, true }
func (b *pageBudget) Desync() bool                 { return true }

func (b *pageBudget) Move() bool {
	b.moved++
	return b.moved <= maxMoved
}

// takePage takes one page of a listing: unknown repos are queued; of known ones those
// are queued that the listing contradicts.
func takePage(tx *store.Tx, from lister, page []listed) (t taken, err error) {
	candidates := store.Candidates{Left: int64(len(page)), Proven: true}
	if from.capped {
		if candidates, err = tx.Candidates(from.host(nil)); err != nil {
			return t, err
		}
	}
	env := tx.Env()
	env.Budget = new(pageBudget)
	for _, l := range page {
		if err := takeEntry(tx, from, l, env, candidates.Left, &t); err != nil {
			return t, fmt.Errorf("%s: %w", l.did, err)
		}
	}
	if from.capped {
		candidates, err = tx.Candidates(from.host(nil))
	}
	t.proven = candidates.Proven
	return t, err
}

func takeEntry(tx *store.Tx, from lister, l listed, env repostate.Env, left int64, t *taken) error {
	r, err := tx.RepoOrNew(l.did)
	if err != nil {
		return err
	}
	fresh := r.ID == 0
	if fresh && int64(t.found) >= left {
		t.full = true
		return nil
	}
	l.Host, l.Candidate = from.host(r.Identity), from.capped
	d := repostate.Decide(r, l.Entry, env)
	if _, err := tx.Apply(r, d); err != nil {
		return err
	}
	switch {
	case fresh:
		if t.found++; !from.capped {
			t.known = append(t.known, d.Repo.ID)
		}
	case r.Identity == nil && from.capped: // its document has not been seen yet
	case r.Identity != nil && l.Host != 0 && r.Identity.HostID != l.Host:
		t.foreign++
	default:
		t.known = append(t.known, r.ID)
	}
	return nil
}
