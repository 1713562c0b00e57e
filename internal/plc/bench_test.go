package plc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// A page of the first reading: read, and applied to a file that knows none or all
// of its DIDs.
func BenchmarkPage(b *testing.B) {
	for _, c := range []struct {
		name  string
		known bool
	}{{"unknown", false}, {"known", true}} {
		b.Run(c.name, func(b *testing.B) {
			st, err := store.Open(b.Context(), store.Config{Path: filepath.Join(b.TempDir(), "index.db"), Version: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = st.Close() }()
			f := New(Config{
				Store: st, URL: "http://plc.example.com", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				Ready: func(context.Context) (bool, error) { return true, nil }, KeyChanged: func(string) {},
			})
			if err := f.begin(b.Context(), false); err != nil {
				b.Fatal(err)
			}
			var lines []string
			listed := make(map[string]repostate.Entry)
			for i := range pageLines {
				lines = append(lines, fmt.Sprintf(`{"type":"sequenced_op","seq":%d,"did":%q,"operation":%s,"cid":"bafy%06d","createdAt":%q}`,
					i+1, did(i), operationOf(key1, "pds.example.com"), i, day.Add(time.Duration(i)*time.Millisecond).Format(timeForm)))
				listed[did(i)] = repostate.Entry{Active: true}
			}
			if c.known {
				if err := st.Update(b.Context(), "bench", func(tx *store.Tx) error { return testrepo.List(tx, listed) }); err != nil {
					b.Fatal(err)
				}
			}
			text := strings.Join(lines, "\n")
			for b.Loop() {
				p := page{form: bySeq}
				if err := f.take(strings.NewReader(text), &p); err != nil || len(p.lines) != pageLines {
					b.Fatal(len(p.lines), err)
				}
				f.pos = position{}
				nullify(p.lines)
				if err := f.apply(b.Context(), bySeq, p.lines, time.Time{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*pageLines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
