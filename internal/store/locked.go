package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long SQLite waits for a lock before it says so.
const busyTimeout = 5 * time.Second

// busy reports whether another connection has a lock that was waited for.
func busy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// patiently does what takes the file's write lock. As long as another program holds it,
// it is tried again, unless ctx ends: a backup or somebody's shell is no reason to lose
// what was received. Locked says so meanwhile.
func (s *Store) patiently(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !busy(err) || ctx.Err() != nil || s.closing.Load() {
			s.lockedAt.Store(0)
			return err
		}
		s.lockedAt.CompareAndSwap(0, s.now().Add(-busyTimeout).UnixMicro())
		s.inPlace() // the upkeep may be waiting, too
		if err := s.Err(); err != nil {
			s.lockedAt.Store(0)
			return err
		}
	}
}

// Locked returns since when the writer has been waiting for another program's lock on
// the file, the zero time if it is not.
func (s *Store) Locked() time.Time {
	if at := s.lockedAt.Load(); at != 0 {
		return time.UnixMicro(at)
	}
	return time.Time{}
}

// WaitNoLonger ends the patience with other programs' locks: an Update that waits fails
// after the next busy timeout. It is for a process that is about to end.
func (s *Store) WaitNoLonger() { s.closing.Store(true) }

// writeLock is the byte of the shared memory that a writer locks. (SQLite's WAL-index
// format, section 2.3)
const writeLock = 120

// Holder names the program that holds the write lock of the file, as well as the system
// tells. The file that is locked is not opened for this: to close it would give up the
// locks that SQLite itself has on it.
func (s *Store) Holder() string {
	const nobody = "another program: a backup, a shell, a replicator"
	info, err := os.Stat(s.path + "-shm")
	if err != nil {
		return nobody
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nobody
	}
	text, err := os.ReadFile("/proc/locks") // Linux
	if err != nil {
		return nobody
	}
	for line := range strings.Lines(string(text)) {
		// 1: POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 120
		f := strings.Fields(line)
		if len(f) != 8 || f[3] != "WRITE" || !strings.HasSuffix(f[5], ":"+strconv.FormatUint(stat.Ino, 10)) {
			continue
		}
		first, _ := strconv.ParseInt(f[6], 10, 64)
		last, err := strconv.ParseInt(f[7], 10, 64)
		if err != nil {
			last = first // EOF
		}
		if pid := f[4]; first <= writeLock && writeLock <= last && pid != strconv.Itoa(os.Getpid()) {
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("process %s (%q)", pid, strings.TrimSpace(string(name)))
		}
	}
	return nobody
}

var errTakenAway = errors.New("it was moved, deleted or replaced while it was open")

// inPlace stops the writer once the path names another file than the open one, or none:
// what is written from then on nobody would find.
func (s *Store) inPlace() {
	open, err := s.lock.Stat()
	if err != nil {
		return
	}
	named, err := os.Stat(s.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(open, named) {
		s.Stop(onFile(s.path, errTakenAway))
	}
}
