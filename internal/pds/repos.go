package pds

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"railyard/internal/atproto"
)

// Limits of listRepos (lexicon: com.atproto.sync.listRepos) and of what is taken
// from an answer.
const (
	maxListLimit = 1000
	maxCursor    = 4096
	maxRev       = 64
)

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

// ListRepos asks for one page. An empty cursor asks for the first one; the limit
// is brought into 1 to 1000. An empty page with a cursor is legal.
func (c *Client) ListRepos(ctx context.Context, base, cursor string, limit int) (ReposPage, error) {
	params := url.Values{"limit": {strconv.Itoa(max(1, min(limit, maxListLimit)))}}
	if cursor != "" {
		params.Set("cursor", cursor)
	}
	q := call{method: "com.atproto.sync.listRepos", base: base, params: params}
	q.bounds.MaxBytes = listAnswer
	var answer struct {
		Cursor string          `json:"cursor"`
		Repos  json.RawMessage `json:"repos"`
	}
	if err := c.query(ctx, q, &answer); err != nil {
		return ReposPage{}, err
	}
	// An empty list comes as null from some servers; its absence is no list.
	var entries []json.RawMessage
	if err := json.Unmarshal(answer.Repos, &entries); err != nil {
		return ReposPage{}, q.invalid("repos: %w", err)
	}
	if len(answer.Cursor) > maxCursor {
		return ReposPage{}, q.invalid("cursor of %d bytes", len(answer.Cursor))
	}
	page := ReposPage{Cursor: answer.Cursor, Repos: make([]RepoEntry, 0, len(entries))}
	for _, raw := range entries {
		if entry, ok := parseEntry(raw); ok {
			page.Repos = append(page.Repos, entry)
		} else {
			page.Invalid++
		}
	}
	return page, nil
}

func parseEntry(raw json.RawMessage) (RepoEntry, bool) {
	var e struct {
		DID    string `json:"did"`
		Rev    string `json:"rev"`
		Active *bool  `json:"active"`
		Status string `json:"status"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return RepoEntry{}, false
	}
	if _, err := atproto.ParseDID(e.DID); err != nil {
		return RepoEntry{}, false
	}
	return RepoEntry{
		DID:    e.DID,
		Rev:    bounded(e.Rev, maxRev),
		Active: e.Active == nil || *e.Active,
		Status: bounded(e.Status, maxName),
	}, true
}
