package resync

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/establish"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// How large the repos of these tests are: one answer of getRecord shows all of a
// tiny one; fetching a small one costs less than proofs; a large one is to be
// proven.
const (
	tiny  = 2
	small = 60
	large = 2000
)

var kinds = []string{"com.example.a", "com.example.b", "com.example.b.c", "com.example.bc", "net.example.a", "net.example.z"}

// grown has one account, not yet known to the index, whose repo has so many records.
func grown(t *testing.T, m establish.Method, records int) (*scenario, string) {
	t.Helper()
	w := newScenario(t, 0)
	w.setMethod(m)
	did, err := w.net.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	w.grow(did, records)
	return w, did
}

// grow adds records, spread over a few collections.
func (w *scenario) grow(did string, records int) {
	w.t.Helper()
	var writes []simnet.Write
	for n := range records {
		writes = append(writes, simnet.Write{Action: simnet.Create, Path: fmt.Sprintf("%s/r%d", kinds[n%len(kinds)], n)})
	}
	for some := range slices.Chunk(writes, 200) {
		if err := w.net.Apply(did, some...); err != nil {
			w.t.Fatal(err)
		}
	}
}

// endpoints are what the PDS was asked, in order, repetitions as one with a plus.
func (w *scenario) endpoints() string {
	var out []string
	for _, asked := range w.asked {
		name := path.Base(strings.ReplaceAll(asked, ".", "/"))
		if last := len(out) - 1; last >= 0 && strings.TrimSuffix(out[last], "+") == name {
			out[last] = name + "+"
		} else {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

// proven: the repo is in service, as its host has it, with this proof.
func (w *scenario) proven(did string, want repostate.Proof) {
	w.t.Helper()
	state, err := w.net.Repo(did)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.repo(did)
	if r.State != repostate.Synchronized || r.Head == nil || r.Head.CID != state.Commit || r.Proof != want {
		w.t.Errorf("state %s, head %+v, proof %d, want proof %d at rev %s", r.State, r.Head, r.Proof, want, state.Rev)
	}
	w.same(did, true)
}

// What an attempt leaves in the file, by what it was able to ask for.
func TestWhatIsKeptOfAnAttempt(t *testing.T) {
	bridge := simnet.Abilities{NoAbsentProofs: true}
	liar := simnet.Abilities{Collections: []string{"com.example.invented"}}
	const tree, probes, claim = repostate.ProofTree, repostate.ProofProbe, repostate.ProofClaim
	for _, tc := range []struct {
		name      string
		method    establish.Method
		abilities simnet.Abilities
		records   int
		reason    repostate.Reason
		asked     string
		proof     repostate.Proof
	}{
		{"auto, tiny, new", establish.Auto, simnet.Abilities{}, tiny, repostate.Backfill, "getRecord", tree},
		{"auto, small, new", establish.Auto, simnet.Abilities{}, small, repostate.Backfill, "getRecord getRepo", tree},
		{"auto, large, new", establish.Auto, simnet.Abilities{}, large, repostate.Backfill, "getRecord describeRepo getRecord", claim},
		{"auto, large, live", establish.Auto, simnet.Abilities{}, large, repostate.Discontinuity, "getRecord+", probes},
		{"auto, large, audit", establish.Auto, simnet.Abilities{}, large, repostate.Audit, "getRecord+", probes},
		{"auto, large, new, bridge", establish.Auto, bridge, large, repostate.Backfill, "getRecord getRepo", tree},
		{"auto, large, new, wrong list", establish.Auto, liar, large, repostate.Backfill, "getRecord describeRepo getRecord getRepo", tree},
		{"probe, small", establish.Probe, simnet.Abilities{}, small, repostate.Backfill, "getRecord+", probes},
		{"probe, large", establish.Probe, simnet.Abilities{}, large, repostate.Backfill, "getRecord+", probes},
		{"describe, large, live", establish.Describe, simnet.Abilities{}, large, repostate.Discontinuity, "getRecord describeRepo getRecord", claim},
		{"describe, large, audit", establish.Describe, simnet.Abilities{}, large, repostate.Audit, "getRecord+", probes},
		{"repo, large", establish.WholeRepo, simnet.Abilities{}, large, repostate.Discontinuity, "getRepo", tree},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, did := grown(t, tc.method, tc.records)
			w.net.SetAbilities("pds1", tc.abilities)
			w.enqueue(did, tc.reason)
			w.work()
			w.proven(did, tc.proof)
			if got := w.endpoints(); got != tc.asked {
				t.Errorf("asked %s, want %s", got, tc.asked)
			}
			if n := w.count("getRecord"); n > len(kinds)+1 {
				t.Errorf("%d probes for %d collections", n, len(kinds))
			}
			id := w.repo(did).Identity
			if want := tc.abilities.Collections == nil || tc.records == tiny; id.DescribeTrusted != want {
				t.Errorf("describeRepo is believed: %t", id.DescribeTrusted)
			}
			able := repostate.Able
			switch {
			case tc.method == establish.WholeRepo:
				able = repostate.Unknown
			case tc.abilities.NoAbsentProofs:
				able = repostate.Unable
			case strings.HasSuffix(tc.asked, "getRepo"):
				able = repostate.Unknown
			}
			if id.AbsentProofs != able {
				t.Errorf("ability %d, want %d", id.AbsentProofs, able)
			}
			st := w.stats()
			if want := int64(0); tc.proof == claim && st.WaitingLater != 1 || tc.proof != claim && st.WaitingLater != want || st.Waiting != 0 {
				t.Errorf("%d and %d rows wait", st.Waiting, st.WaitingLater)
			}
			if tc.reason.New() { // proofs do not compete with a backfill
				w.later(claimRest)
				w.proven(did, tc.proof)
			}
			w.later(bulkRest)
			w.settled(did)
			if r := w.repo(did); r.Proof == claim {
				t.Error("the claim was not proven")
			}
		})
	}
}

// What was observed of a host holds for its other repos.
func TestAHostIsRemembered(t *testing.T) {
	for name, tc := range map[string]struct {
		abilities     simnet.Abilities
		first, second string
	}{
		"that proves no absence":     {simnet.Abilities{NoAbsentProofs: true}, "getRecord getRepo", "getRepo"},
		"that describes wrong":       {simnet.Abilities{Collections: []string{"com.example.a"}}, "getRecord describeRepo getRecord getRepo", "getRecord+"},
		"that does all as it should": {simnet.Abilities{}, "getRecord describeRepo getRecord", "getRecord describeRepo getRecord"},
	} {
		t.Run(name, func(t *testing.T) {
			w, did := grown(t, establish.Auto, large)
			w.net.SetAbilities("pds1", tc.abilities)
			other, err := w.net.CreateAccount(0)
			if err != nil {
				t.Fatal(err)
			}
			w.grow(other, large)
			for i, did := range []string{did, other} {
				w.asked = nil
				w.enqueue(did, repostate.Backfill)
				w.work()
				if got := w.endpoints(); got != []string{tc.first, tc.second}[i] {
					t.Errorf("repo %d: asked %s", i, got)
				}
				w.same(did, true)
			}
		})
	}
}

// Whatever a host says in its description, the rows are right once the claim was
// looked into, and a host that was wrong is not believed for a month.
func TestEachLieOfADescriptionEndsInTheRightRows(t *testing.T) {
	for _, fault := range []simnet.FaultName{simnet.DescribesLess, simnet.DescribesMore} {
		for _, m := range []establish.Method{establish.Auto, establish.Describe} {
			t.Run(fmt.Sprintf("%s, %s", fault, m), func(t *testing.T) {
				w, did := grown(t, m, large)
				if err := w.net.Switch(simnet.Rule{Fault: fault, Times: 1}); err != nil {
					t.Fatal(err)
				}
				w.enqueue(did, repostate.Backfill)
				w.work()
				if w.net.Fired(fault) != 1 {
					t.Fatal("nobody was asked")
				}
				w.later(bulkRest)
				w.settled(did)
				r := w.repo(did)
				if r.Proof == repostate.ProofClaim || r.Identity.DescribeTrusted {
					t.Errorf("proof %d, believed again: %t", r.Proof, r.Identity.DescribeTrusted)
				}
			})
		}
	}
}

// A claim is wrong in a way that the two answers around it do not show: the proof of
// an hour later finds it.
func TestTheProofOfAWrongClaimEndsTheTrust(t *testing.T) {
	for name, list := range map[string][]string{
		"with one more": append([]string{"com.example.abc"}, kinds...),
		"with one less": slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return k == "com.example.bc" }),
	} {
		t.Run(name, func(t *testing.T) {
			w, did := grown(t, establish.Auto, large)
			w.enqueue(did, repostate.Backfill)
			w.work()
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if _, _, err := testrepo.Establish(tx, r, *r.Head, list, repostate.ProofClaim); err != nil {
					return err
				}
				return testrepo.Enqueue(tx, r, repostate.Prove, tx.Now())
			})
			w.work()
			w.proven(did, repostate.ProofProbe)
			if w.repo(did).Identity.DescribeTrusted {
				t.Error("describeRepo is still believed")
			}
		})
	}
}

// Claims that a commit has overtaken say nothing about describeRepo.
func TestARightClaimKeepsTheTrust(t *testing.T) {
	w, did := grown(t, establish.Auto, large)
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.proven(did, repostate.ProofClaim)
	if err := w.net.Create(did, "com.example.lost/a"); err != nil {
		t.Fatal(err)
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	w.work()
	w.proven(did, repostate.ProofProbe)
	if !w.repo(did).Identity.DescribeTrusted {
		t.Error("describeRepo is not believed any more")
	}
}

// refuse answers one endpoint as a host that does not want to.
func (w *scenario) refuse(endpoint string, status int, name string) {
	w.net.SetHook("pds1", simnet.Hook{HTTP: func(rw http.ResponseWriter, r *http.Request) bool {
		w.ask(r)
		if !strings.HasSuffix(r.URL.Path, "."+endpoint) {
			return false
		}
		if status == http.StatusTooManyRequests {
			rw.Header().Set("Retry-After", "40")
		}
		rw.WriteHeader(status)
		_, _ = fmt.Fprintf(rw, `{"error":%q,"message":"said the test"}`, name)
		return true
	}})
}

// An endpoint that fails again and again is at last not asked any more.
func TestAnEndpointThatAlwaysFailsIsGivenUp(t *testing.T) {
	for _, tc := range []struct {
		endpoint string
		proof    repostate.Proof
	}{{"describeRepo", repostate.ProofProbe}, {"getRecord", repostate.ProofTree}} {
		t.Run(tc.endpoint, func(t *testing.T) {
			w, did := grown(t, establish.Auto, large)
			w.refuse(tc.endpoint, http.StatusInternalServerError, "InternalServerError")
			w.enqueue(did, repostate.Backfill)
			w.work()
			for range 8 {
				w.later(time.Hour)
			}
			w.proven(did, tc.proof)
		})
	}
}

// A bridge does not serve repos in their first hours: that is no failure of the host,
// no claim is taken instead, and the host is not pressed.
func TestAYoungRepoIsWaitedFor(t *testing.T) {
	for _, m := range establish.Methods() {
		t.Run(m, func(t *testing.T) {
			w, did := grown(t, establish.Method(m), large)
			w.net.SetAbilities("pds1", simnet.BridgyAbilities())
			w.refuse("getRepo", http.StatusNotImplemented, "NotImplemented")
			old, err := w.net.CreateAccount(0)
			if err != nil {
				t.Fatal(err)
			}
			w.enqueue(did, repostate.Backfill)
			for range 11 {
				w.later(time.Hour)
			}
			r := w.repo(did)
			if r.State != repostate.Candidate || r.Seq > 0 {
				t.Errorf("state %s, visible %t", r.State, r.Seq > 0)
			}
			if n := w.count("getRepo"); n < 2 || n > 8 {
				t.Errorf("asked %d times in half a day", n)
			}
			w.net.SetHook("pds1", simnet.Hook{HTTP: w.answer})
			w.net.SetAbilities("pds1", simnet.Abilities{NoAbsentProofs: true})
			w.enqueue(old, repostate.Backfill)
			w.work()
			w.proven(old, repostate.ProofTree) // the host does not limited down
			w.later(youngMost)
			w.settled(did)
		})
	}
}

// A truncated or corrupt proof, or that of another account, is not believed; the repo
// is fetched.
func TestAnInvalidProofLeadsToTheRepo(t *testing.T) {
	for _, fault := range []simnet.FaultName{simnet.ShortArchive, simnet.CorruptArchive, simnet.HTMLPage, simnet.EmptyBody} {
		for _, m := range []establish.Method{establish.Auto, establish.Probe, establish.Describe} {
			t.Run(fmt.Sprintf("%s, %s", fault, m), func(t *testing.T) {
				w, did := grown(t, m, large)
				if err := w.net.Switch(simnet.Rule{Fault: fault, On: "getRecord", Times: 1}); err != nil {
					t.Fatal(err)
				}
				w.enqueue(did, repostate.Backfill)
				w.work()
				if w.net.Fired(fault) == 0 {
					t.Fatal("the fault did not act")
				}
				if w.repo(did).Identity.AbsentProofs == repostate.Unable {
					t.Error("the host is taken for one that proves no absence")
				}
				w.later(bulkRest)
				w.settled(did)
			})
		}
	}
}
