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
// checked (PRAGMA quick_check) and named anew in a folder made for that beside path,
// and then renamed. Whatever fails before leaves path as it was. The former log waits in
// that folder until the new file is in place for good: if the machine dies in between,
// path may have lost its log, which is in the folder, and Restore can be repeated.
//
// Path is locked meanwhile, also if nothing was there. A file that another program has
// open is refused (ErrInUse if that is a railyard).
func Restore(ctx context.Context, from, path, version string) (former, now string, err error) {
	source, err := filepath.EvalSymlinks(from) // its log is beside the file, not the link
	if err != nil {
		return "", "", fmt.Errorf("copy %w", err)
	}
	old, made, err := replaceable(path)
	if err != nil {
		return "", "", onFile(path, err)
	}
	defer func() { _ = old.Close() }() // no service may start meanwhile
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if made {
		defer func() {
			if err != nil && same(old, path) {
				_ = remove(path)
			}
		}()
	}
	work, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".restoring-*")
	if err != nil {
		return "", "", err
	}
	draft := filepath.Join(work, "draft")
	// The folder stays if it still holds the former log.
	defer func() { _ = remove(draft, draft+walSuffix, draft+shmSuffix, work) }()
	if err := copyDatabase(ctx, source, draft, old); err != nil {
		return "", "", fmt.Errorf("copy %s: %w", from, err)
	}
	if former, now, err = checkAndName(ctx, draft, version); err != nil {
		if e, ok := errors.AsType[*fileError](err); ok {
			err = e.err // it names the draft
		}
		return "", "", fmt.Errorf("the copy %s: %w", from, err)
	}
	return former, now, replace(path, draft)
}

// replace renames the draft to path. The former log of path waits beside the draft: it
// returns if the draft cannot be renamed, and goes once that is on the disk.
func replace(path, draft string) error {
	former := filepath.Join(filepath.Dir(draft), "former")
	err := moveLog(path, former)
	if err == nil {
		err = errors.Join(syncFolder(former), syncFolder(path))
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return errors.Join(err, moveLog(former, path), syncFolder(path))
	}
	if err := syncFolder(path); err != nil {
		return err
	}
	return remove(former+walSuffix, former+shmSuffix)
}

// moveLog renames the log of one database, as far as it has one, to be another's.
func moveLog(from, to string) error {
	for _, suffix := range []string{walSuffix, shmSuffix} {
		if err := os.Rename(from+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaceable opens the file at path and locks it, unless it is no index or somebody has
// it open. If there is none, it makes an empty one.
func replaceable(path string) (_ *os.File, made bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		made = true
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, false, errors.Unwrap(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, false, ErrInUse
	}
	// The header of a database (SQLite file format, section 1.3)
	var header [72]byte
	switch n, err := f.ReadAt(header[:], 0); {
	case n == 0 && err == io.EOF:
	case err != nil && err != io.EOF:
		return nil, false, errors.Unwrap(err)
	case binary.BigEndian.Uint32(header[68:]) != applicationID:
		return nil, false, fmt.Errorf("%w, and is not replaced", ErrForeign)
	}
	// Whoever has a database open in WAL mode has a lock in its lock-byte page. On its end
	// it would delete the log of the file that is at the path by then.
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 1 << 30, Len: 512}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return nil, false, fmt.Errorf("ask for its locks: %w", err)
	}
	if l.Type != syscall.F_UNLCK {
		return nil, false, fmt.Errorf("process %d has it open", l.Pid)
	}
	return f, made, nil
}

// copyDatabase copies a database that nobody writes to, with its log. The copy has the
// owner and the mode of the file that it will replace.
func copyDatabase(ctx context.Context, from, to string, old *os.File) error {
	src, err := os.Open(from)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer func() { _ = src.Close() }()
	if same(old, from) {
		return errors.New("it is the file itself")
	}
	if err := syscall.Flock(int(src.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return ErrInUse
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

// same reports whether an open file is the one at path.
func same(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errors.Join(errA, errB) == nil && os.SameFile(a, b)
}

// copyFile copies a file and brings it to the disk.
func copyFile(ctx context.Context, src *os.File, to string, like *os.File) (err error) {
	info, err := like.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok { // only root can give files away; others make what they can use themselves
		if err := dst.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if err := dst.Chmod(info.Mode().Perm()); err != nil { // the umask is for new files
		return err
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
