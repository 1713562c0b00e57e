package pds

import (
	"context"
	"encoding/json"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
)

// maxRev is what is taken of a rev.
const maxRev = 64

// RepoEntry is a repo as a host lists it.
type RepoEntry struct {
	DID    string
	Rev    string // as is: may be empty, may be no TID
	Active bool   // true if the host does not say (the field is optional)
	Status string // why not active; may be a word that we do not know
}

// ReposPage is one page of a listing.
type ReposPage struct {
	Repos   []RepoEntry
	Cursor  string // of the next page; empty at the end
	Invalid int    // entries that were dropped: no valid DID, or of another shape
}

// ListRepos asks for one page (lexicon: com.atproto.sync.listRepos). An empty cursor
// asks for the first one; the limit is brought into 1 to 1000. An empty page with a
// cursor is legal.
func (c *Client) ListRepos(ctx context.Context, base, cursor string, limit int) (p ReposPage, err error) {
	p.Repos, p.Cursor, p.Invalid, err = listing(ctx, c, base, "listRepos", "repos", cursor, limit, parseRepo)
	return p, err
}

func parseRepo(raw json.RawMessage) (RepoEntry, bool) {
	var e struct {
		DID    string `json:"did"`
		Rev    string `json:"rev"`
		Active *bool  `json:"active"`
		Status string `json:"status"`
	}
	if exactjson.Unmarshal(raw, &e) != nil {
		return RepoEntry{}, false
	}
	if _, err := atproto.ParseDID(e.DID); err != nil {
		return RepoEntry{}, false
	}
	return RepoEntry{
		DID:    e.DID,
		Rev:    atproto.ClipTo(e.Rev, maxRev),
		Active: e.Active == nil || *e.Active,
		Status: atproto.ClipTo(e.Status, maxName),
	}, true
}
