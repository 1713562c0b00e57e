package pds

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
)

// Limits of listings, and of what is taken from an answer.
const (
	maxListLimit = 1000
	maxCursor    = 4096
)

// page is one page of a listing.
type page[E any] struct {
	entries []E
	next    string // cursor of the next page; empty at the end
	stuck   bool   // there is a next page, and its cursor is of no use
	refused []*refusal.Error
}

// refuse keeps what was wrong, as often as a page may have entries.
func (p *page[E]) refuse(fault *refusal.Error) {
	if fault != nil && len(p.refused) < maxListLimit {
		p.refused = append(p.refused, fault)
	}
}

// listing asks a method of com.atproto.sync for one page of the list in a field. parse
// returns what an entry is worth (ok: anything at all) and what is wrong with it, or nil:
// what one entry has wrong does not cost the others. An empty cursor asks for the first
// page; the limit is brought into 1 to 1000.
func listing[E any](ctx context.Context, c *Client, base, method, field, cursor string, limit int,
	parse func(json.RawMessage) (e E, ok bool, fault *refusal.Error),
) (p page[E], err error) {
	params := url.Values{"limit": {strconv.Itoa(max(1, min(limit, maxListLimit)))}}
	if cursor != "" {
		params.Set("cursor", cursor)
	}
	q := call{method: "com.atproto.sync." + method, base: base, params: params}
	q.bounds.MaxBytes = listAnswer
	var answer map[string]json.RawMessage
	if _, err := c.query(ctx, q, &answer); err != nil {
		return p, err
	}
	list, ok := exactjson.Elements(answer[field])
	switch {
	case answer[field] == nil:
		return p, q.invalid("no %s", field)
	case !ok && string(answer[field]) != "null": // an empty list, as some servers encode it
		return p, q.invalid("%s: no list", field)
	}
	if p.next, err = parseCursor(answer["cursor"]); err != nil {
		p.stuck = true
		p.refuse(refusal.New(refusal.AnswerInvalid, "%s: %w", method, err))
	}
	if !ok {
		return p, nil
	}
	for raw := range list {
		e, ok, fault := parse(raw)
		if ok {
			p.entries = append(p.entries, e)
		}
		p.refuse(fault)
	}
	return p, nil
}

// parseCursor reads the cursor of the next page, empty if there is none. Of a number its
// digits are the cursor, as they stand.
func parseCursor(raw json.RawMessage) (next string, err error) {
	switch {
	case len(raw) == 0:
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		next = string(raw)
	default:
		if err := exactjson.Unmarshal(raw, &next); err != nil {
			return "", fmt.Errorf("cursor: %w", err)
		}
	}
	if len(next) > maxCursor {
		return "", fmt.Errorf("cursor of %d bytes", len(next))
	}
	return next, nil
}

// badEntry refuses an entry without a usable member of this name.
func badEntry(method, member string, wrong *exactjson.TypeError) *refusal.Error {
	return refusal.New(refusal.AnswerInvalid, "%s: an entry: %s", method, cmp.Or(wrong.Of(""), wrong.Of(member), "no "+member))
}

// oddEntry says what does not count of an entry that does; nil if all of it does.
func oddEntry(method, name string, wrong *exactjson.TypeError) *refusal.Error {
	if wrong == nil {
		return nil
	}
	return refusal.New(refusal.AnswerInvalid, "%s: %s: %w", method, atproto.Clip(name), wrong)
}
