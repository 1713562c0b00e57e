package plc

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"railyard/internal/identity"
	"railyard/internal/store"
)

const (
	// completeAfter is when nothing new can become visible between older operations.
	completeAfter = time.Minute
	// maxSeen bounds what is remembered of the overlap. It is less than a page, so
	// that a full page always leads on.
	maxSeen = 600
)

// A form is a way in which a server pages its log. In each an operation has a key by
// which pages are ordered, and none is 0.
type form struct {
	store.LogForm
	step int64 // the least difference between two keys
	// overlap is by how much pages at the end of the log overlap: how far an operation
	// may be behind another one and become visible after it.
	overlap int64
	key     func(identity.LogEntry) int64  // 0 = it has none
	after   func(key int64) (param string) // empty = no such parameter
}

var (
	bySeq = &form{
		LogForm: store.BySeq, step: 1, overlap: 100,
		key:   func(e identity.LogEntry) int64 { return e.Seq },
		after: func(key int64) string { return strconv.FormatInt(key, 10) },
	}
	// The directory's times have milliseconds.
	byTime = &form{
		LogForm: store.ByTime, step: time.Millisecond.Microseconds(), overlap: (10 * time.Second).Microseconds(),
		key: func(e identity.LogEntry) int64 {
			return max(0, e.CreatedAt.Truncate(time.Millisecond).UnixMicro())
		},
		after: func(key int64) string {
			if key == 0 {
				return ""
			}
			return time.UnixMicro(key).UTC().Format(timeForm)
		},
	}
)

// position is how far the log was read.
type position struct {
	form  *form            // nil = nothing was read yet
	after int64            // every operation up to this key was applied
	seen  map[string]int64 // the keys of later ones that were applied, by their id
}

func positionOf(l store.PLCLog) position {
	p := position{after: l.After, seen: l.Seen}
	for _, f := range []*form{bySeq, byTime} {
		if f.LogForm == l.Form {
			p.form = f
		}
	}
	return p
}

// log returns the position as the file has it.
func (p position) log(url string, done bool) store.PLCLog {
	l := store.PLCLog{URL: url, After: p.after, Seen: p.seen, Done: done}
	if p.form != nil {
		l.Form = p.form.LogForm
	}
	return l
}

// has reports whether a line was applied.
func (p position) has(l line) bool { return l.key <= p.after || p.seen[l.id] == l.key }

// leadsTo reports whether a page that was asked for behind the position is of the log
// that was read: it then repeats something of what was seen.
func (p position) leadsTo(lines []line) bool {
	return len(p.seen) == 0 || slices.ContainsFunc(lines, func(l line) bool { return p.seen[l.id] == l.key })
}

// next is the position once some more lines of a form were applied.
//
// More lines of one time than can be remembered are passed over, because the
// server has no way to ask for the rest of them: a thousand operations in a
// millisecond.
func (p position) next(of *form, lines []line, now time.Time) position {
	seen := maps.Clone(p.seen)
	if seen == nil {
		seen = make(map[string]int64)
	}
	var newest time.Time
	for _, l := range lines {
		if l.key > p.after {
			seen[l.id] = l.key
		}
		if l.at.After(newest) {
			newest = l.at
		}
	}
	keys := slices.Sorted(maps.Values(seen))
	if len(lines) == 0 || len(keys) == 0 {
		return p
	}
	after := keys[len(keys)-1] - of.step
	if now.Sub(newest) < completeAfter {
		after = keys[len(keys)-1] - of.overlap
	}
	if n := len(keys) - maxSeen; n > 0 {
		after = max(after, keys[n-1])
	}
	after = max(after, p.after)
	maps.DeleteFunc(seen, func(_ string, key int64) bool { return key <= after })
	return position{of, after, seen}
}
