package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/cli/recheck"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// copyOf makes a file that holds what a network is now.
func (l *live) copyOf() string {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "index.db")
	st := openStore(l.t, path)
	_, c := checkFlags()
	c.plcURL, c.allowPrivate = l.PLC(), true
	out, resolver, _, err := c.clients()
	if err != nil {
		l.t.Fatal(err)
	}
	defer out.Close()
	for did, collections := range l.Truth() {
		id, err := resolver.Resolve(l.t.Context(), did)
		truth, err2 := l.Repo(did)
		if err := errors.Join(err, err2); err != nil {
			l.t.Fatal(err)
		}
		err = st.Update(l.t.Context(), "test", func(tx *store.Tx) error {
			r, err := testrepo.Add(tx, did)
			if err != nil {
				return err
			}
			_, err = testrepo.SetIdentity(tx, r, string(id.Key), id.Host, id.Insecure)
			_, _, err2 := testrepo.Establish(tx, r, repostate.Head{Rev: truth.Rev, Data: truth.Data, CID: truth.Commit}, collections, repostate.ProofTree)
			return errors.Join(err, err2)
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// check runs check on a file of this network.
func (l *live) check(path string, args ...string) outcome {
	l.t.Helper()
	args = append([]string{"check", "--db", path, "--plc-qps", "1000", "--crawl-qps", "1000"}, args...)
	return invoke(l.t, args, l.env...)
}

// counts is the last line of a sample.
func counts(asked int, of map[recheck.Verdict]int, stale int, seed string) string {
	line := fmt.Sprintf("sample: asked=%d", asked)
	for _, v := range []recheck.Verdict{"equal", "differs", "behind", "ahead", "gone", "unreachable", "refused", "moved"} {
		line += fmt.Sprintf(" %s=%d", v, of[v])
	}
	return line + fmt.Sprintf(" stale-identity=%d seed=%s\n", stale, seed)
}

func TestASampleOfAnHonestNetworkIsEqual(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 61, PDS: 2, Accounts: 20})
	path := l.copyOf()
	o := l.check(path, "--sample", "7", "--seed", "5")
	if want := counts(7, map[recheck.Verdict]int{recheck.Equal: 7}, 0, "5"); o.code != exitOK || o.stderr != "" ||
		!strings.Contains(o.stdout, " invariants, 0 violations\n") || !strings.HasSuffix(o.stdout, "\n"+want) || strings.Count(o.stdout, "\n") != 2 {
		t.Errorf("%+v, want %s", o, want)
	}
	var report checkReport
	l.check(path, "--sample", "100", "--json").decode(t, &report)
	if s := report.Sample; s == nil || s.Asked != 20 || s.Counts[recheck.Equal] != 20 || s.Seed == 0 || len(s.Findings) != 0 {
		t.Errorf("%+v", report.Sample)
	}
	var other checkReport
	l.check(path, "--sample", "1", "--json").decode(t, &other)
	if other.Sample.Seed == report.Sample.Seed {
		t.Error("two draws, one seed")
	}
	if o := l.check(path); strings.Contains(o.stdout, "sample") || o.code != exitOK {
		t.Errorf("%+v", o)
	}
}

func TestASampleFindsAPlantedRow(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 62, PDS: 2, Accounts: 20})
	path := l.copyOf()
	dids := slices.DeleteFunc(l.DIDs(), func(did string) bool { return len(l.Truth()[did]) < 2 })
	lacks, more := dids[0], dids[1]
	missing, extra := l.Truth()[lacks][0], "com.example.planted"
	// Counts and listings are kept right: no invariant is broken.
	st, err := store.Open(t.Context(), store.Config{Path: path, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	edit := func(did string, fn func(tx *store.Tx, r *repostate.Repo) (int, error)) {
		t.Helper()
		if err := st.Update(t.Context(), "test", func(tx *store.Tx) error {
			r, err := tx.RepoByDID(did)
			if err == nil {
				_, err = fn(tx, r)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	edit(lacks, func(tx *store.Tx, r *repostate.Repo) (int, error) { return tx.RemoveMemberships(r, []string{missing}) })
	edit(more, func(tx *store.Tx, r *repostate.Repo) (int, error) { return tx.AddMemberships(r, []string{extra}) })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	o := l.check(path, "--sample", "20", "--seed", "9")
	if o.code != exitFail || o.stderr != "railyard: the file differs from the network\n" ||
		!strings.Contains(o.stdout, " invariants, 0 violations\n") ||
		!strings.HasSuffix(o.stdout, counts(20, map[recheck.Verdict]int{recheck.Equal: 18, recheck.Differs: 2}, 0, "9")) || strings.Count(o.stdout, "\n") != 4 {
		t.Errorf("%+v", o)
	}
	rev := func(did string) string {
		truth, err := l.Repo(did)
		if err != nil {
			t.Fatal(err)
		}
		return "differs: " + did + ": rev " + truth.Rev.String() + " at " + strings.TrimPrefix(truth.PDS, "http://")
	}
	for _, line := range []string{rev(lacks) + "; missing " + missing + "\n", rev(more) + "; extra " + extra + "\n"} {
		if !strings.Contains(o.stdout, line) {
			t.Errorf("%q is not in %s", line, o.stdout)
		}
	}
	o = l.check(path, "--sample", "20", "--json")
	var report checkReport
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil || o.code != exitFail {
		t.Fatal(err, o)
	}
	if f := report.Sample.Findings; len(f) != 2 || f[0].DID > f[1].DID || f[0].Verdict != recheck.Differs || *f[0].FileRev != *f[0].HostRev {
		t.Errorf("%+v", f)
	}
	// A broken rule comes first, and the sample is made all the same.
	sqliteFile(t, path, "UPDATE collection SET members = members + 1")
	if o := l.check(path, "--sample", "20"); o.code != exitFail || !strings.Contains(o.stderr, "breaks its own rules") || !strings.Contains(o.stdout, "differs=2") {
		t.Errorf("%+v", o)
	}
}

// quickly samples without the pauses of the command.
func (l *live) quickly(path string, asJSON bool) (string, error) {
	l.t.Helper()
	fs, c := checkFlags()
	if _, err := parse(fs, []string{"--db", path, "--sample", "100", "--seed", "3"}, l.env, new(bytes.Buffer)); err != nil {
		l.t.Fatal(err)
	}
	c.asJSON, c.plcQPS, c.crawlQPS, c.pauses = asJSON, 1000, 1000, []time.Duration{time.Millisecond, time.Millisecond}
	var stdout, stderr bytes.Buffer
	err := c.check(l.t.Context(), &stdout, &stderr)
	if stderr.Len() > 0 {
		l.t.Errorf("stderr: %s", &stderr)
	}
	return stdout.String(), err
}

func TestEachVerdictIsPrintedAndOnlyWhatIsWrongFails(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 63, PDS: 3})
	make1 := func(pds int) string {
		did, err := l.CreateAccount(pds)
		if err = errors.Join(err, l.Create(did, "com.example.a/1")); err != nil {
			t.Fatal(err)
		}
		return did
	}
	behind, same, moved, away, forged, gone, waits := make1(0), make1(0), make1(0), make1(1), make1(0), make1(0), make1(0)
	path := l.copyOf()
	st := openStore(t, path)
	err := st.Update(t.Context(), "test", func(tx *store.Tx) error {
		r, err := tx.RepoByDID(waits)
		return errors.Join(err, testrepo.Desynchronize(tx, r, repostate.Discontinuity))
	})
	err = errors.Join(err, st.Close(), l.Create(behind, "com.example.b/1"), l.Create(same, "com.example.a/2"),
		l.Migrate(moved, simnet.Migration{To: 2}), l.Switch(simnet.Rule{Fault: simnet.CorruptArchive, DID: forged}))
	if err != nil {
		t.Fatal(err)
	}
	l.SetDown("pds2", true)
	is := map[recheck.Verdict]int{recheck.Equal: 2, recheck.Behind: 2, recheck.Unreachable: 1, recheck.Refused: 1}
	text, err := l.quickly(path, false)
	if err != nil || !strings.HasSuffix(text, counts(6, is, 1, "3")) {
		t.Errorf("%v: %s", err, text)
	}
	for _, says := range []string{
		"behind: " + behind + ": the file has rev ", "; missing com.example.b\n", "behind: " + same + ": ", "; the same collections\n",
		"stale-identity: " + moved + ": the file has host " + l.PDS(0) + ", the document names " + l.PDS(2) + "\n",
		"unreachable: " + away + ": ", "refused: " + forged + ": ",
		"not drawn, because they wait in the queue: 1 repos that are wrong or unproven, 0 others\n",
	} {
		if !strings.Contains(text, says) {
			t.Errorf("%q is not in %s", says, text)
		}
	}
	if err := l.Deactivate(gone); err != nil {
		t.Fatal(err)
	}
	text, err = l.quickly(path, false)
	if !errors.Is(err, errSampleDiffers) || !strings.Contains(text, "gone: "+gone+": its host says deactivated; the file lists it\n") {
		t.Errorf("%v: %s", err, text)
	}
	text, err = l.quickly(path, true)
	var report checkReport
	if e := json.Unmarshal([]byte(text), &report); e != nil || !errors.Is(err, errSampleDiffers) {
		t.Fatal(e, err)
	}
	if s := report.Sample; s.Waiting != 1 || s.Counts[recheck.Gone] != 1 || s.StaleIdentity != 1 || len(s.Findings) != 6 {
		t.Errorf("%+v", s)
	}
}

func TestASampleWithoutEvidenceFails(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 64, Accounts: 3})
	path := l.copyOf()
	l.SetDown("pds1", true)
	if text, err := l.quickly(path, false); !errors.Is(err, errNoEvidence) || !strings.Contains(text, " unreachable=3 ") {
		t.Errorf("%v: %s", err, text)
	}
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := openStore(t, empty).Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := l.quickly(empty, false); !errors.Is(err, errNoEvidence) || !strings.HasSuffix(text, counts(0, nil, 0, "3")) {
		t.Errorf("%v: %s", err, text)
	}
}

// A host and a file can hold what an enemy of terminals wrote.
func TestASampleEscapesWhatItPrints(t *testing.T) {
	evil := "\x1b[2J\u202e\nfake: "
	r := new(sampleReport)
	r.take([]recheck.Finding{
		{DID: "did:plc:a" + evil, Verdict: recheck.Differs, Host: evil, Missing: []string{evil}, Extra: slices.Repeat([]string{evil}, maxNamed+3), Detail: evil},
		{DID: "did:plc:b", Verdict: recheck.Equal, StaleIdentity: evil},
		{DID: "did:plc:c", Verdict: recheck.Refused, Detail: strings.Repeat("x", 10_000)},
	})
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unprintable) || strings.HasPrefix(line, "fake") || len(line) > 2000 {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(out.String(), " and 3 more") || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("%s", &out)
	}
}

func TestMistakesOfASampleAreUsage(t *testing.T) {
	for _, c := range []struct{ args []string }{
		{[]string{"--sample", "-1"}}, {[]string{"--sample", "10001"}}, {[]string{"--sample", "many"}}, {[]string{"--seed", "-1"}},
		{[]string{"--crawl-qps", "0"}}, {[]string{"--crawl-qps", "NaN"}}, {[]string{"--plc-qps", "-1"}}, {[]string{"--plc-qps", "Inf"}},
		{[]string{"--repo-timeout", "1ms"}}, {[]string{"--max-bytes", "0"}}, {[]string{"--plc-url", "plc.directory"}},
	} {
		invoke(t, append([]string{"check"}, c.args...)).oneLine(t, exitUsage, "check", strings.TrimPrefix(c.args[0], "-"), c.args[1])
	}
}
