package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

const (
	// Once the faults are over, the file lives through so many rounds, each some hours
	// after the one before. Back-off, second attempts and the proof of claims take that
	// time, which cannot be waited for.
	roundsLeast, roundsMost = 3, 12
	roundTime               = 12 * time.Hour
	// A round ends when nothing has changed for so long: the rest waits for the next.
	idlePause    = 300 * time.Millisecond
	waitingPause = 1500 * time.Millisecond
	roundLimit   = 30 * time.Second
	// lastEvents are made in the first round: a follower whose upstream has begun a new
	// sequence finds out by the next event.
	lastEvents = 50
)

// killStats is what is read of /v1/stats here.
type killStats struct {
	ResyncQueue int64 `json:"resync_queue"`
	ResyncLater int64 `json:"resync_later"`
	InFlight    int64 `json:"in_flight"`
	Memberships int64 `json:"memberships"`
	Upstreams   []struct {
		URL       string `json:"url"`
		Connected bool   `json:"connected"`
		Cursor    *int64 `json:"cursor"`
	} `json:"upstreams"`
}

func (st *killStats) String() string {
	text := fmt.Sprintf("resync_queue %d, resync_later %d, in_flight %d, memberships %d", st.ResyncQueue, st.ResyncLater, st.InFlight, st.Memberships)
	for _, u := range st.Upstreams {
		if u.Cursor != nil {
			text += fmt.Sprintf(", %s at %d", u.URL, *u.Cursor)
		}
	}
	return text
}

// connected reports whether every upstream is followed.
func (st *killStats) connected() bool {
	for _, u := range st.Upstreams {
		if !u.Connected {
			return false
		}
	}
	return len(st.Upstreams) > 0
}

// settled: nothing waits, and every upstream is at its last event.
func (k *killed) settled(st *killStats) bool {
	for _, u := range st.Upstreams {
		if u.Cursor == nil || *u.Cursor != k.net.LastSeq(k.follow[u.URL]) {
			return false
		}
	}
	return st.connected() && st.ResyncQueue == 0 && st.InFlight == 0
}

// asDemo returns what the demo's check needs to read from a service.
func (k *killed) asDemo(base string) *theDemo {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return &theDemo{cfg: &demoConfig{client: client}, base: base, net: k.net}
}

// untilConnected waits until every upstream is followed; false means that ctx has
// ended before.
func (k *killed) untilConnected(ctx context.Context, base string) bool {
	d := k.asDemo(base)
	for ; ctx.Err() == nil; _ = backoff.Sleep(ctx, 2*time.Millisecond) {
		var st killStats
		if err := d.get(ctx, "/v1/stats", &st); err == nil && st.connected() {
			return true
		}
	}
	return false
}

// settle lets the index become idle, without lies, and compares it with the truth.
func (k *killed) settle() {
	for round := 1; !k.t.Failed(); round++ {
		if round > roundsMost {
			k.fail("not settled after %d rounds of %s", roundsMost, roundTime)
			return
		}
		if k.round(round) {
			return
		}
	}
}

// round runs a process, hours after the one before, until it is settled or stands
// still. It reports whether that was the last round: then the rows were compared.
func (k *killed) round(number int) (last bool) {
	ctx, cancel := context.WithTimeout(k.t.Context(), roundLimit)
	defer cancel()
	k.net.SetDirectory(simnet.Directory{Lag: -roundTime}) // the hours pass there, too
	err := k.file.pass(ctx, roundTime)
	if !k.honest {
		err = errors.Join(err, k.file.wantCrawls(ctx))
	}
	if err != nil {
		k.fail("%v", err)
		return false
	}
	k.args = k.serveArgs()
	before := k.file.rows
	c := startChild(k.t, k.program, filepath.Join(k.dir, fmt.Sprintf("round-%02d.log", number)), k.args)
	base := c.where(ctx)
	err = k.waitIdle(ctx, base, number)
	claims, failed := k.file.claims(k.t.Context())
	last = number >= roundsLeast && err == nil && failed == nil && claims == 0
	if last {
		failed = k.compare(k.t.Context(), base)
	} else if err != nil {
		k.t.Logf("round %d: %v", number, err)
	}
	k.examine(before, errors.Join(failed, c.stop()), c)
	return last
}

// waitIdle waits until nothing changes any more. Its error says what is not settled.
func (k *killed) waitIdle(ctx context.Context, base string, round int) error {
	if base == "" || !k.untilConnected(ctx, base) {
		return errors.New("not connected")
	}
	for range lastEvents {
		if round > 1 {
			break
		}
		if err := k.net.Step(); err != nil {
			return err
		}
	}
	d := k.asDemo(base)
	var before string
	for since := time.Now(); ; _ = backoff.Sleep(ctx, 10*time.Millisecond) {
		var st killStats
		if err := d.get(ctx, "/v1/stats", &st); err != nil {
			return fmt.Errorf("%s; %w", before, err)
		}
		if now := st.String(); now != before {
			before, since = now, time.Now()
		}
		switch still := time.Since(since); {
		case k.settled(&st) && still >= idlePause:
			return nil
		case still >= waitingPause:
			return errors.New(before)
		}
	}
}

// compare holds rows, pages, counts and what the walks have seen to the truth.
func (k *killed) compare(ctx context.Context, base string) error {
	truth, rows := truthOf(k.net.Truth()), make(pairs)
	rd, err := store.OpenReader(ctx, k.file.path)
	if err != nil {
		return err
	}
	err = rd.View(ctx, func(rx *store.Rx) error { return rx.VisibleRows(rows.add) })
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	pages, err := k.asDemo(base).pages(ctx, truth, rows)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range differences(truth, rows, pages) {
		repo, _ := k.net.Repo(d.did)
		errs = append(errs, fmt.Errorf("%s %q: missing %t; the truth: %+v", d.did, d.nsid, d.missing, repo))
	}
	for _, w := range k.walks {
		errs = append(errs, w.finish(ctx, base, truth[w.collection]))
	}
	if len(errs) > 20 {
		errs = append(errs[:20], fmt.Errorf("and %d more", len(errs)-20))
	}
	return errors.Join(errs...)
}

// finish reads to the end of the listing. Every member was seen, at some time.
func (w *walk) finish(ctx context.Context, base string, members map[string]bool) error {
	for w.atEnd = false; !w.atEnd; {
		if err := w.page(ctx, base); err != nil {
			return fmt.Errorf("walk of %q: %w", w.collection, err)
		}
	}
	var missed []string
	for did := range members {
		if len(w.seen[did]) == 0 {
			missed = append(missed, did)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("walk of %q: never saw %s", w.collection, strings.Join(missed, ", "))
	}
	return nil
}
