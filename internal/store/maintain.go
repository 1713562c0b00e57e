package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"railyard/internal/repostate"
)

const (
	checkpointEvery = time.Second
	// truncateEvery is how often the writer tries to shorten a log that is too large: it
	// waits meanwhile, and a reader may be in the way.
	truncateEvery = 3 * time.Second
	// slowAbove is the size from which on a log that a reader has pinned slows the writer
	// down, rather than filling the disk: by slowest at twice the size.
	slowAbove  = 1 << 30
	slowest    = 2 * time.Second
	frameSize  = 4096 + 24 // of the log: a page, and its header
	pruneEvery = time.Minute
	// changesKept is how long the change feed reaches back.
	changesKept = 7 * 24 * time.Hour
	// inabilitiesKept is how long what a host could not do is not tried again.
	inabilitiesKept = 30 * 24 * time.Hour
	pruneRows       = 5000
	// complainEvery is how often a failure of the upkeep is logged that stays.
	complainEvery = time.Minute
	releaseRows   = 500
)

// releaseLeases gives back what workers of a former process held: their fetches
// are lost, their repos are due again, and nobody asks a host.
func (s *Store) releaseLeases(ctx context.Context) error {
	for more := true; more; {
		err := s.Update(ctx, "release leases", func(tx *Tx) error {
			if err := errors.Join(tx.q.ForgetAttempts(tx.ctx), tx.ClampHosts()); err != nil {
				return err
			}
			ids, err := tx.q.LeasedRows(tx.ctx, releaseRows)
			more = len(ids) == releaseRows
			for _, id := range ids {
				r, err := tx.RepoByID(id)
				if err == nil {
					_, err = tx.Apply(r, repostate.Decide(r, repostate.Lost{}, tx.Env()))
				}
				if err != nil {
					return err
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Maintain keeps the write-ahead log and the change feed short until ctx ends. A
// failure is logged and counted, and tried again: the log grows meanwhile, until the
// disk is full and an Update fails. It ends with an error once the writer has stopped.
func (s *Store) Maintain(ctx context.Context, log *slog.Logger) error {
	own, err := s.openUpkeep()
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	var pruned time.Time
	checkpoints, prunings := complaint{what: "checkpoint"}, complaint{what: "prune the change feed"}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.inPlace()
		now := s.now()
		s.upkept(ctx, log, &checkpoints, now, s.checkpoint(ctx, own))
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			s.upkept(ctx, log, &prunings, now, s.Prune(ctx))
		}
		if err := s.Err(); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// upkept counts and logs how a part of the upkeep went. That a reader is in the way is
// for those to tell who ask Pinned.
func (s *Store) upkept(ctx context.Context, log *slog.Logger, c *complaint, now time.Time, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil {
		s.neglected.Add(1)
	}
	if !errors.Is(err, errPinned) {
		c.tell(log, now, err)
	}
}

// UpkeepFailures counts the checkpoints and the prunings of the change feed that have
// failed since Open.
func (s *Store) UpkeepFailures() int64 { return s.neglected.Load() }

// complaint logs what fails again and again: the first time, every minute, and
// once it is over.
type complaint struct {
	what   string
	failed int // times in a row
	told   time.Time
}

func (c *complaint) tell(log *slog.Logger, now time.Time, err error) {
	switch {
	case err == nil && c.failed > 0:
		log.Info(c.what+" works again", "failed", c.failed)
		c.failed = 0
	case err == nil:
	default:
		c.failed++
		if c.failed == 1 || now.Sub(c.told) >= complainEvery {
			c.told = now
			log.Warn(c.what, "err", err, "failed", c.failed)
		}
	}
}

// openUpkeep returns a connection beside the writer's.
func (s *Store) openUpkeep() (*sql.DB, error) {
	own, err := sql.Open("sqlite", dsn(s.path, through(s.vfs, "_pragma=busy_timeout(1000)", "_pragma=wal_autocheckpoint(0)")...))
	if err == nil {
		own.SetMaxOpenConns(1)
	}
	return own, err
}

// checkpoint brings what was committed from the log into the file, if anything was
// since the last checkpoint that brought all of it. It fails if the log is large and
// cannot begin anew, which SQLite says in its answer and calls no error.
func (s *Store) checkpoint(ctx context.Context, own *sql.DB) error {
	commits := s.commits.Load()
	if commits == s.brought && s.pinned.Load() == 0 {
		return nil
	}
	var busy, logged, moved int64
	if err := s.around("checkpoint", func() error {
		err := own.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &logged, &moved)
		if err == nil && busy == 0 && logged == moved {
			s.brought = commits
		}
		return s.failed("checkpoint", err)
	}); err != nil {
		return err
	}
	switch size := logged * frameSize; {
	case busy != 0 || logged < 0: // another checkpoint is under way: nothing is known
	case size > s.logSize:
		return s.shorten(ctx, size)
	default:
		s.pinned.Store(0)
	}
	return nil
}

// errPinned: somebody reads a state of the file that only its log has. (Pinned)
var errPinned = errors.New("a reader keeps the write-ahead log from being shortened")

// shorten has a log of a size begin anew. If a reader is in the way, it fails, and is
// not tried again for a while.
func (s *Store) shorten(ctx context.Context, size int64) error {
	if now := s.now(); now.Sub(s.shortened).Abs() >= truncateEvery {
		s.shortened = now
		done, err := s.truncate(ctx)
		if err != nil {
			return err
		}
		if done {
			size = 0
		}
		s.pinned.Store(size)
	}
	if s.pinned.Load() > 0 {
		s.pinned.Store(size)
		return errPinned
	}
	return nil
}

// truncate empties the write-ahead log on the writer's own connection, between
// two transactions, and reports whether it could. A reader that is in the way is not
// waited for: the writer is.
func (s *Store) truncate(ctx context.Context) (done bool, err error) {
	if err := s.turns.take(ctx); err != nil {
		return false, err
	}
	defer s.turns.give()
	ctx = context.WithoutCancel(ctx) // the timeout must be set back
	if err := s.connect(ctx); err != nil {
		return false, err
	}
	if err := s.writer.run(ctx, "PRAGMA busy_timeout=50"); err != nil {
		return false, err
	}
	err = s.around("truncate", func() error {
		var busy, logged, moved int64
		err := s.writer.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &moved)
		done = err == nil && busy == 0
		return s.failed("truncate the write-ahead log", err)
	})
	again := s.writer.run(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeout.Milliseconds()))
	return done, errors.Join(err, again)
}

// Pinned returns the size in bytes of a write-ahead log that is too large and cannot be
// shortened, because somebody reads an old state of the file; 0 if all is well.
func (s *Store) Pinned() int64 { return s.pinned.Load() }

// slowDown holds a transaction back while a log that is pinned grows beyond its bound.
func (s *Store) slowDown() {
	if over := s.pinned.Load() - slowAbove; over > 0 {
		time.Sleep(min(slowest, time.Duration(float64(slowest)*float64(over)/slowAbove)))
	}
}

// Prune removes old changes, collections that no row names any more, and what hosts could
// not do long ago.
func (s *Store) Prune(ctx context.Context) error {
	before := s.now().Add(-changesKept)
	for more := true; more; {
		err := s.Update(ctx, "prune", func(tx *Tx) error {
			changes, err := tx.pruneChanges(before, pruneRows)
			if err != nil {
				return err
			}
			collections, err := tx.pruneCollections(pruneRows)
			if err != nil {
				return err
			}
			more = changes == pruneRows || collections == pruneRows
			unable := s.now().Add(-inabilitiesKept).UnixMicro()
			return tx.q.ForgetInabilities(tx.ctx, &unable)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
