package ingest

import (
	"fmt"
	"testing"

	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/msttest"
	"railyard/internal/test/testrepo"
)

// showing puts into a proof what a whole tree of these keys shows.
func showing(t *testing.T, sl *slot, keys ...string) *slot {
	t.Helper()
	sl.proof.Shown = outlineOf(t, 1<<30, keys...)
	return sl
}

// outlineOf is what a tree shows of which all nodes are there, or only the root if there
// are more than most.
func outlineOf(t testing.TB, most int, keys ...string) mst.Outline {
	t.Helper()
	content := make(map[string][]byte)
	for _, k := range keys {
		d := tree(9)
		content[k] = d.AppendCID(nil)
	}
	root, nodes := msttest.Build(content)
	if len(nodes) > most {
		nodes = msttest.Blocks{root: nodes[root]}
	}
	_, view, err := mst.Load(root, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return view.Outline()
}

// Every applied commit is an audit: the keys beside the ones that it writes must
// fit the rows.
func TestACommitThatShowsAWrongRowTakesTheRepoOutOfService(t *testing.T) {
	for _, tc := range []struct {
		name  string
		had   []string
		shown []string
		state repostate.State
	}{
		{"the rows are right", []string{likes, posts}, []string{likes + "/1", posts + "/1"}, repostate.Synchronized},
		{"a collection without row", []string{posts}, []string{likes + "/1", "com.example.other/1", posts + "/1"}, repostate.Desynchronized},
		{"a row without collection", []string{likes, posts}, []string{posts + "/1"}, repostate.Desynchronized},
		{"rows of an emptied repo", []string{likes, posts}, nil, repostate.Desynchronized},
		{"a key of no collection", []string{posts}, []string{posts + "/1", "odd"}, repostate.Synchronized},
		{"a name inside another", []string{"com.example.pos", posts}, []string{posts + "/1"}, repostate.Desynchronized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(tc.had...)
			s.want(s.judge(showing(t, commit(11, 1, 2, nil, nil), tc.shown...)), repostate.Applied)
			s.wantState(tc.state, 11)
			if tc.state == repostate.Synchronized {
				return
			}
			if attempt := s.lease(repostate.Fetch); attempt.Repo.Waiting.Reason != repostate.Audit || attempt.WasSynchronized() {
				t.Errorf("reason %s, in service %t", attempt.Repo.Waiting.Reason, attempt.WasSynchronized())
			}
		})
	}
}

// A commit that changed the rows is compared with them after the change.
func TestTheAuditReadsTheRowsAfterTheCommit(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.judge(showing(t, commit(11, 1, 2, []string{likes}, []string{posts}), likes+"/1")), repostate.Applied)
	s.wantState(repostate.Synchronized, 11)
}

// Where the tree hides what stands beside the keys, nothing is decided; and a
// commit that was not applied says nothing about our rows.
func TestTheAuditConcludesNothingFromWhatIsHidden(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(likes, posts)
	s.want(s.judge(commit(11, 1, 2, nil, nil)), repostate.Applied) // shows nothing
	s.wantState(repostate.Synchronized, 11)
	s.want(s.judge(showing(t, commit(11, 1, 2, nil, nil), posts+"/1")), repostate.Stale)
	s.wantState(repostate.Synchronized, 11)
}

// A host whose claim is found wrong is not asked for claims again.
func TestAWrongClaimCostsTheHostItsTrust(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		_, _, err = testrepo.Establish(tx, r, head(10, 1), []string{posts}, repostate.ProofClaim)
		return err
	})
	s.judge(showing(t, commit(11, 1, 2, nil, nil), posts+"/1", likes+"/1"))
	s.wantState(repostate.Desynchronized, 11)
	if s.repo().Identity.DescribeTrusted {
		t.Error("its word is still taken")
	}
}

// Tests of the path itself leave the audit out.
func TestWithoutAuditsAWrongRowStays(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.in.cfg.NoAudit = true
	s.known(posts)
	s.want(s.judge(showing(t, commit(11, 1, 2, nil, nil), likes+"/1", posts+"/1")), repostate.Applied)
	s.wantState(repostate.Synchronized, 11)
}

// many are collections of a large repo.
func many(n int) []string {
	nsids := make([]string, n)
	for i := range nsids {
		nsids[i] = fmt.Sprintf("com.example.n%05d", i)
	}
	return nsids
}

// Of a large repo a commit is compared with what it shows, and with some of the rows.
func TestALargeRepoIsAuditedToo(t *testing.T) {
	set := many(3 * auditedRows)
	for _, tc := range []struct {
		name  string
		shown []string
		most  int // commits until it is found; 0 = never
	}{
		{"the rows are right", set, 0},
		{"a collection without row", append([]string{"com.example.other"}, set...), 30},
		{"a collection that is in other repos", append([]string{posts}, set...), 30},
		{"a row without collection", set[1:], 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(set...)
			s.update(func(tx *store.Tx) error {
				other, err := testrepo.Add(tx, "did:plc:other")
				if err != nil {
					return err
				}
				_, err = tx.AddMemberships(other, []string{posts})
				return err
			})
			var keys []string
			for _, nsid := range tc.shown {
				keys = append(keys, nsid+"/1")
			}
			n := 0
			for n < max(tc.most, 5) && s.repo().State == repostate.Synchronized {
				s.want(s.judge(showing(t, commit(int64(11+n), byte(1+n), byte(2+n), nil, nil), keys...)), repostate.Applied)
				n++
			}
			if found := s.repo().State != repostate.Synchronized; found != (tc.most > 0) {
				t.Errorf("found %t, after %d commits", found, n)
			}
		})
	}
}

// A repo that has grown beyond the bound by its commits is treated like one that is
// fetched and is too big.
func TestARepoGrowsNoFurtherThanItMayBeFetched(t *testing.T) {
	s := newStory(t, store.KindRelay)
	set := many(refusal.MaxCollections + 1)
	s.known(set[:refusal.MaxCollections]...)
	s.want(s.judge(commit(11, 1, 2, set[:1], nil)), repostate.Applied)
	s.wantState(repostate.Synchronized, 11)
	more := commit(12, 2, 3, set[refusal.MaxCollections:], nil)
	s.want(s.judge(more), repostate.Applied)
	s.wantState(repostate.Desynchronized, 12)
	if more.refused != refusal.RepoTooBig {
		t.Errorf("refused as %q", more.refused)
	}
	s.lease(repostate.Fetch)
}
