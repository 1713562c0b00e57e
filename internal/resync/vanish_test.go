package resync

import (
	"context"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

const invented = "did:plc:inventedinventedinvented"

func (w *scenario) known(did string) bool {
	w.t.Helper()
	var r *repostate.Repo
	w.update(func(tx *store.Tx) (err error) {
		r, err = tx.RepoByDID(did)
		return err
	})
	return r != nil
}

// A DID that nobody has ever made comes by the firehose, or by a listing. The
// directory says that it does not exist, and says it again ten minutes later,
// since replicas lag. Then nothing is left of it, and nobody is asked again.
func TestADIDThatNeverWasLeavesNoRow(t *testing.T) {
	w := newScenario(t, 1)
	w.enqueue(invented, repostate.FirstSight)
	w.work()
	w.later(notFoundSecond - time.Second)
	if !w.known(invented) {
		t.Fatal("one answer was believed")
	}
	w.later(2 * time.Second)
	if w.known(invented) {
		t.Error("it is still there")
	}
	if st := w.stats(); st.Waiting+st.WaitingLater != 0 || st.Repos[repostate.Candidate] != 0 {
		t.Errorf("left: %+v", st)
	}
	w.enqueue(invented, repostate.FirstSight)
	w.later(notFoundSecond)
	if !w.known(invented) {
		t.Error("the answers to its former row count for the new one")
	}
	w.sound()
}

// The directory is a little behind: it does not know an account that was made a
// moment ago. The second answer is the document, and the repo is fetched.
func TestAYoungDIDSurvivesADirectoryThatLags(t *testing.T) {
	w := newScenario(t, 1)
	did := w.net.DIDs()[0]
	slow := &lagging{Resolver: w.rs.cfg.Resolver}
	w.rs.cfg.Resolver = slow
	w.enqueue(did, repostate.FirstSight)
	w.work()
	if slow.asked != 1 {
		t.Fatalf("asked %d times", slow.asked)
	}
	w.later(notFoundSecond)
	w.settled(did)
	w.sound()
}

// lagging knows no DID when it is asked for the first time.
type lagging struct {
	Resolver
	asked int
}

func (l *lagging) Resolve(ctx context.Context, did string) (identity.Identity, error) {
	if l.asked++; l.asked == 1 {
		return identity.Identity{}, refusal.New(refusal.IdentityUnresolved, "%w", identity.ErrNoDocument)
	}
	return l.Resolver.Resolve(ctx, did)
}

// A host lists a DID whose document is none of an account. It stays a candidate of the
// host, however often it is tried.
func TestADocumentWithoutAccountLeavesACandidate(t *testing.T) {
	w := newScenario(t, 1)
	w.rs.cfg.Resolver = broken{refusal.New(refusal.IdentityInvalid, "no PDS")}
	var host int64
	w.update(func(tx *store.Tx) error {
		id, err := tx.ListHost("liar.example.com", false, "active")
		if host = id.Server; err != nil {
			return err
		}
		return testrepo.List(tx, map[string]repostate.Entry{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa": {Active: true, Host: host, Candidate: true}})
	})
	for range 3 {
		w.later(25 * time.Hour)
	}
	w.update(func(tx *store.Tx) error {
		c, err := tx.Candidates(host)
		if c.Left != 99 {
			t.Errorf("the host may have %d candidates more, want 99", c.Left)
		}
		return err
	})
	w.sound()
}

type broken struct{ err error }

func (b broken) EarlierKeys(context.Context, string) ([]identity.EarlierKey, error) {
	return nil, b.err
}

func (b broken) Resolve(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, b.err
}

// A listing shows a rev that the host does not have, today, tomorrow and the day
// after. It costs one fetch. A rev that differs is a reason again.
func TestAWrongRevThatIsListedForEverCostsOneFetch(t *testing.T) {
	w, did := filled(t)
	state, _ := w.net.Repo(did)
	list := func(rev atproto.TID) {
		w.list(did, rev)
		w.later(repostate.MissedGrace)
	}
	lie := atproto.TIDAt(w.now.Add(-2 * time.Hour))
	if lie <= state.Rev {
		lie = atproto.TIDAt(w.now.Add(48 * time.Hour))
	}
	for day := range 5 {
		list(lie)
		w.later(24 * time.Hour)
		if n := w.count("getRepo"); n != 1 {
			t.Fatalf("%d fetches after %d days", n, day+1)
		}
	}
	list(lie + 1) // twice, because the document that names the host is old by now
	if n := w.count("getRepo"); n != 3 {
		t.Errorf("%d fetches after another rev", n)
	}
	w.settled(did)
	w.sound()
}

// The rev of a commit that was made this minute, and whose event was lost, is listed.
// The host's replica has not got it yet. That does not make the rev harmless: the
// next listing is a reason again.
func TestAYoungRevIsNotTakenForHarmless(t *testing.T) {
	w, did := filled(t)
	rev := atproto.TIDAt(w.now.Add(-time.Minute))
	state, _ := w.net.Repo(did)
	if rev <= state.Rev {
		rev = state.Rev + 1000
	}
	for range 2 {
		w.list(did, rev)
		w.later(repostate.MissedGrace)
	}
	if n := w.count("getRepo"); n != 2 {
		t.Errorf("%d fetches, want one a listing", n)
	}
}

func (w *scenario) sound() {
	w.t.Helper()
	_, broken, err := w.st.Check(w.t.Context())
	if err != nil || len(broken) > 0 {
		w.t.Errorf("the file's rules: %+v, %v", broken, err)
	}
}

// The directory names a wrong host, once: a replica that lags, or a mistake that is
// mended a minute later without an #identity. The host does not answer, and the
// document is looked up again before it is asked for the third time.
func TestAHostThatDoesNotAnswerMayBeTheWrongOne(t *testing.T) {
	w := newScenario(t, 2)
	did := w.net.DIDs()[0]
	if err := w.net.Switch(simnet.Rule{Fault: simnet.NamesOther, DID: did, Times: 1}); err != nil {
		t.Fatal(err)
	}
	w.enqueue(did, repostate.Backfill)
	w.work()
	if r := w.repo(did); w.net.Fired(simnet.NamesOther) != 1 || r.Seq > 0 {
		t.Fatalf("lied %d times, visible %t", w.net.Fired(simnet.NamesOther), r.Seq > 0)
	}
	for range 20 {
		w.later(time.Minute)
	}
	w.settled(did)
}
