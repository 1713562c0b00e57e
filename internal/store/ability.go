package store

import (
	"railyard/db"
	"railyard/internal/atproto"
)

// Ability tells whether a host can do something.
type Ability byte

// The answers.
const (
	Unknown Ability = iota // not tried
	Able
	Unable
)

func ability(flag *int64) Ability {
	switch {
	case flag == nil:
		return Unknown
	case *flag == 1:
		return Able
	}
	return Unable
}

// SetAbsentProofs notes whether a host's getRecord proves the absence of keys.
func (tx *Tx) SetAbsentProofs(host int64, can Ability) error {
	var proves *int64
	if can != Unknown {
		v := flag(can == Able)
		proves = &v
	}
	return tx.q.SetAbsentProofs(tx.ctx, db.SetAbsentProofsParams{ID: host, Proves: proves})
}

// SetEarlierRev notes up to which rev what was seen of a repo may be signed by an
// earlier key of its DID; 0 if nothing was.
func (tx *Tx) SetEarlierRev(r *Repo, rev atproto.TID) error {
	if r.Identity.EarlierRev == rev {
		return nil
	}
	r.Identity.EarlierRev = rev
	var v *int64
	if rev != 0 {
		n := int64(rev)
		v = &n
	}
	return tx.q.SetEarlierRev(tx.ctx, db.SetEarlierRevParams{RepoID: r.ID, Rev: v})
}
