package store

import (
	"time"

	"railyard/db"
)

// Kind is what an upstream is.
type Kind string

// The kinds of upstream.
const (
	KindUnknown Kind = ""
	KindRelay   Kind = "relay"
	KindPDS     Kind = "pds"
)

// Upstream is a followed firehose.
type Upstream struct {
	ID          int64
	URL         string
	Kind        Kind
	Name        string // of a PDS: the host that DID documents call it; empty = that of its URL alone
	Cursor      int64  // 0 = start live
	LastEventAt time.Time
	// Lag is how old the newest event was when it was applied, by the time that it states;
	// nil if none has stated one.
	Lag *time.Duration
}

func upstreamOf(row db.Upstream) Upstream {
	u := Upstream{
		ID: row.ID, URL: row.URL, Kind: Kind(deref(row.Kind)), Name: deref(row.Name), Cursor: deref(row.Cursor),
		LastEventAt: instant(row.LastEventAt),
	}
	if row.Lag != nil {
		lag := time.Duration(*row.Lag) * time.Microsecond
		u.Lag = &lag
	}
	return u
}

func instant(micros *int64) (t time.Time) {
	if micros != nil {
		t = time.UnixMicro(*micros)
	}
	return t
}

// AddUpstream returns the row of a firehose and makes it if there is none.
func (tx *Tx) AddUpstream(url string) (Upstream, error) {
	row, err := tx.q.AddUpstream(tx.ctx, url)
	return upstreamOf(row), err
}

// Upstream returns the row of a firehose.
func (rx *Rx) Upstream(id int64) (Upstream, error) {
	row, err := rx.q.UpstreamByID(rx.ctx, id)
	return upstreamOf(row), err
}

// Upstreams returns every firehose ever followed.
func (rx *Rx) Upstreams() ([]Upstream, error) {
	rows, err := rx.q.Upstreams(rx.ctx)
	if err != nil {
		return nil, err
	}
	ups := make([]Upstream, len(rows))
	for i, row := range rows {
		ups[i] = upstreamOf(row)
	}
	return ups, nil
}

// mostSights is how many DIDs may wait in the file that only an upstream's events have
// told of. Those of accounts that exist are looked up and count no more; what an
// upstream invents stays until it was denied twice.
const mostSights = 10_000

// SightsLeft returns how many unknown DIDs more the events of an upstream may bring.
func (rx *Rx) SightsLeft(upstream int64) (int64, error) {
	n, err := rx.q.Sights(rx.ctx, db.SightsParams{Upstream: upstream, Most: mostSights})
	return mostSights - n, err
}

// SetKind stores what an upstream was found to be, and the name of a PDS (Upstream.Name).
func (tx *Tx) SetKind(id int64, k Kind, name string) error {
	v := string(k)
	return tx.q.SetUpstreamKind(tx.ctx, db.SetUpstreamKindParams{ID: id, Kind: &v, Name: orNull(name)})
}

// SetCursor stores the position up to which everything is in this file. Zero
// clears it. It belongs into the transaction of the changes that it covers. newest is
// the newest time that an event up to there states, zero if none does; one of the
// future counts as now.
func (tx *Tx) SetCursor(id, cursor int64, newest time.Time) error {
	var lag *int64
	if !newest.IsZero() {
		age := max(0, tx.now.Sub(newest).Microseconds())
		lag = &age
	}
	v, now := &cursor, tx.micros()
	if cursor == 0 {
		v = nil
	}
	return tx.q.SetUpstreamCursor(tx.ctx, db.SetUpstreamCursorParams{ID: id, Cursor: v, Now: &now, Lag: lag})
}
