package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"railyard/db"
)

// ErrOlder is what OpenReader returns for a file whose schema only the service
// brings up to date.
var ErrOlder = errors.New("written by an older railyard: serve it once with this one")

// Reader reads an index file on a pool of connections that cannot write.
type Reader struct {
	pool    *sql.DB
	queries *db.Queries
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
	rd := new(Reader)
	if rd.pool, err = sql.Open("sqlite", dsn(path, params...)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = rd.Close()
		}
	}()
	rd.pool.SetMaxOpenConns(readers)
	rd.pool.SetMaxIdleConns(readers)
	v, err := versionOf(ctx, rd.pool, schemaVersion)
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
	if rd.queries, err = db.Prepare(ctx, rd.pool); err != nil {
		return nil, fmt.Errorf("prepare queries: %w", err)
	}
	return rd, nil
}

// fileVersion is what a file says of itself.
type fileVersion struct {
	empty  bool // nobody's yet
	schema int
}

// versionOf refuses what is not our file, or of a schema above newest.
func versionOf(ctx context.Context, d *sql.DB, newest int) (v fileVersion, err error) {
	var app, changes int
	for _, pragma := range []struct {
		name string
		into *int
	}{{"application_id", &app}, {"user_version", &v.schema}, {"schema_version", &changes}} {
		err := d.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(pragma.into)
		if err != nil && strings.Contains(err.Error(), "not a database") {
			return v, ErrForeign
		}
		if err != nil {
			return v, err
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

// View runs fn over one state of the file. Keep it short: a long reader keeps
// the write-ahead log from shrinking.
func (rd *Reader) View(ctx context.Context, fn func(*Rx) error) error {
	tx, err := rd.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	return fn(&Rx{ctx: ctx, q: rd.queries.WithTx(tx)})
}

// Close closes the file. Everyone it was lent to must have returned.
func (rd *Reader) Close() error {
	var errs []error
	if rd.queries != nil {
		errs = append(errs, rd.queries.Close())
	}
	return errors.Join(append(errs, rd.pool.Close())...)
}
