package resync

import (
	"net/http"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// migrant has one account on the first of two PDSes, with so many records.
func migrant(t *testing.T, m establish.Method, records int) (*scenario, string) {
	t.Helper()
	w := newScenarioOf(t, 2, 0)
	w.setMethod(m)
	did, err := w.net.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	w.grow(did, records)
	return w, did
}

func (w *scenario) move(did string, how simnet.Migration) {
	w.t.Helper()
	if err := w.net.Migrate(did, how); err != nil {
		w.t.Fatal(err)
	}
}

// announce is an #identity.
func (w *scenario) announce(did string) {
	w.t.Helper()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if err := testrepo.MarkStale(tx, r); err != nil {
			return err
		}
		return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
	})
	w.work()
}

// lose takes the repo out of service, as a missed event does, and mends it.
func (w *scenario) lose(did string) {
	w.t.Helper()
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
}

// logs is how often the directory was asked for the keys of before.
func (w *scenario) logs() int64 { return w.net.Traffic("plc").Requests["log"] }

// An account that moved has the head of its old host until it writes. An index that
// knew that head accepts it at once; its next commit is by the present key and goes
// on from there; and from then on no earlier key counts.
func TestAnAccountThatMovedAndHasNotWritten(t *testing.T) {
	for _, name := range establish.Methods() {
		for _, records := range []int{tiny, large} {
			t.Run(name, func(t *testing.T) {
				w, did := migrant(t, establish.Method(name), records)
				w.enqueue(did, repostate.Backfill)
				w.work()
				w.later(bulkRest)
				w.move(did, simnet.Migration{To: 1})
				w.announce(did)
				if r := w.repo(did); w.rs.cfg.Method != establish.Describe || records == tiny {
					w.proven(did, repostate.ProofOldKey)
				} else if r.Proof != repostate.ProofClaim {
					t.Errorf("proof %d", r.Proof)
				}
				if n := w.logs(); n != 0 {
					t.Errorf("the directory was asked %d times for a head that we had", n)
				}
				w.later(bulkRest)
				w.settled(did)
				w.proven(did, repostate.ProofOldKey)

				w.commit(did, "com.example.written/a")
				w.settled(did)
				w.lose(did)
				w.later(bulkRest)
				w.settled(did)
				if r := w.repo(did); r.Proof == repostate.ProofOldKey || r.Identity.EarlierRev != 0 {
					t.Errorf("proof %d, earlier keys count up to %s", r.Proof, r.Identity.EarlierRev)
				}
			})
		}
	}
}

// The same for an index that was started after the move: the directory's log has the
// key of before, and is asked for it once.
func TestAnAccountThatMovedBeforeTheIndexBegan(t *testing.T) {
	for _, name := range establish.Methods() {
		for _, records := range []int{tiny, large} {
			t.Run(name, func(t *testing.T) {
				w, did := migrant(t, establish.Method(name), records)
				w.move(did, simnet.Migration{To: 1, OldStays: true})
				late := simnet.Write{Action: simnet.Create, Path: "com.example.late/a"}
				if err := w.net.WriteOnOldHost(did, late); err != nil {
					t.Fatal(err)
				}
				w.enqueue(did, repostate.Backfill)
				w.work()
				w.same(did, true)
				if n := w.logs(); n != 1 {
					t.Errorf("the log was read %d times", n)
				}
				w.later(bulkRest)
				w.settled(did)
				w.proven(did, repostate.ProofOldKey)
				w.commit(did, "com.example.written/a")
				w.settled(did)
			})
		}
	}
}

// After a move the revs of getRepoStatus, listRepos and #sync are not that of the
// commit: hints that lead to one attempt each.
func TestTheOtherRevsOfAMoveAreNoContradiction(t *testing.T) {
	w, did := migrant(t, establish.Auto, tiny)
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.move(did, simnet.Migration{To: 1})
	w.announce(did)
	state, _ := w.net.Repo(did)
	w.list(did, state.Rev+77)
	w.asked = nil
	w.later(repostate.MissedGrace)
	w.later(identitySecond)
	w.settled(did)
	if n := len(w.asked); n != 1 {
		t.Errorf("%d requests", n)
	}
	w.later(brokenMost)
	if n := len(w.asked); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Commits that were lost before the move are in the new host's head, which an
// earlier key has signed: the log says so.
func TestAMoveWithCommitsThatWereLost(t *testing.T) {
	w, did := migrant(t, establish.Auto, large)
	w.enqueue(did, repostate.Backfill)
	w.work()
	if err := w.net.Create(did, "com.example.lost/a"); err != nil {
		t.Fatal(err)
	}
	w.move(did, simnet.Migration{To: 1, DeleteOld: true})
	w.announce(did)
	w.proven(did, repostate.ProofOldKey)
	if n := w.logs(); n != 1 {
		t.Errorf("the log was read %d times", n)
	}
}

// Home again without having written anywhere else: the key is a third one.
func TestAMoveThereAndBack(t *testing.T) {
	w, did := migrant(t, establish.Auto, large)
	w.enqueue(did, repostate.Backfill)
	w.work()
	for _, to := range []int{1, 0} {
		w.move(did, simnet.Migration{To: to})
		w.announce(did)
		w.proven(did, repostate.ProofOldKey)
	}
	w.commit(did, "com.example.written/a")
	w.later(bulkRest)
	w.settled(did)
	w.lose(did)
	w.proven(did, repostate.ProofProbe)
}

// Whoever holds the key of before cannot take the repo back: once a commit of the
// present key was seen, an older head is not believed, however often it is served,
// and the log is not even asked.
func TestAnEarlierKeyIsRefusedOnceThePresentOneHasSigned(t *testing.T) {
	for _, name := range establish.Methods() {
		t.Run(name, func(t *testing.T) {
			w, did := migrant(t, establish.Method(name), small)
			w.enqueue(did, repostate.Backfill)
			w.work()
			w.later(bulkRest)
			w.move(did, simnet.Migration{To: 1})
			w.announce(did)
			w.commit(did, "com.example.written/a")
			w.later(bulkRest)
			w.settled(did)
			if err := w.net.Switch(simnet.Rule{Fault: simnet.StaleReplica, Host: "pds2"}); err != nil {
				t.Fatal(err)
			}
			asked := w.logs()
			w.lose(did)
			for range 20 {
				w.later(time.Hour)
			}
			if w.net.Fired(simnet.StaleReplica) < 3 {
				t.Error("hardly an old head was served")
			}
			if r := w.repo(did); r.State == repostate.Synchronized || w.logs() != asked {
				t.Errorf("state %s, the log was read %d times", r.State, w.logs()-asked)
			}
			w.same(did, true) // what was known stays
			w.net.SwitchOff()
			w.later(brokenMost)
			w.later(bulkRest)
			w.settled(did)
		})
	}
}

// The present key's first commit is seen while the repo is fetched, and the answer is
// of before it: the commit goes on from there, so both are good.
func TestTheFirstCommitOfThePresentKeyDuringTheFetch(t *testing.T) {
	w, did := migrant(t, establish.WholeRepo, small)
	w.move(did, simnet.Migration{To: 1})
	w.enqueue(did, repostate.Backfill)
	w.hook = func(string, string) { w.commit(did, "com.example.written/a") }
	w.work()
	w.settled(did)
	w.proven(did, repostate.ProofOldKey)
	w.lose(did)
	w.proven(did, repostate.ProofTree)
}

// The same, but what was seen does not lead on from the answer: it is of before, and
// not taken for a restored backup either. Nor is a newer head of the earlier key,
// which somebody else can have made.
func TestAnAnswerOfBeforeTheChangeOfKeys(t *testing.T) {
	for _, seen := range []int{5, 0, -5} {
		w, did := migrant(t, establish.WholeRepo, small)
		w.move(did, simnet.Migration{To: 1})
		w.enqueue(did, repostate.Backfill)
		state, _ := w.net.Repo(did)
		w.hook = func(string, string) {
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Saw(tx, r, state.Rev+atproto.TID(seen)) })
		}
		w.work()
		for range 10 {
			w.later(time.Hour)
		}
		if r := w.repo(did); r.State == repostate.Synchronized || r.Seq > 0 {
			t.Errorf("seen %d later: state %s, visible %t", seen, r.State, r.Seq > 0)
		}
		if err := w.net.Create(did, "com.example.written/a"); err != nil {
			t.Fatal(err)
		}
		w.later(brokenMost)
		w.settled(did)
	}
}

// A directory whose log fails costs nothing but time, and the log is not asked for at
// every retry.
func TestALogThatCannotBeRead(t *testing.T) {
	w, did := migrant(t, establish.Auto, large)
	w.move(did, simnet.Migration{To: 1})
	asked, broken := 0, true
	w.net.SetHook("plc", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/"+did+"/log/audit" {
			return false
		}
		asked++
		if broken {
			rw.WriteHeader(http.StatusBadGateway)
		}
		return broken
	}})
	w.enqueue(did, repostate.Backfill)
	w.work()
	for range 60 {
		w.later(time.Second)
	}
	if r := w.repo(did); r.State != repostate.Candidate || asked < 1 || asked > 3 {
		t.Errorf("state %s, the log was asked for %d times in a minute", r.State, asked)
	}
	broken = false
	w.later(brokenFirst)
	w.later(bulkRest)
	w.settled(did)
}

// A rotation whose documents lag still is what a bad signature means at first.
func TestAKeyThatNobodyHadIsNotAccepted(t *testing.T) {
	w, did := migrant(t, establish.Auto, small)
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.settled(did)
	w.rs.cfg.Resolver = anotherKey{w.rs.cfg.Resolver, did}
	w.announce(did)
	if err := w.net.RotateKey(did); err != nil { // the head is neither ours nor by a key of the log's past
		t.Fatal(err)
	}
	w.lose(did)
	for range 10 {
		w.later(time.Minute)
	}
	state, _ := w.net.Repo(did)
	if r := w.repo(did); r.Head.CID == state.Commit {
		t.Error("a head by another key was accepted")
	}
}
