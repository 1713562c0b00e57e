package pds

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"railyard/internal/refusal"
)

// Kind is what a server is, as far as we need to know.
type Kind string

// The two kinds of upstream.
const (
	Relay Kind = "relay" // passes on the repos of other hosts
	PDS   Kind = "pds"   // speaks for its own repos
)

// UpstreamKind asks a server what it is: one that answers listHosts is a relay,
// else one that answers describeServer is a PDS, else it is taken for a relay
// (whose word about a repo counts for less). A PDS also says its own DID, as a rule
// did:web with its public name (lexicon: com.atproto.server.describeServer); nothing
// vouches for it. A server that cannot be reached, is busy or fails is an error and not
// a kind.
func (c *Client) UpstreamKind(ctx context.Context, base string) (kind Kind, did string, err error) {
	var hosts struct {
		Hosts json.RawMessage `json:"hosts"`
	}
	_, err = c.query(ctx, call{
		method: "com.atproto.sync.listHosts", base: base, params: url.Values{"limit": {"1"}},
	}, &hosts)
	if err == nil && len(hosts.Hosts) > 0 {
		return Relay, "", nil
	}
	if err != nil && !declined(err) {
		return "", "", err
	}
	var server struct {
		DID string `json:"did"`
	}
	_, err = c.query(ctx, call{method: "com.atproto.server.describeServer", base: base}, &server)
	if err == nil && server.DID != "" {
		return PDS, server.DID, nil
	}
	if err != nil && !declined(err) {
		return "", "", err
	}
	return Relay, "", nil
}

// declined reports whether the server is there and does not have the method: it
// refuses with a status below 500, with 501, or answers something else.
func declined(err error) bool {
	if reason, ok := refusal.ReasonOf(err); ok {
		return reason == refusal.AnswerInvalid || reason == refusal.AnswerTooBig
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status == 0 || e.Outcome == RateLimited {
		return false
	}
	return e.Status < http.StatusInternalServerError || e.Outcome == Unsupported
}
