package resync

import (
	"net/http"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// lookUps counts the requests to the directory from now on.
func (w *scenario) lookUps() *int {
	n := new(int)
	w.net.SetHook("plc", simnet.Hook{HTTP: func(http.ResponseWriter, *http.Request) bool { *n++; return false }})
	return n
}

// refreshAll has old identities refreshed, from the beginning to the end.
func (w *scenario) refreshAll() {
	w.t.Helper()
	for after := int64(0); ; {
		next, err := w.rs.refresh(w.t.Context(), after)
		if err != nil {
			w.t.Fatal(err)
		}
		if next == 0 {
			return
		}
		if next <= after {
			w.t.Fatalf("it goes from %d to %d", after, next)
		}
		after = next
	}
}

// A key was rotated, and its #identity was lost: a week later it is found.
func TestAnOldIdentityIsLookedUpAgain(t *testing.T) {
	w := newScenario(t, 5)
	for _, did := range w.net.DIDs() {
		w.enqueue(did, repostate.Backfill)
	}
	w.work()
	did := w.net.DIDs()[2]
	if err := w.net.RotateKey(did); err != nil {
		t.Fatal(err)
	}
	asked := w.lookUps()
	w.now = w.now.Add(repostate.IdentityAge - time.Second)
	w.refreshAll()
	w.later(time.Minute)
	if *asked != 0 {
		t.Errorf("%d look-ups before the time", *asked)
	}
	w.refreshAll()
	if st := w.stats(); st.Waiting != 0 || st.WaitingLater != 5 {
		t.Errorf("%d and %d rows wait: it is no more than a suspicion", st.Waiting, st.WaitingLater)
	}
	for _, did := range w.net.DIDs() {
		w.same(did, true)
	}
	w.later(time.Minute)
	if *asked != 5 {
		t.Errorf("%d look-ups", *asked)
	}
	w.settled(did)
	w.refreshAll()
	w.later(time.Minute)
	if *asked != 5 {
		t.Errorf("%d look-ups, and one was enough", *asked)
	}
}

// Whom nobody lists, and whom an attempt is due at anyway, is left alone. So is
// everybody while there is other work.
func TestWhoIsNotRefreshed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *scenario, did string)
		later  time.Duration
		queued int64
	}{
		"inactive": {func(w *scenario, did string) {
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Hide(tx, r, "deactivated") })
		}, 0, 0},
		"out of service": {func(w *scenario, did string) {
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
			})
		}, 0, 1},
		"queued": {func(w *scenario, did string) {
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Enqueue(tx, r, repostate.Prove, tx.Now()) })
		}, 0, 1},
		"while other work waits": {func(w *scenario, _ string) { w.enqueue("did:web:other.example.com", repostate.FirstSight) }, refreshIdle + time.Second, 1},
		"the log has it":         {func(w *scenario, _ string) { w.rs.cfg.LogCurrent = func() time.Time { return w.now.Add(-time.Minute) } }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := filled(t)
			w.now = w.now.Add(2 * repostate.IdentityAge)
			c.change(w, did)
			w.now = w.now.Add(c.later)
			if _, err := w.rs.refresh(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if r := w.repo(did); r.Identity.Stale {
				t.Error("it is refreshed")
			}
			if st := w.stats(); st.Waiting+st.WaitingLater != c.queued {
				t.Errorf("%d and %d rows wait", st.Waiting, st.WaitingLater)
			}
		})
	}
}

// While the log stands still, it says nothing of anybody.
func TestALogThatStandsStillReplacesNoLookUp(t *testing.T) {
	w, did := filled(t)
	w.now = w.now.Add(2 * repostate.IdentityAge)
	w.rs.cfg.LogCurrent = func() time.Time { return w.now.Add(-logFresh - time.Second) }
	w.refreshAll()
	if !w.repo(did).Identity.Stale {
		t.Error("it is not refreshed")
	}
}

// A directory that fails leaves the repo in service, and the look-up in the
// background.
func TestARefreshThatFails(t *testing.T) {
	w, did := filled(t)
	w.now = w.now.Add(2 * repostate.IdentityAge)
	w.net.SetDown("plc", true)
	w.refreshAll()
	w.later(time.Minute)
	w.same(did, true)
	if st := w.stats(); st.Waiting != 0 || st.WaitingLater != 1 || w.repo(did).State != repostate.Synchronized {
		t.Errorf("%d and %d rows wait, state %s", st.Waiting, st.WaitingLater, w.repo(did).State)
	}
	w.net.SetDown("plc", false)
	w.later(2 * time.Minute)
	w.settled(did)
}

// The host says that the account is gone, and our document is two hours old. It is looked up
// first, also when the log of the directory has nothing newer: a look-up at a replica
// that lagged may have undone what the log had.
func TestTheLogDoesNotSpareTheLookUpBeforeAnAccountIsHidden(t *testing.T) {
	w, did := filled(t)
	w.now = w.now.Add(2 * time.Hour)
	w.rs.cfg.LogCurrent = func() time.Time { return w.now.Add(-time.Minute) }
	if err := w.net.Deactivate(did); err != nil {
		t.Fatal(err)
	}
	asked := w.lookUps()
	w.enqueue(did, repostate.StatusCheck)
	w.work()
	if r := w.repo(did); r.Active || *asked != 1 {
		t.Errorf("active %t, %d look-ups", r.Active, *asked)
	}
}
