package pds

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
)

// maxHostname is what is taken of a host's name; it is checked by whoever uses it.
const maxHostname = 512

// HostEntry is a host as a relay lists it.
type HostEntry struct {
	Hostname string // as is
	Status   string // active, idle, offline, throttled, banned; may be empty or another word
}

// HostsPage is one page of a relay's hosts.
type HostsPage struct {
	Hosts   []HostEntry
	Cursor  string // of the next page; empty at the end
	Invalid int    // entries that were dropped: of another shape, or without a name
}

// ListHosts asks a relay for one page of the hosts that it follows (lexicon:
// com.atproto.sync.listHosts). An empty cursor asks for the first one; the limit is
// brought into 1 to 1000.
func (c *Client) ListHosts(ctx context.Context, base, cursor string, limit int) (HostsPage, error) {
	params := url.Values{"limit": {strconv.Itoa(max(1, min(limit, maxListLimit)))}}
	if cursor != "" {
		params.Set("cursor", cursor)
	}
	q := call{method: "com.atproto.sync.listHosts", base: base, params: params}
	q.bounds.MaxBytes = listAnswer
	var answer struct {
		Cursor string          `json:"cursor"`
		Hosts  json.RawMessage `json:"hosts"`
	}
	if err := c.query(ctx, q, &answer); err != nil {
		return HostsPage{}, err
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(answer.Hosts, &entries); err != nil {
		return HostsPage{}, q.invalid("hosts: %w", err)
	}
	if len(answer.Cursor) > maxCursor {
		return HostsPage{}, q.invalid("cursor of %d bytes", len(answer.Cursor))
	}
	page := HostsPage{Cursor: answer.Cursor, Hosts: make([]HostEntry, 0, len(entries))}
	for _, raw := range entries {
		var e struct {
			Hostname string `json:"hostname"`
			Status   string `json:"status"`
		}
		if json.Unmarshal(raw, &e) != nil || e.Hostname == "" || len(e.Hostname) > maxHostname {
			page.Invalid++
			continue
		}
		page.Hosts = append(page.Hosts, HostEntry{Hostname: e.Hostname, Status: bounded(e.Status, maxName)})
	}
	return page, nil
}
