package resync

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// A fair scenario has hosts of all kinds and rows that wait for them. It keeps its own
// account of who may be asked, and judges each lease by that: nothing of it is taken
// from the scheduler or from the file.
type fairScenario struct {
	t       *testing.T
	dice    *rand.Rand
	st      *store.Store
	rs      *Resyncer
	now     time.Time
	hosts   map[int64]*fairHost
	ends    []fairEnd // of attempts that run, the first one first
	running int
	trying  int // at unproven hosts
	repos   int64
	leased  int
	script  string // of the file, which is not written yet
}

type fairHost struct {
	id                int64
	rate              float64
	answers, failures int
	cooldown, next    time.Time
	running           int
	rows              []fairRow
	dead              bool
	overtaken         map[int64]int // how often others went before it while it was ready
}

type fairRow struct {
	repo, priority int64
	due            time.Time
}

type fairEnd struct {
	at time.Time
	*attempt
}

const (
	fairQPS     = 20
	fairWorkers = 16
)

func (w *fairScenario) unproven(h *fairHost) bool {
	return h.id == store.WebQueue || h.id > 0 && (h.answers == 0 || h.failures > 0)
}

func (w *fairScenario) share(h *fairHost) int {
	switch {
	case h.id == store.DirectoryQueue && h.failures < 3:
		return fairWorkers / 4
	case h.id == store.WebQueue:
		return fairWorkers / 8
	case h.id == store.DirectoryQueue, w.unproven(h):
		return 1
	}
	return 4
}

// interval is the time between two requests, and how far ahead of it one may be.
func (h *fairHost) interval() (interval, burst time.Duration) {
	perSecond := float64(fairQPS)
	if h.rate > 0 {
		perSecond = min(perSecond, h.rate)
	}
	if h.id <= 0 {
		return 0, 0
	}
	interval = time.Duration(1e6/perSecond) * time.Microsecond
	return interval, interval * time.Duration(max(0, int(perSecond/4)-1))
}

// best is the most urgent row for which the host may be asked now.
func (w *fairScenario) best(h *fairHost) (best fairRow, ok bool) {
	if h.running >= w.share(h) || h.cooldown.After(w.now) || h.next.After(w.now) || w.unproven(h) && w.trying >= fairWorkers/2 {
		return best, false
	}
	for _, r := range h.rows {
		if !r.due.After(w.now) && (!ok || cmp.Or(cmp.Compare(r.priority, best.priority), r.due.Compare(best.due)) < 0) {
			best, ok = r, true
		}
	}
	return best, ok
}

// judge checks a lease as if it had been the only one.
func (w *fairScenario) judge(a *attempt) {
	w.t.Helper()
	h := w.hosts[a.host]
	best, ok := w.best(h)
	if !ok || a.Repo.Waiting.Priority != best.priority || !a.Repo.Waiting.NotBefore.Equal(best.due) {
		w.t.Fatalf("lease %d: host %d is asked for a row of priority %d, due %s; want %+v, %t", w.leased, h.id, a.Repo.Waiting.Priority, a.Repo.Waiting.NotBefore, best, ok)
	}
	for id, other := range w.hosts {
		theirs, ok := w.best(other)
		switch {
		case !ok || id == h.id:
		case theirs.priority < a.Repo.Waiting.Priority:
			w.t.Fatalf("lease %d: host %d goes before host %d with a row of priority %d", w.leased, h.id, id, theirs.priority)
		case theirs.priority == a.Repo.Waiting.Priority && w.unproven(other) == w.unproven(h):
			if other.overtaken[h.id]++; other.overtaken[h.id] > 3 {
				w.t.Fatalf("lease %d: host %d goes before host %d again and again", w.leased, h.id, id)
			}
		}
	}
	clear(h.overtaken)
	h.rows = slices.DeleteFunc(h.rows, func(r fairRow) bool { return r.repo == a.Repo.ID })
	interval, burst := h.interval()
	if earliest := w.now.Add(-burst); h.next.Before(earliest) {
		h.next = earliest
	}
	h.next = h.next.Add(interval)
	h.running++
	w.running++
	if a.unproven {
		w.trying++
	}
	w.leased++
}

// idle fails if a worker is free beside a host that may be asked, and returns when the
// first one may be.
func (w *fairScenario) idle() (next time.Time) {
	w.t.Helper()
	for _, h := range w.hosts {
		if _, ok := w.best(h); ok && w.running < fairWorkers {
			w.t.Fatalf("after %d leases: a worker is idle, and host %d may be asked", w.leased, h.id)
		} else if !ok {
			clear(h.overtaken)
		}
		if h.running >= w.share(h) || w.unproven(h) && w.trying >= fairWorkers/2 {
			continue
		}
		for _, r := range h.rows {
			if at := later(r.due, later(h.cooldown, h.next)); next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return next
}

// lease has the scheduler lease what it may, and returns when it wants to be asked
// again.
func (w *fairScenario) lease() time.Time {
	w.t.Helper()
	attempts, err := w.rs.lease(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range attempts {
		w.judge(a)
		took := time.Duration(1+w.dice.IntN(300)) * time.Millisecond
		if w.hosts[a.host].dead {
			took *= 20
		}
		w.ends = append(w.ends, fairEnd{w.now.Add(took), a})
	}
	slices.SortStableFunc(w.ends, func(a, b fairEnd) int { return a.at.Compare(b.at) })
	first := w.idle()
	next, err := w.rs.next(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if w.running < fairWorkers && !first.IsZero() && (next.IsZero() || next.After(first)) {
		w.t.Fatalf("after %d leases: it wants to wait until %s, but a host may be asked at %s", w.leased, next, first)
	}
	return next
}

// end finishes an attempt: an answer, a failure, or no request at all; the row goes, or is
// put back.
func (w *fairScenario) end(tx *store.Tx, a *attempt) error {
	h := w.hosts[a.host]
	h.running--
	w.running--
	if a.unproven {
		w.trying--
	}
	failed := h.dead || w.dice.IntN(200) == 0
	switch {
	case w.dice.IntN(20) == 0:
		interval, _ := h.interval()
		h.next = h.next.Add(-interval)
		a.hostPace.giveBack()
		failed = false
	case !failed:
		h.failures, h.answers = 0, h.answers+1
		if err := tx.HostAnswered(h.id); err != nil {
			return err
		}
	default:
		n, err := tx.HostFailed(h.id, 0, w.now, "no")
		if err != nil {
			return err
		}
		if n > 0 {
			h.failures++
		}
		if n > 1 {
			h.cooldown = w.now.Add(20 * time.Second)
			if err := tx.CoolHost(h.id, h.cooldown); err != nil {
				return err
			}
		}
	}
	if err := tx.FinishAttempt(h.id, a.hostPace.next()); err != nil {
		return err
	}
	r, err := tx.RepoByID(a.Repo.ID)
	if err != nil {
		return err
	}
	if !failed && w.dice.IntN(10) > 0 {
		return testrepo.Done(tx, r)
	}
	again := fairRow{a.Repo.ID, 5 + w.dice.Int64N(2), w.now.Add(time.Duration(1+w.dice.IntN(60_000)) * time.Millisecond)}
	h.rows = append(h.rows, again)
	return row(tx, r, func(w *repostate.Waiting) {
		w.Priority, w.NotBefore, w.Leased, w.Attempts = again.priority, again.due, false, w.Attempts+1
	})
}

// arrive makes a row of a host more urgent.
func (w *fairScenario) arrive(tx *store.Tx) error {
	h := w.hosts[w.dice.Int64N(int64(len(w.hosts)))-1]
	if w.dice.IntN(2) == 0 {
		h = w.hosts[1+w.dice.Int64N(2)] // several at once
	}
	if len(h.rows) == 0 {
		return nil
	}
	// A row that waits becomes more urgent: that is as good as a new one.
	i := w.dice.IntN(len(h.rows))
	row := &h.rows[i]
	why := []repostate.Reason{repostate.Discontinuity, repostate.SyncEvent, repostate.FirstSight}[w.dice.IntN(3)]
	priority := map[repostate.Reason]int64{repostate.Discontinuity: 1, repostate.SyncEvent: 2, repostate.FirstSight: 3}[why]
	at := w.now.Add(time.Duration(w.dice.IntN(3)) * time.Second)
	r, err := tx.RepoByID(row.repo)
	if err != nil {
		return err
	}
	row.priority = min(row.priority, priority)
	if at.Before(row.due) {
		row.due = at
	}
	return testrepo.Enqueue(tx, r, why, at)
}

// step ends what ends first, or lets a row arrive, and leases.
func (w *fairScenario) step(wake time.Time) time.Time {
	w.t.Helper()
	at := w.now.Add(time.Second)
	if !wake.IsZero() && wake.Before(at) && w.running < fairWorkers {
		at = wake
	}
	if len(w.ends) > 0 && w.ends[0].at.Before(at) {
		at = w.ends[0].at
	}
	w.now = later(w.now.Add(time.Millisecond), at)
	var done []*attempt
	if err := w.st.Update(w.t.Context(), "test", func(tx *store.Tx) error {
		for len(w.ends) > 0 && !w.ends[0].at.After(w.now) {
			a := w.ends[0].attempt
			w.ends = w.ends[1:]
			done = append(done, a)
			if err := w.end(tx, a); err != nil {
				return err
			}
		}
		for range w.dice.IntN(4) {
			if err := w.arrive(tx); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	for _, a := range done {
		w.rs.forget(a)
	}
	return w.lease()
}

// add makes a host with rows.
func (w *fairScenario) add(h *fairHost, rows int) {
	h.overtaken = map[int64]int{}
	w.hosts[h.id] = h
	if h.id > 0 {
		w.script += fmt.Sprintf("INSERT INTO host (id, hostname) VALUES (%[1]d, 'h%[1]d.example.com'); UPDATE host_queue SET answers = %d, rate = nullif(%g, 0.0) WHERE host_id = %[1]d;", h.id, h.answers, h.rate)
	}
	for range rows {
		w.repos++
		row := fairRow{w.repos, 4, w.now.Add(-time.Duration(w.dice.IntN(1_000_000)) * time.Microsecond)}
		if w.dice.IntN(4) == 0 {
			row.priority, row.due = 6, w.now.Add(time.Duration(w.dice.IntN(60_000)-20_000)*time.Millisecond)
		}
		h.rows = append(h.rows, row)
		method := "web:e" + fmt.Sprint(row.repo) + ".example.com"
		if h.id != store.WebQueue {
			method = fmt.Sprintf("plc:%024d", row.repo)
		}
		w.script += fmt.Sprintf("INSERT INTO repo (id, did, state) VALUES (%d, 'did:%s', 3);", row.repo, method)
		if h.id > 0 {
			w.script += fmt.Sprintf("INSERT INTO identity (repo_id, signing_key, host_id, fetched_at) VALUES (%d, zeroblob(35), %d, 1);", row.repo, h.id)
		}
		w.script += fmt.Sprintf("INSERT INTO resync_queue (repo_id, reason, priority, ask_status, not_before, generation, queued_at, host_id) VALUES (%d, 9, %d, 1, %d, 0, 1, %d);",
			row.repo, row.priority, row.due.UnixMicro(), h.id)
	}
}

// The scheduler keeps every rule in random scenarios: who may be asked at all, for which
// row, in whose turn, and that no worker is idle and no wake-up late.
func TestTheSchedulerIsFair(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &fairScenario{
				t: t, dice: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_800_000_000, 0), hosts: map[int64]*fairHost{},
				script: "PRAGMA synchronous = OFF; BEGIN;",
			}
			w.add(&fairHost{id: store.DirectoryQueue}, 100)
			w.add(&fairHost{id: store.WebQueue}, 40)
			for id := int64(1); id <= 60; id++ {
				h := &fairHost{id: id, answers: 1}
				if id > 30 {
					h.answers, h.dead = 0, id > 45
				}
				if id%10 == 0 {
					h.rate = float64(1 + w.dice.IntN(5))
				}
				rows := 1 + w.dice.IntN(30)
				if id <= 2 {
					rows = 600
				}
				w.add(h, rows)
			}
			path := filepath.Join(t.TempDir(), "index.db")
			cfg := store.Config{Path: path, Version: "test", Now: func() time.Time { return w.now }}
			for range 2 {
				st, err := store.Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if w.st = st; w.script != "" {
					if err := st.Close(); err != nil {
						t.Fatal(err)
					}
					script(t, path, w.script+"COMMIT")
					w.script = ""
				}
			}
			defer func() { _ = w.st.Close() }()
			w.rs = New(Config{
				Store: w.st, Workers: fairWorkers, HostQPS: fairQPS, Now: func() time.Time { return w.now },
				Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			for wake := w.lease(); w.leased < 1000; {
				wake = w.step(wake)
			}
			_, broken, err := w.st.Check(context.WithoutCancel(t.Context()))
			for _, b := range broken {
				if b.Invariant == "host queues" || b.Invariant == "queue hosts" {
					t.Errorf("%s: %v", b.Invariant, b.Rows)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
