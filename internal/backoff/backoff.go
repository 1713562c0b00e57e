// Package backoff says how long to wait after failures, and waits.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Delay doubles a pause with each failure in a row, up to the longest, and returns
// between a half and all of it, so that what failed together does not come back together.
func Delay(first, longest time.Duration, failures int) time.Duration {
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

// Sleep returns when a pause is over, or with the error of ctx when that ends first.
func Sleep(ctx context.Context, pause time.Duration) error {
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
