package crawl

// bits is a set of ids, one bit each: of 43 million repos it takes 5.4 MB, and
// what has few ids takes little.
type bits struct {
	pieces map[int64]*[pieceWords]uint64
}

const (
	pieceBits  = 4096
	pieceWords = pieceBits / 64
)

// set adds an id and reports whether it is new.
func (b *bits) set(id int64) bool {
	if b.pieces == nil {
		b.pieces = make(map[int64]*[pieceWords]uint64)
	}
	p := b.pieces[id/pieceBits]
	if p == nil {
		p = new([pieceWords]uint64)
		b.pieces[id/pieceBits] = p
	}
	word, bit := &p[id%pieceBits/64], uint64(1)<<(id%64)
	fresh := *word&bit == 0
	*word |= bit
	return fresh
}

// has reports whether an id is in it.
func (b *bits) has(id int64) bool {
	p := b.pieces[id/pieceBits]
	return p != nil && p[id%pieceBits/64]&(1<<(id%64)) != 0
}
