package sim

import (
	"database/sql"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/test/simnet"
)

// The relay lists nobody: it has followed its hosts since a moment ago. The deep
// crawl finds every account at its host all the same.
func TestADeepCrawlFindsWhatTheRelayDoesNotList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: 3, PDS: 2, Accounts: 30, Records: 10, Relay: true, Start: time.Now()})
		s.net.SetHook("relay", simnet.Hook{HTTP: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, ".listRepos") {
				return false
			}
			_, _ = io.WriteString(w, `{"repos":[]}`)
			return true
		}})
		s.configure = func(c *daemon.Config) { c.Crawl = daemon.Deep }
		r := s.start("deep.db", s.upstreams(0)...)
		time.Sleep(time.Minute)
		r.settle("relay")
		r.same()

		r.end()
		d, err := sql.Open("sqlite", r.file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		var crawled int
		if err := d.QueryRow("SELECT count(*) FROM crawls WHERE finished IS NOT NULL AND server GLOB 'pds*' AND candidates = 0").Scan(&crawled); err != nil {
			t.Fatal(err)
		}
		if crawled != 2 {
			t.Errorf("%d hosts are crawled and have proven right, want 2", crawled)
		}
	})
}
