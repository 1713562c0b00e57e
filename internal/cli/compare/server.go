package compare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/listing"
	"railyard/internal/outbound"
)

const (
	// maxAnswer bounds one answer: a page of 10,000 DIDs of the usual length is 0.5 MB.
	maxAnswer     = 8 << 20
	answerTimeout = time.Minute
	minRate       = 1 << 10 // bytes per second
	maxCursor     = 4096

	// busyTries is how often a server is asked that is busy, and busyWait how long it is
	// left alone at most.
	busyTries = 5
	busyWait  = 30 * time.Second

	// ownPage and foreignPage are the lengths of pages: other servers are asked as
	// their usual clients ask them.
	ownPage     = 10_000
	foreignPage = 1000

	listingPath = "/xrpc/com.atproto.sync.listReposByCollection"
)

// server is the index that is compared with the file.
type server struct {
	out   *outbound.Client
	base  string
	limit int // length of a page
}

// statusError is an answer that is none.
type statusError struct {
	path    string
	status  int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", e.path, e.status, atproto.Clip(e.message))
}

// get asks for a path and reads the JSON of its answer.
func (s *server) get(ctx context.Context, path string, params url.Values, into any) error {
	for try := 1; ; try++ {
		wait, err := s.ask(ctx, path, params, into)
		busy, isStatus := errors.AsType[*statusError](err)
		if !isStatus || busy.status != http.StatusTooManyRequests && busy.status != http.StatusServiceUnavailable || try == busyTries {
			return err
		}
		if err := sleep(ctx, max(time.Second, min(wait, busyWait))); err != nil {
			return err
		}
	}
}

func (s *server) ask(ctx context.Context, path string, params url.Values, into any) (wait time.Duration, err error) {
	resp, err := s.out.Get(ctx, outbound.Request{
		URL: s.base + path + "?" + params.Encode(), Accept: "application/json",
		MaxBytes: maxAnswer, Timeout: answerTimeout, MinRate: minRate,
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	body, err := resp.ReadAll()
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", path, err)
	case resp.Status != http.StatusOK:
		return resp.RetryAfter(time.Now()), &statusError{path, resp.Status, string(body[:min(len(body), 200)])}
	}
	if err := exactjson.Unmarshal(body, into); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return 0, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sumAnswer is a sum as a server says it.
type sumAnswer struct {
	Collection string `json:"collection"`
	Members    int64  `json:"members"`
	Digest     string `json:"digest"`
	Buckets    struct {
		Members []int64  `json:"members"`
		Digests []string `json:"digests"`
	} `json:"buckets"`
}

// sum is how many members a set has, and its digest.
type sum struct {
	members int64
	digest  listing.Digest
}

func parseSum(members int64, digest string) (sum, error) {
	n, err := strconv.ParseUint(digest, 16, listing.DigestBits)
	if err != nil || members < 0 {
		return sum{}, fmt.Errorf("digest %q of %d members", atproto.Clip(digest), members)
	}
	return sum{members, listing.Digest(n)}, nil
}

func ofCollection(nsid string) url.Values {
	if nsid == "" {
		return url.Values{}
	}
	return url.Values{"collection": {nsid}}
}

// recognise reports whether the server is another railyard.
func (s *server) recognise(ctx context.Context) (bool, error) {
	_, err := s.sum(ctx, "")
	if e, ok := errors.AsType[*statusError](err); ok {
		switch e.status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return false, nil
		}
	}
	return err == nil, err
}

// sum asks for the sum of a collection, or of all repos.
func (s *server) sum(ctx context.Context, nsid string) (sum, error) {
	var a sumAnswer
	if err := s.get(ctx, "/v1/digest", ofCollection(nsid), &a); err != nil {
		return sum{}, err
	}
	return parseSum(a.Members, a.Digest)
}

// buckets asks for the sums of the 2^bits buckets of a collection.
func (s *server) buckets(ctx context.Context, nsid string, bits int) ([]sum, error) {
	params := ofCollection(nsid)
	params.Set("bits", strconv.Itoa(bits))
	var a sumAnswer
	if err := s.get(ctx, "/v1/digest", params, &a); err != nil {
		return nil, err
	}
	if n, m := len(a.Buckets.Members), len(a.Buckets.Digests); n != 1<<bits || m != n {
		return nil, fmt.Errorf("/v1/digest: %d counts and %d digests of %d buckets", n, m, 1<<bits)
	}
	sums := make([]sum, 1<<bits)
	for i := range sums {
		var err error
		if sums[i], err = parseSum(a.Buckets.Members[i], a.Buckets.Digests[i]); err != nil {
			return nil, fmt.Errorf("/v1/digest: bucket %d: %w", i, err)
		}
	}
	return sums, nil
}

// sums asks for the sums of all collections. A server cannot go on for ever: the names
// ascend, and there are no more than maxNames of them.
func (s *server) sums(ctx context.Context, each func(nsid string, is sum)) error {
	last := ""
	for n := 0; ; {
		var page struct {
			Collections []sumAnswer `json:"collections"`
			Cursor      string      `json:"cursor"`
		}
		params := url.Values{"limit": {strconv.Itoa(s.limit)}}
		if last != "" {
			params.Set("cursor", last)
		}
		if err := s.get(ctx, "/v1/digest/collections", params, &page); err != nil {
			return err
		}
		for _, c := range page.Collections {
			is, err := parseSum(c.Members, c.Digest)
			switch n++; {
			case err != nil:
				return fmt.Errorf("/v1/digest/collections: %w", err)
			case c.Collection <= last || !atproto.IsNSID(c.Collection):
				return fmt.Errorf("/v1/digest/collections: %q behind %q", atproto.Clip(c.Collection), last)
			case n > maxNames:
				return fmt.Errorf("/v1/digest/collections: more than %d collections", maxNames)
			}
			last = c.Collection
			each(c.Collection, is)
		}
		if page.Cursor == "" {
			return nil
		}
		if page.Cursor != last || len(page.Collections) == 0 {
			return fmt.Errorf("/v1/digest/collections: cursor %q behind %q", atproto.Clip(page.Cursor), last)
		}
	}
}

// walk calls each with the DIDs of a listing, in whatever order and however often they
// come. It ends where a page has no cursor, or is empty and has the one that it was asked
// for with. A page counts as one DID at least, and past most of them the listing is said
// to have no end.
func (s *server) walk(ctx context.Context, path string, params url.Values, most int, each func(did string) error) error {
	params.Set("limit", strconv.Itoa(s.limit))
	for seen, cursor := 0, ""; ; {
		if cursor != "" {
			params.Set("cursor", cursor)
		}
		var page struct {
			Repos []struct {
				DID string `json:"did"`
			} `json:"repos"`
			Cursor string `json:"cursor"`
		}
		if err := s.get(ctx, path, params, &page); err != nil {
			return err
		}
		for _, r := range page.Repos {
			if _, err := atproto.ParseDID(r.DID); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := each(r.DID); err != nil {
				return err
			}
		}
		switch seen += max(1, len(page.Repos)); {
		case page.Cursor == "", page.Cursor == cursor && len(page.Repos) == 0:
			return nil
		case page.Cursor == cursor:
			return fmt.Errorf("%s: cursor %q a second time", path, atproto.Clip(cursor))
		case len(page.Cursor) > maxCursor:
			return fmt.Errorf("%s: cursor of %d bytes", path, len(page.Cursor))
		case seen > most:
			return fmt.Errorf("%s: no end after %d repos", path, seen)
		}
		cursor = page.Cursor
	}
}
