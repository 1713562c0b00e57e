package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
)

// Reason is why somebody must look at a repo. (schema.sql)
type Reason int64

// The reasons.
const (
	Discontinuity Reason = iota + 1
	Unprovable
	Rotated
	SyncEvent
	Reactivated
	IdentityCheck
	StatusCheck
	FirstSight
	Backfill
	NotFoundAgain
	Sweep
)

func (r Reason) String() string {
	names := [...]string{"none", "discontinuity", "unprovable", "rotated", "sync", "reactivated", "identity",
		"status", "first-sight", "backfill", "not-found", "sweep"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", int64(r))
}

// Priorities of the queue, lower first.
const (
	prioLive = iota + 1
	prioCheck
	prioFirstSight
	prioBackfill
	prioRetry
	prioBackground
)

func (r Reason) priority() int64 {
	switch r {
	case Discontinuity, Unprovable, Rotated:
		return prioLive
	case SyncEvent, Reactivated, IdentityCheck, StatusCheck:
		return prioCheck
	case FirstSight:
		return prioFirstSight
	case Backfill:
		return prioBackfill
	default:
		return prioBackground
	}
}

// maxBuffered bounds the commits that wait for one repo's fetch. Beyond it the
// buffer is dropped and the repo is fetched again.
const maxBuffered = 256

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
	Reason     Reason
	Attempts   int
	Generation int64
	WantRev    atproto.TID
	Step       Step
	InService  bool // the repo is synchronized: commits go on being applied
}

// Desynchronize takes the repo out of service until a fetch has proven it: its
// commits are dropped meanwhile, its rows stay as they are. What a fetch under
// way brings is void.
func (tx *Tx) Desynchronize(r *Repo, why Reason) error {
	if r.State == Synchronized || r.State == Resyncing {
		if err := tx.moveTo(r, Desynchronized); err != nil {
			return err
		}
	}
	return tx.Enqueue(r, why, tx.now)
}

// Enqueue asks for a look at a repo, not before a time. A row that waits already
// becomes due by then. Whatever is no mere look at the identity or at a listed
// rev makes a fetch under way void.
func (tx *Tx) Enqueue(r *Repo, why Reason, notBefore time.Time) error {
	return tx.enqueue(r, why, notBefore, nil)
}

// EnqueueSweep asks for a fetch unless the head has reached rev by then, as a
// listing says that it should have.
func (tx *Tx) EnqueueSweep(r *Repo, notBefore time.Time, rev atproto.TID) error {
	v := int64(rev)
	return tx.enqueue(r, Sweep, notBefore, &v)
}

func (tx *Tx) enqueue(r *Repo, why Reason, notBefore time.Time, wantRev *int64) error {
	tx.wake = true
	return tx.q.Enqueue(tx.ctx, db.EnqueueParams{
		RepoID: r.ID, Reason: int64(why), Priority: why.priority(), Background: flag(why.priority() == prioBackground),
		NotBefore: notBefore.UnixMicro(), WantRev: wantRev, Now: tx.micros(),
		Voids: flag(why != IdentityCheck && why != Sweep),
	})
}

// Queued tells whether the repo waits in the queue because its rows are wrong or
// unproven, and not only for a second look.
func (tx *Tx) Queued(r *Repo) (bool, error) {
	row, err := tx.q.QueueRow(tx.ctx, r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return row.Background == 0, err
}

// Current tells whether nothing has made the work on a task worthless since it
// was claimed. It brings the task's WantRev up to date.
func (tx *Tx) Current(t *Task) (bool, error) {
	row, err := tx.q.QueueRow(tx.ctx, t.Repo.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	t.WantRev = atproto.TID(deref(row.WantRev))
	return row.Generation == t.Generation, err
}

// NextDue tells when the next row is due, the zero time if none waits.
func (rx *Rx) NextDue() (time.Time, error) {
	least := int64(math.MaxInt64)
	for p := int64(prioLive); p <= prioBackground; p++ {
		at, err := rx.q.NextDue(rx.ctx, p)
		if err != nil {
			return time.Time{}, err
		}
		least = min(least, at)
	}
	if least == math.MaxInt64 {
		return time.Time{}, nil
	}
	return time.UnixMicro(least), nil
}

// Claim takes up to n due rows, the most urgent first. Rows of a host that
// cools down are put off. plan decides, from the repo and the reason, what the
// task will do.
//
// The state of a repo that will be fetched becomes resyncing, so that commits
// from now on are buffered; that of a synchronized one stays. An identity that
// will be resolved is stale no longer: what makes it stale from now on needs
// another look.
func (tx *Tx) Claim(n int, plan func(*Task) Step) ([]*Task, error) {
	var tasks []*Task
	for p := int64(prioLive); p <= prioBackground && len(tasks) < n; p++ {
		rows, err := tx.q.DueRows(tx.ctx, db.DueRowsParams{Priority: p, Now: tx.micros(), MaxRows: int64(n - len(tasks))})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			t, err := tx.claim(row, plan)
			if err != nil {
				return nil, err
			}
			if t != nil {
				tasks = append(tasks, t)
			}
		}
	}
	return tasks, nil
}

func (tx *Tx) claim(row db.DueRowsRow, plan func(*Task) Step) (*Task, error) {
	r, err := tx.RepoByID(row.RepoID)
	if err != nil {
		return nil, err
	}
	t := &Task{
		Repo: r, Reason: Reason(row.Reason), Attempts: int(row.Attempts), Generation: row.Generation,
		WantRev: atproto.TID(deref(row.WantRev)), InService: r.State == Synchronized,
	}
	t.Step = plan(t)
	if (t.Step == Fetch || t.Step == AskStatus) && row.CooldownUntil > tx.micros() {
		return nil, tx.q.DeferRow(tx.ctx, db.DeferRowParams{RepoID: r.ID, NotBefore: row.CooldownUntil})
	}
	if err := tx.q.Claim(tx.ctx, r.ID); err != nil {
		return nil, err
	}
	switch {
	case t.Step == Resolve && r.Identity != nil:
		err = tx.q.SetIdentityStale(tx.ctx, db.SetIdentityStaleParams{RepoID: r.ID, Stale: 0})
	case t.Step == Fetch && !t.InService:
		err = tx.moveTo(r, Resyncing) // with an empty buffer
	}
	return t, err
}

// Retry gives a claimed row back for a reason, due at notBefore. failed counts
// an attempt; then the row waits behind fresh work. later: the repo's rows are
// right as far as anyone knows, this is a second look.
func (tx *Tx) Retry(r *Repo, why Reason, notBefore time.Time, failed, later bool) error {
	if err := tx.unclaim(r); err != nil {
		return err
	}
	priority := why.priority()
	switch {
	case later:
		priority = prioBackground
	case failed && priority < prioRetry:
		priority = prioRetry
	}
	tx.wake = true
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
	tx.wake = true
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

// Commit is a proven commit as the buffer keeps it.
type Commit struct {
	Prev    atproto.Digest
	Head    Head
	Present []string // collections that it touched and that exist after it
	Died    []string // collections that it emptied
}

// Buffer keeps a proven commit of a repo that is being fetched. It tells whether
// the commit fits: false when the buffer is full, or holds another commit of the
// same rev; the caller then desynchronizes the repo.
func (tx *Tx) Buffer(r *Repo, c Commit) (bool, error) {
	if err := tx.Saw(r, c.Head.Rev); err != nil {
		return false, err
	}
	cid, err := tx.q.BufferedCommit(tx.ctx, db.BufferedCommitParams{RepoID: r.ID, Rev: int64(c.Head.Rev)})
	if err == nil {
		return digest(cid) == c.Head.CID, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	n, err := tx.q.BufferSize(tx.ctx, r.ID)
	if err != nil || n >= maxBuffered {
		return false, err
	}
	return true, tx.q.BufferCommit(tx.ctx, db.BufferCommitParams{
		RepoID: r.ID, Rev: int64(c.Head.Rev), Prev: c.Prev[:], Data: c.Head.Data[:], CID: c.Head.CID[:],
		Present: jsonTexts(c.Present), Died: jsonTexts(c.Died),
	})
}

// InBuffer tells whether this very commit is in the buffer.
func (tx *Tx) InBuffer(r *Repo, h Head) (bool, error) {
	cid, err := tx.q.BufferedCommit(tx.ctx, db.BufferedCommitParams{RepoID: r.ID, Rev: int64(h.Rev)})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return digest(cid) == h.CID, err
}

// Buffered gives the buffered commits in the order of their revs and empties the
// buffer.
func (tx *Tx) Buffered(r *Repo) ([]Commit, error) {
	rows, err := tx.q.BufferedCommits(tx.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	commits := make([]Commit, len(rows))
	for i, row := range rows {
		c := &commits[i]
		c.Prev = digest(row.Prev)
		c.Head = Head{Rev: atproto.TID(row.Rev), Data: digest(row.Data), CID: digest(row.CID)}
		if err := json.Unmarshal([]byte(row.Present), &c.Present); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
		if err := json.Unmarshal([]byte(row.Died), &c.Died); err != nil {
			return nil, fmt.Errorf("resync_buffer of %s: %w", r.DID, err)
		}
	}
	return commits, tx.q.ClearBuffer(tx.ctx, r.ID)
}

// HostAnswered notes that a host served a repo.
func (tx *Tx) HostAnswered(id int64) error { return tx.q.HostAnswered(tx.ctx, id) }

// HostFailed notes a failed request to a host and gives how many have failed in
// a row.
func (tx *Tx) HostFailed(id int64, message string) (int64, error) {
	now := tx.micros()
	return tx.q.HostFailed(tx.ctx, db.HostFailedParams{ID: id, Error: text(message), Now: &now})
}

// CoolHost lets no request go to the host before a time.
func (tx *Tx) CoolHost(id int64, until time.Time) error {
	return tx.q.CoolHost(tx.ctx, db.CoolHostParams{ID: id, Until: until.UnixMicro()})
}
