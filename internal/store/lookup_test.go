package store

import (
	"database/sql"
	"maps"
	"strconv"
	"testing"

	"railyard/internal/repostate"
)

// What the file says of its numbers is what the program takes them for.
func TestLookupTablesNameTheConstants(t *testing.T) {
	d := schemaInMemory(t)
	same := func(query string, want map[int64]string) {
		t.Helper()
		if got := pairs(t, d, query); !maps.Equal(got, want) {
			t.Errorf("%s: %v, the program has %v", query, got, want)
		}
	}
	same("SELECT id, name FROM repo_state", words(Candidate, Desynchronized, Resyncing, Synchronized, NotFound))
	same("SELECT id, name FROM proof", words(ProofTree, ProofProbe, ProofOldKey, ProofClaim))
	same("SELECT id, name FROM membership_source", words(SourceCommit, SourceResync, Source(3)))
	same("SELECT id, name || ', visible ' || visible FROM change_cause", map[int64]string{
		int64(birth): "birth, visible 1", int64(death): "death, visible 0",
		int64(becameInactive): "account inactive, visible 0",
		int64(becameActive):   "account active again or repo found again, visible 1",
		int64(becameNew):      "repo new, visible 1",
		int64(becameNotFound): "repo not found, visible 0",
	})
	same("SELECT id, name FROM resync_priority", map[int64]string{
		repostate.PriorityLive: "live", repostate.PriorityCheck: "check", repostate.PriorityFirstSight: "first-sight",
		repostate.PriorityBackfill: "backfill", repostate.PriorityRetry: "retry", repostate.PriorityBackground: "background",
	})
	reasons := []Reason{Discontinuity, Unprovable, Rotated, SyncEvent, Reactivated, IdentityCheck, StatusCheck, FirstSight,
		Backfill, NotFoundAgain, MissedRev, Prove, Reason(13), Audit, Refresh}
	same("SELECT id, name FROM resync_reason", words(reasons...))
	priorities := make(map[int64]string)
	for _, r := range reasons {
		priorities[int64(r)] = strconv.FormatInt(r.Priority(), 10)
	}
	same("SELECT id, CAST(priority AS TEXT) FROM resync_reason", priorities)
	same("SELECT id, name FROM statement", map[int64]string{
		int64(repostate.NoSuchRepo): "no such repo", int64(repostate.NoSuchDID): "no such DID", int64(repostate.OlderRev): "older rev",
	})
}

// words returns the names of constants by their numbers.
func words[C interface {
	~int64
	String() string
}](constants ...C) map[int64]string {
	names := make(map[int64]string)
	for _, c := range constants {
		names[int64(c)] = c.String()
	}
	return names
}

func pairs(t *testing.T, d *sql.DB, query string) map[int64]string {
	t.Helper()
	rows, err := d.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	found := make(map[int64]string)
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			t.Fatal(err)
		}
		found[id] = name
	}
	return found
}
