package store

import (
	"database/sql"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
)

// Step is what a worker does next for a repo.
type Step byte

// The steps.
const (
	Nothing   Step = iota
	Resolve        // the DID document
	AskStatus      // of the account, at the host
	Fetch          // the tree; commits are buffered meanwhile, unless the repo is in service
)

// Task is one claimed row of the queue with its repo.
type Task struct {
	Repo       *Repo
	HostID     int64 // whom it waited for: host_queue.host_id
	Priority   int64
	Reason     Reason
	Attempts   int
	Generation int64
	Due        time.Time   // since when: its place among the rows of its host
	WantRev    atproto.TID // the newest rev heard of but not held; 0 = none
	AskStatus  bool        // the host must be asked for the account's status
	Missing    time.Time   // when the host first said that it has no such repo; zero = not
	Unresolved time.Time   // when the directory first said that it has no such DID; zero = not
	Looks      int         // at the DID document that an #identity still asks for
	Step       Step
	InService  bool      // the repo is synchronized: commits go on being applied
	ClaimedAt  time.Time // how old the identity was is counted from here
	Doubted    bool      // the identity became stale while the task ran
}

func (tx *Tx) taskOf(row db.FirstRowsRow, plan func(*Task) Step) (*Task, error) {
	r, err := tx.RepoByID(row.RepoID)
	if err != nil {
		return nil, err
	}
	t := &Task{
		Repo: r, Reason: Reason(row.Reason), Attempts: int(row.Attempts), Generation: row.Generation,
		Due: time.UnixMicro(row.NotBefore), WantRev: atproto.TID(deref(row.WantRev)), AskStatus: row.AskStatus == 1, Looks: int(row.Looks),
		Missing: instant(row.MissingSince), Unresolved: instant(row.UnresolvedSince),
		InService: r.State == Synchronized, ClaimedAt: tx.now,
	}
	t.Step = plan(t)
	return t, nil
}

func (tx *Tx) claim(t *Task) error {
	if err := tx.q.Claim(tx.ctx, t.Repo.ID); err != nil {
		return err
	}
	switch {
	case t.Step == Resolve && t.Repo.Identity != nil:
		return tx.q.SetIdentityStale(tx.ctx, db.SetIdentityStaleParams{RepoID: t.Repo.ID, Stale: 0})
	case t.Step == Fetch && !t.InService:
		return tx.moveTo(t.Repo, Resyncing) // with an empty buffer
	}
	return nil
}

// Retry gives a claimed row back for a reason, due at notBefore. failed counts
// an attempt; backfill that failed waits behind fresh work. later: the repo's
// rows are right as far as anyone knows, this is a second look.
func (tx *Tx) Retry(r *Repo, why Reason, notBefore time.Time, failed, later bool) error {
	if err := tx.unclaim(r); err != nil {
		return err
	}
	priority := why.priority()
	switch {
	case later:
		priority = prioBackground
	case failed && priority == prioBackfill:
		priority = prioRetry
	}
	tx.wakes = true
	return tx.q.RetryRow(tx.ctx, db.RetryRowParams{
		RepoID: r.ID, NotBefore: notBefore.UnixMicro(), Failed: flag(failed),
		Priority: priority, Reason: int64(why), Background: flag(priority == prioBackground),
	})
}

// Release gives a claimed row back as it is, due at notBefore: nothing was
// learned.
func (tx *Tx) Release(r *Repo, notBefore time.Time) error {
	if err := tx.unclaim(r); err != nil {
		return err
	}
	tx.wakes = true
	return tx.q.DeferRow(tx.ctx, db.DeferRowParams{RepoID: r.ID, NotBefore: notBefore.UnixMicro()})
}

// unclaim ends the state of a fetch that did not prove anything.
func (tx *Tx) unclaim(r *Repo) error {
	switch {
	case r.State != Resyncing:
		return nil
	case r.Head == nil:
		return tx.moveTo(r, Candidate)
	default:
		return tx.moveTo(r, Desynchronized)
	}
}

// moveTo changes the state and empties the buffer.
func (tx *Tx) moveTo(r *Repo, s State) error {
	if err := tx.q.ClearBuffer(tx.ctx, r.ID); err != nil {
		return err
	}
	return tx.SetState(r, s)
}

// Current tells whether nothing has made the work on a task worthless since it
// was claimed. It brings up to date what the row has learned since.
func (tx *Tx) Current(t *Task) (bool, error) {
	row, err := tx.q.QueueRow(tx.ctx, t.Repo.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	t.WantRev = max(t.WantRev, atproto.TID(deref(row.WantRev)))
	t.Looks = int(row.Looks)
	return row.Generation == t.Generation, err
}

// Missing notes when the host first said that it has no such repo; the zero time
// takes it back.
func (tx *Tx) Missing(r *Repo, since time.Time) error {
	return tx.q.SetMissing(tx.ctx, db.SetMissingParams{RepoID: r.ID, Since: micros(since)})
}

// Unresolved notes when the directory first said that it has no such DID; the
// zero time takes it back.
func (tx *Tx) Unresolved(r *Repo, since time.Time) error {
	return tx.q.SetUnresolved(tx.ctx, db.SetUnresolvedParams{RepoID: r.ID, Since: micros(since)})
}

// StartAnew forgets what failed so far: the key or the host is another one.
func (tx *Tx) StartAnew(r *Repo) error { return tx.q.StartAnew(tx.ctx, r.ID) }

func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	v := t.UnixMicro()
	return &v
}

// Asked notes that the host has answered about the account.
func (tx *Tx) Asked(r *Repo) error { return tx.q.SetAsked(tx.ctx, r.ID) }

// SetLooks notes how often the DID document is still to be looked at.
func (tx *Tx) SetLooks(r *Repo, n int) error {
	return tx.q.SetLooks(tx.ctx, db.SetLooksParams{RepoID: r.ID, Looks: int64(n)})
}

// Wish remembers a rev that was heard of, in the row that waits. It does not make
// it due, and makes none.
func (tx *Tx) Wish(r *Repo, rev atproto.TID) error {
	return tx.q.Wish(tx.ctx, db.WishParams{RepoID: r.ID, Rev: int64(rev)})
}

// DropWish ends the wish for a rev that the host itself does not have. A wish
// for a newer one, heard of meanwhile, stays.
func (tx *Tx) DropWish(t *Task, r *Repo, rev atproto.TID) error {
	v := int64(rev)
	if err := tx.q.DropWish(tx.ctx, db.DropWishParams{RepoID: r.ID, Rev: &v}); err != nil {
		return err
	}
	if t.WantRev <= rev {
		t.WantRev = 0
	}
	return nil
}

// CountAttempt counts a fetch that came to nothing, whatever the reason.
func (tx *Tx) CountAttempt(r *Repo) error { return tx.q.CountAttempt(tx.ctx, r.ID) }

// Done removes the row.
func (tx *Tx) Done(r *Repo) error { return tx.q.DeleteQueueRow(tx.ctx, r.ID) }

// Stale counts an answer that is older than a commit that we have seen. It
// gives how often this same rev came and since when.
func (tx *Tx) Stale(r *Repo, rev atproto.TID) (count int, since time.Time, err error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if err != nil {
		return 0, time.Time{}, err
	}
	v, at, n := int64(rev), tx.micros(), int64(1)
	if row.StaleRev != nil && *row.StaleRev == v && row.StaleSince != nil {
		n, at = row.StaleCount+1, *row.StaleSince
	}
	err = tx.q.StaleAnswer(tx.ctx, db.StaleAnswerParams{RepoID: r.ID, Rev: &v, Count: n, Since: &at})
	return int(n), time.UnixMicro(at), err
}
