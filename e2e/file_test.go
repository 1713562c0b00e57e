//go:build e2e

package e2e

import (
	"database/sql"
	"fmt"
	"net/url"
	"testing"

	_ "modernc.org/sqlite"
)

// requireFileEquals reads the file of a running service as a person with the
// sqlite3 tool would, and compares its view with the truth.
func requireFileEquals(t *testing.T, path string, want truth) {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var diff []string
	for _, c := range want.Written {
		got, err := reposInFile(t, db, c)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		diff = append(diff, diffSets(fmt.Sprintf("[%s]", c), want.withoutTombstones(got), want.members(c))...)
	}
	if len(diff) > 0 {
		show(t, diff)
		t.Fatalf("%s is not what the service serves", path)
	}
}

func reposInFile(t *testing.T, db *sql.DB, collection string) ([]string, error) {
	rows, err := db.QueryContext(t.Context(), "SELECT did FROM repos_by_collection WHERE nsid = ?", collection)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var dids []string
	for rows.Next() {
		var did string
		if err := rows.Scan(&did); err != nil {
			return nil, err
		}
		dids = append(dids, did)
	}
	return dids, rows.Err()
}
