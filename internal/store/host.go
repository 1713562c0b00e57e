package store

import (
	"database/sql"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// HostAnswered notes that a host served a repo.
func (tx *Tx) HostAnswered(id int64) error {
	tx.wakes = true
	if n, err := tx.q.AnsweredHost(tx.ctx, id); err != nil || n == 1 {
		return err
	}
	if err := tx.q.RecoveredHost(tx.ctx, id); err != nil {
		return err
	}
	return tx.q.ClearHostError(tx.ctx, id)
}

// HostFailed notes a request to a host that failed, and returns how many have failed in
// a row, one after the other. One that began before the last failure that was counted,
// or before the end of the pause after it, is a part of that failure: it changes
// nothing and returns 0. So does one of the repo of the last failure, which may be odd
// and its host well; 0 stands for none.
func (tx *Tx) HostFailed(id, repo int64, began time.Time, message string) (failures int, err error) {
	n, err := tx.q.FailedHost(tx.ctx, db.FailedHostParams{Host: id, Repo: orNull(repo), Began: began.UnixMicro()})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	now := tx.micros()
	return int(n), tx.q.SetHostError(tx.ctx, db.SetHostErrorParams{Host: id, Error: orNull(message), Now: &now, Failures: n})
}

// CoolHost lets no request go to the host before a time.
func (tx *Tx) CoolHost(id int64, until time.Time) error {
	tx.AfterCommit(func() { tx.s.cooldowns.Add(1) })
	return tx.q.CoolHost(tx.ctx, db.CoolHostParams{Host: id, Until: until.UnixMicro()})
}

// Cooldowns returns how many cooldowns of hosts have begun since the file was opened.
// While that is the same, what a lease knows of its host's cooldown still holds.
func (s *Store) Cooldowns() int64 { return s.cooldowns.Load() }

// SetRate notes how many requests per second a host allows.
func (tx *Tx) SetRate(id int64, perSecond float64) error {
	return tx.q.SetHostRate(tx.ctx, db.SetHostRateParams{Host: id, Rate: &perSecond})
}

// DistrustDescribe notes that a host's describeRepo was caught with a wrong list. The
// upkeep forgets it after a month.
func (tx *Tx) DistrustDescribe(host int64) error {
	return tx.q.DistrustDescribe(tx.ctx, db.DistrustDescribeParams{ID: host, Now: micros(tx.now)})
}

// SetAbsentProofs notes whether a host's getRecord proves the absence of keys. That it does
// not is forgotten by the upkeep after a month.
func (tx *Tx) SetAbsentProofs(host int64, can repostate.Ability) error {
	var proves *int64
	if can != repostate.Unknown {
		v := flag(can == repostate.Able)
		proves = &v
	}
	return tx.q.SetAbsentProofs(tx.ctx, db.SetAbsentProofsParams{ID: host, Proves: proves, Now: micros(tx.now)})
}
