package pds

import (
	"context"
	"encoding/json"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
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
func (c *Client) ListHosts(ctx context.Context, base, cursor string, limit int) (p HostsPage, err error) {
	p.Hosts, p.Cursor, p.Invalid, err = listing(ctx, c, base, "listHosts", "hosts", cursor, limit, parseHost)
	return p, err
}

func parseHost(raw json.RawMessage) (HostEntry, bool) {
	var e struct {
		Hostname string `json:"hostname"`
		Status   string `json:"status"`
	}
	if exactjson.Unmarshal(raw, &e) != nil || e.Hostname == "" || len(e.Hostname) > maxHostname {
		return HostEntry{}, false
	}
	return HostEntry{Hostname: e.Hostname, Status: atproto.ClipTo(e.Status, maxName)}, true
}
