package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// wireRepo is /v1/repo as a client reads it.
type wireRepo struct {
	DID         string     `json:"did"`
	State       string     `json:"state"`
	Active      bool       `json:"active"`
	Status      *string    `json:"status"`
	StatusFrom  *string    `json:"status_from"`
	StatusSince *time.Time `json:"status_since"`
	Error       *string    `json:"error"`
	ErrorAt     *time.Time `json:"error_at"`
	Visible     bool       `json:"visible"`
	Proof       *string    `json:"proof"`
	ProvenAt    *time.Time `json:"proven_at"`
	Rev         *string    `json:"rev"`
	Data        *string    `json:"data"`
	Commit      *string    `json:"commit"`
	Host        *string    `json:"host"`
	Queue       *wireQueue `json:"queue"`
	Collections []struct {
		Collection string     `json:"collection"`
		Visible    bool       `json:"visible"`
		Since      *time.Time `json:"since"`
		Source     string     `json:"source"`
	} `json:"collections"`
	Cursor string `json:"cursor"`
}

type wireQueue struct {
	Reason   string    `json:"reason"`
	Later    bool      `json:"later"`
	Working  bool      `json:"working"`
	Attempts int       `json:"attempts"`
	QueuedAt time.Time `json:"queued_at"`
	DueAt    time.Time `json:"due_at"`

	Said      *string    `json:"said"`
	SaidTimes int        `json:"said_times"`
	SaidSince *time.Time `json:"said_since"`
}

func (x *index) repo(did, more string) (r wireRepo) {
	x.Helper()
	w := x.ask(http.MethodGet, "/v1/repo?did="+url.QueryEscape(did)+more)
	if w.Code != http.StatusOK {
		x.Fatalf("%s: status %d: %s", did, w.Code, w.Body)
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		x.Fatal(err)
	}
	if r.DID != did || r.Collections == nil {
		x.Fatalf("%s: the answer is about %q, collections %v", did, r.DID, r.Collections)
	}
	return r
}

// set writes a repo's collections as "nsid source" with a minus before rows that
// are not visible.
func (r wireRepo) set() string {
	var out []string
	for _, c := range r.Collections {
		sign := ""
		if !c.Visible {
			sign = "-"
		}
		out = append(out, sign+c.Collection+" "+c.Source)
	}
	return strings.Join(out, ", ")
}

func text(p *string) string {
	if p == nil {
		return "null"
	}
	return *p
}

func TestRepoTellsWhatIsKnown(t *testing.T) {
	x := newIndex(t)
	before := time.Now()
	head := repostate.Head{Rev: 1_700_000_000_000_000 << 10, Data: atproto.DigestOf([]byte("data")), CID: atproto.DigestOf([]byte("commit"))}
	x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error {
		if _, err := testrepo.SetIdentity(tx, r, "\xe7\x01key", "pds.example.com", false); err != nil {
			return err
		}
		_, _, err := testrepo.Establish(tx, r, head, []string{posts, likes}, repostate.ProofOldKey)
		return err
	})
	x.bear(didOf(1), lists)
	r := x.repo(didOf(1), "")
	for what, c := range map[string][2]string{
		"state": {r.State, "synchronized"}, "status": {text(r.Status), "null"}, "proof": {text(r.Proof), "old-key"},
		"rev": {text(r.Rev), "3ke6kg3wk2222"}, "data": {text(r.Data), head.Data.String()}, "commit": {text(r.Commit), head.CID.String()},
		"host": {text(r.Host), "pds.example.com"}, "cursor": {r.Cursor, ""},
		"collections": {r.set(), likes + " resync, " + posts + " resync, " + lists + " commit"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %q, want %q", what, c[0], c[1])
		}
	}
	if !r.Active || !r.Visible || r.Queue != nil || !strings.HasPrefix(text(r.Data), "bafyrei") {
		t.Errorf("repo %+v", r)
	}
	if r.ProvenAt == nil || r.ProvenAt.Before(before.Truncate(time.Microsecond)) || r.ProvenAt.After(time.Now()) {
		t.Errorf("proven at %v", r.ProvenAt)
	}
	for _, c := range r.Collections {
		if c.Since == nil || c.Since.Before(before.Add(-time.Minute)) || c.Since.After(time.Now()) {
			t.Errorf("%s since %v", c.Collection, c.Since)
		}
	}
}

func TestRepoShowsNoMoreThanTheAccountAllows(t *testing.T) {
	x := newIndex(t)
	for n := 1; n <= 6; n++ {
		if n != 5 {
			x.establish(didOf(n), posts)
		}
	}
	x.change(didOf(2), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	x.change(didOf(3), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Hide(tx, r, "takendown") })
	x.change(didOf(4), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
	x.bear(didOf(5), posts)
	x.deactivate(didOf(6))
	x.change(didOf(6), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Show(tx, r) })
	x.change(didOf(7), func(tx *store.Tx, r *repostate.Repo) error { return nil })
	x.change(didOf(8), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Hide(tx, r, "deactivated") })
	for n, want := range map[int]string{
		1: "synchronized active=true null visible=true proof=tree head=true set=" + posts + " resync",
		2: "desynchronized active=true null visible=true proof=tree head=true set=" + posts + " resync",
		3: "desynchronized active=false takendown visible=false proof=tree head=false set=",
		4: "not_found active=true null visible=false proof=null head=true set=",
		5: "candidate active=true null visible=false proof=null head=false set=-" + posts + " commit",
		6: "desynchronized active=true null visible=false proof=null head=true set=-" + posts + " resync",
		7: "candidate active=true null visible=false proof=null head=false set=",
		8: "candidate active=false deactivated visible=false proof=null head=false set=",
	} {
		r := x.repo(didOf(n), "")
		got := fmt.Sprintf("%s active=%t %s visible=%t proof=%s head=%t set=%s", r.State, r.Active, text(r.Status), r.Visible,
			text(r.Proof), r.Rev != nil, r.set())
		if got != want {
			t.Errorf("repo %d: %s\nwant %s", n, got, want)
		}
		if (r.Proof == nil) != (r.ProvenAt == nil) || (r.Rev == nil) != (r.Data == nil) || (r.Rev == nil) != (r.Commit == nil) {
			t.Errorf("repo %d tells one half: %+v", n, r)
		}
	}
}

func TestRepoTellsWhyItWaits(t *testing.T) {
	x := newIndex(t)
	due := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	x.change(didOf(1), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Enqueue(tx, r, repostate.Backfill, due) })
	x.establish(didOf(2), posts)
	x.change(didOf(2), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.EnqueueMissed(tx, r, due, 1<<60) })
	for n, want := range map[int]wireQueue{1: {Reason: "backfill", DueAt: due}, 2: {Reason: "missed-rev", Later: true, DueAt: due}} {
		got := x.repo(didOf(n), "").Queue
		if got == nil || time.Since(got.QueuedAt) > time.Minute {
			t.Fatalf("repo %d: queue %+v", n, got)
		}
		got.QueuedAt = time.Time{}
		if *got != want {
			t.Errorf("repo %d: queue %+v, want %+v", n, *got, want)
		}
	}
}

func TestRepoPagesItsCollections(t *testing.T) {
	x := newIndex(t)
	var nsids []string
	for n := range 25 {
		nsids = append(nsids, fmt.Sprintf("com.example.c%02d", 24-n))
	}
	x.establish(didOf(1), nsids...)
	seen, cursor, pages := map[string]bool{}, "", 0
	for more := true; more && pages < 10; pages++ {
		r := x.repo(didOf(1), "&limit=10&cursor="+cursor)
		last := ""
		for _, c := range r.Collections {
			if seen[c.Collection] || c.Collection <= last {
				t.Errorf("page %d: %s after %s, seen before: %t", pages, c.Collection, last, seen[c.Collection])
			}
			seen[c.Collection], last = true, c.Collection
		}
		cursor, more = r.Cursor, r.Cursor != ""
	}
	if len(seen) != 25 || pages != 3 {
		t.Errorf("%d collections on %d pages", len(seen), pages)
	}
}

func TestRepoRefuses(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts)
	ask := "/v1/repo?did=" + didOf(1)
	for _, c := range []struct {
		target string
		status int
		name   string
		says   string
	}{
		{"/v1/repo", 400, "InvalidRequest", `did ""`},
		{"/v1/repo?did=", 400, "InvalidRequest", `did ""`},
		{"/v1/repo?did=did:plc:short", 400, "InvalidRequest", "did:plc:short"},
		{"/v1/repo?did=did:key:zabc", 400, "InvalidRequest", "did:key:zabc"},
		{"/v1/repo?did=alice.example.com", 400, "InvalidRequest", "alice.example.com"},
		{"/v1/repo?did=" + strings.Repeat("x", 20_000), 400, "InvalidRequest", "did"},
		{ask + "&did=" + didOf(1), 400, "InvalidRequest", "did: given 2 times"},
		{ask + "&limit=0", 400, "InvalidRequest", "limit 0"},
		{ask + "&cursor=-1", 400, "InvalidRequest", `cursor "-1"`},
		{ask + "&cursor=x", 400, "InvalidRequest", `cursor "x"`},
		{ask + "&cursor=9223372036854775808", 400, "InvalidRequest", "cursor"},
		{ask + "&x=%zz", 400, "InvalidRequest", "query"},
		{"/v1/repo?did=" + didOf(2), 404, "RepoNotFound", didOf(2)},
		{"/v1/repo?did=did:web:example.com", 404, "RepoNotFound", "did:web:example.com"},
	} {
		message := x.refused(x.ask("GET", c.target), c.status, c.name)
		if !strings.Contains(message, c.says) || len(message) > 300 {
			t.Errorf("%.80s: message %q", c.target, message)
		}
	}
	x.refused(x.ask("DELETE", ask), 405, "InvalidRequest")
}
