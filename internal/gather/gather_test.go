package gather

import (
	"testing"
	"testing/synctest"
	"time"
)

// Every value comes out once and in its place, in however many batches: full ones,
// those that time closes, and the last one.
func TestBatchesHaveEveryValueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, delay = 3, time.Second
		in := make(chan int)
		go func() {
			defer close(in)
			for i := range 40 {
				time.Sleep(time.Duration(i%5) * 300 * time.Millisecond)
				in <- i
			}
		}()
		next, sizes := 0, map[int]bool{}
		for {
			batch := Batch(in, nil, most, delay)
			if len(batch) == 0 {
				break
			}
			sizes[len(batch)] = true
			for _, got := range batch {
				if got != next {
					t.Fatalf("%d comes where %d should", got, next)
				}
				next++
			}
		}
		if next != 40 || len(sizes) != most {
			t.Errorf("%d values in batches of the sizes %v", next, sizes)
		}
	})
}
