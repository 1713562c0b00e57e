package repostate

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	key   = "key"
	other = "other key"
)

// budget grants all, or nothing.
type budget bool

func (b budget) Sight() (time.Duration, bool) { return 0, bool(b) }
func (b budget) Check() (time.Duration, bool) { return 0, bool(b) }
func (b budget) Desync() bool                 { return bool(b) }
func (b budget) Move() bool                   { return bool(b) }

func env() Env {
	return Env{Now: now, Budget: budget(true), Backoff: func(first, longest time.Duration, n int) time.Duration {
		return min(first<<n, longest)
	}}
}

func head(rev int64, data byte) Head {
	return Head{Rev: atproto.TID(rev), Data: atproto.Digest{data}, CID: atproto.Digest{byte(rev), data}}
}

// known is a repo in service at rev 10 and data 1, whose document is an hour old.
func known(changes ...func(*Repo)) *Repo {
	h := head(10, 1)
	r := &Repo{
		ID: 1, DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", State: Synchronized, Active: true, Proof: ProofTree, ProvenAt: now.Add(-time.Hour), Head: &h,
		Identity: &Identity{Key: key, HostID: 7, Host: "pds.example.com", FetchedAt: now.Add(-time.Hour), DescribeTrusted: true},
	}
	for _, change := range changes {
		change(r)
	}
	return r
}

func in(s State) func(*Repo) { return func(r *Repo) { r.State = s } }

// queued lets the repo wait, due since a minute.
func queued(why Reason, changes ...func(*Waiting)) func(*Repo) {
	return func(r *Repo) {
		r.Waiting = &Waiting{Reason: why, Priority: why.Priority(), NotBefore: now.Add(-time.Minute), Generation: 3, QueuedAt: now.Add(-time.Minute)}
		for _, change := range changes {
			change(r.Waiting)
		}
	}
}

func sighted(r *Repo) { r.FoundHostID = -1 }

func failed(n int) func(*Waiting) { return func(w *Waiting) { w.Attempts = n } }

func leasedRow(w *Waiting) { w.Leased, w.Lease = true, w.Generation }
func later(w *Waiting)     { w.NotBefore = now.Add(time.Hour) }

func inactive(status string) func(*Repo) {
	return func(r *Repo) {
		r.State, r.Active, r.Status, r.StatusFrom, r.StatusAt = Desynchronized, false, status, FromHost, now.Add(-time.Hour)
	}
}

// relayed is inactive by the word of a relay alone.
func relayed(status string) func(*Repo) {
	return func(r *Repo) { inactive(status)(r); r.StatusFrom = FromRelay }
}

func unread(pds string) Unread { return Unread{refusal.New(refusal.EventSchema, "made up"), pds} }

func candidate(r *Repo) {
	r.State, r.Proof, r.ProvenAt, r.Head, r.Identity = Candidate, 0, time.Time{}, nil, nil
}

func freshly(r *Repo)    { r.Identity.FetchedAt = now }
func byClaim(r *Repo)    { r.Proof = ProofClaim }
func unknownDID(r *Repo) { candidate(r); r.ID = 0 }
func lookedUp(r *Repo)   { r.Identity.Stale = true }
func undecided(r *Repo)  { r.State = NotFound; r.Proof = 0 }

func commit(rev int64, from, to byte, lists ...string) Signed {
	c := Commit{Prev: atproto.Digest{from}, Head: head(rev, to)}
	if len(lists) > 0 {
		c.Present = strings.Fields(lists[0])
	}
	if len(lists) > 1 {
		c.Died = strings.Fields(lists[1])
	}
	return Signed{Rev: atproto.TID(rev), Key: key, Commit: c}
}

func syncAt(rev int64, data byte) Signed {
	s := commit(rev, 0, data)
	s.Sync = true
	return s
}

func badly(s Signed, reason refusal.Reason) Signed {
	s.Refusal = refusal.New(reason, "made up")
	if !reason.AfterSignature() {
		s.Commit = Commit{}
	}
	return s
}

// changes says in words what a decision does to a repo.
func changes(was *Repo, d Decision) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	r := d.Repo
	if d.Outcome != "" {
		say("%s", d.Outcome)
	}
	for _, e := range d.Refusals {
		say("refuse %s", e.Reason)
	}
	if r.State != was.State {
		say("state %s", r.State)
	}
	if r.Active != was.Active || r.Status != was.Status {
		say("active %t %s", r.Active, r.Status)
	}
	if !reflect.DeepEqual(r.Head, was.Head) {
		if r.Head == nil {
			say("no head")
		} else {
			say("head %d", r.Head.Rev)
		}
	}
	if r.SeenRev != was.SeenRev {
		say("seen %d", r.SeenRev)
	}
	if r.Proof != was.Proof {
		say("proof %d", r.Proof)
	}
	if was.Identity != nil && r.Identity.Stale != was.Identity.Stale {
		say("stale %t", r.Identity.Stale)
	}
	if was.Identity != nil && r.Identity.EarlierRev != was.Identity.EarlierRev {
		say("earlier keys to %d", r.Identity.EarlierRev)
	}
	if r.HarmlessRev != was.HarmlessRev {
		say("harmless %d", r.HarmlessRev)
	}
	if d.Set != nil {
		say("set [%s]", strings.Join(d.Set.Collections, " "))
	}
	for _, c := range d.Commits {
		say("+[%s] -[%s]", strings.Join(c.Present, " "), strings.Join(c.Died, " "))
	}
	if d.Buffer != nil {
		say("buffer %d", d.Buffer.Head.Rev)
	}
	for word, is := range map[string]bool{"key changed": d.KeyChanged} {
		if is {
			say("%s", word)
		}
	}
	if d.Disproved {
		say("disproved")
	}
	if d.TestsClaim {
		say("proves a claim")
	}
	if d.Forget {
		say("forget")
	}
	switch w, old := r.Waiting, was.Waiting; {
	case reflect.DeepEqual(w, old):
	case w == nil:
		say("unqueued")
	default:
		if old == nil {
			old = &Waiting{}
		}
		say("%s/%d in %s", w.Reason, w.Priority, w.NotBefore.Sub(now))
		if w.Parked {
			say("parked")
		}
		if w.Generation > old.Generation {
			say("void")
		}
		if w.Attempts != old.Attempts {
			say("attempts %d", w.Attempts)
		}
		if w.WantRev != old.WantRev {
			say("want %d", w.WantRev)
		}
		if w.AskStatus != old.AskStatus {
			say("ask status %t", w.AskStatus)
		}
		if w.IdentityChecks != old.IdentityChecks {
			say("checks %d", w.IdentityChecks)
		}
		if w.Said != old.Said || w.SaidTimes != old.SaidTimes {
			say("said %d x %d", w.Said, w.SaidTimes)
		}
		if w.Leased != old.Leased {
			say("leased %t", w.Leased)
		}
	}
	return strings.Join(out, ", ")
}

type row struct {
	name string
	repo *Repo
	fact Fact
	want string
}

func check(t *testing.T, rows []row, e Env) {
	t.Helper()
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			before := tc.repo.clone()
			d := Decide(tc.repo, tc.fact, e)
			if got := changes(before, d); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			if !reflect.DeepEqual(tc.repo, before) {
				t.Error("the repo itself was changed")
			}
		})
	}
}

func TestEvents(t *testing.T) {
	relay := func(active bool, status string) Account { return Account{Active: active, Status: status} }
	named := func(active bool, status string) Account {
		return Account{Active: active, Status: status, PDS: "pds.example.com"}
	}
	buffered := func(s Signed, b Buffered) Signed { s.Buffer = b; return s }
	foreign := func(s Signed) Signed { s.ForeignPDS = "elsewhere.example.com"; return s }
	keyed := func(s Signed, k string) Signed { s.Key = k; return s }
	check(t, []row{
		{"a commit that follows", known(), commit(11, 1, 2, "likes", "posts"), "applied, head 11, +[likes] -[posts]"},
		{"a commit with our data already", known(), commit(11, 9, 1), "applied, head 11, +[] -[]"},
		{"a repetition", known(), commit(10, 0, 1), "stale"},
		{"an older one", known(), commit(9, 0, 9), "stale"},
		{"another of the same rev", known(), commit(10, 0, 7), "desynchronized, state desynchronized, seen 10, discontinuity/1 in 0s, void"},
		{"a gap", known(), commit(12, 3, 4), "desynchronized, state desynchronized, seen 12, discontinuity/1 in 0s, void"},
		{"a commit while it waits", known(in(Desynchronized), queued(Discontinuity)), commit(12, 3, 4), "waits, seen 12"},
		{"a commit while it backs off", known(in(Desynchronized), queued(Discontinuity, later)), commit(12, 3, 4), "waits, seen 12"},
		{"a commit while it is parked", known(candidate, queued(Backfill, func(w *Waiting) { w.Parked = true })), commit(12, 3, 4), "waits, first-sight/3 in 0s, void"},
		{"a commit while it is fetched", known(in(Resyncing), queued(Discontinuity, leasedRow)), commit(12, 3, 4), "buffered, seen 12, buffer 12"},
		{"the same once more", known(in(Resyncing), queued(Discontinuity, leasedRow)), buffered(commit(12, 3, 4), Buffered{1, true, true}), "buffered, seen 12"},
		{"another of its rev", known(in(Resyncing), queued(Discontinuity, leasedRow)), buffered(commit(12, 3, 4), Buffered{1, true, false}), "desynchronized, state desynchronized, seen 12, discontinuity/1 in -1m0s, void"},
		{"one too many", known(in(Resyncing), queued(Discontinuity, leasedRow)), buffered(commit(12, 3, 4), Buffered{Len: MaxBuffered}), "desynchronized, state desynchronized, seen 12, discontinuity/1 in -1m0s, void"},
		{"a commit of an inactive account", known(inactive("deactivated")), commit(12, 1, 2), "hidden, seen 12, status/2 in 0s, void, ask status true"},
		{"asked about a moment ago", known(inactive("deactivated"), func(r *Repo) { r.Identity.StatusAskedAt = now.Add(-time.Minute) }), commit(12, 1, 2), "hidden, seen 12, status/2 in 9m0s, void, ask status true"},
		{"a commit of an unknown DID", known(unknownDID), commit(12, 1, 2), "waits, first-sight/3 in 0s, void"},
		{"a commit of a DID without document", known(candidate, queued(Backfill, later)), commit(12, 1, 2), "waits"},
		{"a commit under another key", known(), keyed(commit(11, 1, 2), other), "desynchronized, state desynchronized, unprovable/1 in 0s, void"},
		{"the same while it waits", known(in(Desynchronized), queued(Discontinuity)), keyed(commit(11, 1, 2), other), "waits"},
		{"from a PDS that is not named", known(), foreign(commit(11, 1, 2)), "refused, refuse wrong-host, stale true, identity/2 in 0s, checks 2"},
		{"a wrong signature", known(), badly(commit(11, 1, 2), refusal.BadSignature), "refused, refuse bad-signature, stale true, identity/2 in 0s, checks 2"},
		{"a wrong signature, under a new document", known(freshly), badly(commit(11, 1, 2), refusal.BadSignature), "refused, refuse bad-signature, stale true, identity/2 in 1m0s, checks 2"},
		{"a wrong signature where earlier keys count", known(func(r *Repo) { r.Identity.EarlierRev = 10 }), badly(commit(11, 1, 2), refusal.BadSignature), "refused, refuse bad-signature, stale true, identity/2 in 0s, want 11, checks 2"},
		{"a broken tree", known(), badly(commit(11, 1, 2), refusal.BadTree), "refused, refuse bad-tree, state desynchronized, seen 11, unprovable/1 in 0s, void"},
		{"a broken tree of our head", known(), badly(commit(10, 1, 1), refusal.BadTree), "refused, refuse bad-tree"},
		{"a broken CAR", known(), badly(commit(11, 1, 2), refusal.BadCAR), "refused, refuse bad-car, missed-rev/6 in 30s, want 11"},
		{"a broken CAR of our rev", known(), badly(commit(10, 1, 2), refusal.BadCAR), "refused, refuse bad-car"},
		{"a broken CAR while it waits", known(in(Desynchronized), queued(Discontinuity)), badly(commit(11, 1, 2), refusal.BadCAR), "refused, refuse bad-car"},
		{"a message that cannot be read", known(), unread(""), "refused, refuse event-schema, missed-rev/6 in 30s, want 11"},
		{"the same from its PDS", known(), unread("pds.example.com"), "refused, refuse event-schema, missed-rev/6 in 30s, want 11"},
		{"the same from another PDS", known(), unread("elsewhere.example.com"), "refused, refuse event-schema"},
		{"the same of an unknown DID", known(unknownDID), unread(""), "refused, refuse event-schema"},
		{"the same of an inactive account", known(inactive("deactivated")), unread(""), "refused, refuse event-schema"},
		{"a fault of ours", known(), badly(commit(11, 1, 2), refusal.Internal), "refused, refuse internal, missed-rev/6 in 30s, want 11"},
		{"a rev of the future", known(), badly(commit(15, 1, 2), refusal.FutureRev), "refused, refuse future-rev, missed-rev/6 in 30s, want 11"},

		{"a #sync of our data", known(), syncAt(11, 1), "applied, head 11, +[] -[]"},
		{"a #sync of our head", known(), syncAt(10, 1), "stale"},
		{"a #sync of other data", known(), syncAt(11, 2), "desynchronized, state desynchronized, seen 11, sync/2 in 0s, void"},
		{"a #sync while it waits", known(in(Desynchronized), queued(Discontinuity, later)), syncAt(11, 2), "waits, seen 11, discontinuity/1 in 0s, void"},
		{"a #sync while it is fetched", known(in(Resyncing), queued(Discontinuity, leasedRow)), syncAt(11, 2), "desynchronized, state desynchronized, seen 11, discontinuity/1 in -1m0s, void"},
		{"a #sync below what was buffered", known(in(Resyncing), queued(Discontinuity, leasedRow), func(r *Repo) { r.SeenRev = 13 }), syncAt(11, 2), "desynchronized, state desynchronized, discontinuity/1 in -1m0s, void"},
		{"a #sync of a buffered commit", known(in(Resyncing), queued(Discontinuity, leasedRow)), buffered(syncAt(11, 2), Buffered{1, true, true}), "noted"},

		{"an #identity", known(), Announced{}, "checked, stale true, identity/2 in 0s, checks 2"},
		{"an #identity a moment after the last look-up", known(freshly), Announced{}, "checked, stale true, identity/2 in 2s, checks 2"},
		{"an #identity of an unknown DID", known(unknownDID), Announced{}, "noted"},
		{"an #identity of a DID that is looked up", known(candidate, queued(FirstSight, leasedRow)), Announced{}, "noted, first-sight/3 in -1m0s, checks 2"},
		{"an #account of an unknown DID", known(unknownDID), relay(true, ""), "noted"},

		{"a relay says what is known", known(), relay(true, ""), "noted"},
		{"a relay says deactivated", known(), relay(false, "deactivated"), "hidden, state desynchronized, active false deactivated, status/2 in 0s, void, ask status true"},
		{"a relay says deleted", known(), relay(false, "deleted"), "hidden, state desynchronized, active false deleted, status/2 in 0s, void, ask status true"},
		{"a relay takes it back", known(relayed("deactivated")), relay(true, ""), "checked, active true , status/2 in 0s, void, ask status true"},
		{"a relay takes it back while the host is asked", known(relayed("deactivated"), queued(StatusCheck, leasedRow)), relay(true, ""), "checked, active true , status/2 in -1m0s, void, ask status true"},
		{"a relay says active of what its host did not have", known(undecided), relay(true, ""), "checked, status/2 in 0s, void, ask status true"},
		{"a relay gives no reason", known(), relay(false, ""), "hidden, state desynchronized, active false , status/2 in 0s, void, ask status true"},
		{"a relay gives another reason", known(), relay(false, "on holiday"), "hidden, state desynchronized, active false on holiday, status/2 in 0s, void, ask status true"},
		{"a relay says throttled", known(), relay(false, "throttled"), "checked, status/2 in 0s, void, ask status true"},
		{"a relay says active", known(inactive("suspended")), relay(true, ""), "checked, status/2 in 0s, void, ask status true"},
		{"a relay repeats itself", known(inactive("suspended"), queued(StatusCheck, later)), relay(false, "suspended"), "noted"},
		{"a relay repeats itself while the host is asked", known(inactive("suspended"), queued(StatusCheck, leasedRow)), relay(false, "suspended"), "checked, status/2 in -1m0s, void, ask status true"},
		{"the host says deactivated", known(freshly), named(false, "deactivated"), "hidden, state desynchronized, active false deactivated"},
		{"the host says deleted", known(freshly), named(false, "deleted"), "hidden, state candidate, active false deleted, no head, proof 0, set []"},
		{"the host says so under an old document", known(), named(false, "deactivated"), "hidden, state desynchronized, active false deactivated, stale true, identity/2 in 0s, checks 2"},
		{"the host says so while the repo is fetched", known(freshly, in(Resyncing), queued(Discontinuity, leasedRow)), named(false, "deactivated"), "hidden, state desynchronized, active false deactivated, discontinuity/1 in -1m0s, void, ask status true"},
		{"the host repeats itself", known(freshly, inactive("deactivated"), queued(StatusCheck, later)), named(false, "deactivated"), "hidden"},
		{"the host says active again", known(inactive("suspended")), named(true, ""), "checked, active true , proof 0, reactivated/2 in 0s, void"},
		{"the host has it again", known(undecided), named(true, ""), "checked, reactivated/2 in 0s, void"},
		{"another PDS says deleted", known(), Account{Status: "deleted", PDS: "elsewhere.example.com"}, "refused, refuse wrong-host, stale true, identity/2 in 0s, checks 2"},

		{"an audit finds a wrong row", known(), Contradicted{}, "desynchronized, state desynchronized, audit/1 in 0s, void"},
		{"a repo that has grown too big", known(), Outgrown{}, "desynchronized, refuse repo-too-big, state desynchronized, unprovable/1 in 0s, void"},
		{"an audit finds the host's word wrong", known(byClaim), Contradicted{}, "desynchronized, state desynchronized, disproved, audit/1 in 0s, void"},
	}, env())
}

func TestEventsBeyondTheirBudget(t *testing.T) {
	e := env()
	e.Budget = budget(false)
	check(t, []row{
		{"an unknown DID", known(unknownDID), commit(12, 1, 2), "unseen"},
		{"a DID without document", known(candidate), commit(12, 1, 2), "waits"},
		{"a real commit that cannot be proven", known(), badly(commit(11, 1, 2), refusal.BadTree), "refused, refuse bad-tree, seen 11, missed-rev/6 in 30s, want 11"},
		{"a rev of the future", known(), badly(commit(11, 1, 2), refusal.FutureRev), "refused, refuse future-rev"},
		{"a broken CAR", known(), badly(commit(11, 1, 2), refusal.BadCAR), "refused, refuse bad-car"},
		{"a message that cannot be read", known(), unread(""), "refused, refuse event-schema"},
		{"an #identity", known(), Announced{}, "checked, stale true, identity/6 in 0s, checks 2"},
		{"a listing at another host", known(), Entry{Rev: 12, Active: true, Host: 8}, ""},
	}, e)
}

func TestListings(t *testing.T) {
	e := env()
	check(t, []row{
		{"an unknown DID", known(unknownDID), Entry{Rev: 12, Active: true}, "backfill/4 in 0s, void"},
		{"what is known", known(), Entry{Rev: 10, Active: true}, ""},
		{"a newer rev", known(), Entry{Rev: 12, Active: true}, "missed-rev/6 in 30s, want 12"},
		{"a newer rev that proved harmless", known(func(r *Repo) { r.HarmlessRev = 12 }), Entry{Rev: 12, Active: true}, ""},
		{"inactive", known(), Entry{Rev: 10}, "stale true, status/2 in 0s, void, ask status true"},
		{"active again", known(inactive("deactivated")), Entry{Rev: 10, Active: true}, "stale true, status/2 in 0s, void, ask status true"},
		{"found again", known(undecided), Entry{Rev: 10, Active: true}, "backfill/4 in 0s, void"},
		{"a relay that is behind, a new document", known(), Entry{Rev: 9, Active: true}, ""},
		{"a relay that is behind, an old one", known(func(r *Repo) { r.Identity.FetchedAt = now.Add(-behindMinAge) }), Entry{Rev: 9, Active: true}, "stale true, refresh/6 in 0s"},
		{"the host itself that is behind, an old document", known(func(r *Repo) { r.Identity.FetchedAt = now.Add(-behindMinAge) }), Entry{Rev: 9, Active: true, Host: 7}, ""},
		{"at another host, ahead", known(), Entry{Rev: 12, Active: true, Host: 8}, "stale true, refresh/6 in 0s"},
		{"at another host, inactive and ahead", known(), Entry{Rev: 12, Host: 8}, "stale true, refresh/6 in 0s"},
		{"at another host, inactive and old", known(), Entry{Rev: 9, Host: 8}, ""},
		{"at another host, inactive and ahead", known(), Entry{Rev: 12, Host: 8}, "stale true, refresh/6 in 0s"},
		{"its host is behind, an old document", known(func(r *Repo) { r.Identity.FetchedAt = now.Add(-behindMinAge) }), Entry{Rev: 9, Active: true, Host: 7}, ""},
		{"at another host, a new document", known(freshly), Entry{Rev: 12, Active: true, Host: 8}, ""},
		{"its document was not seen yet", known(candidate), Entry{Rev: 12, Active: true, Host: 7, Candidate: true}, ""},
		{"left out", known(), Unlisted{now.Add(time.Second)}, "status/6 in 1s, void, ask status true"},
		{"left out while it waits", known(in(Desynchronized), queued(Discontinuity)), Unlisted{now}, ""},
		{"an old document", known(), Aged{now}, "stale true, refresh/6 in 0s"},
		{"an old document of a repo that waits", known(queued(Prove)), Aged{now}, ""},
	}, e)
	e.ParkBackfill = true
	check(t, []row{{"an unknown DID, parked", known(unknownDID), Entry{Rev: 12, Active: true}, "backfill/4 in 0s, parked, void"}}, e)
	if r := Decide(known(unknownDID), Entry{Host: 7, Candidate: true}, e).Repo; r.FoundHostID != 7 {
		t.Errorf("found at %d", r.FoundHostID)
	}
}

func TestOperationsOfTheLog(t *testing.T) {
	said := func(k string, host int64, at time.Duration, asOf bool) Operation {
		o := Operation{Identity: &Identity{Key: k, HostID: host, Host: fmt.Sprintf("host%d", host)}, At: now.Add(at)}
		if host == 7 {
			o.Identity.Host = "pds.example.com"
		}
		if asOf {
			o.AsOf = now
		}
		return o
	}
	parked := func(w *Waiting) { w.Parked = true }
	check(t, []row{
		{"nothing new", known(), said(key, 7, -time.Minute, true), "same"},
		{"another key", known(), said(other, 7, -time.Minute, true), "moved, state desynchronized, earlier keys to 10, key changed, rotated/1 in 0s, void"},
		{"another host", known(), said(key, 8, -time.Minute, true), "moved, state desynchronized, key changed, rotated/1 in 0s, void"},
		{"another host of an inactive account", known(inactive("deactivated")), said(key, 8, -time.Minute, true), "moved, key changed, status/2 in 0s, void, ask status true"},
		{"older than what is known", known(), said(other, 7, -2*time.Hour, true), "older"},
		{"older by less than a lag", known(), said(other, 7, -61*time.Minute, true), "doubted, stale true, identity/2 in 0s, checks 2"},
		{"no usable identity", known(), Operation{At: now}, "doubted, stale true, identity/2 in 0s, checks 2"},
		{"another key, while it is looked up", known(queued(IdentityCheck, leasedRow)), said(other, 7, -time.Minute, true), "moved, state desynchronized, stale true, earlier keys to 10, key changed, rotated/1 in -1m0s, void"},
		{"the same, while it is looked up", known(queued(IdentityCheck, leasedRow)), said(key, 7, -time.Minute, true), "same"},
		{"older, and the same", known(), said(key, 7, -61*time.Minute, true), "older"},
		{"of the same moment", known(), said(key, 8, -time.Hour, true), "doubted, stale true, identity/2 in 0s, checks 2"},
		{"older by all that clocks differ", known(), said(other, 7, -time.Hour-clockSkew, true), "doubted, stale true, identity/2 in 0s, checks 2"},
		{"older by more", known(), said(other, 7, -time.Hour-clockSkew-time.Second, true), "older"},
		{"no usable identity, older by less than a lag", known(), Operation{At: now.Add(-61 * time.Minute), AsOf: now}, "doubted, stale true, identity/2 in 0s, checks 2"},
		{"no usable identity, older", known(), Operation{At: now.Add(-2 * time.Hour), AsOf: now}, "older"},
		{"no usable identity of a repo whose look-up comes", known(candidate, queued(Backfill)), Operation{At: now.Add(-time.Minute), AsOf: now}, "ignored"},
		{"of a repo whose look-up comes", known(candidate, queued(Backfill)), said(key, 7, -time.Minute, false), "ignored"},
		{"the last one of a repo without document", known(candidate, queued(Backfill)), said(key, 7, -time.Minute, true), "identity, key changed, backfill/4 in -1m0s, void"},
		{"of one that is parked", known(candidate, queued(Backfill, parked)), said(key, 7, -time.Minute, false), "identity, key changed"},
	}, env())
	for _, tc := range []struct {
		name      string
		repo      *Repo
		op        Operation
		fetchedAt time.Duration
		stale     bool
	}{
		{"in the middle of the log", known(), said(key, 7, -time.Minute, false), -time.Minute, false},
		{"the last one", known(), said(key, 7, -time.Minute, true), 0, false},
		{"of the future", known(), said(other, 7, time.Hour, false), 0, false},
		{"one that doubts", known(), said(other, 7, -time.Hour, true), -time.Hour, true},
		{"of one that is parked", known(candidate, queued(Backfill, parked)), said(key, 7, -time.Minute, false), -time.Minute, true},
		{"while the first document is looked up", known(candidate, queued(Backfill, leasedRow)), said(key, 7, -time.Minute, true), 0, true},
	} {
		i := Decide(tc.repo, tc.op, env()).Repo.Identity
		if got := i.FetchedAt.Sub(now); got != tc.fetchedAt || i.Stale != tc.stale {
			t.Errorf("%s: the document is of %s, stale %t", tc.name, got, i.Stale)
		}
	}
}

// What happens to a repo makes an attempt at it worthless, whatever it is. A question
// about the document or a rev does not: it is kept in the row.
func TestWhatVoidsAnAttempt(t *testing.T) {
	for why, void := range map[Reason]bool{
		Discontinuity: true, Unprovable: true, Rotated: true, SyncEvent: true, Reactivated: true, StatusCheck: true,
		FirstSight: true, Backfill: true, NotFoundAgain: true, Audit: true,
		IdentityCheck: false, MissedRev: false, Prove: false, Refresh: false,
	} {
		r := known(freshly, queued(Discontinuity, leasedRow))
		a := &Attempt{Repo: r.clone(), Step: AskStatus, At: now}
		for _, when := range []string{"at first", "when it comes again"} {
			m := &machine{Env: env(), r: r, d: new(Decision)}
			m.enqueue(why, now)
			got := Decide(r, Result{Attempt: a, Status: &Account{Active: true}}, env()).Outcome
			if (got == Superseded) != void {
				t.Errorf("%s, %s: %s", why, when, got)
			}
		}
	}
}

// Questions about one repo add up in its row, in whichever order they come. A rev that
// was heard of during an attempt outlives its end.
func TestQuestionsAddUp(t *testing.T) {
	questions := []Fact{Unlisted{now.Add(2 * time.Hour)}, Entry{Rev: 12, Active: true}, Entry{Rev: 14, Active: true}, Announced{}}
	for name, order := range map[string][]int{"as asked": {0, 1, 2, 3}, "the other way round": {3, 2, 1, 0}} {
		r := known(queued(Prove, later))
		for _, i := range order {
			r = Decide(r, questions[i], env()).Repo
		}
		if w := r.Waiting; !w.AskStatus || w.WantRev != 14 || w.IdentityChecks != 2 || w.Reason != IdentityCheck || !w.NotBefore.Equal(now) || w.Later() {
			t.Errorf("%s: %+v", name, w)
		}
	}
	r := known(freshly, queued(MissedRev, func(w *Waiting) { w.WantRev = 12 }))
	leased := Decide(r, Lease{}, env())
	a := &Attempt{Repo: r, Step: leased.Step, At: now}
	r = Decide(leased.Repo, Entry{Rev: 14, Active: true}, env()).Repo
	r = Decide(r, Result{Attempt: a, Found: &Found{Head: head(10, 1), Proof: ProofTree}}, env()).Repo
	if w := r.Waiting; w == nil || w.WantRev != 14 {
		t.Errorf("the wanted newer rev is dropped: %+v", w)
	}
}

func TestLeases(t *testing.T) {
	for _, tc := range []struct {
		name string
		repo *Repo
		step Step
		want string
	}{
		{"without document", known(candidate, queued(Backfill)), Resolve, "backfill/4 in -1m0s, leased true"},
		{"a stale document", known(lookedUp, queued(IdentityCheck)), Resolve, "stale false, identity/2 in -1m0s, leased true"},
		{"an inactive account", known(inactive("suspended"), queued(StatusCheck)), AskStatus, "status/2 in -1m0s, leased true"},
		{"a doubt about the status", known(queued(StatusCheck, func(w *Waiting) { w.AskStatus = true })), AskStatus, "status/2 in -1m0s, leased true"},
		{"wrong rows", known(in(Desynchronized), queued(Discontinuity)), Fetch, "state resyncing, discontinuity/1 in -1m0s, leased true"},
		{"said not to exist", known(queued(NotFoundAgain, func(w *Waiting) { w.Said = NoSuchRepo })), AskStatus, "not-found/6 in -1m0s, leased true"},
		{"a rev that is wanted", known(queued(MissedRev, func(w *Waiting) { w.WantRev = 12 })), Fetch, "missed-rev/6 in -1m0s, leased true"},
		{"a rev that has come", known(queued(MissedRev, func(w *Waiting) { w.WantRev = 10 })), Nothing, "missed-rev/6 in -1m0s, leased true"},
		{"the host's word", known(byClaim, queued(Prove)), Fetch, "prove/6 in -1m0s, leased true"},
	} {
		d := Decide(tc.repo, Lease{}, env())
		if got := changes(tc.repo, d); got != tc.want || d.Step != tc.step {
			t.Errorf("%s: step %d, %s\nwant %d, %s", tc.name, d.Step, got, tc.step, tc.want)
		}
	}
}

func TestResultsOfAttempts(t *testing.T) {
	broken := errors.New("made up")
	fail := func(kind FailureKind) *Failure { return &Failure{Kind: kind, Cause: broken} }
	fetching := func(more ...func(*Repo)) *Repo {
		return known(append([]func(*Repo){freshly, in(Resyncing), queued(Discontinuity, leasedRow)}, more...)...)
	}
	proving := func(more ...func(*Repo)) *Repo {
		return known(append([]func(*Repo){freshly, byClaim, queued(Prove, leasedRow)}, more...)...)
	}
	resolving := func(more ...func(*Repo)) *Repo {
		return known(append([]func(*Repo){queued(IdentityCheck, leasedRow, func(w *Waiting) { w.IdentityChecks = 2 })}, more...)...)
	}
	answer := func(rev int64, data byte) *Found {
		return &Found{Head: head(rev, data), Collections: []string{"posts"}, Proof: ProofTree}
	}
	byEarlier := func(rev int64) *Found { return &Found{Head: head(rev, 3), Proof: ProofOldKey, OldKey: true} }
	void := func(r *Repo) { r.Waiting.Generation++ }
	tried := func(n int) func(*Repo) { return func(r *Repo) { r.Waiting.Attempts = n } }
	said := func(what Statement, times int, ago time.Duration) func(*Repo) {
		return func(r *Repo) {
			r.Waiting.Said, r.Waiting.SaidTimes, r.Waiting.SaidSince = what, times, now.Add(-ago)
			if what == OlderRev {
				r.Waiting.SaidRev = 8
			}
		}
	}
	seen := func(rev int64) func(*Repo) { return func(r *Repo) { r.SeenRev = atproto.TID(rev) } }
	for _, tc := range []struct {
		name  string
		repo  *Repo
		step  Step
		since func(*Repo) // what happened meanwhile
		end   Result
		want  string
	}{
		{"fetched", fetching(), Fetch, nil, Result{Found: answer(12, 3)}, "synchronized, state synchronized, head 12, set [posts], unqueued"},
		{"fetched, with commits that follow", fetching(), Fetch, nil, Result{Found: answer(12, 3), Buffered: []Commit{commit(13, 3, 4, "likes").Commit}}, "synchronized, state synchronized, head 13, set [posts], +[likes] -[], unqueued"},
		{"fetched, and a hole behind it", fetching(), Fetch, nil, Result{Found: answer(12, 3), Buffered: []Commit{commit(14, 8, 9).Commit}}, "superseded, state desynchronized, discontinuity/1 in 20s, attempts 1, leased false"},
		{"fetched, and void", fetching(), Fetch, void, Result{Found: answer(12, 3)}, "superseded, state desynchronized, discontinuity/1 in 0s, attempts 1, leased false"},
		{"fetched, older than what was seen", fetching(seen(12)), Fetch, nil, Result{Found: answer(11, 2)}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, said 3 x 1, leased false"},
		{"the third equal answer in an hour", fetching(seen(12), said(OlderRev, 2, time.Hour)), Fetch, nil, Result{Found: answer(8, 2)}, "synchronized, refuse answer-stale, state synchronized, head 8, seen 0, set [posts], unqueued"},
		{"the third answer in an hour, of another rev", fetching(seen(12), said(OlderRev, 2, time.Hour)), Fetch, nil, Result{Found: answer(7, 2)}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, said 3 x 1, leased false"},
		{"fetched, as new as what was seen when it was asked", fetching(), Fetch, seen(12), Result{Found: answer(11, 2)}, "stale, state desynchronized, head 11, set [posts], discontinuity/1 in 20s, void, attempts 1, leased false"},
		{"the host's word", fetching(), Fetch, nil, Result{Found: &Found{Head: head(12, 3), Proof: ProofClaim}}, "synchronized, state synchronized, head 12, proof 4, set [], prove/6 in 10m0s, leased false"},
		{"by an earlier key", fetching(), Fetch, nil, Result{Found: byEarlier(12)}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, leased false"},
		{"by an earlier key of an account that moved", fetching(func(r *Repo) { r.Identity.EarlierRev = 10 }), Fetch, nil, Result{Found: byEarlier(12)}, "synchronized, state synchronized, head 12, proof 3, earlier keys to 12, set [], unqueued"},
		{"by an earlier key, and nothing was seen", fetching(func(r *Repo) { r.Head = nil }), Fetch, nil, Result{Found: byEarlier(12)}, "synchronized, state synchronized, head 12, proof 3, earlier keys to 12, set [], unqueued"},
		{"by an earlier key, older than what it has signed", fetching(seen(12), func(r *Repo) { r.Identity.EarlierRev = 12 }), Fetch, nil, Result{Found: byEarlier(11)}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, said 3 x 1, leased false"},
		{"by an earlier key, older than what the present one has signed", fetching(seen(12)), Fetch, nil, Result{Found: byEarlier(11)}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, leased false"},
		{"by an earlier key, and the present one leads on", fetching(seen(13)), Fetch, nil, Result{Found: byEarlier(12), Buffered: []Commit{commit(13, 3, 4).Commit}}, "synchronized, state synchronized, head 13, seen 0, proof 3, earlier keys to 12, set [], +[] -[], unqueued"},
		{"by an earlier key, and the present one does not lead far enough", fetching(seen(14)), Fetch, nil, Result{Found: byEarlier(12), Buffered: []Commit{commit(13, 3, 4).Commit}}, "stale, refuse answer-stale, state desynchronized, discontinuity/1 in 20s, attempts 1, leased false"},

		{"proven", proving(), Fetch, nil, Result{Found: answer(10, 1)}, "synchronized, proof 1, set [posts], proves a claim, unqueued"},
		{"a commit came while it was proven", proving(), Fetch, func(r *Repo) { h := head(11, 2); r.Head = &h }, Result{Found: answer(10, 1)}, "superseded, prove/6 in 20s, attempts 1, leased false"},
		{"the host is ahead of us", known(freshly, queued(MissedRev, leasedRow)), Fetch, nil, Result{Found: answer(12, 3)}, "superseded, missed-rev/6 in 30s, attempts 1, want 12, leased false"},
		{"the host is ahead of us again and again", known(freshly, queued(MissedRev, leasedRow), tried(3)), Fetch, nil, Result{Found: answer(12, 3)}, "superseded, state desynchronized, discontinuity/1 in 0s, void, leased false"},
		{"a wanted rev that the host does not have", known(freshly, queued(MissedRev, leasedRow, func(w *Waiting) { w.WantRev = 12 })), Fetch, nil, Result{Found: answer(10, 1)}, "synchronized, harmless 12, set [posts], unqueued"},

		{"a document as before", resolving(), Resolve, nil, Result{Identity: &Identity{Key: key, HostID: 7}}, "resolved, identity/2 in -1m0s, checks 1, leased false"},
		{"a document with another key", resolving(), Resolve, nil, Result{Identity: &Identity{Key: other, HostID: 7}}, "resolved, state desynchronized, earlier keys to 10, key changed, rotated/1 in 0s, void, checks 0, leased false"},
		{"an #identity during the look-up", resolving(), Resolve, lookedUp, Result{Identity: &Identity{Key: key, HostID: 7}}, "resolved, identity/2 in 2s, checks 1, leased false"},
		{"no directory", resolving(), Resolve, nil, Result{Failure: &Failure{Kind: FailedDirectory, Cause: broken, Pause: time.Minute}}, "identity-failed, stale true, identity/2 in 1m0s, attempts 1, leased false"},
		{"no such DID", resolving(), Resolve, nil, Result{Failure: fail(FailedNoDID)}, "identity-failed, stale true, not-found/6 in 10m0s, attempts 1, said 2 x 1, leased false"},
		{"no such DID, said twice", resolving(said(NoSuchDID, 1, notFoundSecond)), Resolve, nil, Result{Failure: fail(FailedNoDID)}, "identity-failed, state candidate, active false deleted, no head, proof 0, stale true, set [], not-found/6 in 24h0m0s, attempts 1, said 2 x 2, leased false"},
		{"an invented DID, said twice", known(candidate, queued(Backfill, leasedRow), said(NoSuchDID, 1, notFoundSecond)), Resolve, nil, Result{Failure: fail(FailedNoDID)}, "identity-failed, forget, not-found/6 in 24h0m0s, attempts 1, said 2 x 2, leased false"},

		{"a sight whose document fails on", known(candidate, sighted, queued(FirstSight, leasedRow, failed(sightTries))), Resolve, nil, Result{Failure: fail(FailedLookup)}, "identity-failed, forget, first-sight/3 in 32m0s, attempts 7, leased false"},
		{"a sight whose document fails", known(candidate, sighted, queued(FirstSight, leasedRow)), Resolve, nil, Result{Failure: fail(FailedLookup)}, "identity-failed, first-sight/3 in 30s, attempts 1, leased false"},
		{"a listed DID whose document fails on", known(candidate, queued(Backfill, leasedRow, failed(sightTries))), Resolve, nil, Result{Failure: fail(FailedLookup)}, "identity-failed, backfill/5 in 32m0s, attempts 7, leased false"},

		{"the host says active", known(freshly, queued(StatusCheck, leasedRow)), AskStatus, nil, Result{Status: &Account{Active: true}}, "confirmed, unqueued"},
		{"the host says suspended", known(freshly, queued(StatusCheck, leasedRow)), AskStatus, nil, Result{Status: &Account{Status: "suspended"}}, "gone, state desynchronized, active false suspended, unqueued"},
		{"it says so under an old document", known(queued(StatusCheck, leasedRow)), AskStatus, nil, Result{Status: &Account{Status: "suspended"}}, "superseded, stale true, status/2 in -1m0s, leased false"},
		{"the account is back", known(freshly, inactive("suspended"), queued(StatusCheck, leasedRow)), AskStatus, nil, Result{Status: &Account{Active: true}}, "reactivated, active true , proof 0, reactivated/2 in 0s, leased false"},
		{"no such repo", known(freshly, queued(StatusCheck, leasedRow)), AskStatus, nil, Result{Failure: fail(FailedNoRepo)}, "not-found, not-found/6 in 30s, attempts 1, said 1 x 1, leased false"},
		{"no such repo, asked too early", known(freshly, queued(NotFoundAgain, leasedRow), said(NoSuchRepo, 1, time.Minute)), AskStatus, nil, Result{Failure: fail(FailedNoRepo)}, "not-found, not-found/6 in 9m0s, leased false"},
		{"no such repo, said twice", known(freshly, queued(NotFoundAgain, leasedRow), said(NoSuchRepo, 1, notFoundSecond)), AskStatus, nil, Result{Failure: fail(FailedNoRepo)}, "not-found, state not_found, proof 0, not-found/6 in 10m0s, attempts 1, said 1 x 2, leased false"},

		{"gone while it was fetched", fetching(), Fetch, nil, Result{Failure: &Failure{Kind: FailedGone, Status: "takendown"}}, "gone, state desynchronized, active false takendown, unqueued"},
		{"refused by rate", fetching(), Fetch, nil, Result{Failure: fail(FailedRate)}, "rate-limited, state desynchronized, discontinuity/1 in 0s, leased false"},
		{"the host fails", fetching(), Fetch, nil, Result{Failure: fail(FailedHost)}, "transient, state desynchronized, discontinuity/1 in 30s, attempts 1, leased false"},
		{"the host fails, under an old document", fetching(func(r *Repo) { r.Identity.FetchedAt = now.Add(-time.Hour) }), Fetch, nil, Result{Failure: fail(FailedHost)}, "transient, state desynchronized, stale true, discontinuity/1 in 30s, attempts 1, leased false"},
		{"another key", fetching(), Fetch, nil, Result{Failure: fail(FailedKey)}, "invalid, state desynchronized, stale true, discontinuity/1 in 2s, attempts 1, leased false"},
		{"an answer that nobody can read", fetching(), Fetch, nil, Result{Failure: fail(FailedAnswer)}, "invalid, state desynchronized, discontinuity/1 in 5m0s, attempts 1, leased false"},
		{"backfill that fails", known(freshly, queued(Backfill, leasedRow), in(Resyncing), func(r *Repo) { r.Head = nil }), Fetch, nil, Result{Failure: fail(FailedHost)}, "transient, state candidate, backfill/5 in 30s, attempts 1, leased false"},
		{"no memory", fetching(), Fetch, nil, Result{Failure: &Failure{Kind: FailedDeferred, Pause: 5 * time.Second}}, "superseded, state desynchronized, discontinuity/1 in 5s, leased false"},
		{"the process stops", fetching(), Fetch, nil, Result{Failure: fail(FailedCancelled)}, "cancelled, state desynchronized, discontinuity/1 in 0s, leased false"},
		{"nothing to do", known(freshly, queued(MissedRev, leasedRow)), Nothing, nil, Result{}, "confirmed, unqueued"},
		{"nothing to do, but an #identity came", known(freshly, queued(MissedRev, leasedRow)), Nothing, lookedUp, Result{}, "confirmed, identity/2 in 0s, leased false"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.end.Attempt = &Attempt{Repo: tc.repo.clone(), Step: tc.step, At: now}
			r := tc.repo.clone()
			if tc.since != nil {
				tc.since(r)
			}
			check(t, []row{{tc.name, r, tc.end, tc.want}}, env())
		})
	}
	check(t, []row{{"a worker died", fetching(), Lost{}, "cancelled, state desynchronized, stale true, discontinuity/1 in 0s, leased false"}}, env())
}

func TestChain(t *testing.T) {
	c := func(rev int64, from, to byte) Commit { return commit(rev, from, to).Commit }
	for _, tc := range []struct {
		name    string
		waiting []Commit
		reached int64
		replay  int
		linked  bool
	}{
		{"nothing waits", nil, 5, 0, true},
		{"older ones are in the fetch", []Commit{c(3, 7, 8), c(4, 8, 9)}, 5, 0, true},
		{"the fetched one itself", []Commit{c(5, 1, 2)}, 5, 0, true},
		{"another of the same rev", []Commit{c(5, 1, 9)}, 5, 0, false},
		{"another of the same rev, that leads on", []Commit{c(5, 2, 9)}, 5, 0, false},
		{"the next ones", []Commit{c(4, 0, 1), c(6, 2, 3), c(7, 3, 4)}, 7, 2, true},
		{"a hole", []Commit{c(6, 2, 3), c(8, 4, 5)}, 6, 1, false},
		{"an empty commit of any origin", []Commit{c(6, 9, 2)}, 6, 1, true},
	} {
		reached, replay, linked := chain(head(5, 2), tc.waiting)
		if linked != tc.linked || linked && (int64(reached) != tc.reached || len(replay) != tc.replay) {
			t.Errorf("%s: up to %d, %d to replay, linked %t", tc.name, reached, len(replay), linked)
		}
	}
}
