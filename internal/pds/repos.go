package pds

import (
	"context"
	"encoding/json"
	"errors"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
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
	Repos  []RepoEntry
	Cursor string // of the next page; empty at the end
	// Stuck: there is a next page, and its cursor is of no use.
	Stuck bool
	// Refused says, at most 1000 times, what does not count: entries without a valid DID
	// (BadDID or AnswerInvalid), and members of a wrong type of those that have one.
	Refused []*refusal.Error
}

// ListRepos asks for one page (lexicon: com.atproto.sync.listRepos). An empty cursor
// asks for the first one; the limit is brought into 1 to 1000. An empty page with a
// cursor is legal.
func (c *Client) ListRepos(ctx context.Context, base, cursor string, limit int) (ReposPage, error) {
	list, err := listing(ctx, c, base, "listRepos", "repos", cursor, limit, parseRepo)
	return ReposPage{list.entries, list.next, list.stuck, list.refused}, err
}

// parseRepo reads an entry. Nothing but the DID is at stake: a listing is a hint, and
// whoever follows it asks the host.
func parseRepo(raw json.RawMessage) (entry RepoEntry, ok bool, fault *refusal.Error) {
	var e struct {
		DID    string `json:"did"`
		Rev    string `json:"rev"`
		Active *bool  `json:"active"`
		Status string `json:"status"`
	}
	wrong, _ := errors.AsType[*exactjson.TypeError](exactjson.Unmarshal(raw, &e))
	if e.DID == "" {
		return entry, false, badEntry("listRepos", "did", wrong)
	}
	if _, err := atproto.ParseDID(e.DID); err != nil {
		return entry, false, refusal.New(refusal.BadDID, "listRepos: %w", err)
	}
	return RepoEntry{
		DID:    e.DID,
		Rev:    atproto.ClipTo(e.Rev, maxRev),
		Active: e.Active == nil || *e.Active,
		Status: atproto.ClipTo(e.Status, maxName),
	}, true, oddEntry("listRepos", e.DID, wrong)
}
