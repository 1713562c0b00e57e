package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"railyard/db"
	"railyard/internal/atproto"
	"railyard/internal/repostate"
)

// buffer keeps a proven commit of a repo that is being fetched.
func (tx *Tx) buffer(r *repostate.Repo, c *repostate.Commit) error {
	return tx.q.BufferCommit(tx.ctx, db.BufferCommitParams{
		RepoID: r.ID, Rev: int64(c.Head.Rev), Prev: c.Prev[:], Data: c.Head.Data[:], CID: c.Head.CID[:],
		Present: jsonTexts(c.Present), Died: jsonTexts(c.Died),
	})
}

// BufferAt returns how the buffer of a repo stands to a commit.
func (tx *Tx) BufferAt(r *repostate.Repo, h repostate.Head) (b repostate.Buffered, err error) {
	n, err := tx.q.BufferSize(tx.ctx, r.ID)
	if err != nil || n == 0 {
		return b, err
	}
	b.Len = int(n)
	cid, err := tx.q.BufferedCommit(tx.ctx, db.BufferedCommitParams{RepoID: r.ID, Rev: int64(h.Rev)})
	if errors.Is(err, sql.ErrNoRows) {
		return b, nil
	}
	b.Rev, b.Same = err == nil, err == nil && digest(cid) == h.CID
	return b, err
}

// Buffered returns the buffered commits in the order of their revs.
func (tx *Tx) Buffered(r *repostate.Repo) ([]repostate.Commit, error) {
	rows, err := tx.q.BufferedCommits(tx.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	commits := make([]repostate.Commit, len(rows))
	for i, row := range rows {
		c := &commits[i]
		c.Prev = digest(row.Prev)
		c.Head = repostate.Head{Rev: atproto.TID(row.Rev), Data: digest(row.Data), CID: digest(row.CID)}
		if err := json.Unmarshal([]byte(row.Present), &c.Present); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
		if err := json.Unmarshal([]byte(row.Died), &c.Died); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
	}
	return commits, nil
}
