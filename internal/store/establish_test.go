package store

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/test/testrepo"
)

// BenchmarkEstablish measures what proven sets cost: first ones, the same again, and
// others. To intern and join the NSIDs as one JSON array in SQL, without the ids that
// the store remembers, takes a quarter more time.
func BenchmarkEstablish(b *testing.B) {
	const repos, collections = 20_000, 6
	s, err := Open(b.Context(), Config{Path: filepath.Join(b.TempDir(), "index.db"), Version: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sets := func(seed uint64) func() []string {
		r := rand.New(rand.NewPCG(seed, 1))
		return func() []string {
			nsids := make([]string, collections)
			for i := range nsids {
				nsids[i] = fmt.Sprintf("com.example.c%d", i*300+r.IntN(300))
			}
			return nsids
		}
	}
	pass := func(set func() []string) {
		for from := 0; from < repos; from += 500 {
			if err := s.Update(b.Context(), "test", func(tx *Tx) error {
				for n := from; n < from+500; n++ {
					r, err := tx.RepoByDID(did(n))
					if err == nil && r == nil {
						r, err = testrepo.Add(tx, did(n))
					}
					if err != nil {
						return err
					}
					if _, _, err := testrepo.Establish(tx, r, Head{Rev: 5, Data: atproto.Digest{1}}, set(), ProofTree); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		pass(sets(1))
		pass(sets(1))
		pass(sets(2))
	}
}
