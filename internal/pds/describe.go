package pds

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
)

// maxDescribed bounds the collections of one answer; the largest repos seen have
// about a thousand.
const maxDescribed = 20_000

// RepoDescription is what a host says a repo holds. It names no rev.
type RepoDescription struct {
	Collections []string // valid NSIDs, each once, sorted by their bytes
	Invalid     int      // entries that were dropped: no valid NSID
}

// DescribeRepo asks a host for the collections of a repo (lexicon:
// com.atproto.repo.describeRepo). The answer has no pages: more than 20,000
// entries are refused as AnswerTooBig.
func (c *Client) DescribeRepo(ctx context.Context, base, did string) (RepoDescription, error) {
	q := call{method: "com.atproto.repo.describeRepo", base: base, params: url.Values{"repo": {did}}}
	q.bounds.MaxBytes, q.bounds.Timeout = listAnswer, c.DescribeTimeout
	var answer struct {
		DID         string          `json:"did"`
		Collections json.RawMessage `json:"collections"`
	}
	if _, err := c.query(ctx, q, &answer); err != nil {
		return RepoDescription{}, err
	}
	if answer.DID != did {
		return RepoDescription{}, q.wrongDID(did, answer.DID)
	}
	return q.readCollections(answer.Collections)
}

// readCollections reads the list entry by entry: one that is too long is not
// decoded as a whole.
func (q call) readCollections(raw json.RawMessage) (RepoDescription, error) {
	var d RepoDescription
	if bytes.Equal(raw, []byte("null")) {
		return d, nil // an empty list, as some servers encode it
	}
	entries, ok := exactjson.Elements(raw)
	if !ok {
		return d, q.invalid("collections are no list")
	}
	n := 0
	for entry := range entries {
		if n++; n > maxDescribed {
			return RepoDescription{}, refusal.New(refusal.AnswerTooBig, "%s at %s: more than %d collections", q.method, q.host(), maxDescribed)
		}
		var nsid string
		if exactjson.Unmarshal(entry, &nsid) != nil {
			d.Invalid++
		} else if _, err := atproto.ParseNSID(nsid); err != nil {
			d.Invalid++
		} else {
			d.Collections = append(d.Collections, nsid)
		}
	}
	slices.Sort(d.Collections)
	d.Collections = slices.Compact(d.Collections)
	return d, nil
}
