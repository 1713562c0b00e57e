// Package wait pauses.
package wait

import (
	"context"
	"time"
)

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
