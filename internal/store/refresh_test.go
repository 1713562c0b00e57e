package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/repostate"
)

// The caller meets each repo of an old identity once, in pieces, and then begins
// again.
func TestOldIdentitiesAreMetInPieces(t *testing.T) {
	f := newShelf(t)
	for n := range 7 {
		f.inService(did(n))
	}
	f.inService("did:web:example.com")
	f.now = f.now.Add(time.Hour)
	f.inService(did(7))
	aged := func(after int64, onlyWeb bool, n int) (dids []string, next int64) {
		t.Helper()
		f.update(func(tx *Tx) error {
			repos, to, err := tx.Aged(after, f.now, onlyWeb, n)
			for _, id := range repos {
				r, err := tx.RepoByID(id)
				if err != nil {
					return err
				}
				dids = append(dids, r.DID)
			}
			next = to
			return err
		})
		return dids, next
	}
	var all []string
	for after, turns := int64(0), 0; ; turns++ {
		some, next := aged(after, false, 3)
		if all = append(all, some...); next == 0 {
			break
		}
		if len(some) > 3 || next <= after || turns > 5 {
			t.Fatalf("%q, from %d to %d", some, after, next)
		}
		after = next
	}
	want := []string{did(0), did(1), did(2), did(3), did(4), did(5), did(6), "did:web:example.com"}
	if !slices.Equal(all, want) {
		t.Errorf("met %q", all)
	}
	if web, _ := aged(0, true, 3); len(web) != 1 || !strings.HasPrefix(web[0], "did:web:") {
		t.Errorf("of the web: %q", web)
	}
	f.with(did(0), func(tx *Tx, r *Repo) error { return decide(tx, r, repostate.Aged{At: tx.now}) })
	if some, _ := aged(0, false, 1); !slices.Equal(some, []string{did(1)}) {
		t.Errorf("while one is attempted: %q", some)
	}
}
