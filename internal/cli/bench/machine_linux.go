package bench

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// evict takes a file's pages out of the page cache of the system. Nobody may have the
// file open.
func evict(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return fmt.Errorf("%w: the file is in memory (tmpfs)", errors.ErrUnsupported)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// resident returns the bytes of memory that this process has in use.
func resident() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm") // proc(5): size and resident, in pages
	if err != nil {
		return 0, err
	}
	var size, pages int64
	_, err = fmt.Sscan(string(text), &size, &pages)
	return pages * int64(os.Getpagesize()), err
}
