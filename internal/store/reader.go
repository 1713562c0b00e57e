package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// ErrOlder is what OpenReader returns for a file whose schema only the service
// brings up to date.
var ErrOlder = errors.New("written by an older railyard: serve it once with this one")

// Reader reads an index file on a pool of connections that cannot write.
type Reader struct {
	path  string
	pool  *sql.DB
	slots chan struct{} // one for each session in use

	mu   sync.Mutex
	idle []*session // the last one that was used is the next
}

// OpenReader opens a file that exists, beside the service that writes to it or
// without one. It refuses what Open refuses, and a file of an older version. What
// a query sorts goes to temporary files.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		err = errors.Unwrap(err)
	case info.IsDir():
		err = syscall.EISDIR
	}
	var rd *Reader
	if err == nil {
		rd, err = openPool(ctx, path)
	}
	if err != nil {
		return nil, onFile(path, err)
	}
	return rd, nil
}

// openPool opens a file that is there and ours. params are added to those of
// every reader.
func openPool(ctx context.Context, path string, params ...string) (_ *Reader, err error) {
	params = append([]string{"mode=ro", "_pragma=query_only(1)", "_pragma=busy_timeout(5000)", "_pragma=cache_size(-16384)"}, params...)
	rd := &Reader{path: path, slots: make(chan struct{}, Readers)}
	if rd.pool, err = sql.Open("sqlite", dsn(path, params...)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = rd.Close()
		}
	}()
	var v fileVersion
	err = rd.with(ctx, func(sn *session) (err error) {
		v, err = versionOf(ctx, sn.conn, schemaVersion)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case v.empty:
		return nil, fmt.Errorf("%w (it is empty)", ErrForeign)
	case v.schema < firstSchema:
		return nil, fmt.Errorf("%w (schema version %d)", ErrFormer, v.schema)
	case v.schema < schemaVersion:
		return nil, fmt.Errorf("%w (schema version %d, this one reads %d)", ErrOlder, v.schema, schemaVersion)
	}
	return rd, nil
}

// fileVersion is what a file says of itself.
type fileVersion struct {
	empty  bool // nobody's yet
	schema int
}

// versionOf refuses what is not our file, or of a schema above newest.
func versionOf(ctx context.Context, d *sql.Conn, newest int) (v fileVersion, err error) {
	var app, changes int
	for _, pragma := range []struct {
		name string
		into *int
	}{{"application_id", &app}, {"user_version", &v.schema}, {"schema_version", &changes}} {
		if err := d.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(pragma.into); err != nil {
			return v, foreign(err)
		}
	}
	switch {
	case app == 0 && v.schema == 0 && changes == 0:
		v.empty = true
	case app != applicationID:
		return v, fmt.Errorf("%w (application id %#x)", ErrForeign, app)
	case v.schema > newest:
		return v, fmt.Errorf("%w (schema version %d, this one knows %d)", ErrNewer, v.schema, newest)
	}
	return v, nil
}

// foreign returns ErrForeign for the error of a file that is no database.
func foreign(err error) error {
	if strings.Contains(err.Error(), "not a database") {
		return ErrForeign
	}
	return err
}

// View runs fn over one state of the file. Keep it short: a long reader keeps
// the write-ahead log from shrinking.
func (rd *Reader) View(ctx context.Context, fn func(*Rx) error) error {
	return rd.with(ctx, func(sn *session) error {
		if err := sn.begin(ctx, "BEGIN"); err != nil {
			return fmt.Errorf("begin reading: %w", err)
		}
		defer sn.rollback(ctx)
		return fn(&Rx{ctx: ctx, q: sn.q})
	})
}

// with lends a session to fn.
func (rd *Reader) with(ctx context.Context, fn func(*session) error) (err error) {
	select {
	case rd.slots <- struct{}{}:
		defer func() { <-rd.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	sn, err := rd.session(ctx)
	if err != nil {
		return err
	}
	defer rd.giveBack(sn)
	return fn(sn)
}

func (rd *Reader) giveBack(sn *session) {
	if sn.broken {
		sn.close()
		return
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.idle = append(rd.idle, sn)
}

// session returns one that nobody uses.
func (rd *Reader) session(ctx context.Context) (*session, error) {
	rd.mu.Lock()
	if n := len(rd.idle) - 1; n >= 0 {
		defer rd.mu.Unlock()
		sn := rd.idle[n]
		rd.idle = rd.idle[:n]
		return sn, nil
	}
	rd.mu.Unlock()
	return newSession(ctx, rd.pool)
}

// Close closes the file. Everyone it was lent to must have returned.
func (rd *Reader) Close() error {
	for _, sn := range rd.idle {
		sn.close()
	}
	return rd.pool.Close()
}
