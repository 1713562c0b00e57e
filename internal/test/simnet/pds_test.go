package simnet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
)

// plugged is a network with servers on pipes and a client that reaches them.
type plugged struct {
	*Network
	pipes  *Pipes
	client *http.Client
}

func plug(t testing.TB, cfg Config) *plugged {
	t.Helper()
	pipes := NewPipes()
	cfg.Listen = pipes.Listen
	p := &plugged{Network: quiet(t, cfg), pipes: pipes}
	transport := &http.Transport{DialContext: pipes.Dial}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (p *plugged) ask(t testing.TB, method, address string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, body}
}

func (p *plugged) get(t testing.TB, base, rest string) reply {
	t.Helper()
	return p.ask(t, http.MethodGet, base+rest)
}

// words puts an answer into the words of the tables of real servers.
func (r reply) words() string {
	var refused struct{ Error, Message string }
	if r.status >= 400 && json.Unmarshal(r.body, &refused) == nil {
		return fmt.Sprintf("%d %s %s", r.status, refused.Error, refused.Message)
	}
	return fmt.Sprint(r.status)
}

func (r reply) json(t testing.TB, into any) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

func (r reply) car(t testing.TB) *archive {
	t.Helper()
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/vnd.ipld.car" {
		t.Fatalf("status %d, %s: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	return readCAR(t, r.body)
}

func TestPDSAnswersByTheStateOfTheAccount(t *testing.T) {
	p := plug(t, Config{Seed: 1, PDS: 2})
	make := func(change func(did string) error) string {
		did := p.mustCreate(t, 0)
		do(t, p.Create(did, "net.rails.yard/a"), p.Create(did, "net.rails.yard.track/a"))
		if change != nil {
			do(t, change(did))
		}
		return did
	}
	states := []struct{ name, did string }{
		{"active", make(nil)},
		{"deactivated", make(p.Deactivate)},
		{"taken down", make(p.Takedown)},
		{"suspended", make(p.Suspend)},
		{"deleted", make(p.DeleteAccount)},
		{"tombstoned", make(p.Tombstone)},
		{"elsewhere", p.mustCreate(t, 1)},
		{"unknown", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"},
	}
	const (
		asleep    = "400 RepoDeactivated Repo has been deactivated: "
		taken     = "400 RepoTakendown Repo has been takendown: "
		suspended = "400 RepoSuspended Repo has been suspended: "
		missing   = "400 RepoNotFound Could not find repo for DID: "
	)
	refusals := []string{"200", asleep, taken, suspended, missing, "200", missing, missing}
	rows := []struct {
		query string
		want  []string
	}{
		{"com.atproto.repo.describeRepo?repo=", refusals},
		{"com.atproto.sync.getRepo?did=", refusals},
		{"com.atproto.sync.getLatestCommit?did=", refusals},
		{"com.atproto.sync.getRecord?collection=net.rails.yard&rkey=a&did=", refusals},
		{"com.atproto.sync.getRecord?collection=net.rails.none&rkey=a&did=", refusals},
		{"com.atproto.sync.getRepoStatus?did=", []string{"200", "200", "200", "200", missing, "200", missing, missing}},
	}
	for _, row := range rows {
		for i, state := range states {
			want := row.want[i]
			if want != "200" {
				want += state.did
			}
			if got := p.get(t, p.PDS(0), "/xrpc/"+row.query+state.did).words(); got != want {
				t.Errorf("%s, %s: %q, want %q", row.query, state.name, got, want)
			}
		}
	}
	wantStatus := []string{"", "deactivated", "takendown", "suspended", "", ""}
	for i, state := range states[:6] {
		if i == 4 {
			continue // deleted: refused above
		}
		var s repoStatus
		p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepoStatus?did="+state.did).json(t, &s)
		if s.Status != wantStatus[i] || s.Active != (wantStatus[i] == "") || (s.Rev != "") != s.Active || s.DID != state.did {
			t.Errorf("getRepoStatus, %s: %+v", state.name, s)
		}
	}
	var page repoPage
	p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	var listed []string
	for _, r := range page.Repos {
		listed = append(listed, r.DID+" "+r.Status)
		if r.Active != (r.Status == "") {
			t.Errorf("listRepos: %+v", r)
		}
	}
	var want []string
	for i, state := range states[:6] {
		if i != 4 {
			want = append(want, state.did+" "+wantStatus[i])
		}
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("listRepos: %v, want %v", listed, want)
	}
}

func TestPDSRefusesMalformedRequestsInTheWordsOfTheReferencePDS(t *testing.T) {
	p := plug(t, Config{Seed: 1, Accounts: 2})
	did := p.DIDs()[0]
	do(t, p.Deactivate(p.DIDs()[1]))
	rows := []struct{ method, query, want string }{
		{"GET", "com.atproto.repo.describeRepo", `400 InvalidRequest Invalid com.atproto.repo.describeRepo params: Missing required key "repo"`},
		{"GET", "com.atproto.repo.describeRepo?repo=", `400 InvalidRequest Invalid com.atproto.repo.describeRepo params: Missing required key "repo"`},
		{"GET", "com.atproto.repo.describeRepo?repo=account-0.sim.test", "200"},
		{"GET", "com.atproto.repo.describeRepo?repo=account-1.sim.test", "400 RepoDeactivated Repo has been deactivated: account-1.sim.test"},
		{"GET", "com.atproto.repo.describeRepo?repo=nobody.test", "400 RepoNotFound Could not find repo for DID: nobody.test"},
		{"GET", "com.atproto.repo.describeRepo?repo=not%20a%20did", `400 InvalidRequest Invalid com.atproto.repo.describeRepo params: Invalid AT identifier (got "not a did")`},
		{"GET", "com.atproto.repo.describeRepo?repo=did:web:localhost", "400 RepoNotFound Could not find repo for DID: did:web:localhost"},
		{"GET", "com.atproto.sync.getRepo?did=nonsense", `400 InvalidRequest Invalid com.atproto.sync.getRepo params: Invalid DID (got "nonsense")`},
		{"GET", "com.atproto.sync.getRepo?did=did:plc:tooshort", "400 RepoNotFound Could not find repo for DID: did:plc:tooshort"},
		{"GET", "com.atproto.sync.getRepo?did=" + did + "&since=nonsense", `400 InvalidRequest Invalid com.atproto.sync.getRepo params: Invalid TID string (got "nonsense")`},
		{"GET", "com.atproto.sync.getRecord?did=" + did + "&collection=nodots&rkey=x", `400 InvalidRequest Invalid com.atproto.sync.getRecord params: Invalid NSID (got "nodots")`},
		{"GET", "com.atproto.sync.getRecord?did=" + did + "&collection=com.example.thing&rkey=a/b", `400 InvalidRequest Invalid com.atproto.sync.getRecord params: Invalid record key (got "a/b")`},
		{"GET", "com.atproto.sync.getRecord?did=" + did + "&collection=com.example.thing", `400 InvalidRequest Invalid com.atproto.sync.getRecord params: Missing required key "rkey"`},
		{"GET", "com.atproto.sync.listRepos?limit=0", "400 InvalidRequest Invalid com.atproto.sync.listRepos params: integer too small (minimum 1, got 0)"},
		{"GET", "com.atproto.sync.listRepos?limit=1", "200"},
		{"GET", "com.atproto.sync.listRepos?limit=1001", "400 InvalidRequest Invalid com.atproto.sync.listRepos params: integer too big (maximum 1000, got 1001)"},
		{"GET", "com.atproto.sync.listRepos?limit=abc", `400 InvalidRequest Invalid com.atproto.sync.listRepos params: Expected integer value type (got "abc")`},
		{"GET", "com.atproto.sync.listRepos?cursor=nonsense", "400 InvalidRequest Malformed cursor"},
		{"GET", "com.atproto.sync.listRepos?cursor=0::", "400 InvalidRequest Malformed cursor"},
		{"GET", "com.atproto.sync.listRepos?cursor=1::did:plc:a::b", "400 InvalidRequest Malformed cursor"},
		{"POST", "com.atproto.sync.listRepos", "400 InvalidRequest Incorrect HTTP method (POST) expected GET"},
		{"HEAD", "com.atproto.sync.listRepos", "200"},
		{"GET", "com.atproto.sync.subscribeRepos", "400 InvalidRequest No service configured for com.atproto.sync.subscribeRepos"},
		{"GET", "com.atproto.sync.listHosts", "400 InvalidRequest No service configured for com.atproto.sync.listHosts"},
		{"GET", "com.atproto.sync.listReposByCollection?collection=com.example.thing", "400 InvalidRequest No service configured for com.atproto.sync.listReposByCollection"},
		{"POST", "com.atproto.sync.requestCrawl", "400 InvalidRequest No service configured for com.atproto.sync.requestCrawl"},
		{"GET", "", "400 InvalidRequest invalid xrpc path"},
		{"GET", "a..b", "400 InvalidRequest invalid xrpc path"},
		{"POST", "_health", "400 InvalidRequest invalid xrpc path"},
		{"GET", "nonsense", "400 InvalidRequest No service configured for nonsense"},
		{"GET", "com.atproto.server.describeServer", "200"},
		{"GET", "_health", "200"},
	}
	for _, row := range rows {
		if got := p.ask(t, row.method, p.PDS(0)+"/xrpc/"+row.query).words(); got != row.want {
			t.Errorf("%s %s:\n got %s\nwant %s", row.method, row.query, got, row.want)
		}
	}
}

func TestGetRepoHoldsTheWholeTreeAndGetLatestCommitItsHead(t *testing.T) {
	p := plug(t, Config{Seed: 2, Accounts: 5})
	live(t, p.Network, 200)
	p.mustCreate(t, 0) // an empty repo
	for _, did := range p.DIDs() {
		s, err := p.Repo(did)
		if err != nil {
			t.Fatal(err)
		}
		if s.Status != "" {
			continue
		}
		car := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t)
		c := car.commit(t)
		if car.root != s.Commit || c["rev"] != s.Rev.String() || c["data"] != s.Data {
			t.Errorf("%s: commit %v, want %+v", did, c, s)
		}
		values := map[string]atproto.Digest{}
		walked, _ := car.walk(t, s.Data, values)
		if !slices.Equal(walked, p.Paths(did)) {
			t.Errorf("%s: %d keys, want %d", did, len(walked), s.Records)
		}
		for path, cid := range values {
			if car.blocks[cid] == nil {
				t.Errorf("%s: the record of %s is missing", did, path)
			}
		}
		var head struct{ CID, Rev string }
		p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getLatestCommit?did="+did).json(t, &head)
		if head.CID != s.Commit.String() || head.Rev != s.Rev.String() {
			t.Errorf("%s: head %+v, want %+v", did, head, s)
		}
		var described struct {
			Handle, DID     string
			Collections     []string
			HandleIsCorrect bool
			DIDDoc          document
		}
		p.get(t, p.PDS(0), "/xrpc/com.atproto.repo.describeRepo?repo="+did).json(t, &described)
		if described.DID != did || described.Handle != s.Handle || !described.HandleIsCorrect || described.DIDDoc.ID != did ||
			!slices.Equal(described.Collections, s.Collections) || described.Collections == nil {
			t.Errorf("describeRepo: %+v, want %+v", described, s)
		}
	}
}

func TestGetRepoSinceGivesWhatWasWrittenLater(t *testing.T) {
	p := plug(t, Config{Seed: 2})
	did := p.mustCreate(t, 0)
	for i := range 30 {
		do(t, p.Create(did, fmt.Sprintf("net.rails.yard/%d", i)))
	}
	before, _ := p.Repo(did)
	do(t, p.Create(did, "net.rails.yard.track/a"))
	all := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did).car(t)
	later := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did+"&since="+before.Rev.String()).car(t)
	if len(later.order) < 3 || len(later.order) > len(all.order)/2 {
		t.Errorf("%d blocks since, %d in all", len(later.order), len(all.order))
	}
	if !slices.Equal(later.order, all.order[:len(later.order)]) {
		t.Error("the newest blocks do not come first")
	}
	now, _ := p.Repo(did)
	none := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did="+did+"&since="+now.Rev.String()).car(t)
	if len(none.order) != 0 || none.root != now.Commit {
		t.Errorf("since the current rev: root %v and %d blocks", none.root, len(none.order))
	}
}

func TestGetRecordProvesPresenceAndAbsence(t *testing.T) {
	p := plug(t, Config{Seed: 2, Records: 400})
	did := p.mustCreate(t, 0)
	var writes []Write
	for i := range 150 {
		writes = append(writes, Write{Action: Create, Path: fmt.Sprintf("net.rails.c%d/%d", i%7, i)})
	}
	empty := p.mustCreate(t, 0)
	do(t, p.Apply(did, writes...))
	all := p.Paths(did)
	ask := func(did, path string) *archive {
		collection, rkey, _ := strings.Cut(path, "/")
		q := url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}}
		return p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRecord?"+q.Encode()).car(t)
	}
	absent := []string{"A.A.A/-", "net.rails.c3/none", "net.rails.c3/" + strings.Repeat("~", 512), "net.rails.none/a", "zz.zz.zz/z"}
	for i, path := range slices.Concat(all[:20], absent) {
		car := ask(did, path)
		if car.order[0] != car.root || car.kind(t, car.order[0]) != "commit" {
			t.Fatalf("%s: the commit is not the first block", path)
		}
		values := map[string]atproto.Digest{}
		walked, _ := car.walk(t, car.commit(t)["data"].(atproto.Digest), values)
		cid, found := values[path]
		if i < 20 {
			if !found || car.order[1] != cid {
				t.Errorf("%s: not proven to be there, or its record is not second", path)
			}
			continue
		}
		if found || !shows(walked, all, path) || car.kind(t, car.order[1]) != "node" {
			t.Errorf("%s: not proven to be absent", path)
		}
	}
	if car := ask(empty, "A.A.A/-"); len(car.order) != 2 {
		t.Errorf("empty repo: %d blocks, want 2", len(car.order))
	}
}

func TestListReposPagesThroughEveryAccountOnce(t *testing.T) {
	p := plug(t, Config{Seed: 2, Accounts: 25, PDS: 2, Records: 8})
	for _, size := range []int{1, 3, 13, 500} {
		var dids []string
		pages, cursor := 0, ""
		for {
			var page repoPage
			p.get(t, p.PDS(0), fmt.Sprintf("/xrpc/com.atproto.sync.listRepos?limit=%d&cursor=%s", size, url.QueryEscape(cursor))).json(t, &page)
			if (page.Cursor == "") != (len(page.Repos) == 0) || len(page.Repos) > size {
				t.Fatalf("page of %d with cursor %q", len(page.Repos), page.Cursor)
			}
			if len(page.Repos) == 0 {
				break
			}
			for _, r := range page.Repos {
				s, _ := p.Repo(r.DID)
				if r.Head != s.Commit.String() || r.Rev != s.Rev.String() || s.PDS != "pds1.sim.test" {
					t.Errorf("%+v, want %+v", r, s)
				}
				dids = append(dids, r.DID)
			}
			cursor = page.Cursor
			pages++
		}
		slices.Sort(dids)
		if len(slices.Compact(dids)) != 13 || pages != (13+size-1)/size {
			t.Errorf("limit %d: %d accounts in %d pages", size, len(dids), pages)
		}
	}
}

func TestDirectoryNamesKeyAndHost(t *testing.T) {
	p := plug(t, Config{Seed: 2, Accounts: 9, PDS: 2, Records: 8})
	for i, did := range p.DIDs() {
		var d document
		r := p.get(t, p.PLC(), "/"+did)
		r.json(t, &d)
		if !strings.HasPrefix(r.header.Get("Content-Type"), "application/did+ld+json") {
			t.Errorf("content type %s", r.header.Get("Content-Type"))
		}
		host, _, err := (atproto.Hosts{AllowPrivate: true}).Endpoint(d.Services[0].Endpoint)
		if err != nil || host != fmt.Sprintf("pds%d.sim.test", i%2+1) {
			t.Errorf("%s: host %q (%v)", did, host, err)
		}
		prefix, suite := "zQ3s", "secp256k1-2019"
		if i == 5 {
			prefix, suite = "zDn", "ecdsa-2019"
		}
		if len(d.Context) != 3 || !strings.Contains(d.Context[2], suite) {
			t.Errorf("%s: context %v, want %s", did, d.Context, suite)
		}
		m := d.Methods[0]
		if d.ID != did || m.ID != did+"#atproto" || m.Controller != did || m.Type != "Multikey" || !strings.HasPrefix(m.Key, prefix) {
			t.Errorf("%s: %+v", did, d)
		}
	}
	did := p.DIDs()[0]
	key := func() string {
		var d document
		p.get(t, p.PLC(), "/"+did).json(t, &d)
		return d.Methods[0].Key
	}
	before := key()
	do(t, p.RotateKey(did), p.ChangeHandle(did, "other.sim.test"))
	if key() == before {
		t.Error("the key is the same after a rotation")
	}
	var log []logEntry
	p.get(t, p.PLC(), "/"+did+"/log/audit").json(t, &log)
	if len(log) != 3 || log[0].Operation.Methods["atproto"] != "did:key:"+before || log[2].Operation.AlsoKnownAs[0] != "at://other.sim.test" {
		t.Errorf("audit log %+v", log)
	}
	for what, did := range map[string]string{"registered": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "available": did} {
		if what == "available" {
			do(t, p.Tombstone(did))
		}
		r := p.get(t, p.PLC(), "/"+did)
		if want := `{"message":"DID not ` + what + ": " + did + `"}`; r.status != http.StatusNotFound || string(r.body) != want {
			t.Errorf("%d %s, want %s", r.status, r.body, want)
		}
	}
	if _, found := p.Truth()[did]; found {
		t.Error("a tombstoned DID is in the truth")
	}
}

func TestRelaySpeaksForActiveAccountsAndSendsClientsToThePDS(t *testing.T) {
	p := plug(t, Config{Seed: 2, PDS: 3, Relay: true})
	var dids []string
	for i := range 6 {
		dids = append(dids, p.mustCreate(t, i%3))
	}
	do(t, p.Takedown(dids[1]), p.Deactivate(dids[2]), p.Suspend(dids[3]), p.DeleteAccount(dids[4]))
	var page repoPage
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if len(page.Repos) != 2 || page.Repos[0].DID != dids[0] || page.Repos[1].DID != dids[5] || page.Cursor != "" {
		t.Errorf("listRepos: %+v", page)
	}
	want := []string{"302", "403 RepoTakendown account is takendown", "403 RepoDeactivated account is deactivated",
		"403 RepoInactive account is suspended", "403 RepoDeleted account is deleted", "302", "404 RepoNotFound account not found"}
	for i, did := range append(dids, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa") {
		if got := p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepo?did="+did).words(); got != want[i] {
			t.Errorf("getRepo %d: %q, want %q", i, got, want[i])
		}
	}
	r := p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepo?did="+dids[5])
	if to := r.header.Get("Location"); to != p.PDS(2)+"/xrpc/com.atproto.sync.getRepo?did="+url.QueryEscape(dids[5]) {
		t.Errorf("redirect to %s", to)
	} else if car := p.ask(t, "GET", to).car(t); len(car.order) != 2 {
		t.Errorf("%d blocks", len(car.order))
	}
	var s repoStatus
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.getRepoStatus?did="+dids[1]).json(t, &s)
	if s.Active || s.Status != "takendown" {
		t.Errorf("getRepoStatus: %+v", s)
	}
	var hosts struct {
		Cursor string
		Hosts  []hostStatus
	}
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.listHosts?limit=2").json(t, &hosts)
	if len(hosts.Hosts) != 2 || hosts.Cursor != "2" || hosts.Hosts[1] != (hostStatus{"pds2.sim.test", p.LastSeq("pds2"), 1, "active"}) {
		t.Errorf("listHosts: %+v", hosts)
	}
	p.get(t, p.Relay(), "/xrpc/com.atproto.sync.listHosts?limit=2&cursor=2").json(t, &hosts)
	if len(hosts.Hosts) != 1 || hosts.Hosts[0].Hostname != "pds3.sim.test" {
		t.Errorf("listHosts: %+v", hosts)
	}
	if got := p.get(t, p.Relay(), "/xrpc/com.atproto.server.describeServer").words(); got != "404 NotFound Not Found" {
		t.Errorf("describeServer: %s", got)
	}
}
