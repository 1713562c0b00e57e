package store

import (
	"slices"
	"testing"

	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

func TestOnlyReposInServiceThatWaitForNothingAreIdle(t *testing.T) {
	f := newShelf(t)
	for n := range 7 {
		f.inService(did(n))
	}
	f.with(did(1), func(tx *Tx, r *Repo) error { return testrepo.Desynchronize(tx, r, Discontinuity) })
	f.with(did(2), func(tx *Tx, r *Repo) error { return decide(tx, r, repostate.Aged{At: tx.now}) }) // in service meanwhile
	f.with(did(3), func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "deactivated") })
	f.with(did(4), func(tx *Tx, r *Repo) error { return testrepo.Leave(tx, r, "deleted") })
	f.find(did(7))
	var all, want []int64
	for n := range 8 {
		r := f.repo(did(n))
		if all = append(all, r.ID); n == 0 || n == 5 || n == 6 {
			want = append(want, r.ID)
		}
	}
	err := f.View(t.Context(), func(rx *Rx) error {
		last, err := rx.LastRepoID()
		if err != nil || last != all[7] {
			t.Errorf("last id %d, %v", last, err)
		}
		among, err := rx.IdleAmong(append(all, last+1, 1<<40))
		slices.Sort(among)
		if err != nil || !slices.Equal(among, want) {
			t.Errorf("among: %v, want %v, %v", among, want, err)
		}
		if some, err := rx.IdleAmong(all[:2]); err != nil || !slices.Equal(some, want[:1]) {
			t.Errorf("among two: %v, %v", some, err)
		}
		for piece := range int64(9) {
			var met []int64
			for after, turns := int64(0), 0; ; turns++ {
				some, next, err := rx.idleAfter(after, piece+1)
				if met = append(met, some...); next == 0 {
					break
				}
				if err != nil || next <= after || turns > 8 {
					t.Fatalf("pieces of %d: from %d to %d, %v", piece+1, after, next, err)
				}
				after = next
			}
			if !slices.Equal(met, want) {
				t.Errorf("pieces of %d: %v, want %v", piece+1, met, want)
			}
		}
		for n := range 8 {
			r, err := rx.RepoByDID(did(n))
			if err != nil {
				return err
			}
			if r.Idle() != slices.Contains(want, r.ID) {
				t.Errorf("repo %d is idle: %t", n, r.Idle())
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
