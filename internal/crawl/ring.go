package crawl

// ring notices cursors that come round, in the memory of one of them: a mark
// that every later cursor is compared with, and that moves up at growing
// distances (Brent's algorithm). A ring is found within a few of its turns.
type ring struct {
	mark  string
	steps int // since the mark
	most  int // after which the mark moves
}

// closes takes the next cursor and reports whether it was met before.
func (r *ring) closes(cursor string) bool {
	if cursor == r.mark {
		return true
	}
	if r.steps++; r.steps > r.most {
		r.mark, r.steps, r.most = cursor, 0, 2*r.most+1
	}
	return false
}
