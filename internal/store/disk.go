package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite" // the driver
	sqlite3 "modernc.org/sqlite/lib"
)

// diskFaults says what those of SQLite's codes mean whose text does not.
var diskFaults = map[int]string{
	sqlite3.SQLITE_IOERR_READ:       "reading failed",
	sqlite3.SQLITE_IOERR_SHORT_READ: "a part of the file is missing",
	sqlite3.SQLITE_IOERR_WRITE:      "writing failed",
	sqlite3.SQLITE_IOERR_FSYNC:      "it is not known what has reached the disk",
	sqlite3.SQLITE_IOERR_DIR_FSYNC:  "it is not known what has reached the disk",
	sqlite3.SQLITE_IOERR_TRUNCATE:   "truncating failed",
	sqlite3.SQLITE_IOERR_FSTAT:      "its size is not to be had",
	sqlite3.SQLITE_IOERR_DELETE:     "deleting failed",
	sqlite3.SQLITE_IOERR_LOCK:       "locking failed",
	sqlite3.SQLITE_IOERR_SHMMAP:     "the shared memory of the write-ahead log failed",
	sqlite3.SQLITE_IOERR_SHMSIZE:    "the shared memory of the write-ahead log failed",
	sqlite3.SQLITE_IOERR_SHMOPEN:    "the shared memory of the write-ahead log failed",

	// Readers write, too: the -shm that says which state of the file they read.
	sqlite3.SQLITE_READONLY:           notWritable,
	sqlite3.SQLITE_READONLY_CANTINIT:  notWritable,
	sqlite3.SQLITE_READONLY_CANTLOCK:  notWritable,
	sqlite3.SQLITE_READONLY_DIRECTORY: notWritable,
}

const notWritable = "this user may not write the folder, or the -wal and -shm beside the file, which reading needs; be the user of the service"

// fileError is a failure that names the file.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string {
	text := "database " + e.path + ": " + e.err.Error()
	cause, ok := errors.AsType[*sqlite.Error](e.err)
	switch {
	case ok && diskFaults[cause.Code()] != "":
		text += ": " + diskFaults[cause.Code()]
	case ok && cause.Code()&0xff == sqlite3.SQLITE_CORRUPT:
		text += ": if a copy was put there, the former " + walSuffix + " may have stayed beside it; put the copy back with railyard new-index-id --from COPY --db FILE"
	}
	return text
}

func (e *fileError) Unwrap() error { return e.err }

// onFile names the file in an error, once.
func onFile(path string, err error) error {
	if _, named := errors.AsType[*fileError](err); named {
		return err
	}
	return &fileError{path, err}
}

// failed names what was attempted, and the file if it is SQLite that failed. After a
// failure that no retry mends the writer stops.
func (s *Store) failed(why string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", why, err)
	if _, ok := errors.AsType[*sqlite.Error](err); !ok {
		return err
	}
	err = onFile(s.path, err)
	if lasting(err) {
		s.Stop(err)
	}
	return err
}

// lasting reports whether going on would build on a file that may not be what we take
// it for. After a sync that failed the next one may succeed without what the first
// one lost. A full disk leaves the file as it was, and so does a write that failed.
func lasting(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() {
	case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC:
		return true
	}
	primary := e.Code() & 0xff
	return primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB
}
