package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"railyard/db"
)

const (
	checkpointEvery = time.Second
	// truncateAbove is the size of the write-ahead log at which the writer
	// itself checkpoints: a passive one cannot reset the log of a writer that
	// runs flat out.
	truncateAbove = 256 << 20
	pruneEvery    = time.Minute
	// changesKept is how long the change feed reaches back.
	changesKept = 7 * 24 * time.Hour
	pruneRows   = 5000
	releaseRows = 500
)

// releaseClaims gives back what workers of a former process held: their fetches
// are lost, their repos are due again.
func (s *Store) releaseClaims(ctx context.Context) error {
	for more := true; more; {
		err := s.Update(ctx, "release claims", func(tx *Tx) error {
			ids, err := tx.q.ClaimedRows(tx.ctx, releaseRows)
			more = len(ids) == releaseRows
			for _, id := range ids {
				r, err := tx.RepoByID(id)
				if err == nil {
					err = tx.MarkStale(r) // the look at the document may be what was lost
				}
				if err == nil {
					err = tx.Release(r, tx.now)
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

// Maintain keeps the write-ahead log and the change feed short until ctx ends.
func (s *Store) Maintain(ctx context.Context, log *slog.Logger) error {
	own, err := sql.Open("sqlite", dsn(s.path, "_pragma=busy_timeout(1000)", "_pragma=wal_autocheckpoint(0)"))
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	own.SetMaxOpenConns(1)
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	var pruned time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.checkpoint(ctx, own); err != nil && ctx.Err() == nil {
			log.Warn("checkpoint", "err", err)
		}
		if now := s.now(); now.Sub(pruned) >= pruneEvery {
			pruned = now
			if err := s.prune(ctx); err != nil && ctx.Err() == nil {
				log.Warn("prune the change feed", "err", err)
			}
		}
	}
}

func (s *Store) checkpoint(ctx context.Context, own *sql.DB) error {
	if info, err := os.Stat(s.path + "-wal"); err == nil && info.Size() > truncateAbove {
		return s.truncate(ctx)
	}
	return s.around("checkpoint", func() error {
		_, err := own.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
		return err
	})
}

// truncate empties the write-ahead log on the writer's own connection, between
// two transactions. A reader that is in the way is not waited for: the writer is.
func (s *Store) truncate(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // the timeout must be set back
	if _, err := s.writer.ExecContext(ctx, "PRAGMA busy_timeout=50"); err != nil {
		return err
	}
	err := s.around("truncate", func() error {
		_, err := s.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	})
	_, again := s.writer.ExecContext(ctx, "PRAGMA busy_timeout=5000")
	return errors.Join(err, again)
}

func (s *Store) prune(ctx context.Context) error {
	before := s.now().Add(-changesKept).UnixMicro()
	for more := true; more; {
		err := s.Update(ctx, "prune changes", func(tx *Tx) error {
			n, err := tx.q.PruneChanges(tx.ctx, db.PruneChangesParams{Before: before, MaxRows: pruneRows})
			more = n == pruneRows
			return err
		})
		if err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}
