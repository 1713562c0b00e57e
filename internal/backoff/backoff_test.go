package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepEndsWithThePauseOrTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		pause, cancelled time.Duration // 0 = never cancelled
		took             time.Duration
		err              error
	}{
		"a pause":               {pause: time.Hour, took: time.Hour},
		"no pause":              {},
		"a negative pause":      {pause: -time.Hour},
		"cancelled in between":  {pause: time.Hour, cancelled: time.Minute, took: time.Minute, err: context.Canceled},
		"cancelled, and over":   {pause: time.Minute, cancelled: time.Hour, took: time.Minute},
		"none, and no deadline": {pause: time.Nanosecond, took: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancelled > 0 {
					time.AfterFunc(c.cancelled, cancel)
				}
				began := time.Now()
				if err := Sleep(ctx, c.pause); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
			})
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sleep(ended, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestDelayDoublesUpToTheLongest(t *testing.T) {
	for _, c := range []struct {
		first, longest time.Duration
		failures       int
		most           time.Duration
	}{
		{time.Second, time.Minute, 0, time.Second},
		{time.Second, time.Minute, -1, time.Second},
		{time.Second, time.Minute, 1, 2 * time.Second},
		{time.Second, time.Minute, 5, 32 * time.Second},
		{time.Second, time.Minute, 6, time.Minute},
		{time.Second, time.Minute, 1 << 40, time.Minute},
		{time.Hour, time.Minute, 3, time.Minute},
	} {
		shortest, longest := c.most, time.Duration(0)
		for range 1000 {
			got := Delay(c.first, c.longest, c.failures)
			shortest, longest = min(shortest, got), max(longest, got)
		}
		if shortest < c.most/2 || longest > c.most || longest-shortest < c.most/4 {
			t.Errorf("%d failures, %s up to %s: %s to %s, want a half to all of %s", c.failures, c.first, c.longest, shortest, longest, c.most)
		}
	}
}
