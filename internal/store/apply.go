package store

import (
	"fmt"

	"railyard/db"
	"railyard/internal/repostate"
)

// Apply makes the file what a decision about a repo says: was is the repo as this
// transaction has read it. It writes what differs and nothing else, and completes the
// decision's repo: a new one gets its id, and who becomes visible a birth number.
func (tx *Tx) Apply(was *repostate.Repo, d repostate.Decision) (c repostate.Changes, err error) {
	r := d.Repo
	if d.Forget {
		if gone, err := tx.forget(r); gone || err != nil {
			return c, err
		}
	}
	switch {
	case r.ID == 0 && r.Waiting == nil:
		return c, nil // it is not queued: it stays unknown
	case r.ID == 0:
		if r.ID, err = tx.q.AddRepo(tx.ctx, db.AddRepoParams{DID: r.DID, FoundHostID: orNull(r.FoundHostID)}); err != nil {
			return c, err
		}
		was = &repostate.Repo{ID: r.ID, DID: r.DID, Active: true, FoundHostID: r.FoundHostID}
	}
	if d.Unbuffer {
		if err := tx.q.ClearBuffer(tx.ctx, r.ID); err != nil {
			return c, err
		}
	}
	if err := tx.applySet(r, d, &c); err != nil {
		return c, err
	}
	if err := tx.applyHead(was, r, d); err != nil {
		return c, err
	}
	if d.Buffer != nil {
		if err := tx.buffer(r, d.Buffer); err != nil {
			return c, err
		}
	}
	return c, tx.applyRows(was, r)
}

// applySet makes the rows of the repo those of its set, and visible or not. What
// becomes invisible does so first, and what becomes visible does so between deaths and
// births, so that the change feed has each row's life in its order.
func (tx *Tx) applySet(r *repostate.Repo, d repostate.Decision, c *repostate.Changes) (err error) {
	if !r.Listed() && r.Seq > 0 {
		if err := tx.hide(r); err != nil {
			return err
		}
	}
	var set string
	if d.Set != nil {
		if set, err = tx.collectionIDs(d.Set.Collections); err != nil {
			return err
		}
		if c.ResyncDeaths, err = tx.removeAllBut(r, set); err != nil {
			return err
		}
	}
	shown := r.Listed() && r.Seq == 0
	if shown {
		why := becameActive
		if d.Set != nil && d.Set.First {
			why = becameNew
		}
		if err := tx.show(r, why); err != nil {
			return err
		}
	}
	if d.Set != nil {
		if c.ResyncBirths, err = tx.addMissing(r, set, len(d.Set.Collections), shown); err != nil {
			return err
		}
	}
	for _, commit := range d.Commits {
		births, err := tx.AddMemberships(r, commit.Present)
		if err != nil {
			return err
		}
		deaths, err := tx.RemoveMemberships(r, commit.Died)
		if err != nil {
			return err
		}
		c.CommitBirths += births
		c.CommitDeaths += deaths
	}
	return nil
}

// applyHead moves the head. That of a repo in service that a commit moves is swapped
// only from where the commit starts: the decision was made on what the file has.
func (tx *Tx) applyHead(was, r *repostate.Repo, d repostate.Decision) error {
	switch h := r.Head; {
	case h == nil && was.Head == nil, h != nil && was.Head != nil && *h == *was.Head:
		return nil
	case h == nil:
		return tx.q.DeleteHead(tx.ctx, r.ID)
	case d.Set == nil && was.Head != nil:
		n, err := tx.q.AdvanceHead(tx.ctx, db.AdvanceHeadParams{
			RepoID: r.ID, Prev: was.Head.Data[:], Rev: int64(h.Rev), Data: h.Data[:], CID: h.CID[:],
		})
		if err == nil && n != 1 {
			err = fmt.Errorf("the head of %s did not move from rev %s to %s", r.DID, was.Head.Rev, h.Rev)
		}
		return err
	default:
		return tx.q.PutHead(tx.ctx, db.PutHeadParams{RepoID: r.ID, Rev: int64(h.Rev), Data: h.Data[:], CID: h.CID[:]})
	}
}

// applyRows writes the rows of repo, identity and queue that differ.
func (tx *Tx) applyRows(was, r *repostate.Repo) error {
	if repoColumns(was) != repoColumns(r) {
		if err := tx.q.PutRepo(tx.ctx, db.PutRepoParams{
			ID: r.ID, State: int64(r.State), Active: flag(r.Active), Status: orNull(r.Status),
			StatusFrom: orNull(int64(r.StatusFrom)), StatusAt: micros(r.StatusAt), Proof: orNull(int64(r.Proof)),
			ProvenAt: micros(r.ProvenAt), SeenRev: orNull(int64(r.SeenRev)), FoundHostID: orNull(r.FoundHostID),
			HarmlessRev: orNull(int64(r.HarmlessRev)), Error: orNull(r.Error), ErrorAt: micros(r.ErrorAt),
		}); err != nil {
			return err
		}
	}
	if i := r.Identity; i != nil && (was.Identity == nil || *i != *was.Identity) {
		if err := tx.q.PutIdentity(tx.ctx, db.PutIdentityParams{
			RepoID: r.ID, SigningKey: []byte(i.Key), HostID: i.HostID, FetchedAt: i.FetchedAt.UnixMicro(), Stale: flag(i.Stale),
			StatusAskedAt: micros(i.StatusAskedAt), EarlierRev: orNull(int64(i.EarlierRev)),
		}); err != nil {
			return err
		}
	}
	switch w := r.Waiting; {
	case w == nil && was.Waiting == nil:
		return nil
	case w == nil:
		return tx.q.DeleteQueueRow(tx.ctx, r.ID)
	case was.Waiting != nil && *w == *was.Waiting && askedNext(r) == askedNext(was):
		return nil
	}
	return tx.putWaiting(r)
}

// repoColumns is the repo without what other tables and other queries write.
func repoColumns(r *repostate.Repo) repostate.Repo {
	c := *r
	c.Head, c.Identity, c.Waiting, c.Seq = nil, nil, nil, 0
	return c
}

func (tx *Tx) putWaiting(r *repostate.Repo) error {
	w := r.Waiting
	p := db.PutQueueRowParams{
		RepoID: r.ID, Reason: int64(w.Reason), Priority: w.Priority, NotBefore: w.NotBefore.UnixMicro(), Parked: flag(w.Parked),
		Attempts: int64(w.Attempts), Generation: w.Generation, WantRev: orNull(int64(w.WantRev)), AskStatus: flag(w.AskStatus),
		IdentityChecks: int64(w.IdentityChecks), QueuedAt: w.QueuedAt.UnixMicro(), Said: orNull(int64(w.Said)), SaidRev: orNull(int64(w.SaidRev)),
		SaidTimes: int64(w.SaidTimes), SaidSince: micros(w.SaidSince), HostID: askedNext(r),
	}
	if w.Leased {
		p.Lease = &w.Lease
	} else {
		tx.wakes = true
	}
	return tx.q.PutQueueRow(tx.ctx, p)
}

// askedNext returns whom an attempt at a repo would ask next: its host, or whoever has
// its document. (view repo_host_queue)
func askedNext(r *repostate.Repo) int64 {
	switch {
	case r.Identity != nil && !r.Identity.Stale:
		return r.Identity.HostID
	case isPLC(r.DID):
		return DirectoryQueue
	}
	return WebQueue
}

// forget removes a DID that does not exist and never did, unless other rows name it.
func (tx *Tx) forget(r *repostate.Repo) (gone bool, err error) {
	n, err := tx.q.DeleteBareRepo(tx.ctx, r.ID)
	if err != nil || n == 0 {
		return false, err
	}
	if err := tx.q.ClearBuffer(tx.ctx, r.ID); err != nil {
		return true, err
	}
	return true, tx.q.DeleteQueueRow(tx.ctx, r.ID)
}

// Env returns what decisions of this transaction depend on, but for a budget and the
// way in which retries are spread.
func (tx *Tx) Env() repostate.Env { return repostate.Env{Now: tx.now, ParkBackfill: tx.s.parks} }

// IdentityAtHost returns what a document says with the row of its host, which is made if
// there is none.
func (tx *Tx) IdentityAtHost(key, host string, insecure bool) (*repostate.Identity, error) {
	row, err := tx.q.AddHost(tx.ctx, db.AddHostParams{Hostname: host, Insecure: flag(insecure)})
	return &repostate.Identity{
		Key: key, HostID: row.ID, Host: host, Insecure: insecure,
		DescribeTrusted: trusted(row.DescribeTrust), AbsentProofs: ability(row.AbsentProofs),
	}, err
}
