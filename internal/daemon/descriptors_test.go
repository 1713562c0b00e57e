package daemon

import (
	"log/slog"
	"strings"
	"testing"
)

// Connections leave enough for the file, are never none, and a small limit is said.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		want  int
		warns bool
	}{
		{64, leastConns, true},
		{128, 31, true},
		{1024, 479, false},
		{1 << 20, mostConns, false},
		{1<<64 - 1, mostConns, false},
	} {
		var log strings.Builder
		got := connections(c.limit, 1, slog.New(slog.NewTextHandler(&log, nil)))
		if got.in != c.want || got.out != c.want || strings.Contains(log.String(), "WARN") != c.warns {
			t.Errorf("limit %d: %+v, log %q", c.limit, got, &log)
		}
	}
}
