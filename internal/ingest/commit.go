package ingest

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

const (
	// identityRest is how long a resolved identity is believed before a failed
	// signature or a foreign sender makes us look again.
	identityRest = time.Minute
	// announcedRest is the same after an #identity, which says that something has
	// changed just now.
	announcedRest = 2 * time.Second
	// identityWait is added where one host's accounts ask for too many looks.
	identityWait = 10 * time.Minute
	// statusRest is how often a host is asked about an inactive account that
	// goes on committing.
	statusRest = 10 * time.Minute
)

// signedEvent judges a #commit or a #sync.
func (c *court) signedEvent(s *slot) (verdict, error) {
	r, err := c.tx.RepoByDID(s.frame.DID)
	if err != nil {
		return rejected, err
	}
	if r == nil || r.Identity == nil {
		return c.firstSight(s, r)
	}
	if r.Head != nil && s.rev < r.Head.Rev {
		return stale, nil // before all else: a replay may carry an earlier key's commits
	}
	if s.up.isPDS() && r.Identity.Host != s.up.host {
		c.refuse(s, refusal.WrongHost, "the document names "+r.Identity.Host)
		return rejected, c.doubtIdentity(s, r, identityRest)
	}
	if s.key != r.Identity.Key {
		return c.otherKey(r)
	}
	if s.refusal != nil {
		return c.refusedEvent(s, r)
	}
	if !r.Active {
		return hidden, c.commitOfInactive(s, r)
	}
	switch r.State {
	case store.Synchronized:
		return c.follow(s, r)
	case store.Resyncing:
		return c.keep(s, r)
	default:
		return c.wait(s, r)
	}
}

// firstSight queues a repo of which nothing is known, or whose look is put off
// although it is alive.
//
// Anybody can invent DIDs, so an upstream may bring a limited number of unknown
// ones; a walk of its listing finds the others.
func (c *court) firstSight(s *slot, r *store.Repo) (verdict, error) {
	if r == nil {
		if !c.in.limits.allowSight(s.up.id, c.tx.Now()) {
			return unseen, nil
		}
		r, err := c.tx.AddRepo(s.frame.DID)
		if err != nil {
			return rejected, err
		}
		return waits, c.tx.Enqueue(r, store.FirstSight, c.tx.Now())
	}
	if asked, err := c.asked(r); err != nil || asked {
		return waits, err
	}
	if r.Identity == nil { // the directory did not have it a moment ago
		if !c.in.limits.allowStranger(s.up.id, c.tx.Now()) {
			return waits, nil
		}
		if err := c.tx.ConfirmCandidate(r); err != nil {
			return rejected, err
		}
	}
	return waits, c.tx.Enqueue(r, store.FirstSight, c.tx.Now())
}

// asked tells whether a look at the repo is due already, or backs off. A second
// look that waits is not meant, unless it is at a DID that does not exist: its
// account may go on speaking for long.
func (c *court) asked(r *store.Repo) (bool, error) {
	queued, later, err := c.tx.Queued(r)
	if err != nil || (queued && !later) {
		return queued, err
	}
	return c.tx.Unresolvable(r)
}

// otherKey handles an event for which the prover had another key than the file
// has now, or none. In service or being fetched, the repo may have missed it.
func (c *court) otherKey(r *store.Repo) (verdict, error) {
	c.in.keys.forget(r.DID)
	if inService(r) {
		return desynchronized, c.tx.Desynchronize(r, store.Unprovable)
	}
	return waits, nil
}

// inService: commits are applied or buffered, and none may be missed.
func inService(r *store.Repo) bool {
	return r.State == store.Synchronized || r.State == store.Resyncing
}

// refusedEvent handles what the prover refused. Before the signature nothing is
// known to be true and nothing changes, but a failed signature can mean a new
// key, and a fault of ours or of our clock can hide a good commit. After it the
// commit was real: our state no longer is.
func (c *court) refusedEvent(s *slot, r *store.Repo) (verdict, error) {
	c.refuse(s, s.refusal.Reason, s.refusal.Detail)
	switch reason := s.refusal.Reason; {
	case reason == refusal.BadSignature:
		if err := c.suspectEarlierKey(s, r); err != nil {
			return rejected, err
		}
		return rejected, c.doubtIdentity(s, r, identityRest)
	case reason == refusal.Internal:
		return rejected, c.suspect(r, s.rev)
	case reason == refusal.FutureRev: // nobody has signed it yet
		if !c.in.limits.allowDesync(r.Identity.HostID, c.tx.Now()) {
			return rejected, nil
		}
		return rejected, c.suspect(r, s.rev)
	case !reason.AfterSignature(), r.Head != nil && s.proof.Commit == r.Head.CID:
		return rejected, nil
	}
	if err := c.tx.Saw(r, s.proof.Rev); err != nil {
		return rejected, err
	}
	if !c.in.limits.allowDesync(r.Identity.HostID, c.tx.Now()) {
		return rejected, c.suspect(r, s.proof.Rev)
	}
	if !r.Active || !inService(r) {
		return rejected, nil
	}
	return rejected, c.tx.Desynchronize(r, store.Unprovable)
}

// suspect: perhaps a commit was missed. The host is asked after a while, unless
// the head is there by then; the repo stays in service.
func (c *court) suspect(r *store.Repo, rev atproto.TID) error {
	if !inService(r) || !r.Active {
		return nil // the fetch that is due will see it
	}
	return c.tx.EnqueueSweep(r, c.tx.Now().Add(store.SweepGrace), rev)
}

// suspectEarlierKey: a host may go on signing with an earlier key of the DID. Such
// commits are not taken from a stream, but the named host is asked for its head.
func (c *court) suspectEarlierKey(s *slot, r *store.Repo) error {
	if !r.OldKeysCount() || !c.in.limits.allowDesync(r.Identity.HostID, c.tx.Now()) {
		return nil
	}
	return c.suspect(r, s.rev)
}

// doubtIdentity asks for a look at the DID document, when the one that we have is
// as old as rest, so that no account can cause more than a look per rest; the
// accounts of one host share a limit, beyond which they wait longer. A look that
// is due already, or backs off after a failure, is asked for again only by an
// #identity: something has changed, it says.
func (c *court) doubtIdentity(s *slot, r *store.Repo, rest time.Duration) error {
	at := c.tx.Now()
	if r.Identity != nil {
		if r.Identity.Stale {
			if asked, err := c.asked(r); err != nil || (asked && rest != announcedRest) {
				return err
			}
		}
		if rested := r.Identity.FetchedAt.Add(rest); rested.After(at) {
			at = rested
		}
		if !c.in.limits.allowCheck(r.Identity.HostID, c.tx.Now()) {
			at = at.Add(identityWait)
		}
		if err := c.tx.MarkStale(r); err != nil {
			return err
		}
	} else if !c.in.limits.allowStranger(s.up.id, c.tx.Now()) {
		return nil // its row waits already
	}
	return c.tx.Enqueue(r, store.IdentityCheck, at)
}

// commitOfInactive: a host does not commit for an inactive account, so what we
// hold of its status may be old. The host is asked, now and then.
func (c *court) commitOfInactive(s *slot, r *store.Repo) error {
	if err := c.tx.Saw(r, s.proof.Rev); err != nil {
		return err
	}
	at := c.tx.Now()
	if rested := r.Identity.CheckedAt.Add(statusRest); rested.After(at) {
		at = rested
	}
	if queued, later, err := c.tx.Queued(r); err != nil || (queued && !later) {
		return err
	}
	return c.tx.Enqueue(r, store.StatusCheck, at)
}

// wait: the repo is wrong or unproven and a fetch is queued. The rev is kept, so
// that an older answer of the host is known to be stale.
func (c *court) wait(s *slot, r *store.Repo) (verdict, error) {
	if err := c.tx.Saw(r, s.proof.Rev); err != nil {
		return rejected, err
	}
	if s.kind == syncEvent {
		return waits, c.tx.Enqueue(r, store.SyncEvent, c.tx.Now())
	}
	return c.firstSight(s, r)
}

// keep: the repo is being fetched. Proven commits wait in the buffer.
func (c *court) keep(s *slot, r *store.Repo) (verdict, error) {
	if s.kind == syncEvent {
		return c.keepSync(s, r)
	}
	ok, err := c.tx.Buffer(r, commitOf(s.proof))
	if err != nil {
		return rejected, err
	}
	if !ok {
		return desynchronized, c.tx.Desynchronize(r, store.Discontinuity)
	}
	return buffered, nil
}

// keepSync: a #sync that repeats a buffered commit says nothing new (real hosts
// send one after an account's first commit); any other voids the fetch.
func (c *court) keepSync(s *slot, r *store.Repo) (verdict, error) {
	same, err := c.tx.InBuffer(r, headOf(s.proof))
	if err != nil || same {
		return noted, err
	}
	if err := c.tx.Saw(r, s.proof.Rev); err != nil {
		return rejected, err
	}
	return desynchronized, c.tx.Desynchronize(r, store.SyncEvent)
}

// follow is the chain check: the commit starts from the data that we hold and is
// newer. Otherwise it is a repetition, or our copy is no longer the repo.
func (c *court) follow(s *slot, r *store.Repo) (verdict, error) {
	p, head := s.proof, headOf(s.proof)
	prev := p.Prev
	if s.kind == syncEvent || p.Data == r.Head.Data {
		prev = p.Data // nothing but the rev changes
	}
	moved, err := c.tx.Advance(r, prev, head)
	if err != nil {
		return rejected, err
	}
	if moved {
		return applied, c.apply(s, r)
	}
	if p.Rev == r.Head.Rev && p.Commit == r.Head.CID {
		return stale, nil
	}
	why := store.Discontinuity
	if s.kind == syncEvent {
		why = store.SyncEvent
	}
	if err := c.tx.Desynchronize(r, why); err != nil {
		return rejected, err
	}
	return desynchronized, c.tx.Saw(r, p.Rev)
}

// apply writes what a commit that moved the head has changed.
func (c *court) apply(s *slot, r *store.Repo) error {
	births, err := c.tx.Bear(r, s.proof.Present, store.SourceCommit)
	if err != nil {
		return err
	}
	deaths, err := c.tx.Kill(r, s.proof.Died)
	if err != nil {
		return err
	}
	c.births += births
	c.deaths += deaths
	if s.kind != commitEvent {
		return nil
	}
	return c.audit(s, r)
}

func headOf(p proof) store.Head { return store.Head{Rev: p.Rev, Data: p.Data, CID: p.Commit} }

func commitOf(p proof) store.Commit {
	return store.Commit{Prev: p.Prev, Head: headOf(p), Present: p.Present, Died: p.Died}
}
