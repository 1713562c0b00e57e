package establish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"railyard/internal/pds"
	"railyard/internal/refusal"
)

// How large the repos of these tests are: one answer of getRecord shows all of a
// tiny one; fetching a small one costs less than proofs; a large one is to be
// proven.
const (
	tiny  = 1
	small = 60
	large = 2000
)

// What is asked of a host, and how good the answer is.
func TestWhatIsAskedOfAHost(t *testing.T) {
	bridge := func(s *server) {
		s.answer = func(question, []byte) ([]byte, error) { return nil, &pds.Error{Outcome: pds.NoRecord} }
	}
	liar := func(s *server) { s.listed = []string{"com.example.invented"} }
	silent := func(s *server) { s.listed = []string{} }
	honest := func(*server) {}
	new, live, prove := Request{New: true}, Request{}, Request{MustProve: true}
	for _, tc := range []struct {
		name    string
		method  Method
		host    func(*server)
		records int
		request Request
		asked   string
		proof   Proof
	}{
		{"auto, tiny, new", Auto, honest, tiny, new, "getRecord", ByTree},
		{"auto, tiny, live", Auto, honest, tiny, live, "getRecord", ByTree},
		{"auto, empty", Auto, honest, 0, new, "getRecord", ByTree},
		{"auto, small, new", Auto, honest, small, new, "getRecord getRepo", ByTree},
		{"auto, small, live", Auto, honest, small, live, "getRecord getRepo", ByTree},
		{"auto, large, new", Auto, honest, large, new, "getRecord describeRepo getRecord", ByDescription},
		{"auto, large, live", Auto, honest, large, live, "getRecord+", ByProbes},
		{"auto, large, proof", Auto, honest, large, prove, "getRecord+", ByProbes},
		{"auto, large, new, bridge", Auto, bridge, large, new, "getRecord getRepo", ByTree},
		{"auto, tiny, live, bridge", Auto, bridge, tiny, live, "getRecord getRepo", ByTree},
		{"auto, large, new, wrong list", Auto, liar, large, new, "getRecord describeRepo getRecord getRepo", ByTree},
		{"auto, large, new, empty list", Auto, silent, large, new, "getRecord describeRepo getRecord getRepo", ByTree},
		{"auto, tiny, new, wrong list", Auto, liar, tiny, new, "getRecord", ByTree},
		{"probe, tiny", Probe, honest, tiny, new, "getRecord", ByTree},
		{"probe, small", Probe, honest, small, new, "getRecord+", ByProbes},
		{"probe, large", Probe, honest, large, new, "getRecord+", ByProbes},
		{"probe, large, bridge", Probe, bridge, large, new, "getRecord getRepo", ByTree},
		{"describe, tiny", Describe, honest, tiny, new, "getRecord", ByTree},
		{"describe, small", Describe, honest, small, new, "getRecord describeRepo getRecord", ByDescription},
		{"describe, large, live", Describe, honest, large, live, "getRecord describeRepo getRecord", ByDescription},
		{"describe, large, proof", Describe, honest, large, prove, "getRecord+", ByProbes},
		{"describe, large, bridge", Describe, bridge, large, new, "getRecord getRepo", ByTree},
		{"repo, tiny", WholeRepo, honest, tiny, new, "getRepo", ByTree},
		{"repo, large", WholeRepo, honest, large, live, "getRepo", ByTree},
		{"repo, large, bridge", WholeRepo, bridge, large, new, "getRepo", ByTree},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := holding(t, tc.records)
			tc.host(s)
			q, paced := s.request(), 0
			q.New, q.MustProve = tc.request.New, tc.request.MustProve
			q.Pace = func(context.Context) error { paced++; return nil }
			found, observed, err := s.establisher(tc.method).Repo(t.Context(), q)
			must(t, err)
			if s.asked() != tc.asked || paced != len(s.methods) {
				t.Errorf("asked %s after %d waits, want %s", s.asked(), paced, tc.asked)
			}
			if found.Proof != tc.proof || found.OldKey || found.Head.Rev != s.rev || found.Head.Data != s.root.digest || !slices.Equal(found.Collections, truth(s.keys)) {
				t.Errorf("found %+v", found)
			}
			isBridge := s.answer != nil && tc.method != WholeRepo
			isLiar := s.listed != nil && tc.records != tiny
			able := !slices.Contains(s.methods, "getRepo")
			if observed.NoAbsenceProofs != isBridge || observed.WrongDescription != isLiar || observed.AbsenceProofs != able || (observed.Invalid != nil) != isLiar {
				t.Errorf("observed %+v", observed)
			}
		})
	}
}

// A repo that is not there does not show why its records are not.
func TestABridgeIsTakenForOneOnlyIfTheRepoIsThere(t *testing.T) {
	s := holding(t, large)
	s.fails["getRecord"] = &pds.Error{Outcome: pds.NoRecord}
	s.fails["getRepo"] = &pds.Error{Outcome: pds.NotFound}
	_, observed, err := s.establisher(Auto).Repo(t.Context(), s.request())
	if e, ok := errors.AsType[*pds.Error](err); !ok || e.Outcome != pds.NotFound || observed != (Observed{}) {
		t.Errorf("observed %+v, %v", observed, err)
	}
}

// A refusal by rate, or a word about the account, ends the attempt: it never leads
// to a heavier request.
func TestARefusalIsNotAnsweredWithAHeavierRequest(t *testing.T) {
	for _, tc := range []struct {
		method  string
		outcome pds.Outcome
		asked   string
	}{
		{"getRecord", pds.RateLimited, "getRecord"},
		{"getRecord", pds.Takendown, "getRecord"},
		{"getRecord", pds.NotFound, "getRecord"},
		{"getRecord", pds.Transient, "getRecord"},
		{"getRecord", pds.Unsupported, "getRecord getRepo"},
		{"describeRepo", pds.RateLimited, "getRecord describeRepo"},
		{"describeRepo", pds.Takendown, "getRecord describeRepo"},
		{"describeRepo", pds.Transient, "getRecord describeRepo"},
		{"describeRepo", pds.Unsupported, "getRecord describeRepo getRepo"},
	} {
		s := holding(t, large)
		q := s.request()
		q.New, s.fails[tc.method] = true, &pds.Error{Outcome: tc.outcome}
		_, observed, err := s.establisher(Auto).Repo(t.Context(), q)
		if (err == nil) != (tc.outcome == pds.Unsupported) || s.asked() != tc.asked || observed != (Observed{}) {
			t.Errorf("%s, %s: asked %s, observed %+v, %v", tc.method, tc.outcome, s.asked(), observed, err)
		}
	}
}

func TestAnInvalidProofLeadsToTheRepo(t *testing.T) {
	for _, m := range []Method{Auto, Probe, Describe} {
		s := holding(t, large)
		s.answer = func(_ question, car []byte) ([]byte, error) { return car[:len(car)-1], nil }
		found, observed, err := s.establisher(m).Repo(t.Context(), s.request())
		if err != nil || found.Proof != ByTree || observed.NoAbsenceProofs || observed.Invalid == nil || observed.Invalid.Reason != refusal.BadCAR {
			t.Errorf("%s: %+v, %+v, %v", m, found, observed, err)
		}
	}
}

func TestAPaceThatEndsTheAttempt(t *testing.T) {
	cooling := errors.New("the host cools down")
	for allowed, want := range []string{"", "getRecord", "getRecord describeRepo", "getRecord describeRepo getRecord"} {
		s := holding(t, large)
		q, left := s.request(), allowed
		q.New = true
		q.Pace = func(context.Context) error {
			if left--; left < 0 {
				return cooling
			}
			return nil
		}
		_, _, err := s.establisher(Auto).Repo(t.Context(), q)
		if s.asked() != want || errors.Is(err, cooling) != (allowed < 3) {
			t.Errorf("after %d: asked %s, %v", allowed, s.asked(), err)
		}
	}
}

func TestAnotherAccountsRepoIsRefused(t *testing.T) {
	for _, m := range Methods() {
		s := holding(t, large)
		s.did = otherDID
		s.sign()
		_, _, err := s.establisher(Method(m)).Repo(t.Context(), s.request())
		wantReason(t, err, refusal.AnswerWrongDID)
	}
}

// A rev of the future is refused however it is asked for.
func TestARevOfTheFutureIsRefused(t *testing.T) {
	for _, m := range Methods() {
		for _, records := range []int{tiny, large} {
			s := holding(t, records)
			for early, fine := range map[time.Duration]bool{4 * time.Minute: true, 6 * time.Minute: false} {
				e := s.establisher(Method(m))
				e.cfg.Now = func() time.Time { return s.rev.Time().Add(-early) }
				if _, _, err := e.Repo(t.Context(), s.request()); !fine {
					wantReason(t, err, refusal.FutureRev)
				} else if err != nil {
					t.Errorf("%s, %s early: %v", m, early, err)
				}
			}
		}
	}
}

func TestTooManyCollectionsAreRefused(t *testing.T) {
	keys := make([]string, refusal.MaxCollections+1)
	for i := range keys {
		keys[i] = fmt.Sprintf("com.example.n%d/x", i)
	}
	s := serverOf(newHost(t, keys...))
	_, _, err := s.establisher(WholeRepo).Repo(t.Context(), s.request())
	wantReason(t, err, refusal.RepoTooBig)
	s.hold(keys[1:]...)
	found, _, err := s.establisher(WholeRepo).Repo(t.Context(), s.request())
	if err != nil || len(found.Collections) != refusal.MaxCollections {
		t.Errorf("%v", err)
	}
}
