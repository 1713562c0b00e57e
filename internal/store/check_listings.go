package store

import (
	"cmp"
	"encoding/binary"

	"railyard/db"
	"railyard/internal/listing"

	"github.com/cespare/xxhash/v2"
)

// blocksAtOnce is how many blocks are read in one piece.
const blocksAtOnce = 1000

// census sums up what a collection has, so that two ways to have the same can be
// compared for any number of members.
type census struct {
	members int64
	digest  listing.Digest
	entries uint64 // sum of the hashes of all that the entries say
}

func (c *census) add(repo, seq, listed int64, did listing.Digest) {
	var b [32]byte
	for i, n := range []int64{repo, seq, listed, int64(did)} {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(n))
	}
	c.members++
	c.digest = c.digest.Plus(did)
	c.entries += xxhash.Sum64(b[:])
}

// badListings returns the collections whose blocks are not what their rows say.
func badListings(rx *Rx) (found offenders, err error) {
	blocks, err := rx.blockContents(&found)
	if err != nil {
		return found, err
	}
	rows := make(map[int64]*census)
	var id int64
	var did listing.Digest
	if err := rx.visible(func(r *db.ListedReposRow, collection, seq int64) {
		if r.ID != id {
			id, did = r.ID, listing.Hash(r.DID)
		}
		of(rows, collection).add(r.ID, seq, r.Seq, did)
	}); err != nil {
		return found, err
	}
	err = rx.eachCollection(func(c db.CollectionDigestsRow) {
		name := cmp.Or(c.NSID, "listed repos")
		inBlocks, inRows := of(blocks, c.ID), of(rows, c.ID)
		delete(blocks, c.ID)
		switch {
		case *inBlocks != *inRows:
			found.add("%s: the blocks have %d entries, the rows %d, and they are not the same", name, inBlocks.members, inRows.members)
		case inRows.digest != listing.Digest(c.Digest):
			found.add("%s: digest %d, that of its members is %d", name, c.Digest, inRows.digest)
		}
	})
	for id := range blocks {
		found.add("collection %d: blocks of no collection", id)
	}
	return found, err
}

func of(m map[int64]*census, collection int64) *census {
	c := m[collection]
	if c == nil {
		c = new(census)
		m[collection] = c
	}
	return c
}

// blockContents reads all blocks, and notes those that are out of order.
func (rx *Rx) blockContents(found *offenders) (map[int64]*census, error) {
	all := make(map[int64]*census)
	var last int64 // number in the collection
	var did []byte
	for from := (db.AllBlocksParams{CollectionID: -1, MaxRows: blocksAtOnce}); ; {
		rows, err := rx.q.AllBlocks(rx.ctx, from)
		if err != nil || len(rows) == 0 {
			return all, err
		}
		for _, b := range rows {
			if b.CollectionID != from.CollectionID {
				last = 0
			}
			from.CollectionID, from.FirstSeq = b.CollectionID, b.FirstSeq
			c := of(all, b.CollectionID)
			r := listing.Read(b.FirstSeq, b.Entries)
			first, n := true, 0
			for r.Next() {
				did = r.AppendDID(did[:0])
				c.add(r.RepoID, r.Seq, r.Listed, listing.HashBytes(did))
				if r.Seq <= last || first && b.FirstSeq <= last {
					found.add("collection %d, block %d: number %d behind %d", b.CollectionID, b.FirstSeq, r.Seq, last)
				}
				last, first, n = r.Seq, false, n+1
			}
			if err := r.Err(); err != nil {
				found.add("collection %d, block %d: %v", b.CollectionID, b.FirstSeq, err)
			}
			if len(b.Entries) > listing.MaxBlock && n > 1 {
				found.add("collection %d, block %d: %d bytes", b.CollectionID, b.FirstSeq, len(b.Entries))
			}
		}
	}
}
