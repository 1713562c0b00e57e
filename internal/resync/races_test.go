package resync

import (
	"context"
	"testing"

	"railyard/internal/establish"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// interrupted lets a test act before a request to a PDS, which may be of a fetch
// that has begun already.
type interrupted struct {
	Hosts
	record, describe func(n int) // the n-th request of its kind, from 1
	records          *int
}

func (i interrupted) GetRecord(ctx context.Context, base, did, collection, rkey string) ([]byte, error) {
	*i.records++
	if i.record != nil {
		i.record(*i.records)
	}
	return i.Hosts.GetRecord(ctx, base, did, collection, rkey)
}

func (i interrupted) DescribeRepo(ctx context.Context, base, did string) (pds.RepoDescription, error) {
	if i.describe != nil {
		i.describe(1)
	}
	return i.Hosts.DescribeRepo(ctx, base, did)
}

// commit makes a record, and hands its commit over as the firehose would.
func (w *scenario) commit(did, path string) {
	w.t.Helper()
	before, _ := w.net.Repo(did)
	if err := w.net.Create(did, path); err != nil {
		w.t.Fatal(err)
	}
	after, _ := w.net.Repo(did)
	c := repostate.Commit{Prev: before.Data, Head: repostate.Head{Rev: after.Rev, Data: after.Data, CID: after.Commit}}
	for _, nsid := range after.Collections {
		if len(path) > len(nsid) && path[:len(nsid)+1] == nsid+"/" {
			c.Present = append(c.Present, nsid)
		}
	}
	w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
		if !r.InService() {
			return nil
		}
		b, err := tx.BufferAt(r, c.Head)
		if err != nil {
			return err
		}
		return decide(tx, r, repostate.Signed{Rev: c.Head.Rev, Key: r.Identity.Key, Commit: c, Buffer: b})
	})
}

// The repo moves while it is asked for, in any of the lighter ways, before the first
// request, between two, or without end: the rows are those of the last commit.
func TestARepoThatMovesDuringAnAttempt(t *testing.T) {
	for _, m := range []establish.Method{establish.Auto, establish.Probe, establish.Describe} {
		for _, why := range []repostate.Reason{repostate.Backfill, repostate.Discontinuity} {
			for name, moves := range map[string]func(n int) bool{
				"before the first answer": func(n int) bool { return n == 1 },
				"after it":                func(n int) bool { return n == 2 },
				"twice":                   func(n int) bool { return n == 2 || n == 4 },
				"all the time":            func(n int) bool { return n < 60 },
			} {
				t.Run(string(m)+", "+why.String()+", "+name, func(t *testing.T) {
					w, did := grown(t, m, large)
					records := 0
					hosts := w.rs.cfg.Hosts
					w.setHosts(interrupted{Hosts: hosts, records: &records, record: func(n int) {
						if moves(n) {
							w.commit(did, "com.example.moving"+string(rune('a'+n%26))+"/x")
						}
					}})
					w.enqueue(did, why)
					w.work()
					if records > 30 {
						t.Errorf("%d requests for a repo that is not idle", records)
					}
					w.setHosts(hosts)
					w.same(did, true)
					w.later(bulkRest)
					w.settled(did)
				})
			}
		}
	}
}

// A collection begins and one ends between the description and the second head: the
// description is neither of one nor of the other.
func TestADescriptionThatIsOvertaken(t *testing.T) {
	w, did := grown(t, establish.Describe, large)
	records, done := 0, false
	w.setHosts(interrupted{Hosts: w.rs.cfg.Hosts, records: &records, record: func(n int) {
		if n == 2 && !done {
			done = true
			w.commit(did, "com.example.after/x")
		}
	}, describe: func(int) {
		if !done {
			w.commit(did, "com.example.before/x")
		}
	}})
	w.enqueue(did, repostate.Backfill)
	w.work()
	w.proven(did, repostate.ProofClaim)
	if records < 3 {
		t.Errorf("%d heads", records)
	}
}

// A replica that is older than what was seen is not believed, in any way.
func TestAStaleReplicaIsNotBelieved(t *testing.T) {
	for _, m := range []establish.Method{establish.Auto, establish.Probe, establish.Describe, establish.WholeRepo} {
		for _, why := range []repostate.Reason{repostate.Backfill, repostate.Discontinuity} {
			t.Run(string(m)+", "+why.String(), func(t *testing.T) {
				w, did := grown(t, m, large)
				if err := w.net.Create(did, "com.example.newest/a"); err != nil {
					t.Fatal(err)
				}
				state, _ := w.net.Repo(did)
				w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
					if err := testrepo.Enqueue(tx, r, why, tx.Now()); err != nil {
						return err
					}
					return testrepo.Saw(tx, r, state.Rev)
				})
				if err := w.net.Switch(simnet.Rule{Fault: simnet.StaleReplica}); err != nil {
					t.Fatal(err)
				}
				w.work()
				if r := w.repo(did); r.State == repostate.Synchronized || r.Seq > 0 {
					t.Errorf("state %s, visible %t", r.State, r.Seq > 0)
				}
				if w.net.Fired(simnet.StaleReplica) == 0 {
					t.Error("no answer was stale")
				}
				w.net.SwitchOff()
				w.later(staleMost)
				w.later(bulkRest)
				w.settled(did)
			})
		}
	}
}

// Gone, back, deleted, made anew, tombstoned: the same for each method.
func TestAccountsThatLeaveAndReturn(t *testing.T) {
	for _, name := range establish.Methods() {
		t.Run(name, func(t *testing.T) {
			w, did := grown(t, establish.Method(name), large)
			w.enqueue(did, repostate.Backfill)
			w.work()
			w.same(did, true)
			lose := func() {
				w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
					return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
				})
				w.work()
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(w.net.Takedown(did))
			lose() // a fetch sees it
			w.same(did, false)
			must(w.net.Untakedown(did))
			w.enqueue(did, repostate.StatusCheck)
			w.work()
			w.same(did, true)

			must(w.net.DeleteAccount(did))
			lose()
			w.later(notFoundSecond)
			if r := w.repo(did); r.Seq > 0 || r.State != repostate.NotFound {
				t.Errorf("deleted: state %s, visible %t", r.State, r.Seq > 0)
			}
			must(w.net.Return(did, 0))
			must(w.net.Create(did, "com.example.anew/a"))
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if err := testrepo.MarkStale(tx, r); err != nil {
					return err
				}
				return testrepo.Enqueue(tx, r, repostate.FirstSight, tx.Now())
			})
			w.work()
			w.later(bulkRest)
			w.settled(did)

			must(w.net.Tombstone(did))
			w.with(did, func(tx *store.Tx, r *repostate.Repo) error {
				if err := testrepo.MarkStale(tx, r); err != nil {
					return err
				}
				return testrepo.Enqueue(tx, r, repostate.IdentityCheck, tx.Now())
			})
			w.work()
			w.later(notFoundSecond)
			if r := w.repo(did); r.Seq > 0 || r.Status != "deleted" || r.Head != nil {
				t.Errorf("tombstoned: visible %t, status %q, head %v", r.Seq > 0, r.Status, r.Head)
			}
		})
	}
}
