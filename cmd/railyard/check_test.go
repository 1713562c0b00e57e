package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const (
	aliceDID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bobDID   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
)

// indexFile makes a file in which alice is synchronized with two collections and
// bob waits.
func indexFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	st := openStore(t, path)
	err := st.Update(t.Context(), "test", func(tx *store.Tx) error {
		alice, err := testrepo.Add(tx, aliceDID)
		if err != nil {
			return err
		}
		key := "\xe7\x01\x02" + strings.Repeat("k", 32)
		if _, err := testrepo.SetIdentity(tx, alice, key, "pds.example.com", false); err != nil {
			return err
		}
		_, _, err = testrepo.Establish(tx, alice, repostate.Head{Rev: 5, Data: atproto.Digest{1}}, []string{"com.example.a", "com.example.b"}, repostate.ProofTree)
		if err != nil {
			return err
		}
		bob, err := testrepo.Add(tx, bobDID)
		if err != nil {
			return err
		}
		_, err = tx.HostFailed(alice.Identity.HostID, 0, tx.Now(), "it said: \x1b[31mno\nway")
		if err := errors.Join(err, testrepo.Enqueue(tx, bob, repostate.Backfill, tx.Now())); err != nil {
			return err
		}
		up, err := tx.AddUpstream("https://relay.example.com")
		if err != nil {
			return err
		}
		return errors.Join(tx.SetKind(up.ID, store.KindRelay, ""), tx.SetCursor(up.ID, 12, tx.Now()),
			tx.AddRefusals([]store.Refused{{Reason: "bad-car", Source: "relay.example.com", Detail: "d", At: tx.Now()}}),
			tx.CoolHost(alice.Identity.HostID, tx.Now().Add(time.Hour)))
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckOfASoundFileEndsWithZeroAndOneLine(t *testing.T) {
	path := indexFile(t)
	o := invoke(t, []string{"check", "--db", path})
	if o.code != exitOK || o.stderr != "" || !strings.HasPrefix(o.stdout, "check: ") ||
		!strings.HasSuffix(o.stdout, " invariants, 0 violations\n") || strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("%+v", o)
	}
	var report checkReport
	o = invoke(t, []string{"check", "--json"}, "RAILYARD_DB="+path, "RAILYARD_UPSTREAM=wss://relay.example.com")
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if o.code != exitOK || o.stderr != "" || report.Invariants < 20 || report.Violations == nil || len(report.Violations) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestCheckNamesWhatIsBrokenAndEndsWithOne(t *testing.T) {
	path := indexFile(t)
	sqliteFile(t, path, "UPDATE collection SET members = 7 WHERE nsid = 'com.example.a'; DELETE FROM resync_queue;"+
		"UPDATE repo SET did = 'did:plc:bad' || char(27) WHERE did = '"+bobDID+"'")
	o := invoke(t, []string{"check", "--db", path})
	if o.code != exitFail || o.stderr != "railyard: the file breaks its own rules\n" {
		t.Errorf("%+v", o)
	}
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	for i, want := range []string{
		"members: collection.members counts the visible rows of the collection, those of all repos the listed ones: 1", "  com.example.a: members 7, visible rows 1",
		"hours: ", "  com.example.a: members 7, by its hours 1",
		"queued: ", "  did:plc:bad?: state 0, ", "dids: ", "  did:plc:bad?: row ", "check: ",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is not %q: %q", i, want, lines)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, " invariants, 4 violations") {
		t.Errorf("last line %q", last)
	}
	var report checkReport
	o = invoke(t, []string{"check", "--db", path, "--json"})
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if v := report.Violations; o.code != exitFail || len(v) != 4 || v[0].Invariant != "members" || v[0].Count != 1 ||
		v[0].Rows[0] != "com.example.a: members 7, visible rows 1" {
		t.Errorf("%+v", o)
	}
}

func TestCheckAndStatusWorkBesideARunningService(t *testing.T) {
	path := indexFile(t)
	p := launch(t, quietly(t, path))
	for _, command := range []string{"check", "status"} {
		if o := invoke(t, []string{command, "--db", path}); o.code != exitOK || o.stderr != "" {
			t.Errorf("%s: %+v", command, o)
		}
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr())
	}
}

func TestCheckAndStatusRefuseWhatIsNoIndex(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.db")
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	sqliteFile(t, foreign, "CREATE TABLE x (y)")
	for _, command := range []string{"check", "status"} {
		invoke(t, []string{command, "--db", missing}).oneLine(t, exitFail, missing, "no such file")
		invoke(t, []string{command, "--db", foreign}).oneLine(t, exitFail, foreign, "not a railyard file")
		invoke(t, []string{command, "stray"}).oneLine(t, exitUsage, command, "stray")
		invoke(t, []string{command, "--no-such-flag"}).oneLine(t, exitUsage, command, "-no-such-flag")
		invoke(t, []string{command}, "RAILYARD_JSON=perhaps").oneLine(t, exitUsage, command, "RAILYARD_JSON")
	}
}
