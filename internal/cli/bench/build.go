package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// batch is how many repos or commits one transaction of a build has.
const batch = 128

// Progress is told how far a piece of work is.
type Progress func(what string, done, total int)

// Build makes an index of a shape at a path, or takes the one that is there. It is an
// error if the file there is another one: nothing is overwritten. built reports whether
// the file is new.
func Build(ctx context.Context, path string, s Shape, progress Progress) (built bool, err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, errors.Join(err, s.isIn(ctx, path))
	}
	part := path + ".part" // what is left of a build that was interrupted is no index
	if err := removeIndex(part); err != nil {
		return false, err
	}
	if err := s.build(ctx, part, progress); err != nil {
		return false, errors.Join(err, removeIndex(part))
	}
	return true, os.Rename(part, path)
}

// removeIndex removes a file and what SQLite keeps beside it.
func removeIndex(path string) (err error) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Remove(path + suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// isIn refuses a file that is no index of the shape.
func (s Shape) isIn(ctx context.Context, path string) error {
	rd, err := store.OpenReader(ctx, path)
	if err != nil {
		return err
	}
	var maker string
	err = rd.View(ctx, func(rx *store.Rx) (err error) {
		maker, err = rx.CreatedBy()
		return err
	})
	if err := errors.Join(err, rd.Close()); err != nil {
		return err
	}
	if maker != s.String() {
		return fmt.Errorf("%s: made by %q, and wanted is %q", path, atproto.Clip(maker), s)
	}
	return nil
}

func (s Shape) build(ctx context.Context, path string, progress Progress) (err error) {
	st, end, err := s.open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	return s.grow(ctx, st, progress)
}

// open opens an index of the shape, with the upkeep of a service, for as long as end
// was not called.
func (s Shape) open(ctx context.Context, path string) (st *store.Store, end func() error, err error) {
	st, err = store.Open(ctx, store.Config{Path: path, Version: s.String()})
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Maintain(ctx, slog.New(slog.DiscardHandler)) }()
	return st, func() error {
		stop()
		return errors.Join(<-ended, st.Close())
	}, nil
}

// grow fills an empty index: a crawl lists the repos, each is fetched, in another order,
// and then commits begin further collections, in a third one.
func (s Shape) grow(ctx context.Context, st *store.Store, progress Progress) error {
	chance := s.random(0, forOrder)
	listed := make([]int, s.Repos)
	for i := range listed {
		listed[i] = i
	}
	fetched := chance.Perm(s.Repos)
	type begun struct{ repo, which int32 }
	var late []begun
	for i := range s.Repos {
		_, later := s.Collections(i)
		for which := range later {
			late = append(late, begun{int32(i), int32(which)})
		}
	}
	chance.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })

	if err := inBatches(ctx, st, "list", listed, progress, s.list); err != nil {
		return err
	}
	if err := inBatches(ctx, st, "fetch", fetched, progress, s.fetch); err != nil {
		return err
	}
	return inBatches(ctx, st, "commit", late, progress, func(tx *store.Tx, b begun) error {
		_, later := s.Collections(int(b.repo))
		_, err := s.commit(tx, int(b.repo), later[b.which:b.which+1], nil)
		return err
	})
}

// inBatches makes each thing in its order, so many in one transaction.
func inBatches[T any](ctx context.Context, st *store.Store, what string, things []T, progress Progress, each func(*store.Tx, T) error) error {
	done := 0
	for some := range slices.Chunk(things, batch) {
		if err := st.Update(ctx, what, func(tx *store.Tx) error {
			for _, thing := range some {
				if err := each(tx, thing); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if done += len(some); done%(8*batch) == 0 || done == len(things) {
			progress(what, done, len(things))
		}
	}
	return nil
}

// list queues repo i, as a crawl does.
func (s Shape) list(tx *store.Tx, i int) error {
	r, err := tx.RepoOrNew(s.DID(i))
	if err != nil {
		return err
	}
	_, err = tx.Apply(r, repostate.Decide(r, repostate.Entry{Rev: s.Head(i, 0).Rev, Active: true}, tx.Env()))
	return err
}

// fetch applies what an attempt at repo i ends with: its document was looked up, and its
// tree walked.
func (s Shape) fetch(tx *store.Tx, i int) error {
	was, err := tx.RepoOrNew(s.DID(i))
	if err != nil {
		return err
	}
	identity, err := tx.IdentityAtHost(s.Key(i), s.Host(i), false)
	if err != nil {
		return err
	}
	identity.FetchedAt = tx.Now()
	first, _ := s.Collections(i)
	r, head := *was, s.Head(i, 0)
	r.Identity, r.Head, r.Waiting = identity, &head, nil
	r.State, r.Proof, r.ProvenAt = repostate.Synchronized, repostate.ProofTree, tx.Now()
	_, err = tx.Apply(was, repostate.Decision{Repo: &r, Set: &repostate.Set{Collections: first, First: true}})
	return err
}

// commit applies the next commit of repo i, as the path of events does. After it the
// collections of present are there, and those of died are not.
func (s Shape) commit(tx *store.Tx, i int, present, died []string) (c repostate.Changes, err error) {
	r, err := tx.RepoOrNew(s.DID(i))
	if err != nil {
		return c, err
	}
	if r.Head == nil {
		return c, fmt.Errorf("%s has no head", r.DID)
	}
	head := s.Head(i, commits(r.Head)+1)
	d := repostate.Decide(r, repostate.Signed{Rev: head.Rev, Key: r.Identity.Key, Commit: repostate.Commit{
		Prev: r.Head.Data, Head: head, Present: present, Died: died,
	}}, tx.Env())
	if d.Outcome != repostate.Applied {
		return c, fmt.Errorf("the commit of %s at rev %s: %s", r.DID, head.Rev, d.Outcome)
	}
	return tx.Apply(r, d)
}
