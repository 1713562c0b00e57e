package resync

import (
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/store"
)

// Somebody forges a commit during each fetch.
func TestForgedCommitsDoNotKeepARepoOut(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Create(did, "com.example.new/a"); err != nil {
		t.Fatal(err)
	}
	n := byte(0)
	var forge func(string, string)
	forge = func(string, string) {
		n++
		w.with(did, func(tx *store.Tx, r *store.Repo) error {
			if r.State != store.Resyncing {
				return nil
			}
			_, err := tx.Buffer(r, store.Commit{Unchecked: true, Prev: atproto.Digest{n}, Head: store.Head{Rev: atproto.TIDAt(w.now.Add(time.Minute)), Data: atproto.Digest{n, 1}, CID: atproto.Digest{n, 2}}})
			return err
		})
		w.hook = forge
	}
	w.hook = forge
	w.with(did, func(tx *store.Tx, r *store.Repo) error { return tx.Desynchronize(r, store.Discontinuity) })
	w.work()
	for range 60 {
		w.later(time.Minute)
	}
	t.Logf("%d forgeries, %d fetches", n, w.count("getRepo"))
	w.same(did, true)
}

// A busy repo of an old host: a commit that cannot be undone comes during each fetch.
func TestABusyRepoOfAnOldHostGetsOn(t *testing.T) {
	w, did := filled(t)
	if err := w.net.Create(did, "com.example.new/a"); err != nil {
		t.Fatal(err)
	}
	n := 0
	var busy func(string, string)
	busy = func(string, string) {
		n++
		rev := atproto.TIDAt(w.now) + atproto.TID(n)
		w.with(did, func(tx *store.Tx, r *store.Repo) error { return tx.Saw(r, rev) }) // what legacy() does
		w.hook = busy
	}
	w.hook = busy
	w.with(did, func(tx *store.Tx, r *store.Repo) error { return tx.Desynchronize(r, store.Discontinuity) })
	w.work()
	for range 60 {
		w.later(time.Minute)
	}
	t.Logf("%d commits, %d fetches", n, w.count("getRepo"))
	w.same(did, true)
}
