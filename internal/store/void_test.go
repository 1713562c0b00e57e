package store

import "testing"

// What happens to a repo makes the work on it worthless, whatever it is: an answer
// of before must not be stored. A look at the document or in the background does
// not: its wish is kept in the row.
func TestWhatMakesWorkUnderWayWorthless(t *testing.T) {
	for why, void := range map[Reason]bool{
		Discontinuity: true, Unprovable: true, Rotated: true, SyncEvent: true, Reactivated: true, StatusCheck: true,
		FirstSight: true, Backfill: true, NotFoundAgain: true, Audit: true,
		IdentityCheck: false, Sweep: false, Prove: false, Refresh: false,
	} {
		t.Run(why.String(), func(t *testing.T) {
			f := newShelf(t)
			f.inService(did(0))
			var task *Task
			f.with(did(0), func(tx *Tx, r *Repo) error {
				if err := tx.Enqueue(r, Discontinuity, tx.now); err != nil {
					return err
				}
				tasks, err := leaseDue(tx, func(*Task) Step { return AskStatus })
				if len(tasks) == 1 {
					task = tasks[0]
				}
				return err
			})
			for _, again := range []string{"at first", "when it comes again"} {
				f.with(did(0), func(tx *Tx, r *Repo) error { return tx.Enqueue(r, why, tx.now) })
				f.with(did(0), func(tx *Tx, _ *Repo) error {
					current, err := tx.Current(task)
					if current == void {
						t.Errorf("%s: still good: %t", again, current)
					}
					return err
				})
			}
			f.with(did(0), func(tx *Tx, r *Repo) error { return tx.Release(r, tx.now) })
			if due := f.claimable(); len(due) != 1 {
				t.Errorf("%d rows are due at the end", len(due))
			}
		})
	}
}
