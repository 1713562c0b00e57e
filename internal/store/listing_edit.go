package store

import (
	"fmt"
	"maps"
	"slices"

	"railyard/db"
	"railyard/internal/listing"
	"railyard/internal/repostate"
)

// allRepos is the collection whose members are the listed repos.
const allRepos = 0

// edit is what a transaction changes in the listing of a collection.
type edit struct {
	born   []listing.Entry // with numbers of this transaction, in their order
	died   []int64         // numbers of former transactions
	digest listing.Digest  // what the set's digest gains
	births int64           // how many came, those too that have left again
	deaths int64           // how many left
	last   int64           // the number of the last change
}

func (tx *Tx) edit(collection int64) *edit {
	e := tx.edits[collection]
	if e == nil {
		if tx.edits == nil {
			tx.edits = make(map[int64]*edit)
		}
		e = new(edit)
		tx.edits[collection] = e
	}
	return e
}

// enter notes that a repo, which is visible, became a visible member of a collection with
// a number.
func (tx *Tx) enter(r *repostate.Repo, collection, seq int64) {
	e := tx.edit(collection)
	e.born = append(e.born, listing.Entry{Seq: seq, RepoID: r.ID, Listed: r.Seq, DID: r.DID})
	e.digest = e.digest.Plus(listing.Hash(r.DID))
	e.births, e.last = e.births+1, seq
}

// leave notes that a repo is no visible member of a collection any more, where it had a
// number. The next number that is given is that of this change.
func (tx *Tx) leave(r *repostate.Repo, collection, seq int64) {
	e := tx.edit(collection)
	if seq < tx.s.seq {
		e.died = append(e.died, seq)
	} else {
		e.born = slices.DeleteFunc(e.born, func(b listing.Entry) bool { return b.Seq == seq })
	}
	e.digest = e.digest.Minus(listing.Hash(r.DID))
	e.deaths, e.last = e.deaths+1, tx.seq
}

// flushListings makes the listings what they have become, with their counts and digests.
func (tx *Tx) flushListings() error {
	for _, collection := range slices.Sorted(maps.Keys(tx.edits)) {
		e := tx.edits[collection]
		if err := tx.removeEntries(collection, e.died); err != nil {
			return err
		}
		if err := tx.appendEntries(collection, e.born); err != nil {
			return err
		}
		if err := tx.q.AddMembers(tx.ctx, db.AddMembersParams{
			ID: collection, Delta: e.births - e.deaths, Digest: int64(e.digest), Seq: e.last,
		}); err != nil {
			return err
		}
		if err := tx.q.AddToHour(tx.ctx, db.AddToHourParams{
			CollectionID: collection, Hour: tx.now.Unix() / 3600, Births: e.births, Deaths: e.deaths,
		}); err != nil {
			return err
		}
	}
	return nil
}

// appendEntries fills the last block, and those behind it.
func (tx *Tx) appendEntries(collection int64, born []listing.Entry) error {
	if len(born) == 0 {
		return nil
	}
	rows, err := tx.q.LastBlock(tx.ctx, collection)
	if err != nil {
		return err
	}
	var first, last int64
	var block []byte
	for _, row := range rows {
		first, block = row.FirstSeq, row.Entries
		if last, err = listing.Last(first, block); err != nil {
			return unreadable(collection, first, err)
		}
	}
	changed := false
	put := func() error {
		if !changed {
			return nil
		}
		return tx.q.PutBlock(tx.ctx, db.PutBlockParams{CollectionID: collection, FirstSeq: first, Entries: block})
	}
	for _, e := range born {
		if len(block) > 0 {
			if longer := listing.Append(block, last, e); len(longer) <= listing.MaxBlock {
				block, last, changed = longer, e.Seq, true
				continue
			}
			if err := put(); err != nil {
				return err
			}
		}
		first, last, changed = e.Seq, e.Seq, true
		block = listing.Append(nil, first, e)
	}
	return put()
}

// removeEntries takes numbers out of the blocks that have them. One that none has does not
// hold up the writer: it is not listed, as it should be.
func (tx *Tx) removeEntries(collection int64, died []int64) error {
	slices.Sort(died)
	for len(died) > 0 {
		rows, err := tx.q.BlockOf(tx.ctx, db.BlockOfParams{CollectionID: collection, Seq: died[0]})
		if err != nil {
			return err
		}
		removed := 0
		for _, row := range rows {
			var rest []byte
			if rest, removed, err = listing.Remove(row.FirstSeq, row.Entries, died); err != nil {
				return unreadable(collection, row.FirstSeq, err)
			}
			if removed == 0 {
				break
			}
			if err := tx.putShorter(collection, row.FirstSeq, rest); err != nil {
				return err
			}
		}
		died = died[max(removed, 1):]
	}
	return nil
}

// putShorter stores a block that has lost entries: joined with a neighbour where both
// together are not long, so that a listing does not become one of many short blocks.
func (tx *Tx) putShorter(collection, first int64, block []byte) error {
	if len(block) == 0 {
		return tx.q.DeleteBlock(tx.ctx, db.DeleteBlockParams{CollectionID: collection, FirstSeq: first})
	}
	if len(block) < listing.MinBlock {
		before, err := tx.q.BlockOf(tx.ctx, db.BlockOfParams{CollectionID: collection, Seq: first - 1})
		if err != nil {
			return err
		}
		for _, b := range before {
			if len(b.Entries)+len(block) <= listing.FullBlock {
				return tx.join(collection, b.FirstSeq, b.Entries, first, block)
			}
		}
		behind, err := tx.q.BlocksBehind(tx.ctx, db.BlocksBehindParams{CollectionID: collection, FirstSeq: first, MaxRows: 1})
		if err != nil {
			return err
		}
		for _, b := range behind {
			if len(b.Entries)+len(block) <= listing.FullBlock {
				return tx.join(collection, first, block, b.FirstSeq, b.Entries)
			}
		}
	}
	return tx.q.PutBlock(tx.ctx, db.PutBlockParams{CollectionID: collection, FirstSeq: first, Entries: block})
}

// join makes one block of two that follow each other.
func (tx *Tx) join(collection, first int64, block []byte, second int64, behind []byte) error {
	last, err := listing.Last(first, block)
	if err == nil {
		block, err = listing.Join(block, last, second, behind)
	}
	if err != nil {
		return unreadable(collection, first, err)
	}
	if err := tx.q.DeleteBlock(tx.ctx, db.DeleteBlockParams{CollectionID: collection, FirstSeq: second}); err != nil {
		return err
	}
	return tx.q.PutBlock(tx.ctx, db.PutBlockParams{CollectionID: collection, FirstSeq: first, Entries: block})
}

func unreadable(collection, first int64, err error) error {
	return fmt.Errorf("listing of collection %d, block %d: %w", collection, first, err)
}
