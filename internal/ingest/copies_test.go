package ingest

import (
	"testing"
	"time"

	"railyard/internal/store"
)

// Two relays: the second one's copy of the last commit that was checked comes after
// the first one's next, unchecked commit.
func TestTheCopyOfTheLastCheckedCommitIsARepetition(t *testing.T) {
	for name, copied := range map[string]*slot{
		"of a commit that was checked again": signed(commit(11, 1, 2, []string{likes}, nil)),
		"of a sync":                          syncAt(11, 2),
		"that is unchecked this time":        spared(commit(11, 1, 2, nil, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			s := sparing(t)
			s.known(posts)
			s.want(s.tell(signed(commit(11, 1, 2, []string{likes}, nil))), applied)
			s.want(s.tell(spared(commit(12, 2, 3, nil, nil))), applied)
			s.want(s.tell(copied), stale)
			s.wantState(store.Synchronized, 12)
			spared := false
			for range 1000 {
				spared = spared || s.in.unchecked.skips(s.repo().Identity.HostID, s.now)
			}
			if !spared {
				t.Error("its host is watched")
			}
		})
	}
}

// The same in one batch.
func TestTheCopyOfAnUncheckedCommitInTheSameBatch(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	batch := []*slot{spared(commit(11, 1, 2, nil, nil)), spared(commit(12, 2, 3, nil, nil)), spared(commit(11, 1, 2, nil, nil))}
	s.update(func(tx *store.Tx) error {
		c := &court{in: s.in, tx: tx, verdicts: map[verdict]int{}}
		for i, want := range []verdict{applied, applied, stale} {
			batch[i].up, batch[i].frame.DID = s.up, alice
			v, err := c.judge(batch[i])
			if err != nil {
				return err
			}
			s.want(v, want)
		}
		return nil
	})
	s.wantState(store.Synchronized, 12)
}

// A #sync that repeats an unchecked commit comes from the second relay when the
// first one has gone on.
func TestASyncThatRepeatsAnUncheckedCommit(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.tell(spared(commit(11, 1, 2, nil, nil)))
	s.tell(spared(commit(12, 2, 3, nil, nil)))
	s.want(s.tell(syncAt(11, 2)), stale)
	s.want(s.tell(syncAt(11, 7)), desynchronized)
}

// Unchecked commits that waited for the end of a fetch are known when their copies
// come.
func TestTheCopyOfAReplayedCommit(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.tell(signed(commit(12, 7, 3, nil, nil)))
	s.claim(store.Fetch)
	s.want(s.tell(spared(commit(13, 3, 4, nil, nil))), buffered)
	s.want(s.tell(spared(commit(14, 4, 5, nil, nil))), buffered)
	s.update(func(tx *store.Tx) error { // the end of the fetch
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		waiting, err := tx.Buffered(r)
		if err != nil {
			return err
		}
		if _, _, err := tx.Establish(r, head(12, 3), []string{posts}, store.ProofTree); err != nil {
			return err
		}
		for _, c := range waiting {
			if _, err := tx.Advance(r, c.Prev, c.Head, c.Unchecked); err != nil {
				return err
			}
		}
		return tx.Done(r)
	})
	s.want(s.tell(spared(commit(13, 3, 4, nil, nil))), stale)
	s.wantState(store.Synchronized, 14)
}

// Frames that nobody signed take only so many repos of a host out of service.
func TestForgedCommitsAreLimited(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	for s.in.limits.allowDesync(s.repo().Identity.HostID, s.now) {
	}
	s.want(s.tell(spared(commit(90, 77, 78, nil, nil))), waits)
	s.wantState(store.Synchronized, 10)
	s.now = s.now.Add(store.SweepGrace)
	if task := s.claim(store.Fetch); !task.InService || task.WantRev != 90 {
		t.Errorf("%+v", task)
	}
}

// A repo that backs off is not looked at earlier because of an unchecked commit.
func TestAnUncheckedCommitDoesNotEndABackOff(t *testing.T) {
	for name, ev := range map[string]func() *slot{
		"checked":   func() *slot { return signed(commit(13, 3, 4, nil, nil)) },
		"unchecked": func() *slot { return spared(commit(13, 3, 4, nil, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := sparing(t)
			s.known(posts)
			s.tell(signed(commit(12, 2, 3, nil, nil)))
			task := s.claim(store.Fetch)
			s.update(func(tx *store.Tx) error {
				r, err := tx.RepoByDID(alice)
				if err != nil {
					return err
				}
				return tx.Retry(r, task.Reason, s.now.Add(24*time.Hour), true, false)
			})
			s.want(s.tell(ev()), waits)
			var heads []store.LaneHead
			if err := s.st.View(t.Context(), func(rx *store.Rx) (err error) {
				heads, err = rx.LaneHeads(store.BeforeLanes(), 10)
				return err
			}); err != nil || len(heads) != 1 {
				t.Fatal(heads, err)
			}
			if wait := heads[0].NotBefore.Sub(s.now); wait < 23*time.Hour {
				t.Errorf("looked at again after %s", wait)
			}
		})
	}
}

// An account that is inactive and goes on committing: its host is asked every ten
// minutes, not every thirty seconds.
func TestUncheckedCommitsOfAnInactiveAccount(t *testing.T) {
	for name, ev := range map[string]func(rev int64) *slot{
		"checked":   func(rev int64) *slot { return signed(commit(rev, 3, 4, nil, nil)) },
		"unchecked": func(rev int64) *slot { return spared(commit(rev, 3, 4, nil, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := sparing(t)
			s.known(posts)
			s.tell(account(false, "deactivated"))
			asked := 0
			for i := range int64(60) { // ten minutes
				s.tell(ev(100 + i))
				s.now = s.now.Add(10 * time.Second)
				s.update(func(tx *store.Tx) error {
					tasks, err := claimDue(tx, store.AskStatus)
					if err != nil {
						return err
					}
					for _, task := range tasks {
						asked++
						if err := tx.StatusChecked(task.Repo); err != nil {
							return err
						}
						if err := tx.Done(task.Repo); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if asked > 2 {
				t.Errorf("asked %d times in ten minutes", asked)
			}
		})
	}
}

// Nor does an unchecked commit write a row at the end of a fetch, whatever it names.
func TestAnUncheckedCommitIsBufferedWithoutRows(t *testing.T) {
	s := sparing(t)
	s.known(posts)
	s.tell(signed(commit(12, 7, 3, nil, nil)))
	s.claim(store.Fetch)
	s.want(s.tell(spared(commit(13, 3, 4, []string{likes}, []string{posts}))), buffered)
	s.want(s.tell(signed(commit(14, 4, 5, []string{likes}, []string{posts}))), buffered)
	s.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(alice)
		if err != nil {
			return err
		}
		waiting, err := tx.Buffered(r)
		if err != nil || len(waiting) != 2 {
			t.Fatalf("%d commits wait, %v", len(waiting), err)
		}
		for i, c := range waiting {
			if named := len(c.Present) + len(c.Died); c.Unchecked != (i == 0) || named != 2*i {
				t.Errorf("rev %d: unchecked %t, names %d collections", c.Head.Rev, c.Unchecked, named)
			}
		}
		return nil
	})
}
