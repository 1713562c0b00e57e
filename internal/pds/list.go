package pds

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"railyard/internal/exactjson"
)

// Limits of listings, and of what is taken from an answer.
const (
	maxListLimit = 1000
	maxCursor    = 4096
)

// listing asks a method of com.atproto.sync for one page of the list in a field, and
// returns what parse accepts of it. dropped counts the rest. An empty cursor asks for the
// first page; the limit is brought into 1 to 1000. next is empty at the end.
func listing[E any](ctx context.Context, c *Client, base, method, field, cursor string, limit int, parse func(json.RawMessage) (E, bool),
) (entries []E, next string, dropped int, err error) {
	params := url.Values{"limit": {strconv.Itoa(max(1, min(limit, maxListLimit)))}}
	if cursor != "" {
		params.Set("cursor", cursor)
	}
	q := call{method: "com.atproto.sync." + method, base: base, params: params}
	q.bounds.MaxBytes = listAnswer
	var answer map[string]json.RawMessage
	if _, err := c.query(ctx, q, &answer); err != nil {
		return nil, "", 0, err
	}
	// An empty list comes as null from some servers; its absence is no list.
	var list []json.RawMessage
	if err := exactjson.Unmarshal(answer[field], &list); err != nil {
		return nil, "", 0, q.invalid("%s: %w", field, err)
	}
	if raw := answer["cursor"]; raw != nil {
		if err := exactjson.Unmarshal(raw, &next); err != nil {
			return nil, "", 0, q.invalid("cursor: %w", err)
		}
	}
	if len(next) > maxCursor {
		return nil, "", 0, q.invalid("cursor of %d bytes", len(next))
	}
	entries = make([]E, 0, len(list))
	for _, raw := range list {
		if e, ok := parse(raw); ok {
			entries = append(entries, e)
		} else {
			dropped++
		}
	}
	return entries, next, dropped, nil
}
