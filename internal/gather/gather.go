// Package gather takes what comes through a channel in batches, so that what came
// together shares a transaction.
package gather

import "time"

// Batch waits for one value and then takes what comes until there are most of them, or
// delay is over. It appends to into, which it returns; nothing was appended if and only
// if the channel is closed.
func Batch[T any](in <-chan T, into []T, most int, delay time.Duration) []T {
	first, ok := <-in
	if !ok {
		return into
	}
	into = append(into, first)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for len(into) < most {
		select {
		case next, ok := <-in:
			if !ok {
				return into
			}
			into = append(into, next)
		case <-timer.C:
			return into
		}
	}
	return into
}
