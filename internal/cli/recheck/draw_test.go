package recheck

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"railyard/internal/store"
)

// gaps makes a file with n repos, of which every third is idle, with ids that are far
// apart here and close there.
func gaps(t *testing.T, n int, spread func(id int) int) (*store.Reader, []int64) {
	t.Helper()
	y := &testHosts{T: t, path: filepath.Join(t.TempDir(), "index.db")}
	st, err := store.Open(t.Context(), store.Config{Path: y.path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	var script strings.Builder
	var idle []int64
	script.WriteString("BEGIN;")
	for i := range n {
		id, state, active, seq := spread(i+1), 3, 1, i+1
		switch i % 9 {
		case 0, 3, 6:
			idle = append(idle, int64(id))
		case 1:
			state = 1
		case 2:
			active = 0
		case 4:
			seq = 0
		default:
			fmt.Fprintf(&script, "INSERT INTO resync_queue (repo_id, reason, priority, not_before, generation, queued_at, host_id) VALUES (%d, 11, 6, 0, 1, 0, 0);", id)
		}
		fmt.Fprintf(&script, "INSERT INTO repo (id, did, state, active, seq) VALUES (%d, 'did:plc:%024d', %d, %d, %d);", id, id, state, active, seq)
	}
	script.WriteString("COMMIT;")
	y.plant(script.String())
	return st.Reader, idle
}

func dense(id int) int { return id }

// uneven puts most ids close together and a few far off.
func uneven(id int) int {
	if id%10 == 0 {
		return id * 100
	}
	return id
}

func draw(t *testing.T, rd *store.Reader, n int, seed uint64) []int64 {
	t.Helper()
	ids, err := Draw(t.Context(), rd, n, seed)
	if err != nil {
		t.Fatal(err)
	}
	sorted := slices.Sorted(slices.Values(ids))
	if len(slices.Compact(sorted)) != len(ids) {
		t.Fatalf("a repo was drawn twice: %v", sorted)
	}
	return ids
}

func TestADrawTakesAllWhereItMay(t *testing.T) {
	for name, spread := range map[string]func(int) int{"dense": dense, "uneven": uneven} {
		rd, idle := gaps(t, 200, spread)
		slices.Sort(idle)
		for _, n := range []int{len(idle), len(idle) + 1, 10_000} {
			ids := draw(t, rd, n, 5)
			if slices.Sort(ids); !slices.Equal(ids, idle) {
				t.Errorf("%s: %d of %d", name, len(ids), len(idle))
			}
		}
		if ids := draw(t, rd, 0, 5); len(ids) != 0 {
			t.Errorf("%s: %v", name, ids)
		}
		again := draw(t, rd, 7, 5)
		if !slices.Equal(draw(t, rd, 7, 5), again) || slices.Equal(draw(t, rd, 7, 6), again) {
			t.Errorf("%s: a seed is not a draw", name)
		}
	}
	rd, _ := gaps(t, 0, dense)
	if ids := draw(t, rd, 3, 1); len(ids) != 0 {
		t.Error(ids)
	}
}

// Every idle repo comes about as often as any other, whatever the gaps, on both
// ways of drawing.
func TestADrawFavoursNobody(t *testing.T) {
	const draws, each = 1000, 6
	ways := map[string]func(context.Context, *store.Reader, int, uint64) ([]int64, error){
		"draw": Draw,
		"scan": func(ctx context.Context, rd *store.Reader, n int, seed uint64) ([]int64, error) {
			return scan(ctx, rd, n, newDice(seed))
		},
	}
	rd, idle := gaps(t, 90, uneven)
	for name, way := range ways {
		met := make(map[int64]int)
		for seed := range uint64(draws) {
			ids, err := way(t.Context(), rd, each, seed)
			if err != nil || len(ids) != each {
				t.Fatal(ids, err)
			}
			for _, id := range ids {
				met[id]++
			}
		}
		// Binomial with p = 6/30: 200 of 1000, standard deviation 12.6.
		for _, id := range idle {
			if n := met[id]; n < 137 || n > 263 {
				t.Errorf("%s: %d came %d times", name, id, n)
			}
		}
		if len(met) != len(idle) {
			t.Errorf("%s: %d of %d repos", name, len(met), len(idle))
		}
	}
}

func TestADrawFromAFileOfFewScans(t *testing.T) {
	// Nearly all ids are of nobody.
	rd, idle := gaps(t, 90, func(id int) int { return id * 1_000_003 })
	ids := draw(t, rd, 10, 1)
	for _, id := range ids {
		if !slices.Contains(idle, id) {
			t.Errorf("%d is not idle", id)
		}
	}
	if len(ids) != 10 {
		t.Errorf("%d drawn", len(ids))
	}
}
