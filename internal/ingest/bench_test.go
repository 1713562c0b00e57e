package ingest

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// BenchmarkCommit judges and stores commits that follow, in batches of 200, over 20,000
// repos of six collections: what the writer does for a commit that was proven.
func BenchmarkCommit(b *testing.B) {
	const repos, batchSize = 20_000, 200
	st, err := store.Open(b.Context(), store.Config{Path: filepath.Join(b.TempDir(), "index.db"), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	in, err := New(b.Context(), Config{
		Store: st, Upstreams: []string{"http://relay.example.com"}, Log: slog.New(slog.DiscardHandler),
		HostName: func(string) (string, error) { return "relay.example.com", nil }, NoAudit: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	key := "\xe7\x01\x02" + string(make([]byte, 32))
	set := []string{"app.example.a", "app.example.b", "app.example.c", "app.example.d", "app.example.e", "app.example.f"}
	heads := make([]repostate.Head, repos)
	name := func(i int) string { return fmt.Sprintf("did:plc:%024d", i) }
	for from := 0; from < repos; from += 1000 {
		err := st.Update(b.Context(), "fill", func(tx *store.Tx) error {
			for i := from; i < from+1000; i++ {
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
			s.proof = proof{Rev: rev, Commit: next.CID, Data: next.Data, Prev: heads[i].Data, Present: set[:1]}
			heads[i] = next
			batch = append(batch, s)
		}
		if err := in.commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitOfAnAccount judges and stores commits of one account that write one
// record, in batches of 200: of few collections, or of as many as a repo may have. The
// two should take about the same time.
func BenchmarkCommitOfAnAccount(b *testing.B) {
	for _, size := range []int{6, refusal.MaxCollections} {
		b.Run(fmt.Sprintf("%d collections", size), func(b *testing.B) { benchmarkAccount(b, many(size)) })
	}
}

func benchmarkAccount(b *testing.B, set []string) {
	const batchSize = 200
	st, err := store.Open(b.Context(), store.Config{Path: filepath.Join(b.TempDir(), "index.db"), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	in, err := New(b.Context(), Config{
		Store: st, Upstreams: []string{"http://relay.example.com"}, Log: slog.New(slog.DiscardHandler),
		HostName: func(string) (string, error) { return "relay.example.com", nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	last := repostate.Head{Rev: 1, Data: atproto.Digest{1}, CID: atproto.Digest{2}}
	err = st.Update(b.Context(), "fill", func(tx *store.Tx) error {
		r, err := testrepo.Add(tx, alice)
		if err != nil {
			return err
		}
		if _, err := testrepo.SetIdentity(tx, r, homeKey, home, false); err != nil {
			return err
		}
		_, _, err = testrepo.Establish(tx, r, last, set, repostate.ProofTree)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]string, len(set))
	for i, nsid := range set {
		keys[i] = nsid + "/1"
	}
	outline := outlineOf(b, 100, keys...)
	rev := atproto.TIDAt(time.Now())
	var seq int64
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batchSize {
		batch := make([]*slot, 0, batchSize)
		for range batchSize {
			seq++
			rev++
			next := repostate.Head{Rev: rev, Data: atproto.Digest{3, byte(seq), byte(seq >> 8), byte(seq >> 16)}, CID: atproto.Digest{4, byte(seq), byte(seq >> 8), byte(seq >> 16)}}
			s := &slot{up: in.upstreams[0], kind: commitEvent, key: homeKey, rev: rev, cursor: seq}
			s.frame = event.Frame{Seq: seq, DID: alice}
			s.proof = proof{Rev: rev, Commit: next.CID, Data: next.Data, Prev: last.Data, Present: set[:1], Shown: outline}
			last = next
			batch = append(batch, s)
		}
		if err := in.commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
