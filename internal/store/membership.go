package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"railyard/db"
	"railyard/internal/repostate"

	lru "github.com/hashicorp/golang-lru/v2"
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
	becameNew
	becameNotFound
)

// causeWords are the causes as the change feed names them.
var causeWords = [...]string{
	birth: "birth", death: "death", becameInactive: "inactive", becameActive: "active", becameNew: "new", becameNotFound: "not-found",
}

// cachedNSIDs bounds the cache of collection ids: names can be invented at will.
const cachedNSIDs = 1 << 15

// AddMemberships adds collections to a repo's set, which a commit has brought. Rows that
// exist stay as they are. It returns the number of births.
func (tx *Tx) AddMemberships(r *repostate.Repo, nsids []string) (births int, err error) {
	for _, nsid := range nsids {
		id, err := tx.collection(nsid)
		if err != nil {
			return births, err
		}
		seq := tx.nextSeq(1)
		if r.Seq == 0 {
			seq = -seq
		}
		n, err := tx.q.Birth(tx.ctx, db.BirthParams{CollectionID: id, Seq: seq, RepoID: r.ID, Source: int64(SourceCommit)})
		if err != nil {
			return births, err
		}
		if n == 0 {
			tx.seq-- // not taken
			continue
		}
		births++
		if r.Seq > 0 {
			tx.enter(r, id, seq)
			if err := tx.tell(seq, r, id, true, birth); err != nil {
				return births, err
			}
		}
	}
	return births, nil
}

// RemoveMemberships removes collections from a repo's set. It returns the number of deaths.
func (tx *Tx) RemoveMemberships(r *repostate.Repo, nsids []string) (deaths int, err error) {
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
			if err := tx.died(r, id, seq); err != nil {
				return deaths, err
			}
		}
	}
	return deaths, nil
}

// removeAllBut removes the rows of collections that are not in a set, a JSON array of
// ids.
func (tx *Tx) removeAllBut(r *repostate.Repo, set string) (deaths int, err error) {
	dead, err := tx.q.DeathsOf(tx.ctx, db.DeathsOfParams{RepoID: r.ID, CollectionIds: set})
	if err != nil {
		return 0, err
	}
	for _, d := range dead {
		if err := tx.died(r, d.CollectionID, d.Seq); err != nil {
			return 0, err
		}
	}
	return len(dead), nil
}

// died notes that a row of a number is gone.
func (tx *Tx) died(r *repostate.Repo, collection, seq int64) error {
	if seq < 0 {
		return nil
	}
	tx.leave(r, collection, seq)
	return tx.tell(tx.nextSeq(1), r, collection, false, death)
}

// addMissing adds the rows that a visible repo lacks of a set of n collections, a JSON
// array of ids. told: the change feed has the whole repo in this transaction.
func (tx *Tx) addMissing(r *repostate.Repo, set string, n int, told bool) (births int, err error) {
	if n == 0 {
		return 0, nil
	}
	born, err := tx.q.BirthsOf(tx.ctx, db.BirthsOfParams{
		RepoID: r.ID, FirstSeq: tx.nextSeq(n), Source: int64(SourceResync), CollectionIds: set,
	})
	if err != nil {
		return 0, err
	}
	for _, b := range born {
		tx.enter(r, b.CollectionID, b.Seq)
		if told {
			continue
		}
		if err := tx.tell(b.Seq, r, b.CollectionID, true, birth); err != nil {
			return 0, err
		}
	}
	return len(born), nil
}

// collectionIDs returns the ids of collections as a JSON array, and makes rows for those
// that have none. The cache of ids costs less than a join with the names.
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

// show sets new birth numbers of the repo and its rows: they are visible from here on.
func (tx *Tx) show(r *repostate.Repo, why cause) error {
	r.Seq = tx.nextSeq(1)
	if err := tx.q.SetRepoSeq(tx.ctx, db.SetRepoSeqParams{ID: r.ID, Seq: r.Seq}); err != nil {
		return err
	}
	tx.enter(r, allRepos, r.Seq)
	hidden, err := tx.q.Hidden(tx.ctx, r.ID)
	if err != nil {
		return err
	}
	for _, collection := range hidden {
		seq := tx.nextSeq(1)
		if err := tx.q.Show(tx.ctx, db.ShowParams{Seq: seq, RepoID: r.ID, CollectionID: collection}); err != nil {
			return err
		}
		tx.enter(r, collection, seq)
	}
	return tx.tell(r.Seq, r, allRepos, true, why)
}

// hide takes the visibility of the repo and its rows.
func (tx *Tx) hide(r *repostate.Repo) error {
	why := becameInactive
	if r.Active && r.State == repostate.NotFound {
		why = becameNotFound
	}
	tx.leave(r, allRepos, r.Seq)
	r.Seq = 0
	if err := tx.q.SetRepoSeq(tx.ctx, db.SetRepoSeqParams{ID: r.ID, Seq: 0}); err != nil {
		return err
	}
	rows, err := tx.q.Hide(tx.ctx, r.ID)
	if err != nil {
		return err
	}
	for _, row := range rows {
		tx.leave(r, row.CollectionID, -row.Seq)
	}
	return tx.tell(tx.nextSeq(1), r, allRepos, false, why)
}

// tell puts a change of visibility into the change feed.
func (tx *Tx) tell(seq int64, r *repostate.Repo, collection int64, visible bool, why cause) error {
	return tx.q.AddChange(tx.ctx, db.AddChangeParams{
		Seq: seq, Now: tx.micros(), RepoID: r.ID, CollectionID: collection, Visible: flag(visible), Cause: int64(why),
	})
}

func cacheOf[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only a size below one fails
	}
	return c
}

// collection returns the id of an NSID and makes the row if there is none.
func (tx *Tx) collection(nsid string) (int64, error) {
	id, err := tx.knownCollection(nsid)
	if id != 0 || err != nil {
		return id, err
	}
	if id, err = tx.q.AddCollection(tx.ctx, db.AddCollectionParams{NSID: nsid, Now: tx.micros()}); err != nil {
		return 0, err
	}
	tx.cacheNSID(nsid, id)
	return id, nil
}

// knownCollection returns the id of an NSID, 0 if it has no row.
func (tx *Tx) knownCollection(nsid string) (int64, error) {
	if id, ok := tx.s.nsids.Get(nsid); ok {
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

func (tx *Tx) namesOf(ids []int64) (nsids []string, err error) {
	nsids = make([]string, len(ids))
	for i, id := range ids {
		if nsids[i], err = tx.nameOf(id); err != nil {
			return nil, err
		}
	}
	return nsids, nil
}

// SomeOfSet returns up to most collections of a repo's set, in no order: the first ones
// for 0, else some that depend on where.
func (tx *Tx) SomeOfSet(r *repostate.Repo, where uint64, most int) ([]string, error) {
	from := int64(0)
	if where != 0 {
		last, err := tx.q.LastMembership(tx.ctx, r.ID)
		if err != nil {
			return nil, err
		}
		from = rand.New(rand.NewPCG(where, 0)).Int64N(last+int64(most)) - int64(most) + 1 // the first ones, too
	}
	ids, err := tx.q.SomeMemberships(tx.ctx, db.SomeMembershipsParams{RepoID: r.ID, AtLeast: from, MaxRows: int64(most)})
	if err != nil {
		return nil, err
	}
	return tx.namesOf(ids)
}

// SetSize returns how many collections a repo's set has, at most so many.
func (tx *Tx) SetSize(r *repostate.Repo, most int) (int, error) {
	n, err := tx.q.SetSize(tx.ctx, db.SetSizeParams{RepoID: r.ID, MaxRows: int64(most)})
	return int(n), err
}

// Lacking returns one of some collections that a repo's set does not have, none if it
// has all of them.
func (tx *Tx) Lacking(r *repostate.Repo, nsids []string) (string, error) {
	ids := make([]int64, len(nsids))
	for i, nsid := range nsids {
		id, err := tx.knownCollection(nsid)
		if err != nil || id == 0 {
			return nsid, err
		}
		ids[i] = id
	}
	id, err := tx.q.LackingMembership(tx.ctx, db.LackingMembershipParams{RepoID: r.ID, CollectionIds: jsonIDs(ids)})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return tx.nameOf(id)
}

// pruneChanges removes up to most changes from before a time. It returns most if there may
// be more.
func (tx *Tx) pruneChanges(before time.Time, most int) (int, error) {
	end, err := tx.q.NumbersBefore(tx.ctx, before.Unix()/60)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	gone, err := tx.q.PruneChanges(tx.ctx, db.PruneChangesParams{Before: end, MaxRows: int64(most)})
	if err != nil {
		return 0, err
	}
	last := end - 1
	if len(gone) == most {
		last = slices.Max(gone)
	}
	return len(gone), errors.Join(tx.q.SetChangesAfter(tx.ctx, last), tx.q.PruneSeqLeaps(tx.ctx, last))
}

// pruneCollections removes up to most collections without members that no change names
// any more. It returns most if there may be more.
func (tx *Tx) pruneCollections(most int) (int, error) {
	off, err := tx.q.PutOffCollections(tx.ctx, db.PutOffCollectionsParams{Seq: tx.seq, MaxRows: int64(most)})
	if err != nil {
		return 0, err
	}
	gone, err := tx.q.PruneCollections(tx.ctx, int64(most))
	for _, c := range gone {
		err = errors.Join(err, tx.q.PruneHours(tx.ctx, c.ID))
	}
	tx.AfterCommit(func() {
		for _, c := range gone {
			tx.s.nsids.Remove(c.NSID)
			tx.s.names.Remove(c.ID)
		}
	})
	return max(int(off), len(gone)), err
}

// nameOf returns the NSID of a collection's id.
func (tx *Tx) nameOf(id int64) (string, error) {
	if nsid, ok := tx.s.names.Get(id); ok {
		return nsid, nil
	}
	nsid, err := tx.q.CollectionName(tx.ctx, id)
	if err == nil {
		tx.cacheNSID(nsid, id)
	}
	return nsid, err
}

func (tx *Tx) cacheNSID(nsid string, id int64) {
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
