package resync

import (
	"errors"
	"fmt"

	"railyard/internal/atproto"
	"railyard/internal/backoff"
	"railyard/internal/refusal"
	"railyard/internal/store"
)

// endFetch makes the file equal to what was fetched, replays the commits that
// arrived meanwhile, and puts the repo into service. known is the newest rev
// that had been heard of when the fetch began.
func (rs *Resyncer) endFetch(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, known atproto.TID) (Outcome, error) {
	if err := tx.HostAnswered(r.Identity.HostID); err != nil {
		return "", err
	}
	if t.InService {
		return rs.endAudit(tx, t, r, f, known)
	}
	if r.State != store.Resyncing || !r.Active {
		return superseded, rs.supersede(tx, t, r)
	}
	waiting, err := tx.Buffered(r)
	if err != nil {
		return "", err
	}
	checked, replay, linked := chain(f.head, waiting)
	if !linked {
		// What was fetched and what was seen do not meet: fetch once more.
		return superseded, tx.Retry(r, store.Discontinuity, tx.Now().Add(backoff.Delay(staleRetry, staleMost, t.Attempts)), true, false)
	}
	newest := r.Floor()
	if f.overtaken(r, checked) {
		return staleAnswer, rs.notYet(tx, t, r, f, newest)
	}
	if checked < newest {
		if checked >= t.Repo.Floor() {
			return staleAnswer, rs.bringForward(tx, t, r, f, replay, newest)
		}
		believed, err := rs.believeStale(tx, t, r, f, newest)
		if err != nil || !believed {
			return staleAnswer, err
		}
	}
	if err := rs.establish(tx, r, f, replay); err != nil {
		return "", err
	}
	return synchronized, rs.done(tx, t, r)
}

// bringForward takes an answer that is as new as what was seen when it was asked for,
// and older than a commit that came since and could not be buffered. It is the
// truth of a moment ago, so the rows become equal to it; the repo stays out of
// service until an answer has that commit too.
func (rs *Resyncer) bringForward(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, replay []store.Commit, newest atproto.TID) error {
	if err := rs.establish(tx, r, f, replay); err != nil {
		return err
	}
	if err := tx.Saw(r, newest); err != nil {
		return err
	}
	if err := tx.Desynchronize(r, store.Discontinuity); err != nil {
		return err
	}
	return tx.Retry(r, store.Discontinuity, tx.Now().Add(backoff.Delay(staleRetry, staleMost, t.Attempts)), true, false)
}

// chain finds the commits that lead on from a fetched head. Older ones are in
// it already; linked is false if a newer one does not follow. newest is the last rev
// of the chain.
func chain(head store.Head, waiting []store.Commit) (newest atproto.TID, replay []store.Commit, linked bool) {
	last := head
	for _, c := range waiting {
		switch {
		case c.Head.Rev < last.Rev:
			continue
		case c.Head.Rev == last.Rev && c.Head.CID == last.CID:
			continue
		case c.Head.Rev == last.Rev, c.Prev != last.Data && c.Head.Data != last.Data:
			return 0, nil, false
		}
		last, replay = c.Head, append(replay, c)
	}
	return last.Rev, replay, true
}

// believeStale tells whether an answer older than what was seen is to be
// believed: three equal ones over an hour, of the host that the document names
// now, are a restored backup. If not, the row is put back.
func (rs *Resyncer) believeStale(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, newest atproto.TID) (bool, error) {
	e := staleAt(f.head.Rev, newest)
	if err := rs.refused(tx, r, e); err != nil {
		return false, err
	}
	count, since, err := tx.Stale(r, f.head.Rev)
	if err != nil {
		return false, err
	}
	if count < staleTimes || tx.Now().Sub(since) < staleBelief {
		return false, rs.again(tx, t, r, e, backoff.Delay(staleRetry, staleMost, t.Attempts))
	}
	return rs.fresh(tx, t, r)
}

func staleAt(rev, newest atproto.TID) *refusal.Error {
	return refusal.New(refusal.AnswerStale, "its host serves rev %s, and %s was seen", rev, newest)
}

// notYet puts the row back after an answer of before a change of keys.
func (rs *Resyncer) notYet(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, newest atproto.TID) error {
	e := staleAt(f.head.Rev, newest)
	if err := rs.refused(tx, r, e); err != nil {
		return err
	}
	return rs.again(tx, t, r, e, backoff.Delay(staleRetry, staleMost, t.Attempts))
}

// establish stores what was found, with the commits that follow it. A claim that
// its own tree disproves is the last one that is taken of its host.
func (rs *Resyncer) establish(tx *store.Tx, r *store.Repo, f *fetched, replay []store.Commit) error {
	wasClaim := r.Proof == store.ProofClaim && r.Head != nil && *r.Head == f.head
	births, deaths, err := tx.Establish(r, f.head, f.collections, f.proof)
	if err != nil {
		return err
	}
	if wasClaim && f.proof != store.ProofClaim && births+deaths > 0 {
		e := refusal.New(refusal.AnswerInvalid, "describeRepo left out %d collections that the tree has, and named %d that it lacks", births, deaths)
		if err := errors.Join(rs.refused(tx, r, e), rs.distrust(tx, r)); err != nil {
			return err
		}
	}
	if err := tx.SetEarlierRev(r, f.earlierRev()); err != nil {
		return err
	}
	tx.AfterCommit(func() { rs.cfg.Metrics.Changed(store.SourceResync.String(), births, deaths) })
	for _, c := range replay {
		if err := rs.replay(tx, r, c); err != nil {
			return err
		}
	}
	return nil
}

// replay applies a buffered commit as the firehose path would have.
func (rs *Resyncer) replay(tx *store.Tx, r *store.Repo, c store.Commit) error {
	moved, err := tx.Advance(r, r.Head.Data, c.Head)
	if err != nil {
		return err
	}
	if !moved {
		return fmt.Errorf("replay of rev %s over %s: the head did not move", c.Head.Rev, r.Head.Rev)
	}
	births, err := tx.Bear(r, c.Present, store.SourceCommit)
	if err != nil {
		return err
	}
	deaths, err := tx.Kill(r, c.Died)
	tx.AfterCommit(func() { rs.cfg.Metrics.Changed(store.SourceCommit.String(), births, deaths) })
	return err
}

// endAudit compares a repo in service with what its host serves. Only an answer
// of the head's own rev says something about the rows.
func (rs *Resyncer) endAudit(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, known atproto.TID) (Outcome, error) {
	if r.State != store.Synchronized {
		return superseded, rs.supersede(tx, t, r)
	}
	reached := r.Reached(t.WantRev) && r.Head.Rev >= r.SeenRev
	switch {
	case f.head == *r.Head && f.head.Rev >= r.SeenRev:
		return rs.endEqual(tx, t, r, f, known, reached)
	case t.Repo.Head != nil && f.head == *t.Repo.Head && f.head != *r.Head:
		if reached && r.Proof != store.ProofClaim {
			return confirmed, rs.done(tx, t, r) // it was where we were, and a commit has come since
		}
		return superseded, rs.again(tx, t, r, fmt.Errorf("a commit came while rev %s was fetched", f.head.Rev),
			backoff.Delay(staleRetry, staleMost, t.Attempts))
	case f.head.Rev < r.Floor():
		if reached && r.Proof != store.ProofClaim {
			return confirmed, rs.done(tx, t, r) // the commit has arrived
		}
		believed, err := rs.believeStale(tx, t, r, f, r.Floor())
		if err != nil || !believed {
			return staleAnswer, err
		}
		return rs.endEqual(tx, t, r, f, known, reached)
	case reached && f.head.Rev > r.Head.Rev && t.Attempts < inFlightTries:
		// Its commit may be on its way. If not, the wish for it brings us back.
		if err := tx.EnqueueSweep(r, tx.Now(), f.head.Rev); err != nil {
			return "", err
		}
		return superseded, tx.Retry(r, store.Sweep, tx.Now().Add(store.SweepGrace), true, true)
	}
	if err := tx.Desynchronize(r, store.Discontinuity); err != nil {
		return "", err
	}
	return superseded, tx.Release(r, tx.Now())
}

// endEqual: the host itself is where we are, so its tree is the proof of our rows.
// What else was heard of is not so, if it is the host.
func (rs *Resyncer) endEqual(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched, known atproto.TID, reached bool) (Outcome, error) {
	if !reached {
		if fresh, err := rs.fresh(tx, t, r); err != nil || !fresh {
			return confirmed, err
		}
	}
	if err := rs.establish(tx, r, f, nil); err != nil {
		return "", err
	}
	if err := tx.DropWish(t, r, known); err != nil {
		return "", err
	}
	if !reached {
		if err := tx.Harmless(r, known); err != nil {
			return "", err
		}
	}
	return synchronized, rs.done(tx, t, r)
}
