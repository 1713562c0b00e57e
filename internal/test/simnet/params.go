package simnet

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"railyard/internal/atproto"
)

// params are the parameters of one XRPC query, checked in the words of the
// host's software.
type params struct {
	method  string
	values  url.Values
	bad     func(method, detail string) error
	matches matches        // the faults to act on the answer
	archive *archiveWriter // of getRepo
}

// pdsBad words a refusal as the reference PDS does.
func pdsBad(method, detail string) error {
	return &xrpcError{http.StatusBadRequest, "InvalidRequest", "Invalid " + method + " params: " + detail}
}

// relayBad words a refusal as indigo's relay does.
func relayBad(_, detail string) error {
	return &xrpcError{http.StatusBadRequest, "BadRequest", detail}
}

// required is a parameter that must be there; an empty one counts as missing.
func (p params) required(key string) (string, error) {
	text := p.values.Get(key)
	if text == "" {
		return "", p.bad(p.method, fmt.Sprintf("Missing required key %q", key))
	}
	return text, nil
}

func (p params) did() (string, error) {
	text, err := p.required("did")
	if err != nil {
		return "", err
	}
	if _, err := syntax.ParseDID(text); err != nil {
		return "", p.bad(p.method, fmt.Sprintf("Invalid DID (got %q)", text))
	}
	return text, nil
}

func (p params) path() (string, error) {
	collection, err := p.required("collection")
	if err != nil {
		return "", err
	}
	rkey, err := p.required("rkey")
	if err != nil {
		return "", err
	}
	if _, err := syntax.ParseNSID(collection); err != nil {
		return "", p.bad(p.method, fmt.Sprintf("Invalid NSID (got %q)", collection))
	}
	if _, err := syntax.ParseRecordKey(rkey); err != nil {
		return "", p.bad(p.method, fmt.Sprintf("Invalid record key (got %q)", rkey))
	}
	return collection + "/" + rkey, nil
}

// since is a rev, 0 where it is absent.
func (p params) since() (atproto.TID, error) {
	text := p.values.Get("since")
	if text == "" {
		return 0, nil
	}
	rev, err := atproto.ParseTID(text)
	if err != nil {
		return 0, p.bad(p.method, fmt.Sprintf("Invalid TID string (got %q)", text))
	}
	return rev, nil
}

// limit is the size of a page, 1 to 1000.
func (p params) limit(standard int) (int, error) {
	text := p.values.Get("limit")
	if text == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, p.bad(p.method, fmt.Sprintf("Expected integer value type (got %q)", text))
	case n < 1:
		return 0, p.bad(p.method, fmt.Sprintf("integer too small (minimum 1, got %d)", n))
	case n > 1000:
		return 0, p.bad(p.method, fmt.Sprintf("integer too big (maximum 1000, got %d)", n))
	}
	return n, nil
}
