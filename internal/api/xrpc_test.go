package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

const (
	listReposPath = "/xrpc/com.atproto.sync.listRepos"
	statusPath    = "/xrpc/com.atproto.sync.getRepoStatus"
	latestPath    = "/xrpc/com.atproto.sync.getLatestCommit"
	listHostsPath = "/xrpc/com.atproto.sync.listHosts"
	hostPath      = "/xrpc/com.atproto.sync.getHostStatus"

	zeroCID = "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// answered asks and returns the body of an answer.
func (x *index) answered(target string) string {
	x.Helper()
	w := x.ask("GET", target)
	if w.Code != http.StatusOK {
		x.Fatalf("%s: status %d: %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestRepoStatusIsThatOfTheLexicon(t *testing.T) {
	x := newIndex(t)
	x.populate()
	rev := func(n int64) string { return atproto.TID(n).String() }
	for n, want := range map[int]string{
		1:  `"active":true,"rev":"` + rev(1) + `"`,
		3:  `"active":false,"status":"deactivated"`,
		4:  `"active":false,"status":"takendown"`,
		5:  `"active":false,"status":"suspended"`,
		6:  `"active":false`,
		7:  `"active":false,"status":"deleted"`,
		8:  `"active":false`,
		9:  `"active":true,"status":"desynchronized","rev":"` + rev(9) + `"`,
		10: `"active":true,"status":"desynchronized"`,
	} {
		if got := x.answered(statusPath + "?did=" + didOf(n)); got != `{"did":"`+didOf(n)+`",`+want+`}` {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	message := x.refused(x.ask("GET", statusPath+"?did="+didOf(11)), 404, "RepoNotFound")
	if !strings.Contains(message, didOf(11)) {
		t.Errorf("message %q", message)
	}
}

func TestTheLatestCommitIsOurHeadOrOneOfTheNamedErrors(t *testing.T) {
	x := newIndex(t)
	x.populate()
	for n, want := range map[int]string{1: "", 2: "", 9: "", 3: "RepoDeactivated", 4: "RepoTakendown", 5: "RepoSuspended",
		6: "RepoNotFound", 7: "RepoNotFound", 8: "RepoNotFound", 10: "RepoNotFound", 11: "RepoNotFound"} {
		target := latestPath + "?did=" + didOf(n)
		switch want {
		case "":
			if got := x.answered(target); got != `{"cid":"`+zeroCID+`","rev":"`+atproto.TID(n).String()+`"}` {
				t.Errorf("%d: %s", n, got)
			}
		case "RepoNotFound":
			x.refused(x.ask("GET", target), 404, want)
		default:
			x.refused(x.ask("GET", target), 403, want)
		}
	}
}

func TestQueriesAboutOneRepoRefuseWhatIsNoDID(t *testing.T) {
	x := newIndex(t)
	for _, path := range []string{statusPath, latestPath} {
		for _, query := range []string{
			"", "?did=", "?did=x", "?did=did:plc:short", "?did=did:key:zQ3sh", "?did=" + strings.ToUpper(didOf(1)), "?did=" + didOf(1) + "%00",
			"?did=%ff", "?did=%zz", "?did=" + didOf(1) + "&did=" + didOf(1), "?did=did:web:" + strings.Repeat("a", 5000), "?DID=" + didOf(1),
			"?did=" + didOf(1) + ";did=x",
		} {
			message := x.refused(x.ask("GET", path+query), 400, "InvalidRequest")
			if !strings.Contains(message, "did") && !strings.Contains(message, "query") || len(message) > 300 {
				t.Errorf("%s%.80s: message %q", path, query, message)
			}
		}
		x.refused(x.ask("POST", path+"?did="+didOf(1)), 405, "InvalidRequest")
	}
}

// rows asks for one page of listRepos or listHosts, and checks its cursor.
func rows[R any](x *index, target string) (list []R, cursor string) {
	x.Helper()
	var answer struct {
		Repos, Hosts []R
		Cursor       *string
	}
	if err := json.Unmarshal([]byte(x.answered(target)), &answer); err != nil {
		x.Fatal(err)
	}
	list = append(answer.Repos, answer.Hosts...)
	if (answer.Cursor != nil) != (len(list) > 0) {
		x.Fatalf("%s: %d rows, cursor %v", target, len(list), answer.Cursor)
	}
	if answer.Cursor != nil {
		cursor = *answer.Cursor
	}
	return list, cursor
}

func TestListReposHasEveryHeadOnce(t *testing.T) {
	x := newIndex(t)
	x.populate()
	want := []knownRepo{
		{DID: didOf(1), Active: true}, {DID: didOf(2), Active: true},
		{DID: didOf(3), Status: "deactivated"}, {DID: didOf(4), Status: "takendown"}, {DID: didOf(5), Status: "suspended"},
		{DID: didOf(6)}, {DID: didOf(8)}, {DID: didOf(9), Active: true, Status: "desynchronized"},
	}
	for i, n := range []int64{1, 2, 3, 4, 5, 6, 8, 9} {
		want[i].Head, want[i].Rev = zeroCID, atproto.TID(n).String()
	}
	var walked []knownRepo
	for cursor := ""; ; {
		page, next := rows[knownRepo](x, listReposPath+"?limit=3&cursor="+cursor)
		if len(page) == 0 {
			break
		}
		if len(page) > 3 {
			t.Fatalf("%d repos on a page of 3", len(page))
		}
		walked, cursor = append(walked, page...), next
	}
	all, last := rows[knownRepo](x, listReposPath)
	if !slices.Equal(walked, want) || !slices.Equal(all, want) {
		t.Errorf("by pages %+v\nat once %+v\nwant %+v", walked, all, want)
	}
	x.reactivate(didOf(3), posts) // known long since
	x.establish(didOf(12), posts)
	x.establish(didOf(10), posts)
	x.establish(didOf(13), posts)
	var dids []string
	page, _ := rows[knownRepo](x, listReposPath+"?cursor="+last)
	for _, r := range page {
		dids = append(dids, r.DID)
	}
	if !slices.Equal(dids, []string{didOf(10), didOf(12), didOf(13)}) {
		t.Errorf("behind the last cursor come %q", dids)
	}
}

func TestListHostsSaysWhatWasMetThere(t *testing.T) {
	x := newIndex(t)
	listed := map[string]string{"asked.example.com": "idle", "cool.example.com": "active", "down.example.com": "active",
		"banned.example.com": "banned", "odd.example.com": "on holiday", "silent.example.com": ""}
	x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error {
		for _, name := range []string{"asked.example.com", "cool.example.com", "down.example.com", "banned.example.com", "odd.example.com", "silent.example.com"} {
			id, err := tx.ListHost(name, false, listed[name])
			if err != nil {
				return err
			}
			switch began := tx.Now(); name {
			case "asked.example.com":
				err = tx.HostAnswered(id.Server)
			case "cool.example.com":
				if err = tx.HostAnswered(id.Server); err == nil {
					err = tx.CoolHost(id.Server, tx.Now().Add(time.Hour))
				}
			case "down.example.com":
				for n := range 10 {
					if _, err = tx.HostFailed(id.Server, 0, began.Add(time.Duration(n)*time.Minute), "no answer"); err != nil {
						return err
					}
				}
			}
			if err != nil {
				return err
			}
		}
		_, err := testrepo.SetIdentity(tx, r, "\xe7\x01\x02"+strings.Repeat("k", 32), "cool.example.com", false)
		return err
	})
	want := []string{
		`{"hostname":"asked.example.com","accountCount":0,"status":"active"}`,
		`{"hostname":"cool.example.com","accountCount":1,"status":"throttled"}`,
		`{"hostname":"down.example.com","accountCount":0,"status":"offline"}`,
		`{"hostname":"banned.example.com","accountCount":0,"status":"banned"}`,
		`{"hostname":"odd.example.com","accountCount":0}`,
		`{"hostname":"silent.example.com","accountCount":0}`,
	}
	var got []string
	for cursor := ""; ; {
		page, next := rows[json.RawMessage](x, listHostsPath+"?limit=4&cursor="+cursor)
		if len(page) == 0 {
			break
		}
		for _, h := range page {
			got = append(got, string(h))
		}
		cursor = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	for i, name := range []string{"asked.example.com", "COOL.example.com.", "down.example.com:443"} {
		if got := x.answered(hostPath + "?hostname=" + name); got != want[i] {
			t.Errorf("%s: %s, want %s", name, got, want[i])
		}
	}
}

func TestHostStatusRefusesWhatIsNoHost(t *testing.T) {
	x := newIndex(t)
	x.refused(x.ask("GET", hostPath+"?hostname=nobody.example.com"), 404, "HostNotFound")
	for _, query := range []string{
		"", "?hostname=", "?hostname=a", "?hostname=https://pds.example.com", "?hostname=pds.example.com:2583", "?hostname=127.0.0.1",
		"?hostname=localhost", "?hostname=a.example.com&hostname=a.example.com", "?hostname=a%00.example.com", "?hostname=%ff.com",
		"?hostname=" + strings.Repeat("a", 5000), "?hostname=a.example.com/path", "?hostname=u@a.example.com", "?host=a.example.com",
	} {
		message := x.refused(x.ask("GET", hostPath+query), 400, "InvalidRequest")
		if !strings.Contains(message, "hostname") || len(message) > 300 {
			t.Errorf("%.80s: message %q", query, message)
		}
	}
}

func TestLimitsOfTheLexicons(t *testing.T) {
	x := newIndex(t)
	for n := range 600 {
		x.change(didOf(n), func(tx *store.Tx, r *repostate.Repo) error {
			_, err := tx.ListHost("h"+didOf(n)[8:]+".example.com", false, "active")
			return err
		})
		x.establish(didOf(n), posts)
	}
	for _, c := range []struct {
		path     string
		standard int
	}{{listReposPath, 500}, {listHostsPath, 200}} {
		for query, want := range map[string]int{"": c.standard, "?limit=": c.standard, "?limit=1": 1, "?limit=1000": 600} {
			if got, _ := rows[json.RawMessage](x, c.path+query); len(got) != want {
				t.Errorf("%s%s: %d rows, want %d", c.path, query, len(got), want)
			}
		}
		for _, limit := range []string{"0", "1001", "-1", "x", "1.5", "1e3", "+%201", "99999999999999999999", "1&limit=2"} {
			message := x.refused(x.ask("GET", c.path+"?limit="+limit), 400, "InvalidRequest")
			if !strings.Contains(message, "limit") {
				t.Errorf("%s: message %q", limit, message)
			}
		}
	}
}

// A cursor of another index begins anew: row ids there name other rows. What is no cursor
// of the method is refused, also one of another method of this index.
func TestCursorsOfRowsAreThoseOfTheirMethod(t *testing.T) {
	x, other := newIndex(t), newIndex(t)
	for _, x := range []*index{x, other} {
		x.populate()
	}
	for _, path := range []string{listReposPath, listHostsPath} {
		_, own := rows[json.RawMessage](x, path+"?limit=1")
		_, foreign := rows[json.RawMessage](other, path+"?limit=1")
		first, _ := rows[json.RawMessage](x, path)
		if again, _ := rows[json.RawMessage](x, path+"?cursor="+foreign); len(again) != len(first) {
			t.Errorf("%s: %d rows behind a foreign cursor, %d from the beginning", path, len(again), len(first))
		}
		if rest, _ := rows[json.RawMessage](x, path+"?cursor="+own); len(rest) != len(first)-1 {
			t.Errorf("%s: %d rows behind the first of %d", path, len(rest), len(first))
		}
		_, ofListing := x.page("", 1, posts)
		for _, bad := range []string{
			ofListing, map[string]string{listReposPath: listHostsPath, listHostsPath: listReposPath}[path], "0", "17", didOf(1), "x",
			own + "0000000000000000000", strings.ToUpper(own), own + "%00", own + "%0a", own[1:], own + "&cursor=" + own, strings.Repeat("a", 9000),
			strings.Replace(own, ".r", ".x", 1) + "x", own[:13] + ".r-1", own[:13] + ".r", own[:13] + ".h+1",
			strings.NewReplacer(".r", ".h", ".h", ".r").Replace(own),
		} {
			message := x.refused(x.ask("GET", path+"?cursor="+bad), 400, "InvalidRequest")
			if !strings.Contains(message, "cursor") || len(message) > 300 {
				t.Errorf("%.80s: message %q", bad, message)
			}
		}
	}
	if got := x.metric("railyard_foreign_cursors_total"); got != "2" {
		t.Errorf("%s foreign cursors were counted, want 2", got)
	}
}
