package recheck

import (
	"context"
	"math/rand/v2"

	"railyard/internal/store"
)

const (
	triesAtOnce = 1000
	// triesPerRepo is how many ids are tried for each repo that is wanted before the
	// file is scanned instead.
	triesPerRepo = 20
	triesAtLeast = 10 * triesAtOnce
)

// Draw draws n of the idle repos, or all if there are not so many. Each set of n
// is as likely as any other: ids are drawn evenly and those that are no such repo
// are left out, so that gaps between ids favour nobody; where too few are found in
// this way, all are scanned, and n kept of them. One seed makes one draw while the
// file stays the same. Each transaction reads one piece.
func Draw(ctx context.Context, rd *store.Reader, n int, seed uint64) ([]int64, error) {
	if n < 1 {
		return nil, nil
	}
	dice := newDice(seed)
	ids, err := try(ctx, rd, n, dice)
	if err != nil || len(ids) == n {
		return ids, err
	}
	return scan(ctx, rd, n, dice)
}

func newDice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// try draws ids and keeps the first n, each once, that are of idle repos. It does
// not begin where n is no choice.
func try(ctx context.Context, rd *store.Reader, n int, dice *rand.Rand) (drawn []int64, err error) {
	var last int64
	err = rd.View(ctx, func(rx *store.Rx) (err error) {
		last, err = rx.LastRepoID()
		return err
	})
	if err != nil || last <= int64(n) {
		return nil, err
	}
	tried := make(map[int64]bool)
	for left := max(triesAtLeast, n*triesPerRepo); left > 0 && len(drawn) < n; left -= triesAtOnce {
		var ids []int64
		for range triesAtOnce {
			if id := 1 + dice.Int64N(last); !tried[id] {
				tried[id], ids = true, append(ids, id)
			}
		}
		idle := make(map[int64]bool)
		err := rd.View(ctx, func(rx *store.Rx) error {
			found, err := rx.IdleAmong(ids)
			for _, id := range found {
				idle[id] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if idle[id] && len(drawn) < n {
				drawn = append(drawn, id)
			}
		}
	}
	return drawn, nil
}

// scan meets every idle repo and keeps n of them (reservoir sampling).
func scan(ctx context.Context, rd *store.Reader, n int, dice *rand.Rand) (kept []int64, err error) {
	met := int64(0)
	for after := int64(0); ; {
		var idle []int64
		err := rd.View(ctx, func(rx *store.Rx) (err error) {
			idle, after, err = rx.IdleAfter(after)
			return err
		})
		if err != nil || after == 0 {
			return kept, err
		}
		for _, id := range idle {
			met++
			if len(kept) < n {
				kept = append(kept, id)
			} else if at := dice.Int64N(met); at < int64(n) {
				kept[at] = id
			}
		}
	}
}
