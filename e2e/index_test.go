//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"testing"
	"time"
)

const (
	answerWithin = 10 * time.Second
	maxAnswer    = 1 << 20
	// maxPages ends a walk whose cursor runs in a circle.
	maxPages = 1000
)

// errContract marks an answer that is wrong whatever the index holds. Waiting
// does not mend it.
var errContract = errors.New("against the contract")

var cursorText = regexp.MustCompile(`^[0-9A-Za-z.]+$`)

// index is the public HTTP side of a running railyard.
type index string

// page is an answer of listReposByCollection.
type page struct {
	Repos  []repo  `json:"repos"`
	Cursor *string `json:"cursor,omitempty"`
}

type repo struct {
	DID string `json:"did"`
}

func (x index) page(ctx context.Context, collections []string, limit int, cursor string) (page, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "collection": collections}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var p page
	if err := x.get(ctx, "/xrpc/com.atproto.sync.listReposByCollection?"+q.Encode(), &p); err != nil {
		return p, err
	}
	if err := p.check(limit); err != nil {
		return p, fmt.Errorf("%v limit %d cursor %q: %w", collections, limit, cursor, err)
	}
	return p, nil
}

// check holds a page against what every page promises.
func (p page) check(limit int) error {
	switch {
	case len(p.Repos) > limit:
		return fmt.Errorf("%w: %d repos", errContract, len(p.Repos))
	case len(p.Repos) == 0 && p.Cursor != nil:
		return fmt.Errorf("%w: an empty page with a cursor", errContract)
	case len(p.Repos) > 0 && p.Cursor == nil:
		return fmt.Errorf("%w: a page of %d repos without a cursor", errContract, len(p.Repos))
	case p.Cursor != nil && !cursorText.MatchString(*p.Cursor):
		return fmt.Errorf("%w: cursor %q", errContract, *p.Cursor)
	}
	return nil
}

// walk pages from a cursor to the end for now. It returns the DIDs in the order of
// the answers and the last cursor, which is the given one if nothing came.
func (x index) walk(ctx context.Context, collections []string, limit int, cursor string) ([]string, string, error) {
	var dids []string
	for range maxPages {
		p, err := x.page(ctx, collections, limit, cursor)
		if err != nil {
			return nil, "", err
		}
		if len(p.Repos) == 0 {
			return dids, cursor, nil
		}
		for _, r := range p.Repos {
			dids = append(dids, r.DID)
		}
		cursor = *p.Cursor
	}
	return nil, "", fmt.Errorf("%w: %v has no end after %d pages", errContract, collections, maxPages)
}

// stats is what the test reads of /v1/stats.
type stats struct {
	Repos struct {
		Active int `json:"active"`
	} `json:"repos"`
	Memberships int `json:"memberships"`
	ResyncQueue int `json:"resync_queue"`
	InFlight    int `json:"in_flight"`
}

func (x index) stats(ctx context.Context) (stats, error) {
	var s stats
	err := x.get(ctx, "/v1/stats", &s)
	return s, err
}

func (x index) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(x)+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%w: %s: %w: %s", errContract, path, err, body)
	}
	return nil
}

// dump shows what the service says of itself, for a failed test.
func (x index) dump(t *testing.T) {
	var raw json.RawMessage
	if err := x.get(t.Context(), "/v1/stats", &raw); err != nil {
		raw = json.RawMessage(err.Error())
	}
	t.Logf("%s/v1/stats: %s", x, raw)
}
