package store

import (
	"railyard/db"
	"railyard/internal/listing"
)

// MaxBucketBits bounds the parts into which Buckets divides a collection: 16,384 of them,
// some 60 repos each of a million.
const MaxBucketBits = 14

// Sum says of a collection how many members it has, and the digest of their DIDs.
type Sum struct {
	NSID    string // empty: all listed repos
	Members int64
	Digest  listing.Digest
}

// Sum returns the sum of a collection, or of all listed repos if nsid is empty. That of
// a collection which the index does not know is that of the empty set.
func (rx *Rx) Sum(nsid string) (Sum, error) {
	_, sum, err := rx.sumOf(nsid)
	return sum, err
}

// sumOf is Sum, with the id of the collection if there is one.
func (rx *Rx) sumOf(nsid string) (ids []int64, sum Sum, err error) {
	rows, err := rx.q.CollectionSum(rx.ctx, nsid)
	sum.NSID = nsid
	for _, row := range rows {
		ids, sum.Members, sum.Digest = append(ids, row.ID), row.Members, listing.Digest(row.Digest)
	}
	return ids, sum, err
}

// Sums returns the sums of up to limit collections behind a name, in the order of the
// names' bytes, those without members too. Fewer are there only at the end.
func (rx *Rx) Sums(after string, limit int) ([]Sum, error) {
	rows, err := rx.q.CollectionSums(rx.ctx, db.CollectionSumsParams{After: after, MaxRows: int64(limit)})
	sums := make([]Sum, len(rows))
	for i, row := range rows {
		sums[i] = Sum{row.NSID, row.Members, listing.Digest(row.Digest)}
	}
	return sums, err
}

// EachMember calls fn with the DID of every member of a collection, or of every listed
// repo if nsid is empty, and the hash of that, in the order of their birth numbers. The
// DID is good until fn returns; fn reports whether to go on. It reads every block: some
// 10 ms for 100,000 members.
func (rx *Rx) EachMember(nsid string, fn func(did []byte, h listing.Digest) bool) error {
	return rx.eachEntry(nsid, 0, func(_ *listing.Reader, did []byte, h listing.Digest) bool { return fn(did, h) })
}

func (rx *Rx) eachEntry(nsid string, after int64, fn func(*listing.Reader, []byte, listing.Digest) bool) error {
	ids, _, err := rx.sumOf(nsid)
	if err != nil || len(ids) == 0 {
		return err
	}
	s := &source{rx: rx, id: ids[0], after: after, piece: maxPiece}
	var did []byte
	for {
		more, err := s.next()
		if err != nil || !more {
			return err
		}
		did = s.AppendDID(did[:0])
		if !fn(&s.Reader, did, listing.HashBytes(did)) {
			return nil
		}
	}
}

// Buckets returns the sums of the 2^bits parts of a collection, by listing.Digest.Bucket.
// bits is at most MaxBucketBits. It reads every block.
func (rx *Rx) Buckets(nsid string, bits int) ([]Sum, error) {
	sums := make([]Sum, 1<<bits)
	err := rx.EachMember(nsid, func(_ []byte, h listing.Digest) bool {
		b := &sums[h.Bucket(bits)]
		b.Members++
		b.Digest = b.Digest.Plus(h)
		return true
	})
	return sums, err
}

// ListBuckets is List for the members of one collection, or for all listed repos if nsid
// is empty, that are in some of its 2^bits parts. It may read every block, for one page.
func (rx *Rx) ListBuckets(p *Page, nsid string, bits int, buckets []int, after int64, limit int) error {
	p.clear(limit)
	wanted := make([]bool, 1<<bits)
	for _, b := range buckets {
		wanted[b] = true
	}
	return rx.eachEntry(nsid, after, func(r *listing.Reader, _ []byte, h listing.Digest) bool {
		if wanted[h.Bucket(bits)] {
			p.add(r)
			p.Last = r.Seq
		}
		return p.Len() < limit
	})
}
