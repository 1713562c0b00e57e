package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard"
	"railyard/db"
	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/test/testrepo"
)

// testKey has the form of a signing key.
var testKey = "\xe7\x01\x02" + strings.Repeat("k", 32)

// sound fails the test for every invariant that a file breaks.
func sound(t *testing.T, rd *Reader) {
	t.Helper()
	checked, broken, err := rd.Check(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Error("no invariant was checked")
	}
	for _, v := range broken {
		t.Errorf("%s: %s: %d: %s", v.Invariant, v.Explanation, v.Count, strings.Join(v.Rows, "; "))
	}
}

// filled makes a file with a repo in each state that there is:
// 0 synchronized, 1 too, 2 resyncing for the first time with a buffered commit,
// 3 desynchronized, 4 deactivated, 5 deleted, 6 not found, 7 a candidate, and 8 one
// that only a host's listing names.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	now := time.Unix(1_800_000_000, 0)
	s, err := Open(t.Context(), Config{Path: path, Version: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	step := func(n int, fn func(tx *Tx, r *Repo) error) {
		t.Helper()
		now = now.Add(time.Minute)
		if err := s.Update(t.Context(), "test", func(tx *Tx) error {
			r, err := tx.RepoByDID(did(n))
			if err == nil && r == nil {
				r, err = testrepo.Add(tx, did(n))
				err = errors.Join(err, testrepo.Enqueue(tx, r, Backfill, tx.now.Add(time.Hour)))
			}
			if err != nil {
				return err
			}
			return fn(tx, r)
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 8 {
		step(n, func(tx *Tx, r *Repo) error {
			_, err := testrepo.SetIdentity(tx, r, testKey, "pds.example.com", false)
			return err
		})
		if n == 2 || n == 7 {
			continue
		}
		step(n, func(tx *Tx, r *Repo) error {
			_, _, err := testrepo.Establish(tx, r, Head{Rev: 5, Data: atproto.Digest{1}}, []string{"com.example.a", "com.example.b"}, ProofTree)
			return errors.Join(err, testrepo.Done(tx, r))
		})
	}
	step(0, func(tx *Tx, r *Repo) error {
		_, err := testrepo.AddMemberships(tx, r, []string{"com.example.c"})
		_, err2 := testrepo.RemoveMemberships(tx, r, []string{"com.example.a"})
		return errors.Join(err, err2)
	})
	step(2, func(tx *Tx, r *Repo) error {
		err := testrepo.Enqueue(tx, r, FirstSight, tx.now)
		_, err2 := leaseDue(tx)
		return errors.Join(err, err2)
	})
	step(2, func(tx *Tx, r *Repo) error {
		return testrepo.Buffer(tx, r, Commit{Head: Head{Rev: 7}, Present: []string{"com.example.a"}})
	})
	step(3, func(tx *Tx, r *Repo) error { return testrepo.Desynchronize(tx, r, Discontinuity) })
	step(4, func(tx *Tx, r *Repo) error {
		return testrepo.Hide(tx, r, "deactivated")
	})
	step(5, func(tx *Tx, r *Repo) error { return testrepo.Leave(tx, r, "deleted") })
	step(6, func(tx *Tx, r *Repo) error {
		return errors.Join(testrepo.Enqueue(tx, r, NotFoundAgain, tx.now), testrepo.SetState(tx, r, NotFound))
	})
	step(0, func(tx *Tx, r *Repo) error {
		return testrepo.List(tx, map[string]repostate.Entry{did(8): {Active: true, Host: r.Identity.HostID, Candidate: true}})
	})
	step(0, func(tx *Tx, r *Repo) error {
		up, err := tx.AddUpstream("wss://relay.example.com")
		return errors.Join(err, tx.SetCursor(up.ID, 12, time.Time{}), tx.WantCrawl(CrawlID{OfUpstream, up.ID}), tx.StartCrawl(CrawlID{OfUpstream, up.ID}),
			tx.AdvanceCrawl(CrawlID{OfUpstream, up.ID}, "c", 0),
			tx.PutPLCLog(PLCLog{URL: "https://plc.example.com", Form: ByTime, After: 1, Seen: map[string]int64{"bafyb": 3}}),
			tx.AddRefusals([]Refused{{Reason: "bad-car", Source: "relay.example.com", Detail: "d", At: tx.now}}))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func reader(t *testing.T, path string) *Reader {
	t.Helper()
	rd, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rd.Close() })
	return rd
}

// raw writes to a file behind the store's back.
func raw(t *testing.T, path, script string) {
	t.Helper()
	d, err := sql.Open("sqlite", dsn(path, "_pragma=ignore_check_constraints(1)"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.Exec(script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// series is the table of the numbers from 1 to n.
func series(n int) string {
	return fmt.Sprintf("WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < %d) ", n)
}

func TestAFileThatKeepsItsRulesIsSound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	sound(t, open(t, path).Reader)
	sound(t, reader(t, filled(t)))
}

func TestEveryInvariantFindsWhatBreaksIt(t *testing.T) {
	repo := func(n int) string { return fmt.Sprintf("(SELECT id FROM repo WHERE did = '%s')", did(n)) }
	row := func(n int, nsid string) string {
		return fmt.Sprintf("repo_id = %s AND collection_id = (SELECT id FROM collection WHERE nsid = '%s')", repo(n), nsid)
	}
	const parked = "UPDATE resync_queue SET parked = 1"
	named := make(map[string]bool)
	all := invariants(t)
	for _, c := range []struct {
		script string
		broken []string // in the order of the check
		says   string   // in one of the rows
	}{
		{"UPDATE repo SET seq = 0 WHERE id = " + repo(0), []string{"listed repos", "members", "changes", "listings"}, did(0) + ": not listed, active 1, proof 1"},
		{"UPDATE repo SET seq = (SELECT seq FROM membership WHERE " + row(1, "com.example.b") + ") WHERE id = " + repo(4), []string{"listed repos", "unique numbers", "members", "changes", "listings"}, "given 2 times"},
		{"UPDATE membership SET seq = -seq WHERE " + row(0, "com.example.c"), []string{"visible rows", "members", "changes", "listings"}, "says visible 1 and the row says 0"},
		{"UPDATE membership SET seq = -seq WHERE " + row(4, "com.example.b"), []string{"visible rows", "members"}, did(4) + "/com.example.b: visible"},
		{"UPDATE membership SET seq = -seq WHERE " + row(0, "com.example.b"), []string{"visible rows", "members", "listings"}, did(0) + "/com.example.b: hidden"},
		{"UPDATE repo SET proof = NULL WHERE id = " + repo(3), []string{"listed repos", "visible rows"}, did(3) + "/com.example.a: visible, its repo has active 1, proof none"},
		{"UPDATE membership SET seq = (SELECT seq FROM repo WHERE id = " + repo(0) + ") WHERE " + row(0, "com.example.b"), []string{"unique numbers", "listings"}, "given 2 times"},
		{"UPDATE membership SET seq = -(SELECT seq FROM repo WHERE id = " + repo(0) + ") WHERE " + row(4, "com.example.b"), []string{"unique numbers"}, "given 2 times"},
		{"UPDATE membership SET seq = (SELECT next_seq FROM meta) WHERE " + row(0, "com.example.b"), []string{"numbers below next", "listings"}, "the next is"},
		{"UPDATE repo SET seq = (SELECT next_seq FROM meta) WHERE id = " + repo(0), []string{"numbers below next", "listings"}, did(0) + ": number"},
		{"DELETE FROM seq_clock WHERE seq < (SELECT max(seq) FROM seq_clock)", []string{"clock"}, "older than the clock"},
		{"INSERT INTO seq_clock VALUES ((SELECT max(seq) + 1 FROM seq_clock), (SELECT minute FROM seq_clock ORDER BY seq DESC LIMIT 1))", []string{"clock"}, "that minute too"},
		{"INSERT INTO seq_clock VALUES ((SELECT next_seq FROM meta), 1)", []string{"clock"}, "not a number that was given"},
		{"UPDATE collection SET members = members + 1 WHERE nsid = 'com.example.b'", []string{"members", "hours"}, "com.example.b: members 4, visible rows 3"},
		{"UPDATE collection_tally SET memberships = memberships - 1", []string{"collection tally"}, "0 collections and -1 memberships"},
		{"DELETE FROM collection_tally", []string{"collection tally"}, "-3 collections and -6 memberships"},
		{"UPDATE repo_tally SET repos = repos + 1 WHERE state = 3", []string{"repo tally"}, "state 3: repo_tally has 1 repos and 0 active"},
		{"UPDATE repo_tally SET active = active - 1 WHERE state = 0", []string{"repo tally"}, "state 0: repo_tally has 0 repos and -1 active"},
		{"DELETE FROM repo_tally WHERE state = 1", []string{"repo tally"}, "state 1: repo_tally has -2 repos and -1 active"},
		{"UPDATE queue_tally SET waiting = 9 WHERE priority = 1", []string{"queue tally"}, "priority 1: queue_tally has 8 rows"},
		{"UPDATE host SET accounts = 9", []string{"host accounts"}, "pds.example.com: accounts 9, identities 8"},
		{"DELETE FROM repo_head WHERE repo_id = " + repo(0), []string{"synchronized", "heads"}, did(0) + ": synchronized, but without head"},
		{"DELETE FROM identity WHERE repo_id = " + repo(0), []string{"synchronized", "identities"}, "without identity"},
		{"UPDATE repo SET state = 3 WHERE id = " + repo(4), []string{"synchronized", "accounts"}, did(4) + ": inactive, but synchronized"},
		{"UPDATE repo SET proof = NULL WHERE id = " + repo(0), []string{"listed repos", "visible rows", "synchronized"}, "without proof"},
		{"UPDATE repo SET proof = 2 WHERE id = " + repo(6), []string{"listed repos", "visible rows", "unproven"}, "not_found with proof 2"},
		{"UPDATE repo SET proof = 1, proven_at = 1 WHERE id = " + repo(5), []string{"unproven", "heads"}, "candidate with proof 1"},
		{"UPDATE repo SET state = 0 WHERE id = " + repo(6), []string{"heads"}, did(6) + ": candidate with a head"},
		{"UPDATE repo_head SET rev = -1 WHERE repo_id = " + repo(0), []string{"revs"}, "rev -1, seen none"},
		{"UPDATE repo SET seen_rev = -2 WHERE id = " + repo(7), []string{"revs"}, "rev none, seen -2"},
		{"UPDATE repo SET proof = 3 WHERE id = " + repo(1), []string{"earlier keys"}, did(1) + ": proof 3, earlier keys up to rev none"},
		{"UPDATE identity SET earlier_rev = 0 WHERE repo_id = " + repo(7), []string{"earlier keys"}, "earlier keys up to rev 0"},
		{"UPDATE repo SET status = 'suspended' WHERE id = " + repo(0), []string{"accounts"}, "active, but suspended"},
		{"UPDATE repo SET proven_at = NULL WHERE id = " + repo(3), []string{"proof times"}, did(3)},
		{"DELETE FROM identity WHERE repo_id = " + repo(4), []string{"identities"}, did(4) + ": inactive, but no identity"},
		{"DELETE FROM resync_queue WHERE repo_id = " + repo(3), []string{"queued"}, did(3) + ": state 1"},
		{"DELETE FROM resync_queue WHERE repo_id = " + repo(7), []string{"queued"}, did(7) + ": state 0"},
		{"UPDATE identity SET stale = 1 WHERE repo_id = " + repo(0), []string{"stale identities"}, did(0)},
		{"UPDATE resync_queue SET lease = NULL", []string{"resyncing"}, did(2) + ": resyncing, but leased by nobody"},
		{"DELETE FROM resync_queue WHERE repo_id = " + repo(2), []string{"queued", "resyncing"}, "not in the queue"},
		{"UPDATE resync_queue SET lease = generation + 1 WHERE repo_id = " + repo(2), []string{"queue rows"}, "lease"},
		{"UPDATE resync_queue SET priority = 7 WHERE repo_id = " + repo(3), []string{"queue rows"}, "priority 7"},
		{"UPDATE resync_queue SET reason = 16 WHERE repo_id = " + repo(3), []string{"queue rows"}, "reason 16"},
		{"UPDATE resync_queue SET said = 4, said_times = 1, said_since = 1 WHERE repo_id = " + repo(3), []string{"queue rows"}, "said 4 x 1"},
		{"UPDATE resync_queue SET said = 1, said_since = 1 WHERE repo_id = " + repo(3), []string{"queue rows"}, "said 1 x 0"},
		{"UPDATE resync_queue SET said = 1, said_times = 1 WHERE repo_id = " + repo(3), []string{"queue rows"}, "said 1 x 1"},
		{"UPDATE repo SET proof = 4 WHERE id = " + repo(0), []string{"claims"}, did(0) + ": proof 4"},
		{"UPDATE resync_queue SET host_id = 0 WHERE repo_id = " + repo(3), []string{"queue hosts"}, did(3) + ": host 0, but host 1"},
		{"UPDATE host_queue SET priority = 6, due_at = due_at + 1, better_at = NULL WHERE host_id = 1", []string{"host queues"}, "pds.example.com: a row of priority"},
		{"UPDATE host_queue SET priority = NULL, due_at = NULL, better_at = NULL", []string{"host queues"}, "its head has priority none, is due at no time and is read again at no time"},
		{"UPDATE host_queue SET running = -1 WHERE host_id = 0", []string{"host queues"}, "host 0: -1 attempts"},
		{"DELETE FROM host_queue WHERE host_id = -1", []string{"host queues"}, "host -1: it has no queue"},
		{parked + " WHERE repo_id = " + repo(7), []string{"parked"}, did(7) + ": parked, but its identity is not stale"},
		{parked + " WHERE repo_id = " + repo(7) + "; UPDATE resync_queue SET host_id = 0 WHERE repo_id = " + repo(7) + "; DELETE FROM identity WHERE repo_id = " + repo(7) + "; UPDATE plc_log SET done = 1", []string{"parked"}, "no log is being read"},
		{parked + " WHERE repo_id = " + repo(7) + "; UPDATE resync_queue SET host_id = 0 WHERE repo_id = " + repo(7) + "; DELETE FROM identity WHERE repo_id = " + repo(7) + "; DELETE FROM plc_log", []string{"parked"}, "no log is being read"},
		{parked + ", priority = 3 WHERE repo_id = " + repo(7) + "; UPDATE resync_queue SET host_id = 0 WHERE repo_id = " + repo(7) + "; DELETE FROM identity WHERE repo_id = " + repo(7), []string{"parked"}, "priority 3"},
		{parked + ", lease = generation WHERE repo_id = " + repo(7) + "; UPDATE resync_queue SET host_id = 0 WHERE repo_id = " + repo(7) + "; DELETE FROM identity WHERE repo_id = " + repo(7), []string{"parked"}, "leased"},
		{"UPDATE plc_log SET seen = '[]'", []string{"plc log"}, "seen is no object"},
		{"UPDATE plc_log SET after = 3", []string{"plc log"}, "it has seen bafyb of 3"},
		{"UPDATE plc_log SET seen = json_object('bafyc', 'x')", []string{"plc log"}, "bafyc of x"},
		{"UPDATE plc_log SET done = 2", []string{"plc log"}, "done 2"},
		{"UPDATE plc_log SET form = NULL", []string{"plc log"}, "form unknown, after 1"},
		{"UPDATE plc_log SET form = 'page'", []string{"plc log"}, "form page"},
		{"UPDATE resync_buffer SET repo_id = " + repo(0), []string{"buffer"}, did(0) + ": rev 7, the repo is not resyncing"},
		{"UPDATE resync_buffer SET cid = x'01'", []string{"buffer"}, "not 32 bytes"},
		{"UPDATE resync_buffer SET present = '[', died = '{}'", []string{"buffer"}, "is no list"},
		{series(repostate.MaxBuffered) + "INSERT INTO resync_buffer SELECT repo_id, n + 8, prev, data, cid, present, died FROM resync_buffer, series", []string{"buffer"}, "the last of 257"},
		{"UPDATE membership SET repo_id = 99 WHERE " + row(0, "com.example.b"), []string{"orphans", "listings"}, "membership, repo 99: there is no such repo"},
		{"UPDATE membership SET collection_id = 99 WHERE " + row(1, "com.example.b"), []string{"members", "orphans", "listings"}, "collection 99: there is no such collection"},
		{"INSERT INTO repo_head VALUES (99, 1, zeroblob(32), zeroblob(32))", []string{"orphans"}, "repo_head, repo 99"},
		{"UPDATE identity SET repo_id = 99 WHERE repo_id = " + repo(7), []string{"queue hosts", "orphans"}, "identity, repo 99"},
		{"UPDATE identity SET host_id = 99 WHERE repo_id = " + repo(7), []string{"queue hosts", "orphans"}, "host 99: there is no such host"},
		{"INSERT INTO resync_queue (repo_id, reason, priority, not_before, generation, queued_at, host_id) VALUES (99, 1, 1, 1, 1, 1, 0)", []string{"orphans"}, "resync_queue, repo 99"},
		{"UPDATE resync_buffer SET repo_id = 99", []string{"buffer", "orphans"}, "resync_buffer, repo 99"},
		{"UPDATE membership_change SET repo_id = 99, visible = 0, cause = 2 WHERE seq = 57600000000000", []string{"orphans"}, "membership_change 57600000000000, repo 99"},
		{"UPDATE membership_change SET collection_id = 99, visible = 0, cause = 2 WHERE seq = 57600000000000", []string{"orphans"}, "membership_change 57600000000000, collection 99"},
		{"UPDATE membership_change SET visible = 0, cause = 2 WHERE seq = 57600000000000", []string{"changes"}, "the last one, says visible 0 and the row says 1"},
		{"UPDATE membership_change SET cause = 3 WHERE seq = 57600000000000", []string{"changes"}, "visible 1 by cause 3"},
		{"UPDATE membership_change SET seq = seq + 1000000", []string{"changes"}, "change 57600001000000"},
		{"UPDATE meta SET changes_after = 57600000000000", []string{"changes"}, "change 57600000000000"},
		{"UPDATE collection_hour SET births = births + 1 WHERE collection_id = 0", []string{"hours"}, "listed repos: members 3, by its hours"},
		{"INSERT INTO collection_hour VALUES (99, 1, 1, 0)", []string{"hours"}, "collection 99, hour 1: 1 births, 0 deaths"},
		{"UPDATE collection SET digest = digest + 1 WHERE nsid = 'com.example.b'", []string{"listings"}, "com.example.b: digest"},
		{"DELETE FROM listing_block WHERE collection_id = 0", []string{"listings"}, "listed repos: the blocks have 0 entries, the rows 3"},
		{"UPDATE listing_block SET entries = substr(entries, 1, length(entries) - 1) WHERE collection_id = 0", []string{"listings"}, "malformed block"},
		{"UPDATE listing_block SET first_seq = first_seq + 1000000 WHERE collection_id = 0", []string{"listings"}, "listed repos: the blocks have 3 entries, the rows 3, and they are not the same"},
		{"UPDATE listing_block SET collection_id = 99 WHERE collection_id = 0", []string{"listings"}, "collection 99: blocks of no collection"},
		{"INSERT INTO listing_block (collection_id, first_seq, entries) SELECT collection_id, first_seq + 1, entries FROM listing_block WHERE collection_id = 0", []string{"listings"}, "behind"},
		{"UPDATE membership SET source = 4 WHERE " + row(0, "com.example.b"), []string{"sources"}, did(0) + ": source 4"},
		{"UPDATE repo_head SET data = x'0102' WHERE repo_id = " + repo(0), []string{"digests"}, "data of 2 bytes, cid of 32"},
		{"UPDATE identity SET signing_key = x'E70102' WHERE repo_id = " + repo(0), []string{"keys"}, "signing key E70102"},
		{"UPDATE identity SET signing_key = CAST(x'1234' || substr(signing_key, 3) AS BLOB) WHERE repo_id = " + repo(0), []string{"keys"}, "signing key 1234"},
		{"UPDATE identity SET stale = 2 WHERE repo_id = " + repo(0), []string{"flags"}, "stale 2"},
		{"UPDATE resync_queue SET ask_status = 3, parked = 2 WHERE repo_id = " + repo(3), []string{"flags"}, "parked 2, ask_status 3"},
		{"UPDATE membership SET seq = 0 WHERE " + row(4, "com.example.b"), []string{"flags"}, "seq 0"},
		{"UPDATE upstream SET kind = 'relays'", []string{"flags"}, "kind relays"},
		{"UPDATE crawl SET started_at = NULL", []string{"crawls"}, "crawl of upstream 1: due 0, again 0, cursor c, started never"},
		{"UPDATE crawl SET due_at = NULL", []string{"crawls"}, "crawl of upstream 1: due never"},
		{"UPDATE crawl SET again = 2", []string{"crawls"}, "again 2"},
		{"UPDATE crawl SET due_at = -5", []string{"crawls"}, "due -5"},
		{"UPDATE crawl SET kind = 'host', server_id = 99", []string{"crawls"}, "crawl of host 99: there is no such host"},
		{"UPDATE crawl SET server_id = 99", []string{"crawls"}, "crawl of upstream 99: there is no such upstream"},
		{"UPDATE host SET listed_status = 'banned'; INSERT INTO crawl (kind, server_id, due_at) SELECT 'host', id, 5 FROM host", []string{"crawls"}, "pds.example.com is banned"},
		{"UPDATE repo SET found_host_id = 99 WHERE id = " + repo(8), []string{"found"}, "found at host 99, which is not there"},
		{"INSERT INTO identity SELECT " + repo(8) + ", signing_key, host_id, 1, 0, NULL, NULL FROM identity LIMIT 1", []string{"queue hosts", "found"}, "but its document was seen"},
		{"UPDATE refusal SET sample = '[1,'", []string{"refusals"}, "bad-car: count 1, sample [1,"},
		{"UPDATE refusal SET count = 0", []string{"refusals"}, "count 0"},
		{"DELETE FROM meta", []string{"meta"}, "meta: 0 rows"},
		{"UPDATE meta SET index_id = 'has a dot.x'", []string{"meta"}, "has a dot.x"},
		{"UPDATE repo SET did = 'did:plc:short' WHERE id = " + repo(0), []string{"listings", "dids"}, "did:plc:short: row"},
		{"UPDATE collection SET nsid = 'nodots' WHERE nsid = 'com.example.c'", []string{"nsids"}, "nodots: row"},
		{"UPDATE host SET hostname = 'PDS.example.com'", []string{"hosts"}, "PDS.example.com: row"},
	} {
		t.Run(strings.Join(c.broken, " ")+" "+c.script, func(t *testing.T) {
			path := filled(t)
			raw(t, path, c.script)
			checked, broken, err := reader(t, path).Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var names, rows []string
			for _, v := range broken {
				names, rows = append(names, v.Invariant), append(rows, v.Rows...)
				named[v.Invariant] = true
				if v.Count < int64(len(v.Rows)) || len(v.Rows) == 0 || v.Explanation == "" {
					t.Errorf("violation %+v", v)
				}
			}
			if !slices.Equal(names, c.broken) || checked != len(all) {
				t.Errorf("broken %q of %d, want %q; %q", names, checked, c.broken, rows)
			}
			if !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, c.says) }) {
				t.Errorf("rows %q do not say %q", rows, c.says)
			}
		})
	}
	for name := range all {
		if !named[name] && name != "file" { // TestADamagedFileIsFound
			t.Errorf("nothing breaks %q", name)
		}
	}
}

// invariants returns the explanations of the invariants by their names.
func invariants(t *testing.T) map[string]string {
	t.Helper()
	d := schemaInMemory(t)
	rows, err := db.New(d).Invariants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for _, row := range rows {
		names[row.Name] = row.Explanation
	}
	return names
}

// schemaInMemory makes a file that is no file.
func schemaInMemory(t *testing.T) *sql.DB {
	t.Helper()
	d, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.SetMaxOpenConns(1)
	if _, err := d.Exec(railyard.Schema); err != nil {
		t.Fatal(err)
	}
	return d
}

// viewText returns the SQL of the view of violations without its line breaks.
func viewText(t *testing.T) string {
	t.Helper()
	var text string
	if err := schemaInMemory(t).QueryRow("SELECT sql FROM sqlite_schema WHERE name = 'violation'").Scan(&text); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "\n  --", "")), " ")
}

// Whoever reads the view finds the rules in it, and every SELECT is one's.
func TestTheViewAndTheListOfInvariantsAgree(t *testing.T) {
	text, rules := viewText(t), invariants(t)
	for name, explanation := range rules {
		here := strings.Contains(text, name+": "+explanation+".") && strings.Contains(text, "SELECT '"+name+"'")
		if beyond := beyondSQL[name] != nil || name == "file"; here == beyond {
			t.Errorf("%s: in the view: %t, in Go: %t", name, here, beyond)
		}
	}
	for _, m := range regexp.MustCompile(`SELECT '([a-z ]+)'`).FindAllStringSubmatch(text, -1) {
		if rules[m[1]] == "" {
			t.Errorf("the view has %q, the list has not", m[1])
		}
	}
	if literal := fmt.Sprintf("b.commits > %d", repostate.MaxBuffered); !strings.Contains(text, literal) {
		t.Errorf("the view has another number than the program: %s", literal)
	}
}

// Whoever asks for one invariant does not pay for the others: what has to be stored
// before the rows come would be stored for whatever name is asked for.
func TestNoInvariantIsPreparedForAnother(t *testing.T) {
	for _, step := range planOf(t, schemaInMemory(t), "violation", "SELECT what FROM violation WHERE invariant = 'meta'") {
		if strings.Contains(step, "MATERIALIZE") {
			t.Error(step)
		}
	}
}

// The prompt of sqlite3 lists what the program finds.
func TestTheViewOfViolationsWorksInTheShell(t *testing.T) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not installed")
	}
	path := filled(t)
	list := func() string {
		t.Helper()
		out, err := exec.Command(shell, "-readonly", path, "SELECT * FROM violation").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := list(); out != "" {
		t.Errorf("a sound file: %s", out)
	}
	raw(t, path, "DELETE FROM seq_clock; UPDATE crawl SET again = 2; UPDATE membership_change SET cause = 9; "+
		"UPDATE resync_buffer SET cid = x'01'; UPDATE refusal SET sample = '['; UPDATE meta SET index_id = 'x'")
	_, broken, err := reader(t, path).Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, v := range broken {
		for _, row := range v.Rows {
			fmt.Fprintf(&want, "%s|%s\n", v.Invariant, row)
		}
	}
	if got := list(); len(broken) != 6 || lines(got) != lines(want.String()) {
		t.Errorf("the shell lists\n%s\nthe program\n%s", got, want.String())
	}
}

// lines sorts the lines of a text.
func lines(text string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(text, "\n")), "\n")
}

func TestADamagedFileIsFound(t *testing.T) {
	path := filled(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{9}, 4096+7) // the number of bytes between the cells of page 2
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	_, broken, err := reader(t, path).Check(t.Context())
	if err != nil || len(broken) != 1 || broken[0].Invariant != "file" || !strings.Contains(broken[0].Rows[0], "ragmentation") {
		t.Errorf("broken %+v, error %v", broken, err)
	}
}

func TestAViolationShowsTheFirstRowsAndCountsAll(t *testing.T) {
	path := filled(t)
	raw(t, path, series(50)+"INSERT INTO repo_head SELECT n + 100, 1, zeroblob(32), zeroblob(32) FROM series")
	raw(t, path, series(2*namesAtOnce+50)+"INSERT INTO collection (nsid, first_seen_at) SELECT 'bad' || n, 0 FROM series")
	_, broken, err := reader(t, path).Check(t.Context())
	if err != nil || len(broken) != 2 {
		t.Fatal(broken, err)
	}
	if v := broken[0]; v.Count != 50 || len(v.Rows) != maxOffenders {
		t.Errorf("orphans: %d, %d rows", v.Count, len(v.Rows))
	}
	if v := broken[1]; v.Count != 2*namesAtOnce+50 || len(v.Rows) != maxOffenders {
		t.Errorf("nsids: %d, %d rows", v.Count, len(v.Rows))
	}
}

func TestAReaderReadsBesideTheWriterAndNeverWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := open(t, path)
	rd := reader(t, path)
	if err := s.Update(t.Context(), "test", func(tx *Tx) error {
		_, err := testrepo.Add(tx, did(0))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := rd.View(t.Context(), func(rx *Rx) error {
		r, err := rx.RepoByDID(did(0))
		if r == nil && err == nil {
			err = errors.New("the writer's repo is not there")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if _, err := rd.pool.Exec("DELETE FROM repo"); err == nil {
		t.Error("it wrote")
	}
}

func TestOpenReaderRefuses(t *testing.T) {
	script := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { raw(t, path, text) }
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    error
	}{
		"a file that is not there":   {func(*testing.T, string) {}, fs.ErrNotExist},
		"an empty file":              {func(_ *testing.T, path string) { _ = os.WriteFile(path, nil, 0o600) }, ErrForeign},
		"another application's file": {script("CREATE TABLE a (b); PRAGMA application_id=7"), ErrForeign},
		"what is no database": {func(_ *testing.T, path string) {
			_ = os.WriteFile(path, []byte(strings.Repeat("not a database, ", 100)), 0o600)
		}, ErrForeign},
		"a newer version": {script(fmt.Sprintf("CREATE TABLE a (b); PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, schemaVersion+1)), ErrNewer},
		"a former schema": {script(fmt.Sprintf("CREATE TABLE a (b); PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, firstSchema-1)), ErrFormer},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			c.prepare(t, path)
			before, _ := os.ReadFile(path)
			rd, err := OpenReader(t.Context(), path)
			if !errors.Is(err, c.want) || rd != nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if after, _ := os.ReadFile(path); !slices.Equal(before, after) {
				t.Error("the file was changed")
			}
			if _, err := os.Stat(path); errors.Is(c.want, fs.ErrNotExist) && err == nil {
				t.Error("the file was made")
			}
		})
	}
}
