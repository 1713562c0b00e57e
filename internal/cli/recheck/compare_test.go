package recheck

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

func TestAnHonestNetworkIsEqual(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 1, PDS: 3, Accounts: 40}, func(y *testHosts) {
		y.cfg.QPS = 4
		for i := range 3 {
			y.watch(fmt.Sprintf("pds%d", i+1), nil)
		}
		told := 0
		y.cfg.Progress = func(done, all int) {
			if told = max(told, done); all != 40 {
				t.Errorf("%d of %d", done, all)
			}
		}
		for did, f := range y.all() {
			if f.Verdict != Equal || f.StaleIdentity != "" || f.Missing != nil || f.Extra != nil || f.FileRev != f.HostRev || !f.Decided() || f.Wrong() {
				t.Errorf("%s: %+v", did, f)
			}
		}
		if told != 40 {
			t.Errorf("progress up to %d", told)
		}
		dids := slices.Compact(slices.Sorted(slices.Values(y.asked)))
		if len(y.asked) != 40 || len(dids) != 40 || y.most != 3 {
			t.Errorf("%d requests for %d repos, %d at once", len(y.asked), len(dids), y.most)
		}
		for i := range 3 {
			if peak := y.Traffic(fmt.Sprintf("pds%d", i+1)).Peak[10*time.Second]; peak > 41 {
				t.Errorf("%d requests in ten seconds to one host", peak)
			}
		}
		if n := y.Traffic("plc").Requests["did"]; n != 80 { // 40 to index them
			t.Errorf("%d documents", n)
		}
	})
}

func TestOneHostIsAskedForOneThingAtATimeAtItsRate(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 2, Accounts: 30}, func(y *testHosts) {
		y.cfg.QPS = 2
		y.watch("pds1", nil)
		begun := time.Now()
		y.all()
		if took := time.Since(begun); y.most != 1 || took < 14*time.Second || took > 20*time.Second {
			t.Errorf("%d at once, in %s", y.most, took)
		}
	})
	// A host whose policy is one request in three years.
	withTestHosts(t, simnet.Config{Seed: 27, Accounts: 4}, func(y *testHosts) {
		y.watch("pds1", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("RateLimit-Policy", "1;w=100000000")
			return false
		})
		begun := time.Now()
		for did, f := range y.all() {
			if f.Verdict != Equal {
				t.Errorf("%s: %+v", did, f)
			}
		}
		if took := time.Since(begun); took < time.Minute || took > 4*time.Minute {
			t.Errorf("took %s", took)
		}
	})
	// Two groups of the file, one host of the documents.
	withTestHosts(t, simnet.Config{Seed: 25, PDS: 3}, func(y *testHosts) {
		for i := range 6 {
			y.must(y.Migrate(y.made(i%2, "com.example.a"), simnet.Migration{To: 2}))
		}
		y.watch("pds3", nil)
		y.all()
		if y.most != 1 || len(y.asked) != 6 {
			t.Errorf("%d at once, %d in all", y.most, len(y.asked))
		}
	})
}

func TestAPlantedRowIsFound(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 3, PDS: 2, Accounts: 20}, func(y *testHosts) {
		lacks := y.made(0, "com.example.a", "com.example.b", "com.example.c")
		hidden := y.made(1, "com.example.a", "com.example.b")
		more := y.made(1, "com.example.a")
		other, resigned := y.made(0, "com.example.a"), y.made(0)
		row := func(did, nsid string) string {
			return fmt.Sprintf(" WHERE repo_id = (SELECT id FROM repo WHERE did = '%s') AND collection_id = (SELECT id FROM collection WHERE nsid = '%s');", did, nsid)
		}
		y.plant("DELETE FROM membership" + row(lacks, "com.example.b") +
			"UPDATE membership SET seq = -seq" + row(hidden, "com.example.a") +
			"INSERT INTO membership SELECT r.id, c.id, 900, 1 FROM repo r, collection c WHERE r.did = '" + more + "' AND c.nsid = 'com.example.c';" +
			"UPDATE repo_head SET data = zeroblob(32) WHERE repo_id = (SELECT id FROM repo WHERE did = '" + other + "');" +
			"UPDATE repo_head SET cid = zeroblob(32) WHERE repo_id = (SELECT id FROM repo WHERE did = '" + resigned + "');")
		begun := time.Now()
		found := y.all()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("what is sure took %s", took)
		}
		for did, want := range map[string]Finding{
			lacks: {Missing: []string{"com.example.b"}}, hidden: {Missing: []string{"com.example.a"}},
			more: {Extra: []string{"com.example.c"}}, other: {Detail: "data"}, resigned: {Detail: "commit"},
		} {
			f := found[did]
			if f.Verdict != Differs || !f.Wrong() || !slices.Equal(f.Missing, want.Missing) || !slices.Equal(f.Extra, want.Extra) ||
				!strings.Contains(f.Detail, want.Detail) || (f.Detail == "") != (want.Detail == "") {
				t.Errorf("%+v, want %+v", f, want)
			}
			delete(found, did)
		}
		for did, f := range found {
			if f.Verdict != Equal {
				t.Errorf("%s: %+v", did, f)
			}
		}
	})
}

// A running service catches up while the sample waits: nobody is asked again.
func TestAFileThatCatchesUpIsComparedWithWhatWasFetched(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 4}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		y.watch("pds1", nil)
		y.must(y.Create(did, "com.example.b/1"))
		y.after(5*time.Second, func() { y.index(did) })
		if f := y.one(did); f.Verdict != Equal || len(y.asked) != 1 {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
	})
}

func TestAFileThatDoesNotCatchUpIsBehind(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 5}, func(y *testHosts) {
		changed, same := y.made(0, "com.example.a", "com.example.b"), y.made(0, "com.example.a")
		y.watch("pds1", nil)
		y.must(y.Create(changed, "com.example.c/1"))
		y.must(y.Delete(changed, "com.example.a/1"))
		y.must(y.Create(same, "com.example.a/2"))
		found := y.all()
		f := found[changed]
		if f.Verdict != Behind || f.FileRev >= f.HostRev || f.Decided() || f.Wrong() ||
			!slices.Equal(f.Missing, []string{"com.example.c"}) || !slices.Equal(f.Extra, []string{"com.example.a"}) {
			t.Errorf("%+v", f)
		}
		if f := found[same]; f.Verdict != Behind || f.Missing != nil || f.Extra != nil || !f.Decided() {
			t.Errorf("%+v", f)
		}
		if len(y.asked) != 2 {
			t.Errorf("%d requests", len(y.asked))
		}
	})
}

// The commit that was fetched is one between those that the file has before and
// after: the repo is fetched anew.
func TestAFileThatGoesByIsReadAgain(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 6}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		y.watch("pds1", nil)
		y.must(y.Create(did, "com.example.b/1"))
		y.after(time.Second, func() {
			y.must(y.Create(did, "com.example.c/1"))
			y.index(did)
		})
		if f := y.one(did); f.Verdict != Equal || len(y.asked) != 2 {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
	})
}

// A commit comes while the repo is fetched: the row of before has the fetched rev.
func TestARepoThatMovesDuringTheFetchIsComparedWithTheRowOfBefore(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		withTestHosts(t, simnet.Config{Seed: 7}, func(y *testHosts) {
			did := y.made(0, "com.example.a", "com.example.b")
			if wrong {
				y.plant("DELETE FROM membership WHERE collection_id = (SELECT id FROM collection WHERE nsid = 'com.example.b')")
			}
			old, err := y.Repo(did)
			y.must(err)
			car := y.car(did)
			y.watch("pds1", func(w http.ResponseWriter, _ *http.Request) bool {
				y.must(y.Create(did, "com.example.c/1"))
				y.index(did)
				_, _ = w.Write(car)
				return true
			})
			f := y.one(did)
			if len(y.asked) != 1 || f.FileRev != old.Rev || f.HostRev != old.Rev || (f.Verdict == Differs) != wrong || (f.Verdict == Equal) == wrong {
				t.Errorf("%d requests, wrong %t: %+v", len(y.asked), wrong, f)
			}
			if wrong && !slices.Equal(f.Missing, []string{"com.example.b"}) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestAStaleReplicaIsAhead(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 8}, func(y *testHosts) {
		did := y.made(0, "com.example.a", "com.example.b", "com.example.c")
		y.watch("pds1", nil)
		y.must(y.Switch(simnet.Rule{Fault: simnet.StaleReplica}))
		if f := y.one(did); f.Verdict != Ahead || f.FileRev <= f.HostRev || f.Decided() || f.Wrong() || len(y.asked) != 4 {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
		y.after(5*time.Second, y.SwitchOff)
		if f := y.one(did); f.Verdict != Equal {
			t.Errorf("%+v", f)
		}
	})
}

func TestAHostThatCannotBeReached(t *testing.T) {
	for _, fault := range []simnet.FaultName{simnet.ServerError, simnet.HTMLPage, simnet.UnknownError} {
		withTestHosts(t, simnet.Config{Seed: 9, PDS: 2, Accounts: 20}, func(y *testHosts) {
			y.watch("pds1", nil)
			y.must(y.Switch(simnet.Rule{Fault: fault, Host: "pds1"}))
			counts := map[Verdict]int{}
			for did, f := range y.all() {
				if counts[f.Verdict]++; f.Verdict == Unreachable && (f.Decided() || f.Wrong() || f.Detail == "") {
					t.Errorf("%s: %+v", did, f)
				}
			}
			if fault == simnet.HTMLPage { // with status 200
				counts[Unreachable] += counts[Refused]
			}
			if counts[Unreachable] != 10 || counts[Equal] != 10 {
				t.Errorf("%s: %v", fault, counts)
			}
			if fault != simnet.HTMLPage && len(y.asked) > 6 { // three, and one in each round that follows
				t.Errorf("%s: asked %d times", fault, len(y.asked))
			}
		})
	}
	withTestHosts(t, simnet.Config{Seed: 10, PDS: 2, Accounts: 20}, func(y *testHosts) {
		y.SetDown("pds1", true)
		y.after(3*time.Second, func() { y.SetDown("pds1", false) })
		for did, f := range y.all() {
			if f.Verdict != Equal {
				t.Errorf("it came back, but %s: %+v", did, f)
			}
		}
	})
	withTestHosts(t, simnet.Config{Seed: 26, Accounts: 10}, func(y *testHosts) {
		y.SetDown("pds1", true)
		y.after(12*time.Second, func() { y.SetDown("pds1", false) })
		counts := map[Verdict]int{}
		for _, f := range y.all() {
			counts[f.Verdict]++
		}
		if counts[Unreachable] != 1 || counts[Equal] != 9 { // one was asked for three times, others were left alone
			t.Errorf("%v", counts)
		}
	})
	withTestHosts(t, simnet.Config{Seed: 11, Accounts: 50}, func(y *testHosts) {
		before := y.Traffic("plc").Requests["did"]
		y.SetDown("plc", true)
		for did, f := range y.all() {
			if f.Verdict != Unreachable || f.Host != "" {
				t.Errorf("no directory, but %s: %+v", did, f)
			}
		}
		if n := y.Traffic("plc").Requests["did"] - before; n != 0 || len(y.asked) != 0 {
			t.Errorf("%d documents, %d repos", n, len(y.asked))
		}
	})
	withTestHosts(t, simnet.Config{Seed: 28, Accounts: 4}, func(y *testHosts) {
		y.must(y.Switch(simnet.Rule{Fault: simnet.NoAnswer, Host: "plc"}))
		for did, f := range y.all() {
			if f.Verdict != Unreachable {
				t.Errorf("the directory does not answer, but %s: %+v", did, f)
			}
		}
		if y.Fired(simnet.NoAnswer) == 0 {
			t.Error("it answered")
		}
	})
}

func TestAHostThatRefusesByRateIsLeftAlone(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 12, Accounts: 10}, func(y *testHosts) {
		y.watch("pds1", nil)
		y.SetRate("pds1", simnet.Rate{Requests: 4, Window: 5 * time.Minute})
		counts := map[Verdict]int{}
		for _, f := range y.all() {
			counts[f.Verdict]++
		}
		if counts[Equal] != 4 || counts[Unreachable] != 6 || y.Traffic("pds1").Refused > 0 {
			t.Errorf("%v, refused %d", counts, y.Traffic("pds1").Refused)
		}
	})
	withTestHosts(t, simnet.Config{Seed: 13, Accounts: 10}, func(y *testHosts) {
		y.SetRate("pds1", simnet.Rate{Requests: 4, Window: time.Minute, Bare: true}) // tells nothing
		counts := map[Verdict]int{}
		for _, f := range y.all() {
			counts[f.Verdict]++
		}
		if refused := y.Traffic("pds1").Refused; counts[Equal] != 4 || counts[Unreachable] != 6 || refused > 3 {
			t.Errorf("%v, refused %d", counts, refused)
		}
	})
}

// What the service knows of a host holds here, too: it may have asked a lot.
func TestTheLimitsOfTheFileAreKept(t *testing.T) {
	limit := func(y *testHosts, fn func(tx *store.Tx, host int64) error) {
		y.update(y.DIDs()[0], func(tx *store.Tx, r *repostate.Repo) error { return fn(tx, r.Identity.HostID) })
	}
	withTestHosts(t, simnet.Config{Seed: 31, Accounts: 4}, func(y *testHosts) {
		y.watch("pds1", nil)
		limit(y, func(tx *store.Tx, host int64) error { return tx.CoolHost(host, tx.Now().Add(10*time.Minute)) })
		for did, f := range y.all() {
			if f.Verdict != Unreachable || !strings.Contains(f.Detail, "left alone") {
				t.Errorf("%s: %+v", did, f)
			}
		}
		if len(y.asked) > 0 {
			t.Errorf("asked %d times", len(y.asked))
		}
		time.Sleep(10 * time.Minute)
		for did, f := range y.all() {
			if f.Verdict != Equal {
				t.Errorf("later, %s: %+v", did, f)
			}
		}
	})
	withTestHosts(t, simnet.Config{Seed: 32, Accounts: 4}, func(y *testHosts) {
		limit(y, func(tx *store.Tx, host int64) error { return tx.SetRate(host, 0.1) })
		start := time.Now()
		for did, f := range y.all() {
			if f.Verdict != Equal {
				t.Errorf("%s: %+v", did, f)
			}
		}
		if took := time.Since(start); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("four requests, one in ten seconds, took %s", took)
		}
	})
}

func TestAnAccountThatIsGone(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 14}, func(y *testHosts) {
		end := map[string]func(string) error{
			"deactivated": y.Deactivate, "takendown": y.Takedown, "not-found": y.DeleteAccount, "no document": y.Tombstone,
		}
		says, late := map[string]string{}, y.made(0, "com.example.a")
		for word, verb := range end {
			did := y.made(0, "com.example.a")
			says[did] = word
			y.must(verb(did))
		}
		y.must(y.Suspend(late))
		y.after(5*time.Second, func() {
			y.update(late, func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Leave(tx, r, "suspended") })
		})
		found := y.all()
		for did, word := range says {
			if f := found[did]; f.Verdict != Gone || !f.Contradiction || !f.Wrong() || !f.Decided() || !strings.Contains(f.Detail, word) {
				t.Errorf("%s: %+v", word, f)
			}
		}
		if f := found[late]; f.Verdict != Gone || f.Contradiction || f.Wrong() || !strings.Contains(f.Detail, "suspended") {
			t.Errorf("%+v", f)
		}
	})
}

// One attempt is no contradiction, and neither is what the service is about to check.
func TestAContradictionIsSaidMoreThanOnce(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 15}, func(y *testHosts) {
		once, queued := y.made(0, "com.example.a"), y.made(0, "com.example.a")
		y.must(y.Switch(simnet.Rule{Fault: simnet.DeniesRepo, DID: once, Times: 1}))
		y.must(y.Deactivate(queued))
		y.after(time.Second, func() {
			y.update(queued, func(tx *store.Tx, r *repostate.Repo) error {
				return testrepo.Enqueue(tx, r, repostate.StatusCheck, tx.Now().Add(time.Hour))
			})
		})
		found := y.all()
		if f := found[once]; f.Verdict != Equal {
			t.Errorf("%+v", f)
		}
		if f := found[queued]; f.Verdict != Gone || f.Contradiction {
			t.Errorf("%+v", f)
		}
		y.must(y.Activate(queued))
		y.cfg.Pauses = []time.Duration{}
		y.must(y.Deactivate(once))
		if f := y.one(once); f.Verdict != Gone || f.Contradiction {
			t.Errorf("%+v", f)
		}
	})
}

// It was gone, and back, and is gone again: that was said once.
func TestARepoThatComesAndGoesIsNoContradiction(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 27}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		old := y.car(did)
		y.must(y.Create(did, "com.example.b/1"))
		y.index(did)
		y.watch("pds1", func(w http.ResponseWriter, _ *http.Request) bool {
			if len(y.asked) == 1 || len(y.asked) == 4 {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"RepoNotFound"}`))
				return true
			}
			_, _ = w.Write(old)
			return true
		})
		if f := y.one(did); f.Verdict != Gone || f.Contradiction || len(y.asked) != 4 {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
	})
}

// A directory that lags names a host that the account has left.
func TestTheWordOfAnotherHostIsNoContradiction(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 24, PDS: 2, Accounts: 8}, func(y *testHosts) {
		y.must(y.Switch(simnet.Rule{Fault: simnet.NamesOther}))
		gone := 0
		for did, f := range y.all() {
			if f.Verdict != Gone && f.Verdict != Unreachable || f.Wrong() || f.StaleIdentity == "" {
				t.Errorf("%s: %+v", did, f)
			}
			if f.Verdict == Gone {
				gone++
			}
		}
		if gone == 0 {
			t.Error("no host had a word")
		}
	})
}

func TestARepoOutOfServiceHasMoved(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 16}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		y.update(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
		})
		y.watch("pds1", nil)
		if f := y.one(did); f.Verdict != Moved || len(y.asked) != 0 || f.Decided() || !strings.Contains(f.Detail, "desynchronized") {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
		y.after(5*time.Second, func() { y.index(did) })
		if f := y.one(did); f.Verdict != Equal || len(y.asked) != 1 {
			t.Errorf("%d requests, %+v", len(y.asked), f)
		}
		// A wrong row that the service is about to check is no finding.
		y.plant("DELETE FROM membership")
		y.update(did, func(tx *store.Tx, r *repostate.Repo) error {
			return testrepo.Enqueue(tx, r, repostate.Audit, tx.Now().Add(time.Hour))
		})
		if f := y.one(did); f.Verdict != Moved || !strings.Contains(f.Detail, "queue") {
			t.Errorf("%+v", f)
		}
	})
}

func TestAnAccountThatMigratedHasAStaleIdentityRow(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 17, PDS: 2}, func(y *testHosts) {
		quiet, wrote, late := y.made(0, "com.example.a"), y.made(0, "com.example.a"), y.made(0, "com.example.a")
		rotated := y.made(0, "com.example.a")
		for _, did := range []string{quiet, wrote, late} {
			y.must(y.Migrate(did, simnet.Migration{To: 1}))
		}
		y.must(y.Create(wrote, "com.example.b/1"))
		y.must(y.RotateKey(rotated))
		y.after(5*time.Second, func() { y.indexAs(late, repostate.ProofOldKey) })
		found := y.all()
		host := strings.TrimPrefix(y.PDS(1), "http://")
		for did, want := range map[string]Verdict{quiet: Equal, wrote: Behind, late: Equal, rotated: Behind} {
			f := found[did]
			if f.Verdict != want || (f.StaleIdentity == "") != (did == late) || f.Wrong() || (f.Host == host) != (did != rotated) {
				t.Errorf("%+v, want %s", f, want)
			}
		}
		if f := found[quiet]; !strings.Contains(f.StaleIdentity, "names "+y.PDS(1)) {
			t.Errorf("%+v", f)
		}
		if f := found[rotated]; !strings.Contains(f.StaleIdentity, "key z") {
			t.Errorf("%+v", f)
		}
		// A row that asks for another look-up by itself promises nothing.
		y.update(rotated, func(tx *store.Tx, r *repostate.Repo) error {
			return errors.Join(testrepo.MarkStale(tx, r), testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now().Add(time.Hour)))
		})
		if f := y.one(rotated); f.Verdict != Behind || f.StaleIdentity != "" {
			t.Errorf("%+v", f)
		}
		// The file that knows the move accepts the earlier key, and no other does.
		if f := y.one(late); f.Verdict != Equal || f.StaleIdentity != "" {
			t.Errorf("%+v", f)
		}
	})
}

func TestAnEarlierKeyCountsWhereTheFileSaysSo(t *testing.T) {
	withTestHosts(t, simnet.Config{Seed: 18, PDS: 2}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		y.must(y.AnnounceKey(did)) // the directory is ahead of the host
		if f := y.one(did); f.Verdict != Equal || f.StaleIdentity == "" {
			t.Errorf("the head that the file holds: %+v", f)
		}
		y.must(y.Create(did, "com.example.b/1"))
		if f := y.one(did); f.Verdict != Refused || !strings.Contains(f.Detail, "bad-signature") || f.Wrong() || f.Decided() {
			t.Errorf("a later one: %+v", f)
		}
		y.indexAs(did, repostate.ProofOldKey)
		if f := y.one(did); f.Verdict != Equal || f.StaleIdentity != "" {
			t.Errorf("the file knows: %+v", f)
		}
		y.must(y.Switch(simnet.Rule{Fault: simnet.StaleReplica}))
		if f := y.one(did); f.Verdict != Ahead {
			t.Errorf("an earlier one of the same key: %+v", f)
		}
	})
}

func TestHostileAnswersAreRefused(t *testing.T) {
	for fault, verdicts := range map[simnet.FaultName][]Verdict{
		simnet.ShortArchive: {Refused}, simnet.CorruptArchive: {Refused}, simnet.ForeignArchive: {Refused}, simnet.EmptyBody: {Refused},
		simnet.EndlessBody: {Refused, Unreachable}, simnet.HalfBody: {Refused, Unreachable}, simnet.CutBody: {Refused, Unreachable},
		simnet.Drip: {Unreachable, Refused}, simnet.NoAnswer: {Unreachable}, simnet.PrivateRedirect: {Refused, Unreachable},
	} {
		t.Run(string(fault), func(t *testing.T) {
			withTestHosts(t, simnet.Config{Seed: 19, Accounts: 4}, func(y *testHosts) {
				y.cfg.Hosts.RepoMaxBytes = 1 << 20
				y.must(y.Switch(simnet.Rule{Fault: fault, Host: "pds1", On: "getRepo"}))
				met := map[Verdict]int{}
				for did, f := range y.all() {
					if met[f.Verdict]++; fault == simnet.ShortArchive && f.Verdict == Equal {
						continue // only records are missing
					}
					if !slices.Contains(verdicts, f.Verdict) || f.Decided() || f.Wrong() || f.Detail == "" || len(f.Detail) > 600 {
						t.Errorf("%s: %+v", did, f)
					}
					if fault == simnet.ForeignArchive && !strings.Contains(f.Detail, "answer-wrong-did") { // whoever has signed it
						t.Errorf("%s: %+v", did, f)
					}
				}
				if y.Fired(fault) == 0 || met[Equal] > 3 {
					t.Errorf("it fired %d times: %v", y.Fired(fault), met)
				}
			})
		})
	}
	for _, fault := range []simnet.FaultName{simnet.ForeignKey, simnet.WrongID, simnet.NoService} {
		t.Run(string(fault), func(t *testing.T) {
			withTestHosts(t, simnet.Config{Seed: 20}, func(y *testHosts) {
				did := y.made(0, "com.example.a")
				y.must(y.Create(did, "com.example.b/1"))
				y.must(y.Switch(simnet.Rule{Fault: fault}))
				if f := y.one(did); f.Verdict != Refused || f.Wrong() {
					t.Errorf("%+v", f)
				}
			})
		})
	}
	t.Run("a rev of the future", func(t *testing.T) {
		// The clock of a bubble begins with the year 2000.
		withTestHosts(t, simnet.Config{Seed: 23, Start: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)}, func(y *testHosts) {
			if f := y.one(y.made(0, "com.example.a")); f.Verdict != Refused || !strings.Contains(f.Detail, "future-rev") {
				t.Errorf("%+v", f)
			}
		})
	})
	withTestHosts(t, simnet.Config{Seed: 21}, func(y *testHosts) {
		did := y.made(0, "com.example.a")
		y.must(y.Switch(simnet.Rule{Fault: simnet.CorruptArchive, Times: 1}))
		if f := y.one(did); f.Verdict != Equal {
			t.Errorf("it was mended, but %+v", f)
		}
	})
}
