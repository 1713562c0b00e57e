package pds

import (
	"cmp"
	"context"
	"net/url"

	"railyard/internal/atproto"
)

// AccountStatus is what a host says of an account. For a deleted one a PDS
// answers with the Outcome NotFound.
type AccountStatus struct {
	Active bool
	Status string // why not active; may be a word that we do not know
	Rev    string // as is; often empty
}

// GetRepoStatus asks a host for the status of an account. Active is required by
// the lexicon, and nothing is guessed in its place.
func (c *Client) GetRepoStatus(ctx context.Context, base, did string) (AccountStatus, error) {
	q := call{method: "com.atproto.sync.getRepoStatus", base: base, params: url.Values{"did": {did}}}
	var answer struct {
		DID    string `json:"did"`
		Active *bool  `json:"active"`
		Status string `json:"status"`
		Rev    string `json:"rev"`
	}
	wrong, err := c.query(ctx, q, &answer)
	if err != nil {
		return AccountStatus{}, err
	}
	if answer.Active == nil {
		return AccountStatus{}, q.invalid("%s", cmp.Or(wrong.Of("active"), "no active"))
	}
	if answer.DID != did {
		return AccountStatus{}, q.wrongDID(did, answer.DID)
	}
	return AccountStatus{
		Active: *answer.Active,
		Status: atproto.ClipTo(answer.Status, maxName),
		Rev:    atproto.ClipTo(answer.Rev, maxRev),
	}, nil
}
