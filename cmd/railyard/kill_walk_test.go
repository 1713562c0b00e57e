package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"railyard/internal/backoff"
)

// walk is a client that reads a listing page by page and keeps its cursor through
// every death of the service: it never begins anew.
type walk struct {
	collection string // empty for all repos
	dice       *rand.Rand
	client     *http.Client

	cursor string
	index  string // the first part of the cursor
	at     int64  // the second: the birth number that it has come to
	seen   map[string][]sight
	fresh  []string // whom it saw in the present run
	ends   int      // empty pages, without those that follow another one
	atEnd  bool
}

// sight: a page had a repo, whose row was born after and not later than these.
type sight struct{ after, upto int64 }

func newWalk(collection string, dice *rand.Rand) *walk {
	// Each run is another server under the same address, perhaps.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return &walk{collection: collection, dice: dice, client: client, seen: make(map[string][]sight)}
}

// errCut is a request that the death of the service has cut off.
var errCut = errors.New("no whole answer")

// run reads pages until the service is gone. Its error is what the service said
// wrongly.
func (w *walk) run(ctx context.Context, base string) error {
	for {
		err := w.page(ctx, base)
		switch {
		case errors.Is(err, errCut):
			return nil
		case err != nil:
			return fmt.Errorf("walk of %q from %q: %w", w.collection, w.cursor, err)
		case w.atEnd:
			_ = backoff.Sleep(ctx, 5*time.Millisecond)
		}
	}
}

func (w *walk) page(ctx context.Context, base string) error {
	query := url.Values{"limit": {strconv.Itoa(1 + w.dice.IntN(8))}}
	if w.collection != "" {
		query.Set("collection", w.collection)
	}
	if w.cursor != "" {
		query.Set("cursor", w.cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/xrpc/com.atproto.sync.listReposByCollection?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return errCut
	}
	defer func() { _ = resp.Body.Close() }()
	var page struct {
		Repos []struct {
			DID string `json:"did"`
		} `json:"repos"`
		Cursor string `json:"cursor"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return errCut
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	var dids []string
	for _, r := range page.Repos {
		dids = append(dids, r.DID)
	}
	return w.take(dids, page.Cursor)
}

// take notes what a page had.
func (w *walk) take(dids []string, cursor string) error {
	if len(dids) == 0 {
		if cursor != "" {
			return fmt.Errorf("an empty page with the cursor %q", cursor)
		}
		if !w.atEnd {
			w.ends++
		}
		w.atEnd = true
		return nil
	}
	index, number, _ := strings.Cut(cursor, ".")
	upto, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("the cursor %q", cursor)
	case w.index != "" && w.index != index:
		return fmt.Errorf("the cursor %q is of another index", cursor)
	case upto <= w.at:
		return fmt.Errorf("the cursor %q does not go on", cursor)
	}
	for _, did := range dids {
		w.seen[did] = append(w.seen[did], sight{w.at, upto})
		w.fresh = append(w.fresh, did)
	}
	w.cursor, w.index, w.at, w.atEnd = cursor, index, upto, false
	return nil
}

// hold compares what the walk has seen with the rows after a death, and with those
// of the death before.
//
// A row that the walk has come past was in the page that covers its number, once.
// And a repo whose row stayed through the whole run was in no other page of it.
func (w *walk) hold(before, now map[row]bool) error {
	var errs []error
	lasting := make(map[string]int64)
	for r := range now {
		if r.nsid != w.collection {
			continue
		}
		if n := w.times(r); r.seq <= w.at && n != 1 {
			errs = append(errs, fmt.Errorf("%s, born under %d, came %d times", r.did, r.seq, n))
		}
		if before[r] {
			lasting[r.did] = r.seq
		}
	}
	for _, did := range w.fresh {
		seq, ok := lasting[did]
		if last := w.seen[did][len(w.seen[did])-1]; ok && (seq <= last.after || seq > last.upto) {
			errs = append(errs, fmt.Errorf("%s, born under %d and there all the time, came between %d and %d", did, seq, last.after, last.upto))
		}
	}
	w.fresh = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("walk of %q at %q: %w", w.collection, w.cursor, err)
	}
	return nil
}

// times counts the sights of one row.
func (w *walk) times(r row) (n int) {
	for _, s := range w.seen[r.did] {
		if s.after < r.seq && r.seq <= s.upto {
			n++
		}
	}
	return n
}
