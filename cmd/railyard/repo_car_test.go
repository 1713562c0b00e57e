package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/test/fixtures"
	"railyard/internal/test/msttest"
)

func TestThePublicCARsOnTheCommandLine(t *testing.T) {
	dir := filepath.Join(fixtures.Dir(t), "cars")
	run := func(args ...string) outcome {
		t.Helper()
		for i, arg := range args {
			if strings.HasSuffix(arg, ".car") || strings.HasSuffix(arg, ".json") {
				args[i] = filepath.Join(dir, arg)
			}
		}
		return invoke(t, append([]string{"repo"}, args...), "RAILYARD_PLC_URL="+deadURL(t), "RAILYARD_ALLOW_PRIVATE_HOSTS=true")
	}
	o := run("collections", "little.car")
	var got strings.Builder
	for line := range strings.Lines(o.stdout) {
		if fields := strings.Fields(line); len(fields) == 2 {
			got.WriteString(fields[0] + "\t" + fields[1] + "\n")
		}
	}
	if got.String() != string(fixtures.Read(t, "cars", "little.collections.tsv")) || !strings.Contains(o.stdout, "24 collections, 278 records of did:plc:lulm") {
		t.Errorf("%s", o.stdout)
	}
	for _, c := range []struct {
		args []string
		code int
		says []string // in the text for people
	}{
		{[]string{"verify", "little.car"}, exitFail, []string{"\nundecided: document; nothing is refused\n", "exactly 278 keys"}},
		{[]string{"verify", "greenground.repo.car", "--did-doc", "greenground.didDoc.json"}, exitFail,
			[]string{"refused: identity-invalid; it passes every other check", "which is not this account's"}},
		{[]string{"verify", "paul_staging.repo.car", "--did-doc", "paul_staging.didDoc.json"}, exitFail,
			[]string{"refused: bad-commit; it passes every other check", "signature  ok", "tree       ok", "version 2"}},
		{[]string{"verify", "bafyreieovfuizojpw3zresz7sx3nk4trm2by23pt5rxbey3jme4uo5ogiu.car", "--did-doc", "did_plc_z5vnbioquyhivxirw3bbljmu.didDoc.json"}, exitFail,
			[]string{"\nrefused: bad-commit\n", "signature  refused  bad-signature"}},
		{[]string{"verify", "repo_slice.car"}, exitFail, []string{"refused: bad-commit", "complete   refused  answer-partial: 1 subtree absent: 5 keys in sight"}},
		{[]string{"collections", "repo_slice.car"}, exitOK, []string{"app.bsky.feed.post           4 or more", "the tree is partial: 1 subtree absent"}},
		{[]string{"inspect", "repo_slice.car"}, exitOK, []string{"1 subtree, so there are more keys; 4 records", "version    2", "rev        -"}},
		{[]string{"inspect", "paul_staging.repo.car"}, exitOK, []string{"6 duplicates (1124 bytes), 215 that nothing links to", "185 records in 5 collections"}},
		{[]string{"inspect", "empty.car"}, exitOK, []string{"0 records in 0 collections", "absent     nothing"}},
		{[]string{"diff", "empty.car", "greenground.repo.car", "--records"}, exitOK,
			[]string{"repos of two accounts", "2 creates, 0 updates, 0 deletes; 0 unchanged\nborn: app.bsky.graph.follow\n", `    + {"$type":"app.bsky.graph.follow"`}},
		{[]string{"diff", "repo_slice.car", "repo_slice.car"}, exitOK, []string{"A is partial", "B is partial", "5 unchanged"}},
	} {
		o := run(c.args...)
		if o.code != c.code {
			t.Errorf("%v: exit code %d: %s%s", c.args, o.code, o.stdout, o.stderr)
		}
		for _, s := range c.says {
			if !strings.Contains(o.stdout, s) {
				t.Errorf("%v: %q is not in\n%s", c.args, s, o.stdout)
			}
		}
	}
}

// A tree may hold keys and records that an enemy of terminals wrote.
func TestNothingThatATerminalCouldActOnIsPrinted(t *testing.T) {
	evil := "\x1b[2J\u202e\u009b\nfake  bafyfake\xff"
	block := dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(nil, 1), "\x1bkey\u202e"), "\x1b]0;\u202e\u009b\U000e0001 ü")
	key, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "evil.car")
	content := map[string][]byte{evil: block, "com.example.thing/1": block, "com.example.thing/not cbor": {0xff}}
	if err := os.WriteFile(file, signedCAR(t, key, content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"inspect", file, "--records"}, {"inspect", file, "--records", "--json"}, {"collections", file}, {"diff", file, file},
		{"diff", emptyCAR(t), file, "--records"},
	} {
		o := invoke(t, append([]string{"repo"}, args...))
		if o.code != exitOK {
			t.Errorf("%v: %s", args, o.stderr)
		}
		for line := range strings.Lines(o.stdout) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unprintable) || strings.HasPrefix(line, "fake") {
				t.Errorf("%v: %q", args, line)
			}
		}
	}
	var got wholeInspection
	invoke(t, []string{"repo", "inspect", file, "--records", "--json"}).decode(t, &got)
	if got.Tree.OddKeys != 1 || len(got.Records) != 3 {
		t.Fatalf("%+v", got.Tree)
	}
	var record map[string]string
	if err := json.Unmarshal(got.Records[1].Record, &record); err != nil || record["\x1bkey\u202e"] != "\x1b]0;\u202e\u009b\U000e0001 ü" {
		t.Errorf("%v: %q", err, record)
	}
	if !strings.Contains(string(got.Records[2].Record), "$invalid") {
		t.Errorf("%s", got.Records[2].Record)
	}
}

func emptyCAR(t *testing.T) string {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "empty.car")
	if err := os.WriteFile(file, signedCAR(t, key, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// signedCAR writes a repo with these records.
func signedCAR(t *testing.T, key atcrypto.PrivateKey, records map[string][]byte) []byte {
	t.Helper()
	content := map[string][]byte{}
	for path, block := range records {
		content[path] = atproto.DigestOf(block).AppendCID(nil)
	}
	data, nodes := msttest.Build(content)
	commit := func(sig []byte) []byte {
		fields := 5
		if sig != nil {
			fields = 6
		}
		b := dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(nil, fields), "did"), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
		b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), "3m2jradrsah2s")
		if sig != nil {
			b = dagcbor.AppendBytes(dagcbor.AppendText(b, "sig"), sig)
		}
		b = dagcbor.AppendLink(dagcbor.AppendText(b, "data"), data)
		b = dagcbor.AppendNull(dagcbor.AppendText(b, "prev"))
		return dagcbor.AppendInt(dagcbor.AppendText(b, "version"), 3)
	}
	sig, err := key.HashAndSign(commit(nil))
	if err != nil {
		t.Fatal(err)
	}
	blocks := [][]byte{commit(sig)}
	for _, node := range nodes {
		blocks = append(blocks, node)
	}
	for _, block := range records {
		blocks = append(blocks, block)
	}
	header := dagcbor.AppendArray(dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots"), 1)
	header = dagcbor.AppendLink(header, atproto.DigestOf(blocks[0]))
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	car := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	for _, block := range blocks {
		car = binary.AppendUvarint(car, uint64(atproto.CIDLen+len(block)))
		car = append(atproto.DigestOf(block).AppendCID(car), block...)
	}
	return car
}

// carSections cuts a CAR into its header and blocks.
func carSections(car []byte) (parts [][]byte) {
	for len(car) > 0 {
		n, width := binary.Uvarint(car)
		parts, car = append(parts, car[:width+int(n)]), car[width+int(n):]
	}
	return parts
}
