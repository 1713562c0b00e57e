package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"

	"railyard/db"
)

// Source is what brought a membership row.
type Source int64

// The sources, as the table membership_source has them.
const (
	SourceCommit Source = iota + 1
	SourceResync
)

func (s Source) String() string {
	switch s {
	case SourceCommit:
		return "commit"
	case SourceResync:
		return "resync"
	}
	return "import"
}

// cause of a change of visibility, as the table change_cause has it.
type cause int64

const (
	birth cause = iota + 1
	death
	becameInactive
	becameActive
	_ // import proven
	becameNotFound
)

// maxNSIDs bounds the cache of collection ids: names can be minted at will.
const maxNSIDs = 1 << 18

// Bear adds collections to a repo's set. Rows that exist stay as they are. It
// gives the number of births.
func (tx *Tx) Bear(r *Repo, nsids []string, source Source) (births int, err error) {
	for _, nsid := range nsids {
		id, err := tx.collection(nsid)
		if err != nil {
			return births, err
		}
		seq := tx.nextSeq(1)
		if !r.Visible() {
			seq = -seq
		}
		n, err := tx.q.Birth(tx.ctx, db.BirthParams{CollectionID: id, Seq: seq, RepoID: r.ID, Source: int64(source)})
		if err != nil {
			return births, err
		}
		if n == 0 {
			tx.seq-- // not taken
			continue
		}
		births++
		if r.Visible() {
			if err := tx.changed(r, id, true, birth); err != nil {
				return births, err
			}
		}
	}
	return births, nil
}

// Kill removes collections from a repo's set. It gives the number of deaths.
func (tx *Tx) Kill(r *Repo, nsids []string) (deaths int, err error) {
	for _, nsid := range nsids {
		id, err := tx.knownCollection(nsid)
		if err != nil {
			return deaths, err
		}
		if id == 0 {
			continue
		}
		seqs, err := tx.q.Death(tx.ctx, db.DeathParams{RepoID: r.ID, CollectionID: id})
		if err != nil {
			return deaths, err
		}
		for _, seq := range seqs {
			deaths++
			if seq > 0 {
				if err := tx.changed(r, id, false, death); err != nil {
					return deaths, err
				}
			}
		}
	}
	return deaths, nil
}

// dieAllBut removes the rows of collections that are not among ids, a JSON array.
func (tx *Tx) dieAllBut(r *Repo, ids string) (deaths int, err error) {
	dead, err := tx.q.DeathsOf(tx.ctx, db.DeathsOfParams{RepoID: r.ID, CollectionIds: ids})
	if err != nil {
		return 0, err
	}
	for _, d := range dead {
		if d.Seq > 0 {
			if err := tx.changed(r, d.CollectionID, false, death); err != nil {
				return 0, err
			}
		}
	}
	return len(dead), nil
}

// bearMissing adds the rows that a visible repo lacks of n collections, ids as a
// JSON array. The births of a first backfill stay out of the change feed.
func (tx *Tx) bearMissing(r *Repo, ids string, n int, first bool) (births int, err error) {
	if n == 0 {
		return 0, nil
	}
	born, err := tx.q.BirthsOf(tx.ctx, db.BirthsOfParams{
		RepoID: r.ID, FirstSeq: tx.nextSeq(n), Source: int64(SourceResync), CollectionIds: ids,
	})
	if err != nil {
		return 0, err
	}
	for _, id := range born {
		if first {
			tx.count(id, 1)
		} else if err := tx.changed(r, id, true, birth); err != nil {
			return 0, err
		}
	}
	return len(born), nil
}

// collectionIDs gives the ids of collections as a JSON array.
func (tx *Tx) collectionIDs(nsids []string) (string, error) {
	ids := make([]int64, len(nsids))
	for i, nsid := range nsids {
		id, err := tx.collection(nsid)
		if err != nil {
			return "", err
		}
		ids[i] = id
	}
	return jsonIDs(ids), nil
}

// settle makes the repo's rows visible or invisible, as its account and its
// proof demand. It is the only place that turns the sign of a birth number.
func (tx *Tx) settle(r *Repo) error {
	visible := r.Active && r.Proof != 0
	switch {
	case visible && r.seq == 0:
		return tx.show(r)
	case !visible && r.seq > 0:
		return tx.hide(r)
	}
	return nil
}

func (tx *Tx) show(r *Repo) error {
	r.seq = tx.nextSeq(1)
	if err := tx.q.SetRepoSeq(tx.ctx, db.SetRepoSeqParams{ID: r.ID, Seq: r.seq}); err != nil {
		return err
	}
	hidden, err := tx.q.Hidden(tx.ctx, r.ID)
	if err != nil {
		return err
	}
	for _, h := range hidden {
		err := tx.q.Show(tx.ctx, db.ShowParams{Seq: tx.nextSeq(1), CollectionID: h.CollectionID, HiddenSeq: h.Seq})
		if err != nil {
			return err
		}
		if err := tx.changed(r, h.CollectionID, true, becameActive); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) hide(r *Repo) error {
	why := becameInactive
	if r.Active && r.State == NotFound {
		why = becameNotFound
	}
	r.seq = 0
	if err := tx.q.SetRepoSeq(tx.ctx, db.SetRepoSeqParams{ID: r.ID, Seq: 0}); err != nil {
		return err
	}
	ids, err := tx.q.Hide(tx.ctx, r.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.changed(r, id, false, why); err != nil {
			return err
		}
	}
	return nil
}

// changed counts a change of visibility and puts it into the change feed.
func (tx *Tx) changed(r *Repo, collection int64, visible bool, why cause) error {
	if visible {
		tx.count(collection, 1)
	} else {
		tx.count(collection, -1)
	}
	return tx.q.AddChange(tx.ctx, db.AddChangeParams{
		Now: tx.micros(), RepoID: r.ID, CollectionID: collection, Visible: flag(visible), Cause: int64(why),
	})
}

func (tx *Tx) count(collection, delta int64) {
	if tx.members == nil {
		tx.members = make(map[int64]int64)
	}
	tx.members[collection] += delta
}

// collection gives the id of an NSID and makes the row if there is none.
func (tx *Tx) collection(nsid string) (int64, error) {
	id, err := tx.knownCollection(nsid)
	if id != 0 || err != nil {
		return id, err
	}
	if id, err = tx.q.AddCollection(tx.ctx, nsid); err != nil {
		return 0, err
	}
	tx.cacheNSID(nsid, id)
	return id, nil
}

// knownCollection gives the id of an NSID, 0 if it has no row.
func (tx *Tx) knownCollection(nsid string) (int64, error) {
	if id, ok := tx.s.nsids[nsid]; ok {
		return id, nil
	}
	if id, ok := tx.nsids[nsid]; ok {
		return id, nil
	}
	id, err := tx.q.CollectionID(tx.ctx, nsid)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	tx.cacheNSID(nsid, id)
	return id, nil
}

// Set gives the collections of a repo's set, visible or not, in no order.
func (tx *Tx) Set(r *Repo) ([]string, error) {
	ids, err := tx.q.MembershipIDs(tx.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	nsids := make([]string, len(ids))
	for i, id := range ids {
		if nsids[i], err = tx.nameOf(id); err != nil {
			return nil, err
		}
	}
	return nsids, nil
}

// nameOf gives the NSID of a collection's id.
func (tx *Tx) nameOf(id int64) (string, error) {
	if nsid, ok := tx.s.names[id]; ok {
		return nsid, nil
	}
	nsid, err := tx.q.CollectionName(tx.ctx, id)
	if err == nil {
		tx.cacheNSID(nsid, id)
	}
	return nsid, err
}

func (tx *Tx) cacheNSID(nsid string, id int64) {
	if len(tx.s.nsids)+len(tx.nsids) >= maxNSIDs {
		return
	}
	if tx.nsids == nil {
		tx.nsids = make(map[string]int64)
	}
	tx.nsids[nsid] = id
}

func jsonIDs(ids []int64) string {
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, ']'))
}

func jsonTexts(texts []string) string {
	if texts == nil {
		return "[]"
	}
	b, _ := json.Marshal(texts) // a []string always marshals
	return string(b)
}
