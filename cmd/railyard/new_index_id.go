package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"railyard/internal/store"
)

func newIndexIDFlags() (fs *flag.FlagSet, path, from *string) {
	fs = flag.NewFlagSet("new-index-id", flag.ContinueOnError)
	path = fs.String("db", "railyard.db", "the index file, which no service has open")
	from = fs.String("from", "", "an older copy, which is checked and put into the place of the file and its log")
	return fs, path, from
}

// newIndexID writes a new index id into a file that was rolled back to an older
// copy, or puts the copy in place, too. Cursors carry the id of their index; those of
// another one start over.
func newIndexID(ctx context.Context, args, environ []string, stdout, _ io.Writer) error {
	fs, path, from := newIndexIDFlags()
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	if *from != "" {
		former, now, err := store.Restore(ctx, *from, *path, versionText())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s: now %s, checked; the index %s is now %s; cursors of clients start over\n", *path, *from, former, now)
		return err
	}
	former, err := indexOf(ctx, *path)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{Path: *path, Version: versionText(), NewIndexID: true})
	if err != nil {
		return err
	}
	now := st.IndexID()
	if err := st.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: the index %s is now %s; cursors of clients start over\n", *path, former, now)
	return err
}

// indexOf returns the index id of a file, which must be there.
func indexOf(ctx context.Context, path string) (id string, err error) {
	rd, err := store.OpenReader(ctx, path)
	if err != nil {
		return "", err
	}
	defer func() { _ = rd.Close() }()
	err = rd.View(ctx, func(rx *store.Rx) error {
		id, err = rx.IndexID()
		return err
	})
	return id, err
}
