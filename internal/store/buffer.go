package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"railyard/db"
	"railyard/internal/atproto"
)

// maxBuffered bounds the commits that wait for one repo's fetch. Beyond it the
// buffer is dropped and the repo is fetched again.
const maxBuffered = 256

// Commit is a proven commit as the buffer keeps it.
type Commit struct {
	Prev    atproto.Digest
	Head    Head
	Present []string // collections that it touched and that exist after it
	Died    []string // collections that it emptied
}

// Buffer keeps a proven commit of a repo that is being fetched. It tells whether
// the commit fits: false when the buffer is full, or holds another commit of the
// same rev; the caller then desynchronizes the repo.
func (tx *Tx) Buffer(r *Repo, c Commit) (bool, error) {
	if err := tx.Saw(r, c.Head.Rev); err != nil {
		return false, err
	}
	taken, same, err := tx.bufferedAt(r, c.Head)
	if err != nil || taken {
		return same, err
	}
	n, err := tx.q.BufferSize(tx.ctx, r.ID)
	if err != nil || n >= maxBuffered {
		return false, err
	}
	return true, tx.q.BufferCommit(tx.ctx, db.BufferCommitParams{
		RepoID: r.ID, Rev: int64(c.Head.Rev), Prev: c.Prev[:], Data: c.Head.Data[:], CID: c.Head.CID[:],
		Present: jsonTexts(c.Present), Died: jsonTexts(c.Died),
	})
}

// InBuffer tells whether this very commit is in the buffer.
func (tx *Tx) InBuffer(r *Repo, h Head) (bool, error) {
	_, same, err := tx.bufferedAt(r, h)
	return same, err
}

// bufferedAt tells whether the buffer has a commit of this rev, and whether it is
// this one.
func (tx *Tx) bufferedAt(r *Repo, h Head) (taken, same bool, err error) {
	cid, err := tx.q.BufferedCommit(tx.ctx, db.BufferedCommitParams{RepoID: r.ID, Rev: int64(h.Rev)})
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	return err == nil, err == nil && digest(cid) == h.CID, err
}

// Buffered gives the buffered commits in the order of their revs and empties the
// buffer.
func (tx *Tx) Buffered(r *Repo) ([]Commit, error) {
	rows, err := tx.q.BufferedCommits(tx.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	commits := make([]Commit, len(rows))
	for i, row := range rows {
		c := &commits[i]
		c.Prev = digest(row.Prev)
		c.Head = Head{Rev: atproto.TID(row.Rev), Data: digest(row.Data), CID: digest(row.CID)}
		if err := json.Unmarshal([]byte(row.Present), &c.Present); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
		if err := json.Unmarshal([]byte(row.Died), &c.Died); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
	}
	return commits, tx.q.ClearBuffer(tx.ctx, r.ID)
}
