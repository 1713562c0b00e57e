package firehose

// sequence is our place in the upstream's numbering.
type sequence struct {
	// cursor is the last number delivered, 0 where the stream begins live.
	cursor int64
	// last is the greatest number seen on this connection, 0 before the first.
	last int64
}

// place is what a number means where it stands.
type place byte

const (
	onward   place = iota // the next event; the cursor moves
	known                 // the event of the cursor itself, sent again by servers that include it
	repeated              // not above one that the same connection sent before
	reset                 // a connection that begins below the cursor
)

// take finds the place of a number and moves on. The specification includes the
// cursor's own event in a replay and most servers leave it out: so exactly that
// one may be known. missed is set for the first number of a resumed connection.
func (s *sequence) take(n int64) (p place, missed int64) {
	first := s.last == 0
	if !first && n <= s.last {
		return repeated, 0
	}
	s.last = n
	switch {
	case !first || s.cursor == 0:
		p = onward
	case n == s.cursor:
		return known, 0
	case n < s.cursor:
		p = reset
	default:
		missed = n - s.cursor - 1
	}
	s.cursor = n
	return p, missed
}
