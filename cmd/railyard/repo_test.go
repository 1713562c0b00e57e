package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/test/simnet"
)

// live is a simulated network on loopback.
type live struct {
	*simnet.Network
	t   *testing.T
	env []string
}

func newLive(t *testing.T, cfg simnet.Config) *live {
	t.Helper()
	cfg.Listen = func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	n, err := simnet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return &live{n, t, []string{"RAILYARD_PLC_URL=" + n.PLC(), "RAILYARD_ALLOW_PRIVATE_HOSTS=true"}}
}

// repo runs a repo command with this network behind it.
func (l *live) repo(args ...string) outcome {
	l.t.Helper()
	return invoke(l.t, append([]string{"repo"}, args...), l.env...)
}

// car fetches the repo of an account from its PDS into a file.
func (l *live) car(did string) string {
	l.t.Helper()
	resp, err := http.Get(l.PDS(0) + "/xrpc/com.atproto.sync.getRepo?did=" + did)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.t.Fatal(resp.Status, err)
	}
	name := filepath.Join(l.t.TempDir(), "repo.car")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// decode reads the JSON of a successful run.
func (o outcome) decode(t *testing.T, into any) {
	t.Helper()
	if o.code != exitOK || o.stderr != "" || strings.Count(o.stdout, "\n") != 1 {
		t.Fatalf("exit code %d, stderr %q, stdout %q", o.code, o.stderr, o.stdout)
	}
	if err := json.Unmarshal([]byte(o.stdout), into); err != nil {
		t.Fatalf("%v: %s", err, o.stdout)
	}
}

func TestARepoIsInspectedWhereverItIs(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 31, Accounts: 3})
	did := l.DIDs()[1]
	truth, err := l.Repo(did)
	if err != nil {
		t.Fatal(err)
	}
	file := l.car(did)
	for _, x := range []string{did, "at://" + did, file} {
		var got wholeInspection
		l.repo("inspect", x, "--json").decode(t, &got)
		if got.Source != x || *got.DID != did || *got.Rev != truth.Rev.String() || *got.Commit != truth.Commit.String() ||
			*got.Data != truth.Data.String() || *got.Version != 3 || got.Prev != nil || len(*got.Signature) != 128 || got.Refused != nil ||
			!got.RevTime.Equal(truth.Rev.Time()) {
			t.Errorf("%s: %+v", x, got.commitJSON)
		}
		if (got.Verified != nil) != (x != file) || got.Verified != nil && !*got.Verified {
			t.Errorf("%s: verified %v", x, got.Verified)
		}
		if got.Tree.Records != truth.Records || got.Tree.Collections != len(truth.Collections) || !got.Tree.Complete ||
			got.Blocks.Nodes != got.Tree.Nodes || got.Blocks.Unlinked != 0 || got.Records != nil {
			t.Errorf("%s: %+v %+v", x, got.Tree, got.Blocks)
		}
	}
	var listed wholeInspection
	l.repo("inspect", "--json", "--records", "at://"+did+"/"+truth.Collections[0]).decode(t, &listed)
	var want []string
	for _, path := range l.Paths(did) {
		if strings.HasPrefix(path, truth.Collections[0]+"/") {
			want = append(want, path)
		}
	}
	for i, r := range listed.Records {
		if i >= len(want) || r.Path != want[i] || !strings.Contains(string(r.Record), `"$type":"`+truth.Collections[0]+`"`) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if len(listed.Records) != len(want) || len(want) == 0 {
		t.Errorf("%d records, want %d", len(listed.Records), len(want))
	}
	o := l.repo("inspect", did, "--collection", truth.Collections[0])
	for _, s := range append(want, "verified", "did        "+did, "rev        "+truth.Rev.String()) {
		if !strings.Contains(o.stdout, s) || o.code != exitOK {
			t.Errorf("%q is not in %s", s, o.stdout)
		}
	}
}

func TestStandardInputIsASource(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 32, Accounts: 1})
	car, err := os.ReadFile(l.car(l.DIDs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{int64(len(car)), int64(len(car)) - 1} {
		_, c := repoFlags(repoVerbs()[1])
		c.stdin, c.maxBytes, c.asJSON = bytes.NewReader(car), limit, true
		var out bytes.Buffer
		err := c.run(t.Context(), repoVerbs()[1], []string{"-"}, &out)
		if fits := limit == int64(len(car)); fits != (err == nil) || fits != (out.Len() > 0) {
			t.Errorf("limit %d: %v, %s", limit, err, &out)
		}
		if err != nil && !strings.Contains(err.Error(), "--max-bytes") { // and not what a CAR cut off gives
			t.Error(err)
		}
	}
}

func TestCollectionsAreListedInTheOrderOfTheTree(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 33, Accounts: 20})
	lists := 0
	for _, did := range l.DIDs() {
		var got collectionsJSON
		l.repo("collections", did, "--json").decode(t, &got)
		counts, order := map[string]int{}, []string{}
		for _, path := range l.Paths(did) {
			nsid, _ := atproto.CollectionOf(path)
			if counts[nsid]++; counts[nsid] == 1 {
				order = append(order, nsid)
			}
		}
		if len(got.Collections) != len(order) || !got.Complete || got.DID != did || got.Records != len(l.Paths(did)) {
			t.Fatalf("%s: %+v", did, got)
		}
		for i, c := range got.Collections {
			if c.Collection != order[i] || c.Records != counts[c.Collection] || c.AtLeast {
				t.Errorf("%s: %+v, want %s", did, c, order[i])
			}
		}
		if len(order) < 2 {
			continue
		}
		lists++
		o := l.repo("collections", "at://"+did+"/"+order[1])
		if want := fmt.Sprintf("%s  %d\n1 collection, %s of %s\n", order[1], counts[order[1]], count(counts[order[1]], "record"), did); o.stdout != want {
			t.Errorf("%q, want %q", o.stdout, want)
		}
	}
	if lists < 5 {
		t.Errorf("only %d repos had two collections", lists)
	}
}

func TestVerifyExitsWithItsVerdict(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 34, Accounts: 2})
	did := l.DIDs()[0]
	file := l.car(did)
	doc := filepath.Join(t.TempDir(), "did.json")
	fetch(t, l.PLC()+"/"+did, doc)
	otherDoc := filepath.Join(t.TempDir(), "other.json")
	fetch(t, l.PLC()+"/"+l.DIDs()[1], otherDoc)
	stranger, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := stranger.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.car")
	whole, _ := os.ReadFile(file)
	if err := os.WriteFile(cut, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args            []string
		verdict, reason string
		keys            bool
	}{
		{[]string{did}, "valid", "", true},
		{[]string{file}, "valid", "", true},
		{[]string{file, "--did-doc", doc}, "valid", "", true},
		{[]string{file, "--did-doc", otherDoc}, "refused", "identity-invalid", false},
		{[]string{file, "--key", pub.DIDKey()}, "refused", "bad-signature", false},
		{[]string{file, "--plc-url", deadURL(t)}, "undecided", "", false},
		{[]string{cut}, "refused", "bad-car", false},
	} {
		o := l.repo(append([]string{"verify", "--json"}, c.args...)...)
		var got verifyJSON
		if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
			t.Fatalf("%v: %v, %s", c.args, err, o.stderr)
		}
		if (o.code == exitOK) != (c.verdict == "valid") || o.code == exitUsage || got.Verdict != c.verdict || got.KeysProven != c.keys {
			t.Errorf("%v: exit code %d, %+v", c.args, o.code, got)
		}
		if (got.Refused == nil) != (c.reason == "") || got.Refused != nil && got.Refused.Reason != c.reason {
			t.Errorf("%v: refused %+v, want %s", c.args, got.Refused, c.reason)
		}
		if c.reason != "" && !strings.Contains(o.stderr, "refused: "+c.reason) {
			t.Errorf("%v: stderr %q", c.args, o.stderr)
		}
		people := l.repo(append([]string{"verify"}, c.args...)...)
		if people.code != o.code || people.stderr != o.stderr || !strings.Contains(people.stdout, "\n"+c.verdict) {
			t.Errorf("%v: %+v", c.args, people)
		}
	}
}

func fetch(t *testing.T, url, file string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wholeDiff is the output of diff.
type wholeDiff struct {
	diffJSON
	Changes []changeJSON `json:"changes"`
	diffTotals
}

// wholeInspection is the output of inspect with records.
type wholeInspection struct {
	inspectJSON
	Records []recordJSON `json:"records"`
}

func TestDiffOfAFileAndNow(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 35})
	did, err := l.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(action simnet.Action, paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := l.Apply(did, simnet.Write{Action: action, Path: path}); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(simnet.Create, "com.example.a/1", "com.example.a/2", "com.example.a/3", "com.example.gone/1")
	before := l.car(did)
	apply(simnet.Delete, "com.example.a/1", "com.example.gone/1")
	apply(simnet.Update, "com.example.a/2")
	apply(simnet.Create, "com.example.new/1")

	var got wholeDiff
	l.repo("diff", before, did, "--json", "--records").decode(t, &got)
	if got.Creates != 1 || got.Updates != 1 || got.Deletes != 2 || got.Unchanged != 1 || got.Unknown != 0 || !got.Complete ||
		!slices.Equal(got.Born, []string{"com.example.new"}) || !slices.Equal(got.Died, []string{"com.example.gone"}) || len(got.Undecided) != 0 {
		t.Errorf("%+v", got)
	}
	if *got.A.Rev >= *got.B.Rev || got.A.Source != before || got.B.Source != did {
		t.Errorf("%+v %+v", got.A, got.B)
	}
	var actions []string
	for _, c := range got.Changes {
		actions = append(actions, string(c.Action)+" "+c.Path)
		if (c.Old != nil) != (c.Action != "create") || (c.New != nil) != (c.Action != "delete") ||
			(c.OldRecord != nil) != (c.Old != nil) || (c.NewRecord != nil) != (c.New != nil) || c.Action == "update" && *c.Old == *c.New {
			t.Errorf("%+v", c)
		}
	}
	if want := "delete com.example.a/1, update com.example.a/2, delete com.example.gone/1, create com.example.new/1"; strings.Join(actions, ", ") != want {
		t.Errorf("%v", actions)
	}

	o := l.repo("diff", before, "at://"+did+"/com.example.a")
	for _, want := range []string{"- com.example.a/1  bafy", "~ com.example.a/2  bafy", " -> bafy", "0 creates, 1 update, 1 delete; 1 unchanged\n"} {
		if !strings.Contains(o.stdout, want) || o.code != exitOK {
			t.Errorf("%q is not in %s%s", want, o.stdout, o.stderr)
		}
	}
	if strings.Contains(o.stdout, "gone") || strings.Contains(o.stdout, "note") {
		t.Errorf("%s", o.stdout)
	}
	if o = l.repo("diff", did, before, "--collection", "com.example.new"); !strings.Contains(o.stdout, "B is older than A") ||
		!strings.Contains(o.stdout, "died: com.example.new\n") {
		t.Errorf("%s", o.stdout)
	}
}

func TestARecordIsShownWithItsProof(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 36})
	did, err := l.CreateAccount(0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := l.Create(did, fmt.Sprintf("com.example.thing/%02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	var got proofJSON
	l.repo("inspect", "--json", "at://"+did+"/com.example.thing/07").decode(t, &got)
	if got.Presence != "present" || got.CID == nil || !strings.Contains(string(got.Record), `"$type":"com.example.thing"`) || *got.DID != did {
		t.Errorf("%+v", got)
	}
	var absent proofJSON
	l.repo("inspect", "--json", "at://"+did+"/com.example.thing/07a").decode(t, &absent)
	if absent.Presence != "absent" || absent.CID != nil || string(absent.Record) != "null" ||
		absent.Left != "com.example.thing/07" || absent.Right != "com.example.thing/08" {
		t.Errorf("%+v", absent)
	}
	for path, want := range map[string]string{"zzz.example.last/1": "right      edge", "com.example.thing/49": "\n{\"n\":"} {
		if o := l.repo("inspect", "at://"+did+"/"+path); o.code != exitOK || !strings.Contains(o.stdout, want) {
			t.Errorf("%s: %+v", path, o)
		}
	}
	// A proof that lacks the record, and one that lacks the way to it.
	proof := filepath.Join(t.TempDir(), "proof.car")
	fetch(t, l.PDS(0)+"/xrpc/com.atproto.sync.getRecord?collection=com.example.thing&rkey=07&did="+did, proof)
	parts := carSections(readFile(t, proof))
	withoutRecord := slices.Concat(parts[0], parts[1], bytes.Join(parts[3:], nil))
	for says, answer := range map[string][]byte{
		"lacks its block": withoutRecord, "neither the record nor its absence": slices.Concat(parts[0], parts[1]),
	} {
		l.SetHook("pds1", simnet.Hook{HTTP: func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write(answer)
			return true
		}})
		l.repo("inspect", "at://"+did+"/com.example.thing/07").oneLine(t, exitFail, says)
	}
	l.SetHook("pds1", simnet.Hook{})
	if err := l.Deactivate(did); err != nil {
		t.Fatal(err)
	}
	l.repo("inspect", "at://"+did+"/com.example.thing/07").oneLine(t, exitFail, "deactivated")
	l.repo("collections", did).oneLine(t, exitFail, "deactivated")
}

// What a host sends instead of the repo that was asked for is not shown as it.
func TestALyingHostIsRefused(t *testing.T) {
	t.Parallel()
	l := newLive(t, simnet.Config{Seed: 37, Accounts: 2})
	did, other := l.DIDs()[0], l.DIDs()[1]
	file := l.car(did)
	theirs, err := os.ReadFile(l.car(other))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(b []byte) {
		l.SetHook("pds1", simnet.Hook{HTTP: func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write(b)
			return true
		}})
	}
	commands := [][]string{{"collections", did}, {"diff", file, did}, {"diff", did, file}, {"inspect", "at://" + did + "/com.example.a/1"}}
	answer(theirs)
	for _, args := range commands {
		l.repo(args...).oneLine(t, exitFail, "answer-wrong-did")
	}
	if o := l.repo("inspect", did); o.code != exitFail || !strings.Contains(o.stdout, "refused    answer-wrong-did") {
		t.Errorf("%+v", o)
	}
	if o := l.repo("verify", did); o.code != exitFail || !strings.Contains(o.stdout, "refused: answer-wrong-did") {
		t.Errorf("%+v", o)
	}
	answer([]byte("<html>"))
	for _, args := range commands {
		l.repo(args...).oneLine(t, exitFail, "bad-car")
	}
	if o := l.repo("inspect", did, "--json"); o.code != exitFail || !strings.Contains(o.stdout, `"tree":null`) || !strings.Contains(o.stdout, `"reason":"bad-car"`) {
		t.Errorf("%+v", o)
	}
	l.SetHook("pds1", simnet.Hook{})
	if err := l.RotateKey(did); err != nil {
		t.Fatal(err)
	}
	answer(readFile(t, file)) // signed by the earlier key
	l.repo("collections", did).oneLine(t, exitFail, "bad-signature")
	l.repo("collections", did, "--max-bytes", "100").oneLine(t, exitFail, "answer-too-big")
	l.repo("collections", file, "--max-bytes", "100").oneLine(t, exitFail, "--max-bytes 100")
	l.repo("collections", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").oneLine(t, exitFail, "identity-unresolved")
	l.repo("collections", filepath.Join(t.TempDir(), "none.car")).oneLine(t, exitFail, "no such file")
	l.repo("collections", t.TempDir()).oneLine(t, exitFail, "directory")
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMistakesOfRepoCommandsAreUsage(t *testing.T) {
	const did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"which command", "railyard repo help"}},
		{[]string{"show"}, []string{`unknown command "show"`}},
		{[]string{"inspect"}, []string{"repo inspect: no X given", "railyard repo inspect --help"}},
		{[]string{"diff", "a.car"}, []string{"no B given"}},
		{[]string{"diff", "a.car", "b.car", "c.car"}, []string{`unexpected argument "c.car"`}},
		{[]string{"inspect", ""}, []string{"empty file name"}},
		{[]string{"inspect", "did:plc:short"}, []string{"did:plc"}},
		{[]string{"inspect", "at://alice.example.com"}, []string{"handles are not resolved"}},
		{[]string{"inspect", "at://" + did + "/thing"}, []string{`nsid "thing"`}},
		{[]string{"inspect", "at://" + did + "/com.example.thing/a/b"}, []string{"path"}},
		{[]string{"inspect", "x.car", "--collection", "thing"}, []string{`nsid "thing"`}},
		{[]string{"inspect", "at://" + did + "/com.example.a", "--collection", "com.example.b"}, []string{"two collections"}},
		{[]string{"collections", "at://" + did + "/com.example.a/1"}, []string{"single record"}},
		{[]string{"collections", "x.car", "--records"}, []string{"-records"}},
		{[]string{"verify", "at://" + did + "/com.example.a"}, []string{"whole repo"}},
		{[]string{"verify", did, "--key", "did:key:x"}, []string{"for files"}},
		{[]string{"verify", "x.car", "--key", "did:key:x"}, []string{"--key"}},
		{[]string{"verify", "x.car", "--key", "did:key:x", "--did-doc", "y"}, []string{"one of them"}},
		{[]string{"diff", "at://" + did + "/com.example.a", "at://" + did + "/com.example.b"}, []string{"two collections"}},
		{[]string{"diff", "x.car", "at://" + did + "/com.example.a/1"}, []string{"single record"}},
		{[]string{"inspect", "x.car", "--max-bytes", "0"}, []string{"--max-bytes 0"}},
		{[]string{"inspect", "x.car", "--repo-timeout", "1ms"}, []string{"--repo-timeout 1ms"}},
		{[]string{"inspect", "x.car", "--plc-url", "plc.directory"}, []string{"--plc-url"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			invoke(t, append([]string{"repo"}, c.args...)).oneLine(t, exitUsage, c.says...)
		})
	}
	for _, arg := range []string{"help", "--help"} {
		o := invoke(t, []string{"repo", arg})
		for _, v := range repoVerbs() {
			if o.code != exitOK || !strings.Contains(o.stdout, "\n  "+v.name) || !strings.Contains(o.stdout, v.purpose) {
				t.Errorf("%+v does not report %s", o, v.name)
			}
		}
	}
	if o := invoke(t, []string{"repo", "diff", "--help"}); o.code != exitOK || !strings.HasPrefix(o.stdout, "usage: railyard repo diff A B [flags]\n") {
		t.Errorf("%+v", o)
	}
}
