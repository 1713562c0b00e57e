package plc

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var day = time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return day.Add(time.Duration(ms) * time.Millisecond) }

// some makes n lines of one instant.
func some(n, ms int) (lines []line) {
	for i := range n {
		lines = append(lines, line{id: fmt.Sprintf("%d-%d", ms, i), key: at(ms).UnixMicro(), at: at(ms)})
	}
	return lines
}

func TestWhereTheNextPageBegins(t *testing.T) {
	years := day.Add(1000 * time.Hour)
	for _, c := range []struct {
		name  string
		now   time.Time
		lines []line
		after int // ms
		seen  int
	}{
		{"one line, long ago", years, some(1, 5000), 4999, 1},
		{"two instants, long ago", years, append(some(1, 5000), some(2, 7000)...), 6999, 2},
		{"equal times, long ago", years, some(500, 5000), 4999, 500},
		{"too many equal times, long ago", years, some(1000, 5000), 5000, 0},
		{"many equal times after others", years, append(some(700, 4000), some(300, 5000)...), 4999, 300},
		{"at the end of the log", at(20_000), append(some(3, 5000), some(4, 20_000)...), 10_000, 4},
		{"at the end, within the overlap", at(20_000), append(some(3, 12_000), some(4, 20_000)...), 10_000, 7},
		{"at the end, very many", at(20_000), append(append(some(300, 12_000), some(400, 13_000)...), some(200, 20_000)...), 12_000, 600},
		{"at the end, very many at once", at(20_000), append(some(300, 12_000), some(700, 20_000)...), 20_000, 0},
	} {
		got := position{}.next(byTime, c.lines, c.now)
		if got.after != at(c.after).UnixMicro() || len(got.seen) != c.seen {
			t.Errorf("%s: after %s with %d seen", c.name, time.UnixMicro(got.after).Sub(day), len(got.seen))
		}
		checkBehind(t, c.name, byTime, got, c.lines, c.now)
	}
	if p := (position{}).next(byTime, nil, years); p.form != nil || p.after != 0 || len(p.seen) != 0 {
		t.Errorf("nothing at all: %+v", p)
	}
}

// checkBehind checks that a position lies behind lines, and stays there.
func checkBehind(t *testing.T, name string, of *form, p position, lines []line, now time.Time) {
	t.Helper()
	if rest := unapplied(p, lines); len(rest) != 0 {
		t.Errorf("%s: %d lines would be applied again", name, len(rest))
	}
	if again := p.next(of, nil, now); again.after != p.after || !maps.Equal(again.seen, p.seen) {
		t.Errorf("%s: nothing new moves it to %+v", name, again)
	}
}

// numbered makes n lines of the numbers from first on, all made at one time.
func numbered(first, n int, at time.Time) (lines []line) {
	for i := range n {
		lines = append(lines, line{id: fmt.Sprint("op", first+i), key: int64(first + i), at: at})
	}
	return lines
}

func TestWhereTheNextPageOfNumbersBegins(t *testing.T) {
	now := day.Add(1000 * time.Hour)
	for _, c := range []struct {
		name  string
		lines []line
		after int64
		seen  int
	}{
		{"one line, long ago", numbered(1, 1, day), 0, 1},
		{"a page, long ago", numbered(1, 1000, day), 999, 1},
		{"numbers with gaps, long ago", append(numbered(7, 1, day), numbered(5000, 1, day)...), 4999, 1},
		{"at the end of the log", numbered(1000, 500, now), 1399, 100},
		{"at the end of a short log", numbered(1, 50, now), 0, 50},
		{"at the end, with gaps", append(numbered(1, 500, now), numbered(550, 1, now)...), 450, 51},
		{"of no time", numbered(1, 1000, time.Time{}), 999, 1},
		{"of the future", numbered(1000, 500, now.Add(time.Hour)), 1399, 100},
	} {
		got := position{}.next(bySeq, c.lines, now)
		if got.after != c.after || len(got.seen) != c.seen {
			t.Errorf("%s: after %d with %d seen", c.name, got.after, len(got.seen))
		}
		checkBehind(t, c.name, bySeq, got, c.lines, now)
		if kept := positionOf(got.log("", true)); kept.form != bySeq || kept.after != got.after {
			t.Errorf("%s: the file has %+v", c.name, kept)
		}
	}
}

// What shows that a page is of the log that was read.
func TestAPageOfAnotherLog(t *testing.T) {
	p := position{}.next(bySeq, numbered(1, 500, day), day)
	renumbered := numbered(401, 500, day)
	for i := range renumbered {
		renumbered[i].key++
	}
	for _, c := range []struct {
		name  string
		lines []line
		same  bool
	}{
		{"the same lines", numbered(401, 100, day), true},
		{"the last one of them and more", numbered(500, 100, day), true},
		{"one that became visible late", append(numbered(450, 1, day), numbered(700, 1, day)...), true},
		{"nothing", nil, false},
		{"later ones", numbered(501, 100, day), false},
		{"earlier ones", numbered(1, 100, day), false},
		{"the same operations, numbered otherwise", renumbered, false},
	} {
		if got := p.leadsTo(c.lines); got != c.same {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if !(position{}).leadsTo(nil) || !(position{}).leadsTo(numbered(1, 1, day)) {
		t.Error("nothing was read, and every log is another one")
	}
}

// The position never goes back, whatever a server sends.
func TestAnOldLineDoesNotMoveThePosition(t *testing.T) {
	p := position{}.next(byTime, some(1, 5000), day.Add(time.Hour))
	q := p.next(byTime, some(1, 1000), day.Add(time.Hour))
	if q.after != p.after || !maps.Equal(q.seen, p.seen) {
		t.Errorf("from %+v to %+v", p, q)
	}
	if p.next(byTime, some(1, 90_000), at(90_001)).after < p.after {
		t.Error("the overlap goes back behind what was read")
	}
	p = position{}.next(bySeq, numbered(500, 1, day), day.Add(time.Hour))
	if q := p.next(bySeq, numbered(501, 1, day), day); q.after < p.after {
		t.Errorf("from %+v to %+v", p, q)
	}
}

// Logs in which times are equal, and operations become visible a while after
// their time or number, are read to their end, whatever the pages: each line once.
func TestEachLineIsReadOnce(t *testing.T) {
	for _, of := range []*form{bySeq, byTime} {
		for seed := range uint64(30) {
			readOnce(t, of, seed)
		}
	}
}

func readOnce(t *testing.T, of *form, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	type op struct {
		line
		visible time.Time
	}
	var log []op
	now := day
	for i := range 4000 {
		if rng.IntN(3) > 0 {
			now = now.Add(time.Duration(rng.IntN(40)) * time.Millisecond)
		}
		// A number is ten milliseconds, a third of the overlap a third of a second.
		late := time.Duration(rng.IntN(int(300 * time.Millisecond)))
		l := line{id: fmt.Sprint(i), key: int64(i + 1), at: now.Truncate(time.Millisecond)}
		if of == byTime {
			late, l.key = 10*late, l.at.UnixMicro()
		}
		log = append(log, op{l, now.Add(late)})
	}
	slices.SortStableFunc(log, func(a, b op) int { return cmp.Compare(a.key, b.key) })
	var p position
	applied := make(map[string]int)
	// Half of the log is old when the reading begins.
	for clock := log[len(log)/2].at; ; clock = clock.Add(time.Duration(rng.IntN(2000)) * time.Millisecond) {
		var page []line
		for _, o := range log {
			if o.key > p.after && !o.visible.After(clock) && len(page) < pageLines {
				page = append(page, o.line)
			}
		}
		if !p.leadsTo(page) {
			t.Fatalf("%s, seed %d: the log is taken for another one at %d", of.LogForm, seed, p.after)
		}
		fresh := unapplied(p, page)
		for _, l := range fresh {
			applied[l.id]++
		}
		if len(fresh) == 0 && len(page) == pageLines {
			t.Fatalf("%s, seed %d: a full page leads nowhere at %d", of.LogForm, seed, p.after)
		}
		p = p.next(of, fresh, clock)
		if len(p.seen) > maxSeen {
			t.Fatalf("%s, seed %d: %d remembered", of.LogForm, seed, len(p.seen))
		}
		if clock.After(now.Add(10*time.Second)) && len(fresh) == 0 {
			break
		}
	}
	for _, o := range log {
		if applied[o.id] != 1 {
			t.Errorf("%s, seed %d: line %s was applied %d times", of.LogForm, seed, o.id, applied[o.id])
		}
	}
}
