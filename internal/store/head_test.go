package store

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

// The head moves by compare-and-swap: from the data that a commit starts from, to a
// newer rev, and only of a repo that is in service. What was decided on something else
// than the file has fails.
func TestAHeadMovesOnlyFromWhereACommitStarts(t *testing.T) {
	tree := func(n byte) atproto.Digest { return atproto.Digest{n} }
	inService := func(*Tx, *Repo) error { return nil }
	for name, c := range map[string]struct {
		before func(tx *Tx, r *Repo) error
		prev   atproto.Digest
		rev    atproto.TID
		moved  bool
	}{
		"that follows":              {inService, tree(1), 11, true},
		"from another tree":         {inService, tree(2), 11, false},
		"of the same rev":           {inService, tree(1), 10, false},
		"after one that is missing": {inService, tree(2), 12, false},
		"that is older":             {inService, tree(1), 9, false},
		"of an inactive account":    {func(tx *Tx, r *Repo) error { return testrepo.Hide(tx, r, "suspended") }, tree(1), 11, false},
		"of a repo that waits":      {func(tx *Tx, r *Repo) error { return testrepo.Desynchronize(tx, r, Discontinuity) }, tree(1), 11, false},
		"of one that is fetched":    {func(tx *Tx, r *Repo) error { return testrepo.SetState(tx, r, Resyncing) }, tree(1), 11, false},
		"of one that is not found":  {func(tx *Tx, r *Repo) error { return testrepo.SetState(tx, r, NotFound) }, tree(1), 11, false},
		"of a hidden repo in service": {func(tx *Tx, r *Repo) error {
			return errors.Join(testrepo.Hide(tx, r, "suspended"), testrepo.SetState(tx, r, Synchronized))
		}, tree(1), 11, false},
	} {
		t.Run("a commit "+name, func(t *testing.T) {
			f := newShelf(t)
			f.inService(did(0))
			f.undone(did(0), func(tx *Tx, r *Repo) error {
				if _, _, err := testrepo.Establish(tx, r, Head{Rev: 10, Data: tree(1)}, []string{"com.example.a"}, ProofTree); err != nil {
					return err
				}
				was, next := *r, *r
				was.Head = &Head{Rev: 10, Data: c.prev}
				next.Head = &Head{Rev: c.rev, Data: tree(3)}
				if err := c.before(tx, r); err != nil {
					return err
				}
				_, err := tx.Apply(&was, repostate.Decision{Repo: &next})
				after, err2 := tx.RepoByID(r.ID)
				if err2 == nil && ((err == nil) != c.moved || (*after.Head == *next.Head) != c.moved) {
					t.Errorf("error %v; the head is at rev %d", err, after.Head.Rev)
				}
				return err2
			})
		})
	}
}

// What a decision says of a repo is what the file has of it, whatever was there before.
func TestARepoIsReadAsItWasApplied(t *testing.T) {
	f := newShelf(t)
	f.inService(did(0))
	at := func(n int) time.Time { return f.now.Add(time.Duration(n) * time.Minute) }
	full := func(r *Repo) {
		r.State, r.Active, r.Status, r.Proof, r.ProvenAt, r.SeenRev = Desynchronized, false, "suspended", ProofOldKey, at(1), 31
		r.StatusFrom, r.StatusAt = repostate.FromRelay, at(9)
		r.HarmlessRev, r.Error, r.ErrorAt = 32, "made up", at(2)
		r.Head = &Head{Rev: 33, Data: atproto.Digest{1}, CID: atproto.Digest{2}}
		r.Identity.Key, r.Identity.FetchedAt, r.Identity.Stale, r.Identity.StatusAskedAt, r.Identity.EarlierRev = otherKey, at(3), true, at(4), 34
		r.Waiting = &Waiting{
			Reason: Prove, Priority: 5, NotBefore: at(5), Attempts: 6, Generation: 7, Leased: true, Lease: 4, WantRev: 35,
			AskStatus: true, IdentityChecks: 2, QueuedAt: at(6), Said: repostate.OlderRev, SaidRev: 36, SaidTimes: 8, SaidSince: at(7),
		}
	}
	all := []func(*Repo){
		full,
		func(r *Repo) {
			r.Waiting.Said, r.Waiting.SaidRev, r.Waiting.SaidTimes, r.Waiting.SaidSince = 0, 0, 0, time.Time{}
		},
		func(r *Repo) { r.Waiting.Leased, r.Waiting.Lease, r.Waiting.Parked = false, 0, true },
		func(r *Repo) { *r.Waiting = Waiting{Reason: Backfill, Priority: 4, NotBefore: at(8), QueuedAt: at(9)} },
		func(r *Repo) {
			r.Identity.Stale, r.Identity.StatusAskedAt, r.Identity.EarlierRev = false, time.Time{}, 0
		},
		func(r *Repo) {
			r.Active, r.Status, r.Proof, r.Error, r.ErrorAt = true, "", 0, "", time.Time{}
			r.StatusFrom, r.StatusAt = 0, time.Time{}
		},
		func(r *Repo) {
			r.Head, r.SeenRev, r.HarmlessRev, r.ProvenAt, r.State = nil, 0, 0, time.Time{}, Candidate
		},
		full,
		func(r *Repo) { r.Waiting = nil },
	}
	for i, change := range all {
		var want *Repo
		f.with(did(0), func(tx *Tx, r *Repo) error {
			next := *r
			id := *r.Identity
			next.Identity = &id
			if r.Waiting != nil {
				w := *r.Waiting
				next.Waiting = &w
			}
			change(&next)
			want = &next
			_, err := tx.Apply(r, repostate.Decision{Repo: &next})
			return err
		})
		if got := f.repo(did(0)); !reflect.DeepEqual(got, want) {
			t.Errorf("change %d:\n got %+v %+v %+v %+v\nwant %+v %+v %+v %+v", i,
				got, got.Head, got.Identity, got.Waiting, want, want.Head, want.Identity, want.Waiting)
		}
	}
	f.with(did(0), func(tx *Tx, r *Repo) error {
		return errors.Join(testrepo.MarkStale(tx, r), testrepo.Enqueue(tx, r, IdentityCheck, tx.now))
	})
}
