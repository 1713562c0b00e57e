package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"railyard/internal/store"
)

// An older copy gets another index id, and keeps all else. A file that a service has
// open is left alone, and none is made.
func TestNewIndexID(t *testing.T) {
	path := indexFile(t)
	id := func() string {
		t.Helper()
		id, err := indexOf(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	newID := func(path string) (code int, said string) {
		t.Helper()
		var out bytes.Buffer
		code = run(t.Context(), []string{"new-index-id", "--db", path}, nil, &out, &out)
		return code, out.String()
	}
	before := id()
	code, said := newID(path)
	after := id()
	if code != exitOK || before == after || !strings.Contains(said, before) || !strings.Contains(said, after) {
		t.Errorf("exit %d, %q: index %s, then %s", code, said, before, after)
	}
	if code := run(t.Context(), []string{"check", "--db", path}, nil, t.Output(), t.Output()); code != exitOK {
		t.Errorf("check: exit %d", code)
	}

	st, err := store.Open(t.Context(), store.Config{Path: path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if code, said := newID(path); code != exitFail || !strings.Contains(said, store.ErrInUse.Error()) {
		t.Errorf("of a file in use: exit %d, %q", code, said)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if id() != after {
		t.Error("the index of a file in use has a new id")
	}

	absent := filepath.Join(t.TempDir(), "absent.db")
	if code, said := newID(absent); code != exitFail || !strings.Contains(said, absent) {
		t.Errorf("of no file: exit %d, %q", code, said)
	}
	if _, err := os.Stat(absent); !os.IsNotExist(err) {
		t.Errorf("a file was made: %v", err)
	}
}

// --from puts a copy in place.
func TestNewIndexIDFromACopy(t *testing.T) {
	path, copied := indexFile(t), indexFile(t)
	before, err := indexOf(t.Context(), copied)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"new-index-id", "--from", copied, "--db", path}, nil, &out, &out)
	after, err := indexOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if said := out.String(); code != exitOK || before == after || !strings.Contains(said, before) || !strings.Contains(said, after) {
		t.Errorf("exit %d, %q: index %s, then %s", code, said, before, after)
	}
	if code := run(t.Context(), []string{"check", "--db", path}, nil, t.Output(), t.Output()); code != exitOK {
		t.Errorf("check: exit %d", code)
	}
}
