package store

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"railyard/db"
)

// session is a connection to the file, and the statements that were prepared on it,
// each at its first use: who asks one question prepares one. It is for one goroutine
// at a time.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	q     *db.Queries // through this session

	broken bool // nobody knows whether a transaction is open on it
}

func newSession(ctx context.Context, pool *sql.DB) (*session, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, foreign(err)
	}
	sn := &session{conn: conn, stmts: make(map[string]*sql.Stmt)}
	sn.q = db.New(sn)
	return sn, nil
}

// PrepareContext returns a statement that lives as long as the session.
func (sn *session) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt := sn.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := sn.conn.PrepareContext(ctx, query)
	if err == nil {
		sn.stmts[query] = stmt
	}
	return stmt, err
}

func (sn *session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := sn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (sn *session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := sn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (sn *session) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := sn.PrepareContext(ctx, query)
	if err != nil { // once more, for a Row with the error
		return sn.conn.QueryRowContext(ctx, query, args...)
	}
	return stmt.QueryRowContext(ctx, args...)
}

// run executes statements that are not kept: scripts, and PRAGMAs, some of which act
// when they are prepared.
func (sn *session) run(ctx context.Context, script string) error {
	_, err := sn.conn.ExecContext(ctx, script)
	return err
}

// begin starts a transaction: "BEGIN" for one that reads, "BEGIN IMMEDIATE" for one
// that writes.
func (sn *session) begin(ctx context.Context, how string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := sn.ExecContext(ctx, how)
	sn.broken = sn.broken || err != nil && !busy(err)
	return err
}

// commit commits the transaction, unless ctx has ended. What has begun to be committed
// is not interrupted.
func (sn *session) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := sn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
	return err
}

// rollback ends the transaction. If SQLite has done so already because of an error, or
// cannot, the session is broken.
func (sn *session) rollback(ctx context.Context) {
	_, err := sn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	sn.broken = sn.broken || err != nil
}

// close closes the connection, whatever state it is in. Its statements go first: those
// of a sql.Conn are nobody else's to close.
func (sn *session) close() {
	for _, stmt := range sn.stmts {
		_ = stmt.Close()
	}
	_ = sn.conn.Raw(func(any) error { return driver.ErrBadConn })
}
