package plc

import (
	"maps"
	"slices"
	"time"
)

const (
	// instant is the step of the log's times.
	instant = time.Millisecond
	// overlap is how long an operation may take from getting its time to being
	// visible. Pages at the end of the log overlap by so much.
	overlap = 10 * time.Second
	// completeAfter is when nothing new can become visible between older operations.
	completeAfter = time.Minute
	// maxSeen bounds what is remembered of the overlap. It is less than a page, so
	// that a full page always leads on.
	maxSeen = 600
)

// position is how far the log was read.
type position struct {
	after time.Time            // everything up to then was applied; zero = nothing
	seen  map[string]time.Time // later lines that were applied, by their id
}

// has reports whether a line was applied.
func (p position) has(l line) bool {
	if !l.at.After(p.after) {
		return true
	}
	_, ok := p.seen[l.id]
	return ok
}

// next is the position once some more lines were applied.
//
// More lines of one instant than can be remembered are passed over, because the
// server has no way to ask for the rest of them: a thousand operations in a
// millisecond.
func (p position) next(lines []line, now time.Time) position {
	seen := maps.Clone(p.seen)
	if seen == nil {
		seen = make(map[string]time.Time)
	}
	for _, l := range lines {
		if l.at.After(p.after) {
			seen[l.id] = l.at
		}
	}
	times := slices.SortedFunc(maps.Values(seen), time.Time.Compare)
	if len(times) == 0 {
		return p
	}
	last := times[len(times)-1]
	after := last.Add(-instant)
	if now.Sub(last) < completeAfter {
		after = last.Add(-overlap)
	}
	if n := len(times) - maxSeen; n > 0 && times[n-1].After(after) {
		after = times[n-1]
	}
	if p.after.After(after) {
		after = p.after
	}
	maps.DeleteFunc(seen, func(_ string, at time.Time) bool { return !at.After(after) })
	return position{after, seen}
}
