package ingest

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/mst"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// BenchmarkCommit judges and stores commits that follow, in batches of 200, over 20,000
// repos of six collections: what the writer does for a commit that was proven.
func BenchmarkCommit(b *testing.B) {
	set := []string{"app.example.a", "app.example.b", "app.example.c", "app.example.d", "app.example.e", "app.example.f"}
	benchmarkCommits(b, 20_000, set, mst.Outline{}, true)
}

// benchmarkCommits judges commits over so many repos of one set, which show an outline.
func benchmarkCommits(b *testing.B, repos int, set []string, shown mst.Outline, noAudit bool) {
	const batchSize = 200
	st, err := store.Open(b.Context(), store.Config{Path: filepath.Join(b.TempDir(), "index.db"), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	in, err := New(b.Context(), Config{
		Store: st, Upstreams: []string{"http://relay.example.com"}, Log: slog.New(slog.DiscardHandler),
		HostName: func(string) (string, error) { return "relay.example.com", nil }, NoAudit: noAudit,
	})
	if err != nil {
		b.Fatal(err)
	}
	key := "\xe7\x01\x02" + string(make([]byte, 32))
	heads := make([]repostate.Head, repos)
	name := func(i int) string { return fmt.Sprintf("did:plc:%024d", i) }
	for from := 0; from < repos; from += 1000 {
		err := st.Update(b.Context(), "fill", func(tx *store.Tx) error {
			for i := from; i < min(from+1000, repos); i++ {
				r, err := testrepo.Add(tx, name(i))
				if err != nil {
					return err
				}
				if _, err := testrepo.SetIdentity(tx, r, key, fmt.Sprintf("pds%d.example.com", i%100), false); err != nil {
					return err
				}
				heads[i] = repostate.Head{Rev: 1, Data: atproto.Digest{1, byte(i), byte(i >> 8)}, CID: atproto.Digest{2, byte(i), byte(i >> 8)}}
				if _, _, err := testrepo.Establish(tx, r, heads[i], set, repostate.ProofTree); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	up, rev := in.upstreams[0], atproto.TIDAt(time.Now())
	var seq int64
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batchSize {
		batch := make([]*slot, 0, batchSize)
		for range batchSize {
			seq++
			i := int(seq*7919) % repos
			rev++
			next := repostate.Head{Rev: rev, Data: atproto.Digest{3, byte(seq), byte(seq >> 8), byte(seq >> 16)}, CID: atproto.Digest{4, byte(seq), byte(seq >> 8), byte(seq >> 16)}}
			s := &slot{up: up, kind: commitEvent, key: key, rev: rev, cursor: seq}
			s.frame = event.Frame{Seq: seq, DID: name(i)}
			s.proof = proof{Rev: rev, Commit: next.CID, Data: next.Data, Prev: heads[i].Data, Present: set[:1], Shown: shown}
			heads[i] = next
			batch = append(batch, s)
		}
		if err := in.commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitOfAnAccount judges and stores commits of one account that write one
// record, in batches of 200: of few collections, or of as many as a repo may have. Beyond
// auditedRows the time must not grow with their number.
func BenchmarkCommitOfAnAccount(b *testing.B) {
	for _, size := range []int{6, refusal.MaxCollections} {
		set := many(size)
		keys := make([]string, size)
		for i, nsid := range set {
			keys[i] = nsid + "/1"
		}
		shown := outlineOf(b, 100, keys...)
		b.Run(fmt.Sprintf("%d collections", size), func(b *testing.B) { benchmarkCommits(b, 1, set, shown, false) })
	}
}
