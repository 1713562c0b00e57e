package resync

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// served has accounts of one host, all in service.
func served(t *testing.T, accounts int) (*scenario, []string) {
	w := newScenario(t, accounts)
	dids := w.net.DIDs()
	for _, did := range dids {
		w.enqueue(did, repostate.Backfill)
	}
	w.work()
	for _, did := range dids {
		w.settled(did)
	}
	w.asked = nil
	return w, dids
}

// blamed reports whether the file has failures of a host.
func (w *scenario) blamed() bool {
	w.t.Helper()
	var failing []store.HostHealth
	w.update(func(tx *store.Tx) (err error) {
		failing, err = tx.FailingHosts(w.now, 1)
		return err
	})
	return len(failing) > 0
}

// cooled reports whether the host of an account was ever left alone.
func (w *scenario) cooled(did string) bool {
	w.t.Helper()
	var limits store.HostLimits
	w.with(did, func(tx *store.Tx, r *repostate.Repo) (err error) {
		limits, err = tx.HostLimits(r.Identity.HostID)
		return err
	})
	return limits.Cooldown.UnixMicro() > 0
}

// asks are the ways in which a host comes to be asked about an account.
var asks = map[string]func(w *scenario, did string){
	"status": func(w *scenario, did string) { w.enqueue(did, repostate.StatusCheck) },
	"fetch": func(w *scenario, did string) {
		w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
		})
	},
}

// In whatever words a host says that it has no such repo, it is believed at the second
// time, and neither its other accounts nor the host itself suffer for it.
func TestAHostMaySayInItsOwnWordsThatItHasNoSuchRepo(t *testing.T) {
	for _, words := range simnet.GoneWords() {
		for way, ask := range asks {
			for _, accounts := range []int{1, 3} { // alone, the listing has to tell
				t.Run(fmt.Sprintf("%s, %s, %d accounts", words.Name, way, accounts), func(t *testing.T) {
					w, dids := served(t, accounts)
					gone, others := dids[0], dids[1:]
					w.net.SetAbilities("pds1", simnet.Abilities{Gone: &words})
					if err := w.net.DeleteAccount(gone); err != nil {
						t.Fatal(err)
					}
					ask(w, gone)
					w.work()
					r := w.repo(gone)
					if r.Seq == 0 || r.Waiting == nil || r.Waiting.Said != repostate.NoSuchRepo || !strings.HasPrefix(r.Error, "its host has no such repo: ") {
						t.Fatalf("listed %d, waiting %+v, error %q", r.Seq, r.Waiting, r.Error)
					}
					w.later(notFoundSecond)
					if r := w.repo(gone); r.Seq != 0 || r.State != repostate.NotFound {
						t.Errorf("listed %d, state %s", r.Seq, r.State)
					}
					if w.blamed() {
						t.Error("the host is blamed")
					}
					for _, did := range others {
						w.same(did, true)
					}
					if n := len(w.asked); n > 21 {
						t.Errorf("%d requests: %q", n, w.asked)
					}
				})
			}
		}
	}
}

// readers count what is read of the archives of each account.
type readers struct {
	hooked
	read map[string]int
}

func (r readers) GetRepo(ctx context.Context, base, did string) (io.ReadCloser, error) {
	body, err := r.hooked.GetRepo(ctx, base, did)
	return struct {
		io.Reader
		io.Closer
	}{readerFunc(func(b []byte) (int, error) {
		n, err := body.Read(b)
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.read[did] += n
		return n, err
	}), body}, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// The header of its archive tells whether a host serves another account, whose repo is
// not fetched for that.
func TestNeighboursAreNotFetched(t *testing.T) {
	w, dids := served(t, 4)
	words := simnet.GoneWords()[0]
	w.net.SetAbilities("pds1", simnet.Abilities{Gone: &words})
	if err := w.net.DeleteAccount(dids[0]); err != nil {
		t.Fatal(err)
	}
	r := readers{w.rs.cfg.Hosts.(hooked), map[string]int{}}
	w.setHosts(r)
	w.enqueue(dids[0], repostate.StatusCheck)
	w.work()
	if len(r.read) == 0 {
		t.Error("no neighbour was asked for")
	}
	for did, n := range r.read {
		if n > 100*comparisons {
			t.Errorf("%d bytes of %s were read", n, did)
		}
	}
}

// A host that answers nobody says nothing of one account: no row changes, and it is
// left alone after a few requests.
func TestAHostThatRefusesEverybodySaysNothing(t *testing.T) {
	for way, ask := range asks {
		t.Run(way, func(t *testing.T) {
			w, dids := served(t, 4)
			w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
				w.ask(r)
				rw.WriteHeader(http.StatusForbidden)
				return true
			}})
			for _, did := range dids {
				ask(w, did)
			}
			for range 60 {
				w.later(time.Minute)
			}
			for _, did := range dids {
				if r := w.repo(did); r.Seq == 0 || r.State == repostate.NotFound {
					t.Errorf("listed %d, state %s", r.Seq, r.State)
				}
			}
			if !w.blamed() {
				t.Error("the host is not blamed")
			}
			if n := len(w.asked); n > 120 {
				t.Errorf("%d requests in an hour", n)
			}
		})
	}
}

// A getRepoStatus that does not know what the host serves has lost nobody, in whatever
// words.
func TestARepoThatIsServedIsThere(t *testing.T) {
	known := simnet.Words{Name: "the known word", Status: 400, Body: `{"error":"RepoNotFound","message":"Could not find repo for DID: DID"}`}
	for _, words := range append(simnet.GoneWords(), known) {
		t.Run(words.Name, func(t *testing.T) {
			w, dids := served(t, 3)
			w.net.SetAbilities("pds1", simnet.Abilities{RepoStatus: &words})
			for range 3 {
				w.enqueue(dids[0], repostate.StatusCheck)
				w.later(notFoundSecond)
			}
			w.settled(dids[0])
			if w.blamed() {
				t.Error("the host is blamed")
			}
		})
	}
}

// A getRepoStatus that calls every account active has not kept the one that a whole
// listing has left out and that is not served.
func TestAnAccountThatIsNotListedIsNotKeptByItsStatus(t *testing.T) {
	for _, gone := range append(simnet.GoneWords(), simnet.Words{Status: 400, Body: `{"error":"RepoNotFound"}`}) {
		t.Run(gone.Name, func(t *testing.T) {
			w, dids := served(t, 3)
			status := simnet.Words{Status: 200, Body: `{"did":"DID","active":true}`}
			w.net.SetAbilities("pds1", simnet.Abilities{Gone: &gone, RepoStatus: &status})
			if err := w.net.DeleteAccount(dids[0]); err != nil {
				t.Fatal(err)
			}
			for _, did := range dids {
				w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return decide(tx, r, repostate.Unlisted{At: w.now}) })
			}
			w.work()
			w.same(dids[0], true)
			w.later(notFoundSecond)
			w.same(dids[0], false)
			w.same(dids[1], true) // a listing may be wrong
			w.same(dids[2], true)
		})
	}
}

// Most accounts of a host have left at once: whoever stays is listed, and shows that the
// host answers.
func TestManyMayLeaveAtOnce(t *testing.T) {
	for _, stay := range []int{0, 1} {
		for _, words := range simnet.GoneWords() {
			t.Run(fmt.Sprintf("%s, %d stay", words.Name, stay), func(t *testing.T) {
				w, dids := served(t, 7)
				w.net.SetAbilities("pds1", simnet.Abilities{Gone: &words})
				for _, did := range dids[stay:] {
					if err := w.net.DeleteAccount(did); err != nil {
						t.Fatal(err)
					}
					w.enqueue(did, repostate.StatusCheck)
				}
				w.work()
				w.later(notFoundSecond)
				w.later(time.Minute)
				for i, did := range dids {
					w.same(did, i < stay)
				}
			})
		}
	}
}

// However an account fails, and however often, its host is asked for the others.
func TestOneAccountDoesNotCoolItsHost(t *testing.T) {
	for _, status := range []int{408, 502, 504, 524} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w, dids := served(t, 3)
			w.fault = func(r *http.Request) (int, bool) {
				return status, strings.Contains(r.URL.RawQuery, strings.ReplaceAll(dids[0], ":", "%3A"))
			}
			w.noPause = true
			asks["fetch"](w, dids[0])
			for range 12 {
				for range 8 { // nobody else is asked for meanwhile
					w.later(5 * time.Minute)
				}
				asks["fetch"](w, dids[1])
				w.work()
				w.same(dids[1], true)
				if r := w.repo(dids[1]); r.State != repostate.Synchronized {
					t.Fatalf("state %s", r.State)
				}
				if w.cooled(dids[0]) {
					t.Fatal("its host was left alone")
				}
			}
			if r := w.repo(dids[0]); r.Seq == 0 || r.State == repostate.NotFound {
				t.Errorf("listed %d, state %s", r.Seq, r.State)
			}
		})
	}
}

// A whole host that answers with pages is as good as away.
func TestAHostOfPagesIsAway(t *testing.T) {
	w, dids := served(t, 20)
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		w.ask(r)
		_, _ = rw.Write([]byte("<html><body>This domain is for sale</body></html>"))
		return true
	}})
	for _, did := range dids {
		asks["fetch"](w, did)
	}
	for range 60 {
		w.later(time.Minute)
	}
	if n := len(w.asked); !w.blamed() || n > 150 {
		t.Errorf("blamed %t, %d requests in an hour", w.blamed(), n)
	}
	w.net.SetHook("pds1", simnet.Hook{})
	w.later(2 * time.Hour)
	w.later(2 * time.Hour)
	for _, did := range dids {
		w.settled(did)
	}
}

// A host that fails now and then has not lost the account that it was asked for then,
// although the others are served.
func TestAHostThatFailsNowAndThenHasLostNobody(t *testing.T) {
	w, dids := served(t, 4)
	n := 0
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.RawQuery, strings.ReplaceAll(dids[0], ":", "%3A")) {
			return false
		}
		if n++; n%3 == 0 {
			return false
		}
		rw.WriteHeader(http.StatusInternalServerError)
		return true
	}})
	for range 60 {
		w.enqueue(dids[0], repostate.StatusCheck)
		w.later(time.Minute)
		if r := w.repo(dids[0]); r.State == repostate.NotFound || r.Waiting != nil && r.Waiting.Said == repostate.NoSuchRepo {
			t.Fatalf("state %s: %s", r.State, r.Error)
		}
	}
}

// One method denies a repo in words without meaning, and another says that it is there.
func TestAHostThatContradictsItselfIsNotBelieved(t *testing.T) {
	w, dids := served(t, 3)
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.RawQuery, strings.ReplaceAll(dids[0], ":", "%3A")) || !strings.HasSuffix(r.URL.Path, "getRepo") {
			return false
		}
		http.NotFound(rw, r)
		return true
	}})
	asks["fetch"](w, dids[0])
	for range 60 {
		w.later(time.Minute)
	}
	if r := w.repo(dids[0]); r.Seq == 0 || r.State == repostate.NotFound {
		t.Errorf("listed %d, state %s: %s", r.Seq, r.State, r.Error)
	}
	if w.blamed() {
		t.Error("the host is blamed for one of its accounts")
	}
	w.net.SetHook("pds1", simnet.Hook{})
	w.later(2 * time.Hour)
	w.settled(dids[0])
}

// Where a host cannot tell the status of an account, what it serves does: a relay was
// wrong about one account and right about another.
func TestWhatAHostServesIsActive(t *testing.T) {
	for _, words := range simnet.StatusWords() {
		t.Run(words.Name, func(t *testing.T) {
			w, dids := served(t, 2)
			w.net.SetAbilities("pds1", simnet.Abilities{RepoStatus: &words})
			if err := w.net.Deactivate(dids[1]); err != nil {
				t.Fatal(err)
			}
			for _, did := range dids {
				w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
					return decide(tx, r, repostate.Account{Status: "takendown"})
				})
			}
			w.work()
			w.settled(dids[0])
			if r := w.repo(dids[1]); r.Active || r.Status != "deactivated" || r.StatusFrom != repostate.FromHost || r.Seq != 0 {
				t.Errorf("active %t, %s by %s", r.Active, r.Status, r.StatusFrom)
			}
			if w.blamed() {
				t.Error("the host is blamed")
			}
			if err := w.net.Activate(dids[1]); err != nil {
				t.Fatal(err)
			}
			w.enqueue(dids[1], repostate.StatusCheck)
			w.work()
			w.settled(dids[1])
		})
	}
}
