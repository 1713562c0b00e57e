package plc

import (
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
		lines = append(lines, line{id: fmt.Sprintf("%d-%d", ms, i), at: at(ms)})
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
		got := position{}.next(c.lines, c.now)
		if !got.after.Equal(at(c.after)) || len(got.seen) != c.seen {
			t.Errorf("%s: after %s with %d seen", c.name, got.after.Sub(day), len(got.seen))
		}
		if rest := unapplied(got, c.lines); len(rest) != 0 {
			t.Errorf("%s: %d lines would be applied again", c.name, len(rest))
		}
		if again := got.next(nil, c.now); !again.after.Equal(got.after) || !maps.Equal(again.seen, got.seen) {
			t.Errorf("%s: nothing new moves it to %+v", c.name, again)
		}
	}
	if p := (position{}).next(nil, years); !p.after.IsZero() || len(p.seen) != 0 {
		t.Errorf("nothing at all: %+v", p)
	}
}

// The position never goes back, whatever a server sends.
func TestAnOldLineDoesNotMoveThePosition(t *testing.T) {
	p := position{}.next(some(1, 5000), day.Add(time.Hour))
	q := p.next(some(1, 1000), day.Add(time.Hour))
	if !q.after.Equal(p.after) || !maps.Equal(q.seen, p.seen) {
		t.Errorf("from %+v to %+v", p, q)
	}
	if p.next(some(1, 90_000), at(90_001)).after.Before(p.after) {
		t.Error("the overlap goes back behind what was read")
	}
}

// Logs in which times are equal, and operations become visible a while after
// their time, are read to their end, whatever the pages: each line once.
func TestEachLineIsReadOnce(t *testing.T) {
	for seed := range uint64(30) {
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
			late := time.Duration(rng.IntN(int(overlap / 3)))
			log = append(log, op{line{id: fmt.Sprint(i), at: now.Truncate(instant)}, now.Add(late)})
		}
		slices.SortStableFunc(log, func(a, b op) int { return a.at.Compare(b.at) })
		var p position
		applied := make(map[string]int)
		// Half of the log is old when the reading begins.
		for clock := log[len(log)/2].at; ; clock = clock.Add(time.Duration(rng.IntN(2000)) * time.Millisecond) {
			var page []line
			for _, o := range log {
				if o.at.After(p.after) && !o.visible.After(clock) && len(page) < pageLines {
					page = append(page, o.line)
				}
			}
			fresh := unapplied(p, page)
			for _, l := range fresh {
				applied[l.id]++
			}
			if len(fresh) == 0 && len(page) == pageLines {
				t.Fatalf("seed %d: a full page leads nowhere at %s", seed, p.after.Sub(day))
			}
			p = p.next(fresh, clock)
			if len(p.seen) > maxSeen {
				t.Fatalf("seed %d: %d remembered", seed, len(p.seen))
			}
			if clock.After(now.Add(overlap)) && len(fresh) == 0 {
				break
			}
		}
		for _, o := range log {
			if applied[o.id] != 1 {
				t.Errorf("seed %d: line %s was applied %d times", seed, o.id, applied[o.id])
			}
		}
	}
}
