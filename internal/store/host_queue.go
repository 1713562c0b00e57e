package store

import (
	"cmp"
	"math"
	"slices"
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// Queues that are no host's: who is asked for a DID document. (schema.sql, host_queue)
const (
	DirectoryQueue int64 = 0  // the PLC directory
	WebQueue       int64 = -1 // the hosts of did:web
)

// HostLimits are those of a host for whoever asks it.
type HostLimits struct {
	Rate     float64   // requests per second that it allows; 0 = it did not say
	NextAt   time.Time // its pace allows no request before then
	Cooldown time.Time // nor is it asked before then
}

// HostLimits returns the limits of a host.
func (rx *Rx) HostLimits(id int64) (HostLimits, error) {
	row, err := rx.q.HostLimits(rx.ctx, id)
	return HostLimits{deref(row.Rate), time.UnixMicro(row.NextAt), time.UnixMicro(row.CooldownUntil)}, err
}

// ReadyHost is a host that may be asked now.
type ReadyHost struct {
	ID       int64 // host_queue.host_id
	Priority int64 // of the row that waits for it
	Unproven bool  // nobody knows whether it answers in time
	Rate     float64
	NextAt   time.Time
}

// ReadyHosts returns up to most hosts that may be asked now, and among them up to
// unproven ones that are unproven. All of them have a row of the same priority, the
// most urgent one; the host that has been ready for longest comes first.
func (tx *Tx) ReadyHosts(most, unproven int) ([]ReadyHost, error) {
	if err := tx.readHeads(); err != nil {
		return nil, err
	}
	now := tx.micros()
	params := db.ReadyHostsParams{Now: &now, MaxRows: int64(most), MaxUnproven: int64(unproven)}
	for {
		rows, err := tx.q.ReadyHosts(tx.ctx, params)
		if err != nil {
			return nil, err
		}
		if newcomers, err := tx.lineUp(rows); err != nil || !newcomers {
			return readyHosts(rows), err
		}
	}
}

// lineUp puts hosts that had no turn yet behind all others, and reports whether there
// were any.
func (tx *Tx) lineUp(rows []db.ReadyHostsRow) (newcomers bool, err error) {
	for _, row := range rows {
		if row.ServedAt != 0 {
			continue
		}
		newcomers = true
		if err := tx.q.ServedHost(tx.ctx, db.ServedHostParams{Host: row.HostID, Now: tx.micros()}); err != nil {
			return false, err
		}
	}
	return newcomers, nil
}

// readyHosts leaves out what is less urgent than the first row: once the others have
// been served, they may have another row as urgent as theirs.
func readyHosts(rows []db.ReadyHostsRow) (hosts []ReadyHost) {
	for _, row := range rows {
		if row.Priority != rows[0].Priority {
			break
		}
		hosts = append(hosts, ReadyHost{
			ID: row.HostID, Priority: row.Priority, Unproven: row.Unproven == 1,
			Rate: deref(row.Rate), NextAt: time.UnixMicro(row.NextAt),
		})
	}
	return hosts
}

// NextReady returns when a host may be asked for the first time, the zero time if
// none will be. Unproven hosts are left out where there is no worker for them.
func (rx *Rx) NextReady(unproven bool) (time.Time, error) {
	leaveOut := int64(1)
	if !unproven {
		leaveOut = 0
	}
	at, err := rx.q.NextReady(rx.ctx, leaveOut)
	if err != nil || at == math.MaxInt64 {
		return time.Time{}, err
	}
	return time.UnixMicro(at), nil
}

// readHeads reads the heads of the hosts anew for which a more urgent row may have
// become due.
func (tx *Tx) readHeads() error {
	now := tx.micros()
	ids, err := tx.q.WakeHosts(tx.ctx, &now)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.readHead(id); err != nil {
			return err
		}
	}
	return nil
}

// readHead chooses what a host is asked for next: of the rows that are due by the time
// its cooldown ends, the most urgent one, else the one that is due first. Its pace does
// not count, because requests that are not sent are taken back.
func (tx *Tx) readHead(id int64) error {
	heads, err := tx.q.HostHeads(tx.ctx, id)
	if err != nil {
		return err
	}
	limits, err := tx.HostLimits(id)
	if err != nil {
		return err
	}
	free := max(tx.micros(), limits.Cooldown.UnixMicro())
	head := db.SetHeadParams{Host: id}
	if len(heads) > 0 {
		best := slices.MinFunc(heads, func(a, b db.HostHeadsRow) int { // the first one among equals: it is more urgent
			return cmp.Compare(max(a.DueAt, free), max(b.DueAt, free))
		})
		head.Priority, head.DueAt = &best.Priority, &best.DueAt
		for _, h := range heads {
			if h.Priority < best.Priority && (head.BetterAt == nil || h.DueAt < *head.BetterAt) {
				head.BetterAt = &h.DueAt
			}
		}
	}
	return tx.q.SetHead(tx.ctx, head)
}

// Lease takes the row for which a host is asked next. Its pace allows the next request
// at nextAt. What the attempt does, and what becomes of the repo meanwhile, is decided
// by package repostate. Lease returns nil if no such row is due: the head was too early,
// and is right now.
func (tx *Tx) Lease(h ReadyHost, nextAt time.Time, env repostate.Env) (*repostate.Attempt, error) {
	rows, err := tx.q.FirstRows(tx.ctx, db.FirstRowsParams{Host: h.ID, Priority: h.Priority})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Priority != h.Priority || rows[0].DueAt > tx.micros() {
		return nil, tx.readHead(h.ID)
	}
	r, err := tx.RepoByID(rows[0].RepoID)
	if err != nil {
		return nil, err
	}
	d := repostate.Decide(r, repostate.Lease{}, env)
	if _, err := tx.Apply(r, d); err != nil {
		return nil, err
	}
	a := &repostate.Attempt{Repo: r, Step: d.Step, At: tx.now}
	begin := db.BeginAttemptParams{Host: h.ID, Now: tx.micros(), NextAt: nextAt.UnixMicro()}
	if len(rows) == 1 {
		return a, tx.q.BeginAttempt(tx.ctx, begin)
	}
	begin.Priority, begin.DueAt = &rows[1].Priority, &rows[1].DueAt
	if err := tx.q.BeginAttempt(tx.ctx, begin); err != nil || rows[1].DueAt <= tx.micros() {
		return a, err
	}
	return a, tx.readHead(h.ID) // a less urgent one may be due
}

// FinishAttempt finishes what Lease began. The host's pace allows the next request at
// nextAt.
func (tx *Tx) FinishAttempt(host int64, nextAt time.Time) error {
	return tx.q.FinishAttempt(tx.ctx, db.FinishAttemptParams{Host: host, NextAt: nextAt.UnixMicro()})
}

// SetNextAt notes when the pace of a host allows the next request.
func (tx *Tx) SetNextAt(host int64, at time.Time) error {
	return tx.q.SetNextAt(tx.ctx, db.SetNextAtParams{Host: host, NextAt: at.UnixMicro()})
}

// SetShare bounds how many attempts may ask a host at once.
func (tx *Tx) SetShare(host int64, n int) error {
	return tx.q.SetShare(tx.ctx, db.SetShareParams{Host: host, Share: int64(n)})
}

const (
	// mostAhead and mostCooldown are how far from now the pace and the cooldown of a
	// host can lie. What is later was written by a clock that was ahead.
	mostAhead    = 16 * time.Minute // sixteen requests to a host that allows one in a minute
	mostCooldown = 4 * time.Hour
)

// ClampHosts brings forward what a clock has put off that was set back since.
func (tx *Tx) ClampHosts() error {
	tx.wakes = true
	return tx.q.ClampHosts(tx.ctx, db.ClampHostsParams{
		Now: tx.micros(), Next: tx.now.Add(mostAhead).UnixMicro(), Cooldown: tx.now.Add(mostCooldown).UnixMicro(),
	})
}
