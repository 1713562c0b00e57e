package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

// grow adds repos with memberships, those from one number up to another.
func grow(t *testing.T, s *Store, from, to int) {
	t.Helper()
	err := s.Update(t.Context(), "grow", func(tx *Tx) error {
		for n := from; n < to; n++ {
			r, err := testrepo.Add(tx, fmt.Sprintf("did:web:a%d.example.com", n))
			if err != nil {
				return err
			}
			if _, err := testrepo.SetIdentity(tx, r, "\xe7\x01\x02"+strings.Repeat("k", 32), "pds.example.com", false); err != nil {
				return err
			}
			head := repostate.Head{Rev: 5, Data: atproto.Digest{byte(n)}}
			if _, _, err := testrepo.Establish(tx, r, head, []string{"com.example.a", fmt.Sprintf("com.example.b%d", n%50)}, repostate.ProofTree); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func duplicate(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// crashed leaves a folder as an operator finds it: an index whose process died, with its
// log, and a copy from before. It returns their paths and the index id.
func crashed(t *testing.T) (path, copied, id string) {
	t.Helper()
	dir := t.TempDir()
	path, copied = filepath.Join(dir, "index.db"), filepath.Join(dir, "copy.db")
	live := filepath.Join(dir, "live.db")
	s := open(t, live)
	grow(t, s, 0, 100)
	id = s.IndexID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	duplicate(t, live, copied)
	s = open(t, live)
	grow(t, s, 100, 600)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, live)
	grow(t, s, 600, 800)
	duplicate(t, live, path)
	duplicate(t, live+walSuffix, path+walSuffix)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, copied, id
}

// broken returns what is wrong with a file, nil if nothing is.
func broken(t *testing.T, path string) error {
	t.Helper()
	rd, err := OpenReader(t.Context(), path)
	if err != nil {
		return err
	}
	defer func() { _ = rd.Close() }()
	_, violations, err := rd.Check(t.Context())
	if err == nil && len(violations) > 0 {
		err = fmt.Errorf("%v", violations)
	}
	return err
}

// The accident: a copy is put back and the log of the crashed run stays beside it. The
// error says what has happened and what to do, and that helps.
func TestACopyBesideAFormerLogIsPutInPlaceWhole(t *testing.T) {
	path, copied, id := crashed(t)
	duplicate(t, copied, path)
	const cure = "railyard new-index-id --from COPY --db FILE"
	if err := broken(t, path); err == nil || !strings.Contains(err.Error(), cure) || !strings.Contains(err.Error(), path) {
		t.Errorf("the accident: %v, want a word of %q", err, cure)
	}
	before, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	former, now, err := Restore(t.Context(), copied, path, "test")
	if err != nil || former != id || now == id {
		t.Fatalf("index %s, then %s, %v; it was %s", former, now, err, id)
	}
	if err := broken(t, path); err != nil {
		t.Error(err)
	}
	s := open(t, path)
	if n := scalar[int](t, path, "SELECT count(*) FROM repo"); n != 100 || s.IndexID() != now {
		t.Errorf("%d repos of index %s", n, s.IndexID())
	}
	if after, err := os.ReadFile(copied); err != nil || string(after) != string(before) {
		t.Errorf("the copy is another one: %v", err)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A copy with its own log is more than its first file, whatever it is called, and stays.
func TestACopyIsTakenWithItsLog(t *testing.T) {
	for name, place := range map[string]func(t *testing.T, path, copied string) (from string){
		"a file": func(_ *testing.T, _, copied string) string { return copied },
		"through a link": func(t *testing.T, _, copied string) string {
			link := filepath.Join(t.TempDir(), "link.db")
			return does(t, link, os.Symlink(copied, link))
		},
		"what an earlier restore left": func(t *testing.T, path, copied string) string {
			draft := path + ".restoring"
			return does(t, draft, os.Rename(copied, draft), os.Rename(copied+walSuffix, draft+walSuffix))
		},
	} {
		t.Run(name, func(t *testing.T) {
			copied, _, _ := crashed(t)
			path := filepath.Join(filepath.Dir(copied), "new.db") // none is there
			from := place(t, path, copied)
			before := files(t, path)
			if _, _, err := Restore(t.Context(), from, path, "test"); err != nil {
				t.Fatal(err)
			}
			if n := scalar[int](t, path, "SELECT count(*) FROM repo"); n != 800 {
				t.Errorf("%d repos", n)
			}
			if err := broken(t, path); err != nil {
				t.Error(err)
			}
			for _, suffix := range []string{"", walSuffix, shmSuffix} {
				_ = os.Remove(path + suffix)
			}
			if after := files(t, path); after != before {
				t.Errorf("before %s, after %s", before, after)
			}
		})
	}
}

// does returns a path at which something was done.
func does(t *testing.T, path string, errs ...error) string {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return path
}

// A service whose user shares the file with its group still does so afterwards.
func TestACopyHasTheModeOfTheFile(t *testing.T) {
	path, copied, _ := crashed(t)
	const mode = 0o664
	does(t, path, os.Chmod(path, mode))
	defer syscall.Umask(syscall.Umask(0o077))
	if _, _, err := Restore(t.Context(), copied, path, "test"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != mode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// No service starts at a path where a copy is about to be.
func TestAPathIsLockedForACopy(t *testing.T) {
	for _, name := range []string{"absent", "present"} {
		t.Run(name, func(t *testing.T) {
			path, _, _ := crashed(t)
			if name == "absent" {
				does(t, path, os.Remove(path))
			}
			f, made, err := replaceable(path)
			if err != nil || made != (name == "absent") {
				t.Fatalf("made: %v, %v", made, err)
			}
			defer func() { _ = f.Close() }()
			if _, err := Open(t.Context(), Config{Path: path, Version: "test"}); !errors.Is(err, ErrInUse) {
				t.Errorf("%v", err)
			}
		})
	}
}

// The former log goes with the former file, not before.
func TestAFormerLogGoesWithItsFile(t *testing.T) {
	for name, c := range map[string]struct {
		logs  []string
		draft bool // there is one, so that it can be renamed
	}{
		"replaced":                {[]string{walSuffix, shmSuffix}, true},
		"replaced, without a log": {nil, true},
		"it fails":                {[]string{walSuffix, shmSuffix}, false},
		"it fails, a log alone":   {[]string{walSuffix}, false},
		"it fails, without a log": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			path, draft := filepath.Join(t.TempDir(), "index.db"), filepath.Join(t.TempDir(), "draft")
			write := func(path, text string) { does(t, path, os.WriteFile(path, []byte(text), 0o644)) }
			write(path, "former")
			for _, suffix := range c.logs {
				write(path+suffix, "former log")
			}
			want := files(t, path)
			if c.draft {
				write(draft, "a draft")
				want = "index.db 7"
			}
			if err := replace(path, draft); (err == nil) != c.draft {
				t.Error(err)
			}
			if got := files(t, path); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if left := files(t, draft); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// What cannot be put in place, or nowhere, leaves everything as it was.
func TestARestoreThatIsRefusedChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path, copied string)
		want  string
	}{
		"no copy":         {func(t *testing.T, _, copied string) { _ = os.Remove(copied) }, "no such file"},
		"an empty copy":   {func(t *testing.T, _, copied string) { _ = os.Truncate(copied, 0) }, ErrForeign.Error()},
		"a cut copy":      {func(t *testing.T, _, copied string) { _ = os.Truncate(copied, 1<<16) }, "the copy"},
		"not a copy":      {func(t *testing.T, _, copied string) { _ = os.WriteFile(copied, []byte("a page of text"), 0o644) }, ErrForeign.Error()},
		"a damaged copy":  {func(t *testing.T, _, copied string) { scribble(t, copied) }, "the copy"},
		"not an index":    {func(t *testing.T, path, _ string) { _ = os.WriteFile(path, []byte("a page of text"), 0o644) }, ErrForeign.Error()},
		"the file itself": {func(t *testing.T, path, copied string) { _ = os.Remove(copied); _ = os.Link(path, copied) }, "the file itself"},
		"a served copy":   {func(t *testing.T, _, copied string) { open(t, copied) }, ErrInUse.Error()},
		"a served file":   {func(t *testing.T, path, _ string) { open(t, path) }, ErrInUse.Error()},
		"nothing there":   {func(t *testing.T, path, copied string) { _ = os.Remove(path); scribble(t, copied) }, "the copy"},
		"two of nothing":  {func(t *testing.T, path, copied string) { _ = os.Remove(path); _ = os.Remove(copied) }, "no such file"},
		"a shell":         {func(t *testing.T, path, _ string) { hold(t, path) }, "has it open"},
	} {
		t.Run(name, func(t *testing.T) {
			path, copied, _ := crashed(t)
			c.spoil(t, path, copied)
			before := files(t, path)
			if _, _, err := Restore(t.Context(), copied, path, "test"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			} else if strings.Contains(err.Error(), "restoring") {
				t.Errorf("the operator knows no such file: %v", err)
			}
			if after := files(t, path); after != before {
				t.Errorf("before %s, after %s", before, after)
			}
		})
	}
}

// files returns the names and sizes of the files beside a path.
func files(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	var all []string
	for _, e := range entries {
		info, infoErr := e.Info()
		err = errors.Join(err, infoErr)
		all = append(all, fmt.Sprint(e.Name(), " ", info.Size()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

// scribble overwrites a page in the middle of a file.
func scribble(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(5); page < 40; page++ {
		if _, err := f.WriteAt([]byte("scribble"), page*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// hold has another process open a file for as long as the test runs.
func hold(t *testing.T, path string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldsAFile$")
	cmd.Env = append(os.Environ(), "RAILYARD_TEST_HOLD="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestHoldsAFile is the other process of hold.
func TestHoldsAFile(t *testing.T) {
	path := os.Getenv("RAILYARD_TEST_HOLD")
	if path == "" {
		t.Skip("it runs in a process of its own")
	}
	run(t, other(t, path), "SELECT count(*) FROM repo")
	fmt.Print("!")
	_, _ = os.Stdin.Read(make([]byte, 1))
}
