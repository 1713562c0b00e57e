package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// suffixes of the files that belong to a database in WAL mode.
const (
	walSuffix = "-wal"
	shmSuffix = "-shm"
)

// Restore puts a copy of an index file at path, with a new index id, and returns the
// index ids of the copy and of the file. What is at path goes, and its write-ahead log
// with it: SQLite would apply a log to whatever file it finds beside it.
//
// The copy itself stays as it is; a log beside it belongs to it. It is copied once more,
// checked (PRAGMA quick_check) and named anew under another name in the same folder, and
// only then renamed. Until then a failure leaves path as it was. A file that another
// program has open is refused (ErrInUse if that is a railyard).
func Restore(ctx context.Context, from, path, version string) (former, now string, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	old, err := replaceable(path)
	if err != nil {
		return "", "", onFile(path, err)
	}
	if old != nil {
		defer func() { _ = old.Close() }() // no service may start meanwhile
	}
	draft := path + ".restoring"
	defer func() { _ = remove(draft, draft+walSuffix, draft+shmSuffix) }()
	if err := copyDatabase(ctx, from, draft, old); err != nil {
		return "", "", fmt.Errorf("copy %s: %w", from, err)
	}
	if former, now, err = checkAndName(ctx, draft, version); err != nil {
		if e, ok := errors.AsType[*fileError](err); ok {
			err = e.err // it names the draft
		}
		return "", "", fmt.Errorf("the copy %s: %w", from, err)
	}
	if err := remove(path+walSuffix, path+shmSuffix); err != nil {
		return "", "", err
	}
	if err := os.Rename(draft, path); err != nil {
		return "", "", err
	}
	return former, now, syncFolder(path)
}

// replaceable opens the file at path and locks it, unless it is no index or somebody has
// it open. It returns nil if there is none.
func replaceable(path string) (_ *os.File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, errors.Unwrap(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, ErrInUse
	}
	// The header of a database (SQLite file format, section 1.3)
	var header [72]byte
	switch n, err := f.ReadAt(header[:], 0); {
	case n == 0 && err == io.EOF:
	case err != nil && err != io.EOF:
		return nil, errors.Unwrap(err)
	case binary.BigEndian.Uint32(header[68:]) != applicationID:
		return nil, fmt.Errorf("%w, and is not replaced", ErrForeign)
	}
	// Whoever has a database open in WAL mode has a lock in its lock-byte page. On its end
	// it would delete the log of the file that is at the path by then.
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 1 << 30, Len: 512}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return nil, fmt.Errorf("ask for its locks: %w", err)
	}
	if l.Type != syscall.F_UNLCK {
		return nil, fmt.Errorf("process %d has it open", l.Pid)
	}
	return f, nil
}

// copyDatabase copies a database that nobody writes to, with its log. The copy belongs to
// whom the file belongs that it will replace, if there is one.
func copyDatabase(ctx context.Context, from, to string, old *os.File) error {
	src, err := os.Open(from)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer func() { _ = src.Close() }()
	if old != nil {
		a, errA := src.Stat()
		b, errB := old.Stat()
		if errors.Join(errA, errB) == nil && os.SameFile(a, b) {
			return errors.New("it is the file itself")
		}
	}
	if err := syscall.Flock(int(src.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return ErrInUse
	}
	if err := remove(to, to+walSuffix, to+shmSuffix); err != nil {
		return err
	}
	if err := copyFile(ctx, src, to, old); err != nil {
		return err
	}
	log, err := os.Open(from + walSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	return copyFile(ctx, log, to+walSuffix, old)
}

// copyFile copies a file and brings it to the disk.
func copyFile(ctx context.Context, src *os.File, to string, like *os.File) (err error) {
	mode := fs.FileMode(0o644)
	var owner *syscall.Stat_t
	if like != nil {
		info, err := like.Stat()
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
		owner, _ = info.Sys().(*syscall.Stat_t)
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if owner != nil { // only root can give files away; others make what they can use themselves
		if err := dst.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	for {
		if _, err := io.CopyN(dst, src, 64<<20); err == io.EOF {
			return dst.Sync()
		} else if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// checkAndName checks a file, brings its schema up to date and gives it a new index id.
func checkAndName(ctx context.Context, path, version string) (former, now string, err error) {
	// Open would make an index of an empty file.
	rd, err := OpenReader(ctx, path)
	if err == nil {
		err = rd.Close()
	}
	if err != nil && !errors.Is(err, ErrOlder) {
		return "", "", err
	}
	former, err = opened(ctx, Config{Path: path, Version: version}, (*Store).sound)
	if err != nil {
		return "", "", err
	}
	now, err = opened(ctx, Config{Path: path, Version: version, NewIndexID: true}, func(*Store, context.Context) error { return nil })
	if err != nil {
		return "", "", err
	}
	if info, err := os.Stat(path + walSuffix); err == nil && info.Size() > 0 {
		return "", "", errors.New("its log could not be brought into it")
	}
	return former, now, nil
}

// opened opens a file, does something with it, closes it and returns its index id.
func opened(ctx context.Context, cfg Config, do func(*Store, context.Context) error) (id string, err error) {
	s, err := Open(ctx, cfg)
	if err != nil {
		return "", err
	}
	err = do(s, ctx)
	return s.IndexID(), errors.Join(err, s.Close())
}

// sound returns what SQLite finds wrong with the file.
func (s *Store) sound(ctx context.Context) error {
	found, err := s.quickCheck(ctx)
	if err == nil && found.count > 0 {
		err = fmt.Errorf("it is damaged: %s", strings.Join(found.rows, "; "))
	}
	return err
}

// remove removes files that may not be there.
func remove(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFolder brings the names of a folder to the disk.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
