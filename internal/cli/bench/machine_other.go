//go:build !linux

package bench

import (
	"errors"
	"fmt"
	"runtime"
)

// evict is for Linux alone.
func evict(string) error {
	return fmt.Errorf("%w: pages cannot be evicted on %s", errors.ErrUnsupported, runtime.GOOS)
}

// resident is for Linux alone.
func resident() (int64, error) {
	return 0, fmt.Errorf("%w: memory is not measured on %s", errors.ErrUnsupported, runtime.GOOS)
}
