package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/exactjson"
	"railyard/internal/store"
)

// errDifferent ends demo --check with exit code 1; everything has been said.
var errDifferent = errors.New("the index differs from the truth")

// demoStats is what the demo reads of /v1/stats.
type demoStats struct {
	Repos       map[string]int64 `json:"repos"`
	Memberships int64            `json:"memberships"`
	Collections int64            `json:"collections"`
	ResyncQueue int64            `json:"resync_queue"`
	InFlight    int64            `json:"in_flight"`
	Upstreams   []struct {
		Connected bool   `json:"connected"`
		Cursor    *int64 `json:"cursor"`
	} `json:"upstreams"`
}

// connected reports whether every upstream is followed.
func (st *demoStats) connected() bool {
	for _, u := range st.Upstreams {
		if !u.Connected {
			return false
		}
	}
	return len(st.Upstreams) > 0
}

// settled: every upstream is at the network's last event and nothing waits. One
// that has sent nothing since it was connected, at the event from, has no cursor.
func (st *demoStats) settled(from, last int64) bool {
	for _, u := range st.Upstreams {
		if u.Cursor == nil && last != from || u.Cursor != nil && *u.Cursor != last {
			return false
		}
	}
	return st.connected() && st.ResyncQueue == 0 && st.InFlight == 0
}

func (d *theDemo) stats(ctx context.Context) (*demoStats, error) {
	st := &demoStats{}
	return st, d.get(ctx, "/v1/stats", st)
}

func (d *theDemo) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := d.cfg.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("%s: status %d: %s", path, resp.StatusCode, body)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return exactjson.Unmarshal(body, into)
}

// compare waits until the index has settled and compares its rows, its pages and
// its invariants with the ledger of the network.
func (d *theDemo) compare(ctx context.Context) error {
	if err := d.waitSettled(ctx); err != nil {
		return err
	}
	if d.cfg.beforeCompare != nil {
		if err := d.cfg.beforeCompare(d.db); err != nil {
			return err
		}
	}
	truth := truthOf(d.net.Truth())
	rows, err := d.rows(ctx)
	if err != nil {
		return err
	}
	pages, err := d.pages(ctx, truth, rows)
	if err != nil {
		return err
	}
	diffs := differences(truth, rows, pages)
	return d.report(ctx, diffs)
}

func (d *theDemo) waitSettled(ctx context.Context) error {
	deadline, last := time.Now().Add(d.cfg.settle), d.net.LastSeq("relay")
	for {
		st, err := d.stats(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && st.settled(d.from, last) {
			return nil
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = fmt.Errorf("resync_queue %d, in_flight %d, the network's last event %d", st.ResyncQueue, st.InFlight, last)
			}
			_, _ = fmt.Fprintf(d.stdout, "check: not settled: %v\n", err)
			return errDifferent
		}
		_ = backoff.Sleep(ctx, 50*time.Millisecond)
	}
}

// pairs are repos by collection; "" holds the repos of the listing without a
// collection.
type pairs map[string]map[string]bool

func (p pairs) add(nsid, did string) {
	if p[nsid] == nil {
		p[nsid] = make(map[string]bool)
	}
	p[nsid][did] = true
}

func truthOf(repos map[string][]string) pairs {
	p := make(pairs)
	for did, nsids := range repos {
		p.add("", did)
		for _, nsid := range nsids {
			p.add(nsid, did)
		}
	}
	return p
}

// rows reads what the file lists, under every collection that it knows.
func (d *theDemo) rows(ctx context.Context) (pairs, error) {
	p := make(pairs)
	err := d.service.Store().View(ctx, func(rx *store.Rx) error {
		return rx.VisibleRows(p.add)
	})
	return p, err
}

// pages reads what is served, under every collection of the truth and the file.
func (d *theDemo) pages(ctx context.Context, known ...pairs) (pairs, error) {
	p := make(pairs)
	nsids := map[string]bool{"": true}
	for _, k := range known {
		for nsid := range k {
			nsids[nsid] = true
		}
	}
	for nsid := range nsids {
		if err := d.readPages(ctx, nsid, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (d *theDemo) readPages(ctx context.Context, nsid string, p pairs) error {
	query := url.Values{"limit": {"50"}}
	if nsid != "" {
		query.Set("collection", nsid)
	}
	for {
		var page struct {
			Repos []struct {
				DID string `json:"did"`
			} `json:"repos"`
			Cursor string `json:"cursor"`
		}
		if err := d.get(ctx, "/xrpc/com.atproto.sync.listReposByCollection?"+query.Encode(), &page); err != nil {
			return err
		}
		if (len(page.Repos) == 0) != (page.Cursor == "") {
			return fmt.Errorf("a page of %d repos with cursor %q", len(page.Repos), page.Cursor)
		}
		if len(page.Repos) == 0 {
			return nil
		}
		for _, r := range page.Repos {
			p.add(nsid, r.DID)
		}
		query.Set("cursor", page.Cursor)
	}
}

// mismatch is one pair in which the index is wrong, by its rows or its pages.
type mismatch struct {
	did, nsid string
	missing   bool
}

func differences(truth pairs, found ...pairs) []mismatch {
	diffs := make(map[mismatch]bool)
	for _, f := range found {
		for nsid, dids := range truth {
			for did := range dids {
				if !f[nsid][did] {
					diffs[mismatch{did, nsid, true}] = true
				}
			}
		}
		for nsid, dids := range f {
			for did := range dids {
				if !truth[nsid][did] {
					diffs[mismatch{did, nsid, false}] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(diffs), func(a, b mismatch) int {
		return strings.Compare(a.did+" "+a.nsid, b.did+" "+b.nsid)
	})
}

// report writes the differences and the contracted last line.
func (d *theDemo) report(ctx context.Context, diffs []mismatch) error {
	const shown = 20
	_, violations, err := d.service.Store().Check(ctx)
	if err != nil {
		return err
	}
	missing := 0
	for i, diff := range diffs {
		word := "extra"
		if diff.missing {
			word = "missing"
			missing++
		}
		nsid := diff.nsid
		if nsid == "" {
			nsid = "-" // the listing without a collection
		}
		if i < shown {
			_, _ = fmt.Fprintf(d.stdout, "difference: %s %s %s\n", diff.did, nsid, word)
		}
	}
	for _, v := range violations {
		_, _ = fmt.Fprintf(d.stdout, "violation: %s: %s\n", v.Invariant, strings.Join(v.Rows, "; "))
	}
	l, m := d.net.Ledger(), d.service.Metrics()
	_, err = fmt.Fprintf(d.stdout, "check: accounts=%d active=%d collections=%d memberships=%d commits=%d births=%d deaths=%d "+
		"resyncs=%.0f refused=%.0f missing=%d extra=%d differences=%d\n",
		l.Accounts, l.Active, l.Collections, l.Memberships, l.Commits, l.Births, l.Deaths,
		m.Sum("resyncs_total", "outcome", "synchronized"), m.Sum("refusals_total", "", ""), missing, len(diffs)-missing, len(diffs))
	if err == nil && len(diffs)+len(violations) > 0 {
		return errDifferent
	}
	return err
}
