package pds

import (
	"context"
	"encoding/json"
	"errors"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
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
	Hosts  []HostEntry
	Cursor string // of the next page; empty at the end
	// Stuck: there is a next page, and its cursor is of no use.
	Stuck bool
	// Refused says, at most 1000 times, what does not count (AnswerInvalid): entries without
	// a name, and members of a wrong type of those that have one.
	Refused []*refusal.Error
}

// ListHosts asks a relay for one page of the hosts that it follows (lexicon:
// com.atproto.sync.listHosts). An empty cursor asks for the first one; the limit is
// brought into 1 to 1000.
func (c *Client) ListHosts(ctx context.Context, base, cursor string, limit int) (HostsPage, error) {
	list, err := listing(ctx, c, base, "listHosts", "hosts", cursor, limit, parseHost)
	return HostsPage{list.entries, list.next, list.stuck, list.refused}, err
}

func parseHost(raw json.RawMessage) (entry HostEntry, ok bool, fault *refusal.Error) {
	var e struct {
		Hostname string `json:"hostname"`
		Status   string `json:"status"`
	}
	wrong, _ := errors.AsType[*exactjson.TypeError](exactjson.Unmarshal(raw, &e))
	switch {
	case e.Hostname == "":
		return entry, false, badEntry("listHosts", "hostname", wrong)
	case len(e.Hostname) > maxHostname:
		return entry, false, refusal.New(refusal.AnswerInvalid, "listHosts: a hostname of %d bytes", len(e.Hostname))
	}
	return HostEntry{Hostname: e.Hostname, Status: atproto.ClipTo(e.Status, maxName)}, true, oddEntry("listHosts", e.Hostname, wrong)
}
