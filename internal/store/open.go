package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"railyard"
	"railyard/db"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// applicationID marks the file: "rail" in ASCII.
	applicationID = 0x7261696c
	// schemaVersion is what schema.sql at the root describes.
	schemaVersion = 6
	// firstSchema is the oldest schema from which migrations lead here. Those before
	// it were in no release.
	firstSchema = 6
	// seqsPerMilli is how many birth numbers go with a millisecond of the clock: more
	// than are given in one, over any run. In 6 bytes they last until the year 2109.
	seqsPerMilli = 32
	// seqLeap is added to the birth counter at a start at which the clock is of no
	// help: more than the transactions that a power cut may have taken back have given.
	seqLeap = 1 << 20
	// maxUnsynced is how many numbers are given at most before they are on the disk.
	// What one transaction gives comes on top.
	maxUnsynced = seqLeap / 4
	// Readers is how many can read the file at once (View). One more waits.
	Readers = 8
)

// Errors of Open that a caller can tell apart.
var (
	ErrForeign = errors.New("not a railyard file")
	ErrNewer   = errors.New("written by a newer railyard")
	ErrInUse   = errors.New("another railyard writes to it")
	ErrFormer  = errors.New("of a schema before the first release: build the index anew, in a file of another name")
)

// Config of a Store.
type Config struct {
	// Path of the file; made if it does not exist. Its folder must exist.
	Path string
	// Version of the program, written into the file.
	Version string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// NewIndexID sets a new index id in the file, an older copy of itself: every crawl
	// of a client begins anew, and misses nothing that the copy has brought back under
	// a number that the client has passed.
	NewIndexID bool
	// Die is asked at every point where the death of the process would matter to
	// the file; an error stops the writer there, as the death would. Only tests
	// set it.
	Die func(Point) error
	// LogSize is the size in use of the write-ahead log, in bytes, at which the writer
	// itself brings it into the file and begins it anew; 0 means 256 MiB. A passive
	// checkpoint cannot do that while a writer runs flat out. Only tests set it.
	LogSize int64
	// VFS is SQLite's name of what its connections reach the file through; empty
	// means the operating system. It is for tests of a failing disk.
	VFS string
}

// Store is an open index file.
type Store struct {
	*Reader // of queries beside the writer
	path    string
	vfs     string
	logSize int64 // Config.LogSize
	now     func() time.Time
	die     func(Point) error
	indexID string
	lock    *os.File // held by flock as long as we write

	own    *Reader // of the service's own path: queries from outside cannot use it up
	file   *sql.DB // opens the writer's connections
	writer *session
	wakeup chan struct{}

	turns   turns                     // of the writer: held for one Update, and guards what follows
	seq     int64                     // next birth number
	durable int64                     // the next birth number, as it surely is on the disk
	minute  int64                     // of the last row of seq_clock
	reload  bool                      // a transaction failed: read seq again
	parks   bool                      // backfill waits for the PLC directory's log (plclog.go)
	nsids   *lru.Cache[string, int64] // ids of collections, committed ones only
	names   *lru.Cache[int64, string] // the same, the other way round

	stopped   atomic.Pointer[error] // why the writer has stopped
	neglected atomic.Int64          // failures of the upkeep
	commits   atomic.Int64          // so far
	cooldowns atomic.Int64          // of hosts, that began since the file was opened
	brought   int64                 // commits that the upkeep knows to be in the file itself; -1 = none
	lockedAt  atomic.Int64          // since when the writer waits for another program's lock; Unix µs, 0 = it does not
	closing   atomic.Bool           // it waits no longer
	shortened time.Time             // when the upkeep last tried to empty the log
	pinned    atomic.Int64          // bytes of a write-ahead log that could not be shortened; 0 = it is short, or will be
}

// Open opens or makes the file, brings its schema up to date and releases the
// leases of a former process.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	s := &Store{
		path: cfg.Path,
		vfs:  cfg.VFS,

		logSize: cmp.Or(cfg.LogSize, 256<<20),

		now:    cfg.Now,
		die:    cfg.Die,
		nsids:  cacheOf[string, int64](cachedNSIDs),
		names:  cacheOf[int64, string](cachedNSIDs),
		wakeup: make(chan struct{}, 1),
		turns:  newTurns(),

		brought: -1,
	}
	if s.now == nil {
		s.now = time.Now
	}
	defer func() {
		if err != nil {
			if busy(err) {
				err = fmt.Errorf("%w: %s holds its lock", err, s.Holder())
			}
			_ = s.Close()
			err = onFile(cfg.Path, err)
		}
	}()
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if s.file, err = sql.Open("sqlite", dsn(cfg.Path, through(cfg.VFS,
		fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeout.Milliseconds()), "_pragma=synchronous(NORMAL)", "_pragma=temp_store(MEMORY)",
		"_pragma=cache_size(-131072)", "_pragma=wal_autocheckpoint(0)", "_pragma=journal_size_limit(67108864)")...)); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.upgrade(ctx, railyard.Migrations, railyard.Schema, schemaVersion, s.nameIndex(cfg.Version)); err != nil {
		return nil, err
	}
	if err := s.synchronous(ctx, "FULL"); err != nil {
		return nil, err
	}
	if err := s.begin(ctx, cfg.Version, cfg.NewIndexID); err != nil {
		return nil, err
	}
	if s.Reader, err = openPool(ctx, cfg.Path, through(cfg.VFS, "_pragma=temp_store(MEMORY)")...); err != nil {
		return nil, err
	}
	if s.own, err = openPool(ctx, cfg.Path, through(cfg.VFS)...); err != nil {
		return nil, err
	}
	return s, nil
}

// through adds the VFS to the parameters of a connection.
func through(vfs string, params ...string) []string {
	if vfs != "" {
		params = append(params, "vfs="+vfs)
	}
	return params
}

func dsn(path string, params ...string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: strings.Join(params, "&")}
	return u.String()
}

// takeLock makes sure that no second railyard writes to the file. The lock is
// flock's, which SQLite does not use, on a descriptor that is closed last:
// closing any descriptor of the file would drop SQLite's own locks.
func (s *Store) takeLock() error {
	if dir := filepath.Dir(s.path); dir != "." {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("its folder %s does not exist", dir)
		}
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return errors.Unwrap(err)
	}
	s.lock = f
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return ErrInUse
	}
	return nil
}

// upgrade makes the schema in an empty file, with what born adds to it, and takes an
// older one through the missing steps, each in its own transaction.
func (s *Store) upgrade(ctx context.Context, steps fs.FS, schema string, want int, born func(context.Context) error) error {
	file, err := versionOf(ctx, s.writer.conn, want)
	if err != nil {
		return err
	}
	if !file.empty && file.schema < firstSchema {
		return fmt.Errorf("%w (schema version %d)", ErrFormer, file.schema)
	}
	if err := s.writer.run(ctx, "PRAGMA journal_mode=WAL"); err != nil {
		return err
	}
	if file.empty {
		return s.step(ctx, "make the schema", schema, want, born)
	}
	for v := file.schema + 1; v <= want; v++ {
		names, err := fs.Glob(steps, fmt.Sprintf("db/migrations/%04d_*.sql", v))
		if err != nil || len(names) != 1 {
			return fmt.Errorf("%d migrations lead to schema version %d", len(names), v)
		}
		text, err := fs.ReadFile(steps, names[0])
		if err != nil {
			return err
		}
		if err := s.step(ctx, "migrate the schema", string(text), v, nil); err != nil {
			return fmt.Errorf("migration %s: %w", names[0], err)
		}
	}
	return nil
}

func (s *Store) step(ctx context.Context, name, script string, version int, also func(context.Context) error) (err error) {
	if err := s.writer.begin(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.writer.rollback(ctx)
		}
	}()
	if err := s.writer.run(ctx, script); err != nil {
		return err
	}
	pragmas := fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, version)
	if err := s.writer.run(ctx, pragmas); err != nil {
		return err
	}
	if also != nil {
		if err := also(ctx); err != nil {
			return err
		}
	}
	if err := s.pass(Point{name, false}); err != nil {
		return err
	}
	if err := s.writer.commit(ctx); err != nil {
		return err
	}
	return s.pass(Point{name, true})
}

// synchronous says which commits are on the disk when they return: FULL, all of them;
// NORMAL, those before the last checkpoint.
func (s *Store) synchronous(ctx context.Context, level string) error {
	return s.writer.run(ctx, "PRAGMA synchronous="+level)
}

// secure brings the birth counter to the disk, and with it all that was committed
// before, by leaving a number out. Checkpoints do the same, unless a reader that stays
// holds them up.
func (s *Store) secure(ctx context.Context) error {
	back := context.WithoutCancel(ctx) // the level must be set back
	if err := s.synchronous(back, "FULL"); err != nil {
		return err
	}
	err := s.patiently(ctx, func() error { return s.writer.q.SetNextSeq(back, s.seq+1) }) // what does not change is not written
	if err == nil {
		s.seq++
		s.durable = s.seq
	}
	return errors.Join(err, s.synchronous(back, "NORMAL"))
}

// firstSeq returns the birth number with which a run begins. A power cut or a restore
// may have taken back numbers that a client holds, and the file cannot tell which: the
// copy may be of many runs ago. So numbers follow the clock, which was ahead of every
// number when it was given, but for a clock that was set back since.
func firstSeq(next int64, now time.Time) int64 {
	if clock := now.UnixMilli() * seqsPerMilli; clock > next {
		return clock
	}
	return next + seqLeap
}

// nameIndex sets the identity of a new file.
func (s *Store) nameIndex(version string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.writer.q.CreateMeta(ctx, db.CreateMetaParams{IndexID: newIndexID(), Now: s.now().UnixMicro(), Version: version})
	}
}

// begin leaps the birth counter, names a restored copy anew, and releases the leases
// of workers that died with a former process. The leap is on the disk when it returns,
// before a number of it is served. A checkpoint would not do for that: whoever reads
// the file meanwhile can hold it up.
func (s *Store) begin(ctx context.Context, version string, anew bool) error {
	meta, err := s.writer.q.Meta(ctx)
	if err != nil {
		return fmt.Errorf("its index id: %w", err)
	}
	if s.indexID = meta.IndexID; anew {
		s.indexID = newIndexID()
	}
	s.seq = firstSeq(meta.NextSeq, s.now())
	if err := s.around("leap", func() error {
		if err := s.writer.q.AddSeqLeap(ctx, db.AddSeqLeapParams{FirstSeq: meta.NextSeq, LastSeq: s.seq - 1}); err != nil {
			return err
		}
		return s.writer.q.OpenedBy(ctx, db.OpenedByParams{Version: version, NextSeq: s.seq, IndexID: s.indexID})
	}); err != nil {
		return err
	}
	s.durable = s.seq
	if err := s.synchronous(ctx, "NORMAL"); err != nil {
		return err
	}
	if s.minute, err = s.writer.q.LastSeqClock(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.parks, err = logUnread(ctx, s.writer.q); err != nil {
		return err
	}
	return s.releaseLeases(ctx)
}

// newIndexID is 65 bits of chance in letters and digits.
func newIndexID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:13]
}

// IndexID names this index in every cursor.
func (s *Store) IndexID() string { return s.indexID }

// OwnView is View for the service's own path. Its connections are not those of
// the queries from outside, which so cannot hold it up.
func (s *Store) OwnView(ctx context.Context, fn func(*Rx) error) error { return s.own.View(ctx, fn) }

// Err returns why the writer has stopped, nil while it works.
func (s *Store) Err() error {
	if p := s.stopped.Load(); p != nil {
		return *p
	}
	return nil
}

// Close closes the file. Everyone it was lent to must have returned.
func (s *Store) Close() error {
	var errs []error
	for _, rd := range []*Reader{s.Reader, s.own} {
		if rd != nil {
			errs = append(errs, rd.Close())
		}
	}
	if s.writer != nil {
		s.writer.close()
	}
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
