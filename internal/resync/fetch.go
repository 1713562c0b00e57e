package resync

import (
	"context"
	"fmt"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/store"
	"railyard/internal/verify"
)

// snapshotLimits bounds one fetched repo. The largest known repos have about a
// million records: 91 MB of tree nodes, a few hundred MB in all.
var snapshotLimits = repo.SnapshotLimits{Bytes: 4 << 30, NodeBytes: 512 << 20}

// fetched is a repo as its host has served it: walked whole, signed by the key
// of the DID document.
type fetched struct {
	head        store.Head
	collections []string
}

// fetch asks the host for the repo and walks its tree.
func (rs *Resyncer) fetch(ctx context.Context, t *store.Task) (*fetched, error) {
	r := t.Repo
	key, err := identity.Key(r.Identity.Key).Public()
	if err != nil {
		return nil, fmt.Errorf("stored key: %w", err)
	}
	if err := rs.pace(ctx, r.Identity.HostID); err != nil {
		return nil, err
	}
	body, err := rs.cfg.Hosts.GetRepo(ctx, r.Identity.URL(), r.DID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	snap, err := repo.ReadSnapshot(body, snapshotLimits)
	if err != nil {
		return nil, err
	}
	c := snap.Commit
	if c.DID != r.DID {
		return nil, refusal.New(refusal.AnswerWrongDID, "a repo of %s", c.DID)
	}
	if c.Rev > atproto.TIDAt(rs.cfg.Now().Add(verify.Tolerance)) {
		return nil, refusal.New(refusal.FutureRev, "rev %s", c.Rev)
	}
	if err := c.Verify(key); err != nil {
		return nil, err
	}
	return &fetched{head: store.Head{Rev: c.Rev, Data: c.Data, CID: c.CID}, collections: snap.Collections}, nil
}

// endFetch makes the file equal to what was fetched, replays the commits that
// arrived meanwhile, and puts the repo into service.
func (rs *Resyncer) endFetch(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched) (Outcome, error) {
	if err := tx.HostAnswered(r.Identity.HostID); err != nil {
		return "", err
	}
	if t.InService {
		return rs.endAudit(tx, t, r, f)
	}
	waiting, err := tx.Buffered(r)
	if err != nil {
		return "", err
	}
	last, replay, linked := chain(f.head, waiting)
	if !linked {
		// What was fetched and what was seen do not meet: fetch once more.
		return superseded, tx.Retry(r, store.Discontinuity, tx.Now().Add(backoff(staleRetry, retryMost, t.Attempts)), true, false)
	}
	newest := r.SeenRev
	if r.Head != nil {
		newest = max(newest, r.Head.Rev)
	}
	if last.Rev < newest {
		believed, err := rs.believeStale(tx, r, f, newest)
		if err != nil {
			return "", err
		}
		if !believed {
			return staleAnswer, rs.again(tx, t, r, fmt.Errorf("its host serves rev %s; %s was seen", f.head.Rev, newest),
				backoff(staleRetry, staleBelief, t.Attempts))
		}
	}
	if err := rs.establish(tx, r, f, replay); err != nil {
		return "", err
	}
	return synchronized, rs.done(tx, t, r)
}

// chain finds the commits that lead on from a fetched head. Older ones are in
// it already; linked is false if a newer one does not follow.
func chain(head store.Head, waiting []store.Commit) (last store.Head, replay []store.Commit, linked bool) {
	last = head
	for _, c := range waiting {
		switch {
		case c.Head.Rev < last.Rev:
			continue
		case c.Head.Rev == last.Rev && c.Head.CID == last.CID:
			continue
		case c.Head.Rev == last.Rev, c.Prev != last.Data && c.Head.Data != last.Data:
			return last, nil, false
		}
		last, replay = c.Head, append(replay, c)
	}
	return last, replay, true
}

// believeStale tells whether an answer older than what was seen is to be
// believed: three equal ones over an hour are a restored backup.
func (rs *Resyncer) believeStale(tx *store.Tx, r *store.Repo, f *fetched, newest atproto.TID) (bool, error) {
	detail := refusal.New(refusal.AnswerStale, "rev %s, and %s was seen", f.head.Rev, newest)
	if err := rs.refused(tx, r, detail); err != nil {
		return false, err
	}
	count, since, err := tx.Stale(r, f.head.Rev)
	return count >= staleTimes && tx.Now().Sub(since) >= staleBelief, err
}

func (rs *Resyncer) establish(tx *store.Tx, r *store.Repo, f *fetched, replay []store.Commit) error {
	births, deaths, err := tx.Establish(r, f.head, f.collections, store.ProofTree)
	if err != nil {
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
// of the head's own rev says something about the rows; a newer one means that an
// event was lost.
func (rs *Resyncer) endAudit(tx *store.Tx, t *store.Task, r *store.Repo, f *fetched) (Outcome, error) {
	switch {
	case r.State != store.Synchronized:
		return superseded, tx.Release(r, tx.Now())
	case f.head == *r.Head:
		if err := rs.establish(tx, r, f, nil); err != nil {
			return "", err
		}
		t.WantRev = 0 // the host itself has no newer one
		return synchronized, rs.done(tx, t, r)
	case f.head.Rev < r.Head.Rev && r.Head.Rev >= t.WantRev:
		return confirmed, rs.done(tx, t, r)
	case f.head.Rev < r.Head.Rev:
		return staleAnswer, rs.again(tx, t, r, fmt.Errorf("its host serves rev %s, older than our %s", f.head.Rev, r.Head.Rev),
			backoff(staleRetry, retryMost, t.Attempts))
	}
	if err := tx.Desynchronize(r, store.Discontinuity); err != nil {
		return "", err
	}
	return superseded, tx.Release(r, tx.Now())
}
