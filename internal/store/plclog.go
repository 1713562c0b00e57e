package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"railyard/db"
	"railyard/internal/repostate"
)

// parkedPiece is how many rows of the queue are parked or released at once.
const parkedPiece = 2000

// LogForm is how the log of the PLC directory is paged (spec: did:plc, bulk export).
type LogForm string

// The forms.
const (
	BySeq  LogForm = "seq"  // by sequence numbers of the server
	ByTime LogForm = "time" // by the times of operations, in unix microseconds
)

// PLCLog is how far the log of the PLC directory was read.
type PLCLog struct {
	URL   string
	Form  LogForm          // empty = nothing was read yet
	After int64            // operations up to this number or time are in the file
	Seen  map[string]int64 // later ones that are in it too: CID, and number or time
	Done  bool             // the end was reached once
}

// PLCLog returns how far the log was read; the zero value if it never was.
func (rx *Rx) PLCLog() (PLCLog, error) {
	row, err := rx.q.PLCLog(rx.ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return PLCLog{}, nil
	}
	if err != nil {
		return PLCLog{}, err
	}
	l := PLCLog{URL: row.URL, Form: LogForm(row.Form), After: row.After, Done: row.Done == 1}
	if err := json.Unmarshal([]byte(row.Seen), &l.Seen); err != nil {
		return PLCLog{}, fmt.Errorf("plc_log.seen: %w", err)
	}
	return l, nil
}

// PutPLCLog stores how far the log was read. It belongs into the transaction of
// what was read. As long as it is not done, backfill is parked.
func (tx *Tx) PutPLCLog(l PLCLog) error {
	seen := l.Seen
	if seen == nil {
		seen = map[string]int64{}
	}
	text, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	tx.AfterCommit(func() { tx.s.parks = !l.Done })
	return tx.q.PutPLCLog(tx.ctx, db.PutPLCLogParams{
		URL: l.URL, Form: string(l.Form),
		After: l.After, Seen: string(text), Done: flag(l.Done),
	})
}

func logUnread(ctx context.Context, q *db.Queries) (bool, error) {
	row, err := q.PLCLog(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return row.Done == 0, err
}

// isPLC reports whether a DID is of the PLC directory.
func isPLC(did string) bool { return strings.HasPrefix(did, "did:plc:") }

// ParkBackfill parks what was queued before the log was to be read. It does
// so piece by piece, to let other writers in.
func (s *Store) ParkBackfill(ctx context.Context) error {
	return s.queuePieces(ctx, "park backfill", func(tx *Tx, after, last int64) error {
		return tx.q.ParkRows(tx.ctx, db.ParkRowsParams{
			After: after, Upto: last, Priority: repostate.Backfill.Priority(),
		})
	})
}

// FinishPLCLog finishes the first reading of the log: the identities of parked rows are
// what the directory says now, and the rows become due. It may be called again
// after a failure in the middle.
func (s *Store) FinishPLCLog(ctx context.Context) error {
	return s.unpark(ctx, true, func(tx *Tx) error {
		l, err := tx.PLCLog()
		if err != nil {
			return err
		}
		l.Done = true
		return tx.PutPLCLog(l)
	})
}

// DropPLCLog gives up a first reading that has not come to its end: what was parked
// becomes due, and each identity is looked up. A log that was read to its end
// is kept, to be gone on with some day.
func (s *Store) DropPLCLog(ctx context.Context) error {
	unread := false
	if err := s.Update(ctx, "check for a log", func(tx *Tx) (err error) {
		unread, err = logUnread(tx.ctx, tx.q)
		return err
	}); err != nil || !unread {
		return err
	}
	return s.unpark(ctx, false, func(tx *Tx) error { return tx.q.DeletePLCLog(tx.ctx) })
}

// unpark releases what is parked, and parks no more from its first transaction on.
// finish belongs into the last one.
func (s *Store) unpark(ctx context.Context, trust bool, finish func(*Tx) error) error {
	if err := s.Update(ctx, "park no more", func(tx *Tx) error {
		tx.AfterCommit(func() { s.parks = false })
		return nil
	}); err != nil {
		return err
	}
	if err := s.queuePieces(ctx, "release backfill", func(tx *Tx, after, last int64) error {
		if trust {
			err := tx.q.TrustParkedIdentities(tx.ctx, db.TrustParkedIdentitiesParams{After: after, Upto: last})
			if err != nil {
				return err
			}
		}
		tx.wakes = true
		return tx.q.ReleaseRows(tx.ctx, db.ReleaseRowsParams{Now: tx.micros(), After: after, Upto: last})
	}); err != nil {
		return err
	}
	return s.Update(ctx, "finish a log", finish)
}

// queuePieces calls fn for one range of repo ids after the other, until all rows
// of the queue were in one.
func (s *Store) queuePieces(ctx context.Context, why string, fn func(tx *Tx, after, last int64) error) error {
	for after := int64(0); ; {
		var last int64
		if err := s.Update(ctx, why, func(tx *Tx) (err error) {
			last, err = tx.q.QueuePiece(tx.ctx, db.QueuePieceParams{After: after, MaxRows: parkedPiece})
			if err != nil || last == 0 {
				return err
			}
			return fn(tx, after, last)
		}); err != nil || last == 0 {
			return err
		}
		after = last
	}
}
