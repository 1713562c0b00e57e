package ingest

import (
	"testing"

	"railyard/internal/mst"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/msttest"
	"railyard/internal/test/testrepo"
)

// showing puts into a proof what a whole tree of these keys shows.
func showing(t *testing.T, sl *slot, keys ...string) *slot {
	t.Helper()
	content := make(map[string][]byte)
	for _, k := range keys {
		d := tree(9)
		content[k] = d.AppendCID(nil)
	}
	root, nodes := msttest.Build(content)
	_, view, err := mst.Load(root, nodes)
	if err != nil {
		t.Fatal(err)
	}
	sl.proof.Shown = view.Outline()
	return sl
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
