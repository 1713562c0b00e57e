package ingest

import (
	"testing"

	"railyard/internal/mst"
	"railyard/internal/store"
	"railyard/internal/test/msttest"
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
		state store.State
	}{
		{"the rows are right", []string{likes, posts}, []string{likes + "/1", posts + "/1"}, store.Synchronized},
		{"a collection without row", []string{posts}, []string{likes + "/1", "com.example.other/1", posts + "/1"}, store.Desynchronized},
		{"a row without collection", []string{likes, posts}, []string{posts + "/1"}, store.Desynchronized},
		{"rows of an emptied repo", []string{likes, posts}, nil, store.Desynchronized},
		{"a key of no collection", []string{posts}, []string{posts + "/1", "odd"}, store.Synchronized},
		{"a name inside another", []string{"com.example.pos", posts}, []string{posts + "/1"}, store.Desynchronized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t, store.KindRelay)
			s.known(tc.had...)
			s.want(s.tell(showing(t, commit(11, 1, 2, nil, nil), tc.shown...)), applied)
			s.wantState(tc.state, 11)
			if tc.state == store.Synchronized {
				return
			}
			if task := s.claim(store.Fetch); task.Reason != store.Audit || task.InService {
				t.Errorf("reason %s, in service %t", task.Reason, task.InService)
			}
		})
	}
}

// A commit that changed the rows is compared with them after the change.
func TestTheAuditLooksAtTheRowsAfterTheCommit(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(posts)
	s.want(s.tell(showing(t, commit(11, 1, 2, []string{likes}, []string{posts}), likes+"/1")), applied)
	s.wantState(store.Synchronized, 11)
}

// Where the tree hides what stands beside the keys, nothing is concluded; and a
// commit that was not applied says nothing about our rows.
func TestTheAuditConcludesNothingFromWhatIsHidden(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.known(likes, posts)
	s.want(s.tell(commit(11, 1, 2, nil, nil)), applied) // shows nothing
	s.wantState(store.Synchronized, 11)
	s.want(s.tell(showing(t, commit(11, 1, 2, nil, nil), posts+"/1")), stale)
	s.wantState(store.Synchronized, 11)
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
		_, _, err = tx.Establish(r, head(10, 1), []string{posts}, store.ProofClaim)
		return err
	})
	s.tell(showing(t, commit(11, 1, 2, nil, nil), posts+"/1", likes+"/1"))
	s.wantState(store.Desynchronized, 11)
	if s.repo().Identity.DescribeTrusted {
		t.Error("its word is still taken")
	}
}

// Tests of the path itself leave the audit out.
func TestWithoutAuditsAWrongRowStays(t *testing.T) {
	s := newStory(t, store.KindRelay)
	s.in.cfg.NoAudit = true
	s.known(posts)
	s.want(s.tell(showing(t, commit(11, 1, 2, nil, nil), likes+"/1", posts+"/1")), applied)
	s.wantState(store.Synchronized, 11)
}
