package store

import (
	"database/sql"
	"errors"
	"math"
	"time"

	"railyard/db"
)

// HostWalk is a host whose listRepos is to be walked, or walked on.
type HostWalk struct {
	ID       int64
	Hostname string
	Insecure bool   // http (development)
	Cursor   string // where the walk stands; empty = at its beginning
	Failures int    // of the walk, in a row
	Cooldown time.Time
	Room     int64 // candidates that it may still have
}

// URL is the base of requests to the host.
func (h *HostWalk) URL() string { return (&Identity{Host: h.Hostname, Insecure: h.Insecure}).URL() }

// DueHosts gives up to n hosts whose walk is due, the longest waiting first.
func (rx *Rx) DueHosts(now time.Time, n int) ([]HostWalk, error) {
	at := now.UnixMicro()
	rows, err := rx.q.DueHosts(rx.ctx, db.DueHostsParams{Now: &at, MaxRows: int64(n)})
	if err != nil {
		return nil, err
	}
	due := make([]HostWalk, len(rows))
	for i, row := range rows {
		due[i] = HostWalk{
			ID: row.ID, Hostname: row.Hostname, Insecure: row.Insecure == 1, Cursor: deref(row.CrawlCursor),
			Failures: int(row.CrawlFailures), Cooldown: time.UnixMicro(row.CooldownUntil), Room: row.Room,
		}
	}
	return due, nil
}

// NextDueHost tells when the next walk of a host is due, the zero time if never.
func (rx *Rx) NextDueHost() (time.Time, error) {
	at, err := rx.q.NextDueHost(rx.ctx)
	if err != nil || at == math.MaxInt64 {
		return time.Time{}, err
	}
	return time.UnixMicro(at), nil
}

// WalkedHosts counts the hosts that are walked.
func (rx *Rx) WalkedHosts() (int64, error) { return rx.q.WalkedHosts(rx.ctx) }

// HostWalked tells of a host by its name whether it is known, whether it is walked,
// and when its last walk ended.
func (rx *Rx) HostWalked(name string) (known, walked bool, ended time.Time, err error) {
	row, err := rx.q.HostWalk(rx.ctx, name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, time.Time{}, nil
	}
	return err == nil, row.CrawlDueAt != nil, instant(row.CrawledAt), err
}

// ListHost notes what a relay's listHosts says of a host. One that is offline or
// banned is not walked; any other is from now on.
func (tx *Tx) ListHost(name string, insecure bool, status string) error {
	now := tx.micros()
	due := &now
	if status == "offline" || status == "banned" {
		due = nil
	}
	return tx.q.ListHost(tx.ctx, db.ListHostParams{Hostname: name, Insecure: flag(insecure), ListedStatus: text(status), Due: due})
}

// WantHostWalk asks for a walk of a host, now or after the one that is under way.
func (tx *Tx) WantHostWalk(name string, insecure bool) error {
	now := tx.micros()
	return tx.q.WantHostWalk(tx.ctx, db.WantHostWalkParams{Hostname: name, Insecure: flag(insecure), Now: &now})
}

// HostRow gives the id of a host by its name and makes its row if there is none.
func (tx *Tx) HostRow(name string, insecure bool) (int64, error) {
	row, err := tx.q.AddHost(tx.ctx, db.AddHostParams{Hostname: name, Insecure: flag(insecure)})
	return row.ID, err
}

// StartHostWalk begins a walk at its first page.
func (tx *Tx) StartHostWalk(id int64) error { return tx.q.StartHostWalk(tx.ctx, id) }

// SetHostCursor notes how far a walk has come.
func (tx *Tx) SetHostCursor(id int64, cursor string) error {
	return tx.q.SetHostCursor(tx.ctx, db.SetHostCursorParams{HostID: id, Cursor: text(cursor)})
}

// DeferHostWalk lets a walk go on later; failed counts a failure.
func (tx *Tx) DeferHostWalk(id int64, until time.Time, failed bool) error {
	at := until.UnixMicro()
	return tx.q.DeferHostWalk(tx.ctx, db.DeferHostWalkParams{HostID: id, Until: &at, Failed: flag(failed)})
}

// PauseHostWalk lets a walk wait for room: it goes on when half of the host's
// candidates are resolved. One that has no candidates and no room has lost its
// credit; half of its misses are forgiven, and it goes on at until.
func (tx *Tx) PauseHostWalk(id int64, until time.Time) error {
	at := until.UnixMicro()
	return tx.q.PauseHostWalk(tx.ctx, db.PauseHostWalkParams{HostID: id, Until: &at})
}

// GiveUpHostWalk ends the walks of a host that has failed so often, has never
// answered and is listed by nobody, until it asks again.
func (tx *Tx) GiveUpHostWalk(id int64, failures int) error {
	return tx.q.GiveUpHostWalk(tx.ctx, db.GiveUpHostWalkParams{HostID: id, Failures: int64(failures)})
}

// FinishHostWalk ends a walk. The next one is due at next, never if that is zero,
// and at once if it was asked for meanwhile.
func (tx *Tx) FinishHostWalk(id int64, next time.Time) error {
	now := tx.micros()
	return tx.q.FinishHostWalk(tx.ctx, db.FinishHostWalkParams{HostID: id, Now: &now, Next: micros(next)})
}

// TameHostWalks brings forward what is due later than a time that no walk is put
// off to: the clock was set back.
func (tx *Tx) TameHostWalks(horizon time.Time) error {
	now, most := tx.micros(), horizon.UnixMicro()
	return tx.q.TameHostWalks(tx.ctx, db.TameHostWalksParams{Now: &now, Horizon: &most})
}
