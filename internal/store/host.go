package store

import (
	"time"

	"railyard/db"
)

// HostAnswered notes that a host served a repo.
func (tx *Tx) HostAnswered(id int64) error { return tx.q.HostAnswered(tx.ctx, id) }

// HostFailed notes a failed request to a host. It gives how many have failed in
// a row, and until when the host cools down already: what fails while it does
// was asked before, and counts once.
func (tx *Tx) HostFailed(id int64, message string) (failures int, cooling time.Time, err error) {
	now := tx.micros()
	row, err := tx.q.HostFailed(tx.ctx, db.HostFailedParams{ID: id, Error: text(message), Now: &now})
	return int(row.Failures), time.UnixMicro(row.CooldownUntil), err
}

// CoolHost lets no request go to the host before a time.
func (tx *Tx) CoolHost(id int64, until time.Time) error {
	return tx.q.CoolHost(tx.ctx, db.CoolHostParams{ID: id, Until: until.UnixMicro()})
}
