package store

import (
	"database/sql"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
	"railyard/internal/repostate"
)

// RepoByDID returns a repo, or nil if the DID was never seen.
func (rx *Rx) RepoByDID(did string) (*repostate.Repo, error) {
	row, err := rx.q.RepoByDID(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return rx.repoOf(db.RepoByIDRow(row))
}

// RepoOrNew returns a repo as it is known, or as one that was never seen.
func (rx *Rx) RepoOrNew(did string) (*repostate.Repo, error) {
	r, err := rx.RepoByDID(did)
	if r == nil && err == nil {
		r = &repostate.Repo{DID: did, Active: true}
	}
	return r, err
}

// RepoByID returns a repo that is known to exist.
func (rx *Rx) RepoByID(id int64) (*repostate.Repo, error) {
	row, err := rx.q.RepoByID(rx.ctx, id)
	if err != nil {
		return nil, err
	}
	return rx.repoOf(row)
}

func (rx *Rx) repoOf(row db.RepoByIDRow) (*repostate.Repo, error) {
	r := &repostate.Repo{
		ID: row.ID, DID: row.DID, State: repostate.State(row.State), Active: row.Active == 1, Status: row.Status,
		StatusFrom: repostate.Source(row.StatusFrom), StatusAt: instantOr0(row.StatusAt),
		Proof: repostate.Proof(row.Proof), ProvenAt: instantOr0(row.ProvenAt), SeenRev: atproto.TID(row.SeenRev),
		FoundHostID: row.FoundHostID, HarmlessRev: atproto.TID(row.HarmlessRev),
		Error: row.Error, ErrorAt: instantOr0(row.ErrorAt), Seq: row.Seq,
	}
	if row.Rev != nil {
		r.Head = &repostate.Head{Rev: atproto.TID(*row.Rev), Data: digest(row.Data), CID: digest(row.CID)}
	}
	if row.HostID != nil {
		r.Identity = &repostate.Identity{
			Key: string(row.SigningKey), HostID: *row.HostID, Host: row.Hostname, Insecure: row.Insecure == 1,
			FetchedAt: instantOr0(row.FetchedAt), Stale: row.Stale == 1, StatusAskedAt: instantOr0(row.StatusAskedAt),
			DescribeTrusted: trusted(row.DescribeTrust), AbsentProofs: ability(row.AbsentProofs),
			EarlierRev: atproto.TID(row.EarlierRev),
		}
	}
	if row.Waits == 0 {
		return r, nil
	}
	w, err := rx.q.QueueRow(rx.ctx, row.ID)
	r.Waiting = &repostate.Waiting{
		Reason: repostate.Reason(w.Reason), Priority: w.Priority, NotBefore: time.UnixMicro(w.NotBefore), Parked: w.Parked == 1,
		Attempts: int(w.Attempts), Generation: w.Generation, Leased: w.Lease != nil, Lease: deref(w.Lease),
		WantRev: atproto.TID(deref(w.WantRev)), AskStatus: w.AskStatus == 1, IdentityChecks: int(w.IdentityChecks),
		QueuedAt: time.UnixMicro(w.QueuedAt), Said: repostate.Statement(deref(w.Said)), SaidRev: atproto.TID(deref(w.SaidRev)),
		SaidTimes: int(w.SaidTimes), SaidSince: instant(w.SaidSince),
	}
	return r, err
}

// trusted: nobody was caught yet.
func trusted(describe *int64) bool { return describe == nil || *describe == 1 }

func ability(flag *int64) repostate.Ability {
	switch {
	case flag == nil:
		return repostate.Unknown
	case *flag == 1:
		return repostate.Able
	}
	return repostate.Unable
}

// instantOr0 returns the zero time for 0, which stands for NULL.
func instantOr0(micros int64) (t time.Time) {
	if micros != 0 {
		t = time.UnixMicro(micros)
	}
	return t
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// orNull returns nil for the zero value, which the file has as NULL.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	v := t.UnixMicro()
	return &v
}

func digest(b []byte) (d atproto.Digest) {
	copy(d[:], b)
	return d
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// SigningKey returns the key of an account: multicodec prefix and compressed point,
// empty if none is known.
func (rx *Rx) SigningKey(did string) (string, error) {
	key, err := rx.q.SigningKey(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return string(key), err
}

// Knows reports whether a DID has a repo in the file.
func (rx *Rx) Knows(did string) (bool, error) {
	_, err := rx.q.KnownDID(rx.ctx, did)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// neighboursAmong bounds what is read for Neighbours.
const neighboursAmong = 200

// Neighbours returns the DIDs of other repos of a repo's host that are in service, at
// most so many, of the accounts that came last.
func (rx *Rx) Neighbours(r *repostate.Repo, most int) ([]string, error) {
	return rx.q.Neighbours(rx.ctx, db.NeighboursParams{
		HostID: r.Identity.HostID, RepoID: r.ID, Among: neighboursAmong, MaxRows: int64(most),
	})
}
