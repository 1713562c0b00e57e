package pds

import (
	"context"
	"net/url"

	"railyard/internal/atproto"
)

// LatestCommit is what a host says is the head of a repo. Only the signed commit
// block can show that it is.
type LatestCommit struct {
	CID atproto.Digest // of the commit block
	Rev atproto.TID
}

// GetLatestCommit asks a host for the head of a repo. The lexicon requires both
// fields (com.atproto.sync.getLatestCommit).
func (c *Client) GetLatestCommit(ctx context.Context, base, did string) (LatestCommit, error) {
	q := call{method: "com.atproto.sync.getLatestCommit", base: base, params: url.Values{"did": {did}}}
	var answer struct {
		CID string `json:"cid"`
		Rev string `json:"rev"`
	}
	if err := c.query(ctx, q, &answer); err != nil {
		return LatestCommit{}, err
	}
	cid, err := atproto.ParseCID(answer.CID)
	if err != nil {
		return LatestCommit{}, q.invalid("%w", err)
	}
	rev, err := atproto.ParseTID(answer.Rev)
	if err != nil {
		return LatestCommit{}, q.invalid("%w", err)
	}
	return LatestCommit{CID: cid, Rev: rev}, nil
}
