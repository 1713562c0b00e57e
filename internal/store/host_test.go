package store

import (
	"testing"
	"time"
)

// A host that is away fails every request that is under way. That is one failure; only
// what is asked after it, and after the pause that followed, is another.
func TestWhatFailsAtOneMomentCountsOnce(t *testing.T) {
	y := newHostsFile(t)
	begin := y.now
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	failed := func(began, ended, want int) {
		t.Helper()
		y.now = after(ended)
		y.do(func(tx *Tx) error {
			got, err := tx.HostFailed(y.a, 0, after(began), "no answer")
			if got != want {
				t.Errorf("asked at %d s, failed at %d s: %d in a row, want %d", began, ended, got, want)
			}
			return err
		})
	}
	failed(0, 3, 1)
	failed(1, 4, 0)
	failed(3, 9, 2)
	failed(4, 10, 0) // before the second one had ended
	y.do(func(tx *Tx) error { return tx.CoolHost(y.a, after(30)) })
	failed(9, 31, 0)
	failed(29, 31, 0) // during the pause
	failed(30, 32, 3)
	y.do(func(tx *Tx) error { return tx.HostAnswered(y.a) })
	failed(31, 40, 1)
}
