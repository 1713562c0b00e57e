package resync

import (
	"context"
	"time"

	"railyard/internal/store"
)

const (
	// reloadEvery is how often all heads of the queue are read, against news that
	// were not told and for lanes that found no room.
	reloadEvery = time.Minute
	// pieceOfHeads is how many of them one read transaction takes.
	pieceOfHeads = 256
)

// scan is a reading of all heads of the queue, piece by piece. Only the dispatcher
// uses it.
type scan struct {
	after  store.LaneHead
	under  bool // it has begun and not ended
	due    time.Time
	loaded bool // a first one has ended
}

// catchUp takes what has changed in the file. The first reading is done as a
// whole, later ones by a piece with each call.
func (rs *Resyncer) catchUp(ctx context.Context) error {
	news := rs.cfg.Store.News()
	rs.lanes.learn(news, rs.cfg.Now())
	s := &rs.scan
	if news.Lost || rs.lanes.roomAgain() {
		s.due = time.Time{}
	}
	if !s.under && !s.due.After(rs.cfg.Now()) {
		s.under, s.after = true, store.BeforeLanes()
		s.due = rs.cfg.Now().Add(reloadEvery)
	}
	for s.under {
		if err := rs.readPiece(ctx); err != nil || s.loaded {
			return err
		}
	}
	return nil
}

func (rs *Resyncer) readPiece(ctx context.Context) error {
	s := &rs.scan
	var heads []store.LaneHead
	err := rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) (err error) {
		heads, err = rx.LaneHeads(s.after, pieceOfHeads)
		return err
	})
	if err != nil {
		return err
	}
	if len(heads) < pieceOfHeads {
		s.under, s.loaded = false, true
	} else {
		s.after = heads[len(heads)-1]
	}
	rs.lanes.learn(store.News{Heads: heads}, rs.cfg.Now())
	return nil
}
