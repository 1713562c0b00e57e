package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/test/faultvfs"
	"railyard/internal/test/testrepo"
)

// tale is a file and what is done to it, step by step. Its clock moves with the
// steps, so that every run of it leaves the same rows.
type tale struct {
	t    *testing.T
	disk *faultvfs.Disk
	path string
	now  time.Time
	*Store
	own *sql.DB // of the passive checkpoints
}

// openTale opens a copy of a file on a disk that fails later.
func openTale(t *testing.T, disk *faultvfs.Disk, template []byte) *tale {
	t.Helper()
	a := &tale{t: t, disk: disk, path: filepath.Join(t.TempDir(), "index.db"), now: time.Unix(1_800_100_000, 0)}
	if err := os.WriteFile(a.path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *tale) open() (err error) {
	cfg := Config{Path: a.path, Version: "test", VFS: a.disk.Name(), Now: func() time.Time { return a.now }}
	if a.Store, err = Open(context.Background(), cfg); err != nil {
		return err
	}
	a.own, err = a.openUpkeep()
	return err
}

// end closes the file as far as it can be. On a broken disk that fails too.
func (a *tale) end() {
	if a.own != nil {
		_ = a.own.Close()
	}
	if a.Store != nil {
		_ = a.Store.Close()
	}
	a.Store, a.own = nil, nil
}

// step is one thing that is done to a file.
type step struct {
	name string
	do   func(ctx context.Context, a *tale) error
}

// story uses every kind of change that the file knows.
func story() []step {
	update := func(name string, n int, fn func(tx *Tx, r *Repo) error) step {
		return step{name, func(ctx context.Context, a *tale) error {
			return a.Update(ctx, name, func(tx *Tx) error {
				r, err := tx.RepoByDID(did(n))
				if err == nil && r == nil {
					if r, err = testrepo.Add(tx, did(n)); err == nil {
						err = testrepo.Enqueue(tx, r, FirstSight, tx.now)
					}
				}
				if err != nil {
					return err
				}
				if err := fn(tx, r); err != nil {
					return err
				}
				return tx.SetCursor(1, int64(a.now.Unix()), time.Time{})
			})
		}}
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf("com.example.many%02d", i)
	}
	return []step{
		update("births", 0, func(tx *Tx, r *Repo) error {
			_, err := testrepo.AddMemberships(tx, r, []string{"com.example.new", "com.example.d"})
			return err
		}),
		update("a commit with deaths", 1, func(tx *Tx, r *Repo) error {
			moved, err := testrepo.Advance(tx, r, r.Head.Data, Head{Rev: 9, Data: atproto.Digest{9}})
			if err == nil && !moved {
				err = errors.New("the head did not move")
			}
			if err != nil {
				return err
			}
			_, err = testrepo.RemoveMemberships(tx, r, []string{"com.example.a"})
			return err
		}),
		{"checkpoint", func(ctx context.Context, a *tale) error { return a.checkpoint(ctx, a.own) }},
		update("a new repo", 20, func(tx *Tx, r *Repo) error {
			_, err := testrepo.SetIdentity(tx, r, testKey, "other.example.com", false)
			return err
		}),
		update("lease", 20, func(tx *Tx, r *Repo) error {
			h := ReadyHost{ID: r.Identity.HostID, Priority: repostate.PriorityFirstSight}
			a, err := tx.Lease(h, tx.now, tx.Env())
			if err == nil && (a == nil || a.Step != Fetch) {
				err = errors.New("no fetch is due")
			}
			return err
		}),
		update("establish", 20, func(tx *Tx, r *Repo) error {
			if _, _, err := testrepo.Establish(tx, r, Head{Rev: 3, Data: atproto.Digest{3}}, many, ProofTree); err != nil {
				return err
			}
			return testrepo.Done(tx, r)
		}),
		update("an account leaves", 1, func(tx *Tx, r *Repo) error {
			if err := testrepo.Hide(tx, r, "takendown"); err != nil {
				return err
			}
			return testrepo.Enqueue(tx, r, StatusCheck, tx.now)
		}),
		{"truncate", func(ctx context.Context, a *tale) error {
			_, err := a.truncate(ctx)
			return err
		}},
		update("a chain breaks", 0, func(tx *Tx, r *Repo) error { return testrepo.Desynchronize(tx, r, Discontinuity) }),
		{"prune", func(ctx context.Context, a *tale) error {
			a.now = time.Unix(1_800_200_000, 0).Add(changesKept)
			return a.Prune(ctx)
		}},
		{"checkpoint again", func(ctx context.Context, a *tale) error { return a.checkpoint(ctx, a.own) }},
		update("an account returns", 1, func(tx *Tx, r *Repo) error { return testrepo.Show(tx, r) }),
	}
}

// contents returns all rows of a file as text, by a connection that does not fail.
func contents(t *testing.T, path string) string {
	t.Helper()
	d, err := sql.Open("sqlite", dsn(path, "mode=ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	var text strings.Builder
	for _, table := range columns(t, d, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
		fmt.Fprintf(&text, "%s\n", table)
		names := columns(t, d, "SELECT name FROM pragma_table_info('"+table+"') ORDER BY cid")
		for _, row := range columns(t, d, "SELECT concat_ws('|', quote("+strings.Join(names, "), quote(")+")) FROM "+table) {
			fmt.Fprintf(&text, "  %s\n", row)
		}
	}
	return text.String()
}

func columns(t *testing.T, d *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := d.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

// unlike returns the rows that one of two contents has and the other has not.
func unlike(got, want string) string {
	has := func(text string) map[string]bool {
		rows := make(map[string]bool)
		for line := range strings.Lines(text) {
			rows[line] = true
		}
		return rows
	}
	out := new(strings.Builder)
	out.WriteString("\n")
	g, w := has(got), has(want)
	for line := range strings.Lines(got) {
		if !w[line] {
			out.WriteString("+" + line)
		}
	}
	for line := range strings.Lines(want) {
		if !g[line] {
			out.WriteString("-" + line)
		}
	}
	return out.String()
}

// template is a file with repos in every state, as the bytes of a closed file.
func template(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// chapters returns what is in the file after each step of the story that goes well,
// first of all after Open.
func chapters(t *testing.T, content []byte) []string {
	t.Helper()
	a := openTale(t, faultvfs.New(t), content)
	defer a.end()
	all := []string{contents(t, a.path)}
	for _, s := range story() {
		if err := s.do(t.Context(), a); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		a.now = a.now.Add(time.Minute)
		all = append(all, contents(t, a.path))
	}
	return all
}

// mirrored fails the test where what is kept in memory is not what the file says.
func (a *tale) mirrored() {
	a.t.Helper()
	if err := a.Update(context.Background(), "nothing", func(*Tx) error { return nil }); err != nil {
		a.t.Fatalf("after the fault: %v", err)
	}
	if next := scalar[int64](a.t, a.path, "SELECT next_seq FROM meta"); a.seq != next {
		a.t.Errorf("the next number is %d, in the file %d", a.seq, next)
	}
	if minute := scalar[int64](a.t, a.path, "SELECT minute FROM seq_clock ORDER BY seq DESC LIMIT 1"); a.minute != minute {
		a.t.Errorf("the last minute is %d, in the file %d", a.minute, minute)
	}
	for _, nsid := range a.nsids.Keys() {
		id, _ := a.nsids.Peek(nsid)
		name, _ := a.names.Peek(id)
		if file := scalar[int64](a.t, a.path, "SELECT coalesce((SELECT id FROM collection WHERE nsid = '"+nsid+"'), 0)"); file != id || name != nsid {
			a.t.Errorf("%s is %d, in the file %d", nsid, id, file)
		}
	}
}

// fault is a way of failing, and the words that must say so.
type fault struct {
	name string
	faultvfs.Fault
	says []string // any of them
}

func faults() []fault {
	f := func(name string, call faultvfs.Call, file faultvfs.File, code int32, says ...string) fault {
		return fault{name, faultvfs.Fault{Call: call, File: file, Code: code, Times: 1}, says}
	}
	short := f("half a write", faultvfs.Write, faultvfs.Any, sqlite3.SQLITE_IOERR_WRITE, "writing failed")
	short.Short = true
	shortFull := f("half a write on a full disk", faultvfs.Write, faultvfs.Any, sqlite3.SQLITE_FULL, "full")
	shortFull.Short = true
	return []fault{
		f("a full disk", faultvfs.Write, faultvfs.Any, sqlite3.SQLITE_FULL, "full"),
		f("a failed write", faultvfs.Write, faultvfs.Any, sqlite3.SQLITE_IOERR_WRITE, "writing failed"),
		short, shortFull,
		f("a failed sync", faultvfs.Sync, faultvfs.Any, sqlite3.SQLITE_IOERR_FSYNC, "not known what has reached the disk"),
		f("a failed read", faultvfs.Read, faultvfs.Any, sqlite3.SQLITE_IOERR_READ, "reading failed", "disk I/O error (10)"),
		f("a short read of the log", faultvfs.Read, faultvfs.WAL, sqlite3.SQLITE_IOERR_SHORT_READ, "missing", "disk I/O error (10)"),
		f("a short read of the file", faultvfs.Read, faultvfs.Main, sqlite3.SQLITE_IOERR_SHORT_READ, "missing", "malformed", "not a database", "not a railyard file", "disk I/O error (10)"),
		f("a failed truncation", faultvfs.Truncate, faultvfs.Any, sqlite3.SQLITE_IOERR_TRUNCATE, "truncating failed"),
		f("an unknown size", faultvfs.Size, faultvfs.Any, sqlite3.SQLITE_IOERR_FSTAT, "size"),
		f("a failed lock", faultvfs.Lock, faultvfs.Any, sqlite3.SQLITE_IOERR_LOCK, "locking failed"),
	}
}

// A disk fails once, at each of the calls of a story in turn. What was acknowledged
// is there, what was not is not, and the store goes on where the fault was not one
// that stops it.
func TestAFaultOfTheDiskLosesNothing(t *testing.T) {
	content := template(t)
	want := chapters(t, content)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			f.Nth = 1
			for faulted(t, content, want, f) {
				f.Nth += stride(t)
			}
			t.Logf("no call failed from %d on", f.Nth)
		})
	}
}

// stride is the distance between two calls of a story that fail in turn: one of 25
// that is drawn, or 1 with RAILYARD_FAULTS=all, which takes minutes.
func stride(t *testing.T) int {
	t.Helper()
	switch text := os.Getenv("RAILYARD_FAULTS"); text {
	case "all":
		return 1
	case "":
		return 1 + rand.IntN(2*meanStride-1)
	default:
		t.Fatalf("RAILYARD_FAULTS=%s: it can only be all", text)
		return 0
	}
}

const meanStride = 25

// faulted runs the story with a fault, and whether it acted.
func faulted(t *testing.T, content []byte, want []string, f fault) bool {
	t.Helper()
	disk := faultvfs.New(t)
	a := openTale(t, disk, content)
	defer a.end()
	a.heard()
	armed := disk.Fail(f.Fault)
	for i, s := range story() {
		err := s.do(t.Context(), a)
		if err == nil {
			a.heard()
			a.now = a.now.Add(time.Minute)
			continue
		}
		where := fmt.Sprintf("%s %d, in %s", f.name, f.Nth, s.name)
		a.says(where, err, f)
		if a.heard() {
			t.Errorf("%s: somebody is woken for what is not in the file", where)
		}
		if got := contents(t, a.path); got != want[i] {
			t.Errorf("%s: the file has, instead of what was acknowledged: %s", where, unlike(got, want[i]))
		}
		if a.Err() != nil {
			return a.again(where, want[i:i+2])
		}
		a.mirrored()
		if err := s.do(t.Context(), a); err != nil {
			t.Errorf("%s: once more: %v", where, err)
		}
		a.heard()
		a.now = a.now.Add(time.Minute)
	}
	if got := contents(t, a.path); got != want[len(want)-1] {
		t.Errorf("%s %d: at the end there is: %s", f.name, f.Nth, unlike(got, want[len(want)-1]))
	}
	acted := disk.Fired(armed) > 0
	disk.Mend()
	sound(t, a.Reader)
	return acted
}

// heard reports whether somebody was to be woken.
func (a *tale) heard() bool {
	select {
	case <-a.Wakeup():
		return true
	default:
		return false
	}
}

// says fails the test if an error does not say what it should.
func (a *tale) says(where string, err error, f fault) {
	a.t.Helper()
	said := false
	for _, words := range f.says {
		said = said || strings.Contains(err.Error(), words)
	}
	if !said || !strings.Contains(err.Error(), a.path) || strings.Count(err.Error(), a.path) > 1 {
		a.t.Errorf("%s: it is said: %v", where, err)
	}
}

// again closes a file and opens it on a disk that works. It has one of the given contents.
func (a *tale) again(where string, want []string) bool {
	a.t.Helper()
	a.end()
	got := contents(a.t, a.path)
	found := false
	for _, w := range want {
		found = found || got == w
	}
	if !found {
		a.t.Errorf("%s: after a restart there is: %s", where, unlike(got, want[0]))
	}
	a.disk.Mend()
	if err := a.open(); err != nil {
		a.t.Fatalf("%s: the next start: %v", where, err)
	}
	sound(a.t, a.Reader)
	return true
}

// A failing disk is met by whoever uses the file, also by its readers.
func TestEveryConnectionGoesThroughTheVFS(t *testing.T) {
	disk := faultvfs.New(t)
	a := openTale(t, disk, template(t))
	defer a.end()
	if err := a.Update(t.Context(), "a row", func(tx *Tx) error { return tx.SetCursor(1, 77, time.Time{}) }); err != nil {
		t.Fatal(err)
	}
	disk.Cut()
	look := func(rx *Rx) error {
		_, err := rx.Upstreams()
		return err
	}
	for name, err := range map[string]error{
		"View":       a.View(t.Context(), look),
		"OwnView":    a.OwnView(t.Context(), look),
		"Update":     a.Update(t.Context(), "a row", func(tx *Tx) error { return tx.SetCursor(1, 78, time.Time{}) }),
		"checkpoint": a.checkpoint(t.Context(), a.own),
	} {
		if err == nil || !(strings.Contains(err.Error(), "I/O error") || strings.Contains(err.Error(), "unable to open")) {
			t.Errorf("%s without power: %v", name, err)
		}
	}
}
