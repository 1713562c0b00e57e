package pds

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"railyard/internal/outbound"
)

// recordAnswer is more than a record of the most bytes (1,000,000) with the
// tree nodes on its path; what is asked for here rarely has ten thousand.
const recordAnswer = 3 << 19

// GetRecord asks for the CAR that proves a record to be there, or not to be there
// (lexicon: com.atproto.sync.getRecord). The answer is bounded in bytes, time and
// pace; that it is a CAR, and what it proves, is for the caller to find out.
//
// A server that refuses absent keys instead of proving their absence has the
// Outcome NoRecord.
func (c *Client) GetRecord(ctx context.Context, base, did, collection, rkey string) ([]byte, error) {
	q := call{
		method: "com.atproto.sync.getRecord",
		base:   base,
		params: url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}},
		accept: "application/vnd.ipld.car",
		bounds: outbound.Request{MaxBytes: recordAnswer, Timeout: defaultTimeout},
	}
	resp, err := c.open(ctx, q)
	if err != nil {
		return nil, noRecord(err)
	}
	body, err := resp.ReadAll()
	if err != nil {
		return nil, q.failed(ctx, err)
	}
	return body, nil
}

// noRecord finds out whether a server has refused because of the key. Bridgy Fed
// does so without a name of its own; the reference PDS says InvalidRequest too,
// of repos that it cannot find, which is no word about a key.
func noRecord(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Name != "InvalidRequest" || e.Status != http.StatusBadRequest {
		return err
	}
	if strings.HasPrefix(e.Message, "Could not find repo") || strings.HasPrefix(e.Message, "Could not resolve") {
		return err
	}
	e.Outcome = NoRecord
	return err
}
