package main

import (
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"railyard/internal/api"
	"railyard/internal/metrics"
)

func TestCompareSaysWhatDiffersAndEndsWithOne(t *testing.T) {
	path := indexFile(t)
	st := openStore(t, filepath.Join(t.TempDir(), "other.db"))
	srv := httptest.NewServer(api.Handler(api.Config{Store: st, Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: metrics.New()}))
	t.Cleanup(func() {
		srv.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	o := invoke(t, []string{"compare", srv.URL, "--db", path, "--again", "0s"})
	want := "listed repos: 1 repo here alone, 0 repos there alone\n  here " + aliceDID +
		"\ncom.example.a: 1 repo here alone, 0 repos there alone\n  here " + aliceDID +
		"\ncom.example.b: 1 repo here alone, 0 repos there alone\n  here " + aliceDID +
		"\nwhat differed was looked at a second time at both; 0 repos no longer differed" +
		"\ncompare: collections=3 differ=3 here=3 there=0\n"
	if o.code != exitFail || o.stdout != want || o.stderr != "railyard: the indexes differ\n" {
		t.Errorf("%+v", o)
	}
	o = invoke(t, []string{"compare", "--collection", "com.example.c", "--db", path, srv.URL})
	if o.code != exitOK || o.stdout != "compare: collections=1 differ=0 here=0 there=0\n" || o.stderr != "" {
		t.Errorf("%+v", o)
	}
	o = invoke(t, []string{"compare", srv.URL, "--db", path, "--again", "0s", "--show", "0", "--collection", "com.example.a"})
	if o.code != exitFail || !strings.Contains(o.stdout, "\n  here and 1 more\n") {
		t.Errorf("%+v", o)
	}
	invoke(t, []string{"compare", srv.URL, "--db", path + "x"}).oneLine(t, exitFail, "no such file")
	invoke(t, []string{"compare"}).oneLine(t, exitUsage, "no URL given")
	invoke(t, []string{"compare", "ftp://x"}).oneLine(t, exitUsage, `URL "ftp://x"`)
	invoke(t, []string{"compare", srv.URL, "--collection", "x"}).oneLine(t, exitUsage, `--collection "x"`)
	invoke(t, []string{"compare", srv.URL, "--show", "-1"}).oneLine(t, exitUsage, "--show -1")
	invoke(t, []string{"compare", srv.URL, "--again", "-1s"}).oneLine(t, exitUsage, "--again -1s")
}
