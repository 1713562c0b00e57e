package resync

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"railyard/internal/store"
)

// crowd fills a file with repos in service that wait in the queue, spread evenly
// over hosts that have answered before.
func crowd(tb testing.TB, path string, hosts, repos int) {
	tb.Helper()
	st, err := store.Open(tb.Context(), store.Config{Path: path, Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	if err := st.Close(); err != nil {
		tb.Fatal(err)
	}
	script(tb, path, fmt.Sprintf(`
		CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[2]d) SELECT i FROM n;
		INSERT INTO host (id, hostname) SELECT i, 'h' || i || '.example.com' FROM n WHERE i <= %[1]d;
		UPDATE host_queue SET answers = 1;
		INSERT INTO repo (id, did, state, seq, proof, proven_at) SELECT i, printf('did:plc:%%024d', i), 3, i, 1, 1 FROM n;
		INSERT INTO repo_head (repo_id, rev, data, cid) SELECT i, 5, zeroblob(32), zeroblob(32) FROM n;
		INSERT INTO identity (repo_id, signing_key, host_id, fetched_at)
		SELECT i, x'e7010279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798', 1 + i %% %[1]d, 1 FROM n;
		INSERT INTO resync_queue (repo_id, reason, priority, not_before, generation, queued_at, host_id)
		SELECT i, 11, 6, 1, 0, 1, 1 + i %% %[1]d FROM n;`, hosts, repos))
}

// script writes to a file behind the store's back.
func script(tb testing.TB, path, text string) {
	tb.Helper()
	d, err := sql.Open("sqlite", path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	d.SetMaxOpenConns(1)
	if _, err := d.Exec(text); err != nil {
		tb.Fatal(err)
	}
}

// What the dispatcher itself costs: 200,000 repos at 1,000 hosts, and nothing to
// be done for any of them. An attempt is a lease and a result.
func BenchmarkDispatch(b *testing.B) {
	const hosts, repos = 1000, 200_000
	attempts, spent := 0, time.Duration(0)
	var before, after runtime.MemStats
	allocs := uint64(0)
	for b.Loop() {
		b.StopTimer()
		path := filepath.Join(b.TempDir(), "index.db")
		crowd(b, path, hosts, repos)
		st, err := store.Open(b.Context(), store.Config{Path: path, Version: "test"})
		if err != nil {
			b.Fatal(err)
		}
		rs := New(Config{Store: st, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		runtime.ReadMemStats(&before)
		b.StartTimer()
		start := time.Now()
		go func() { done <- rs.Run(ctx) }()
		for waiting(b, st) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		spent += time.Since(start)
		b.StopTimer()
		runtime.ReadMemStats(&after)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		attempts += repos
		allocs += after.Mallocs - before.Mallocs
		b.StartTimer()
	}
	b.ReportMetric(float64(attempts)/spent.Seconds(), "attempts/s")
	b.ReportMetric(float64(spent.Microseconds())/float64(attempts), "µs/attempt")
	b.ReportMetric(float64(allocs)/float64(attempts), "allocs/attempt")
}

func waiting(tb testing.TB, st *store.Store) int64 {
	tb.Helper()
	var stats store.Stats
	if err := st.View(tb.Context(), func(rx *store.Rx) (err error) {
		stats, err = rx.Stats()
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return stats.Waiting + stats.WaitingLater
}
