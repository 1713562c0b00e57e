// Package wait pauses, and says for how long after failures.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff doubles a pause with each failure in a row, up to the longest, and gives
// between a half and all of it, so that what failed together does not come back together.
func Backoff(first, longest time.Duration, failures int) time.Duration {
	pause := first
	for range failures {
		if pause >= longest {
			break
		}
		pause *= 2
	}
	pause = min(pause, longest)
	return pause/2 + rand.N(pause/2+1)
}

// For returns when a pause is over, or with the error of ctx when that ends first.
func For(ctx context.Context, pause time.Duration) error {
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
