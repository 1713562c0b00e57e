package sim

import (
	"fmt"
	"slices"
	"time"

	"railyard/internal/establish"
	"railyard/internal/test/simnet"
)

// judge compares the attempts at each account, as the network saw them, with what
// happened to it.
func (y *live) judge() *liveTally {
	y.t.Helper()
	y.crawledOnce()
	rows := map[string][]birth{}
	for _, row := range y.rows("SELECT did, nsid, source, since FROM repo_collections WHERE visible ORDER BY seq") {
		rows[row[0]] = append(rows[row[0]], birth{row[1], row[2], row[3]})
	}
	one := &liveTally{trials: 1, deaths: y.deaths, fired: y.net.FiredAll()}
	for _, did := range y.net.DIDs() {
		d := y.net.History(did)
		for _, n := range d.Events {
			one.events += n
		}
		why, identities := y.reasons(did, d)
		if y.first[did] == 0 || y.unfinished[did] {
			why++ // its first attempt fell into the time of the faults
		}
		if why > 0 {
			y.atMost(did, d, why, identities)
			continue
		}
		y.once(did, d, identities)
		if identities == 0 {
			one.alone++
			one.births += y.bornByCommits(did, d, rows[did])
		}
	}
	if one.events < 2000 {
		y.t.Errorf("there were %d events", one.events)
	}
	return one
}

// crawledOnce: every upstream was crawled at the beginning, and none again. The pages that
// were asked for do not tell: an enquiry reads a listing, too.
func (y *live) crawledOnce() {
	once := y.rows(fmt.Sprintf("SELECT server_id FROM crawl WHERE kind = 'upstream' AND started_at IS NULL AND finished_at < %d", y.late.UnixMicro()))
	if len(once) != len(y.ups) {
		y.t.Errorf("%d of %d upstreams were crawled once", len(once), len(y.ups))
	}
}

// reasons counts what has happened to an account since the index began, commits and
// harmless faults apart. identities are the events that say no more than that its document
// may have changed, which it has not in key or host; why is all else.
func (y *live) reasons(did string, d simnet.History) (why, identities int64) {
	before := y.known[did]
	identities = d.Events["#identity"] - before.Events["#identity"]
	why = d.Events["#account"] - before.Events["#account"] + d.Events["#sync"] - before.Events["#sync"] +
		d.Moves - before.Moves + d.Strange - before.Strange + d.Refused
	for name, times := range d.Fired {
		if !slices.Contains(harmless(), name) {
			why += times
		}
	}
	for _, name := range forgetting() {
		why += y.net.Fired(name)
	}
	return why, identities
}

// attemptsPerIdentity bounds how often a document is looked up for one #identity: twice for
// each copy, of which relay and PDS may send two each.
const attemptsPerIdentity = 8

// once: an account with so many #identity, and about which nothing else happened but
// commits, was fetched once: its document too, but for the two look-ups that each of
// them may cause. The relay and the PDS may send it, and each of them twice. The first
// attempt is made twice where a commit was on its way when the key became known.
func (y *live) once(did string, d simnet.History, identities int64) {
	y.t.Helper()
	least, most := oneAttempt(y.method)
	asked := d.Requests
	for _, query := range []string{"getRepo", "getRecord", "describeRepo", "getRepoStatus", "getLatestCommit", "log"} {
		n := asked[query]
		if query == "getRepo" {
			n -= d.Left // of those nothing was fetched
		}
		if n < least[query] || n > 2*most[query] {
			y.t.Errorf("%s, method %s: %s was asked for %d times, wants %d to %d; attempts: %s", did, y.method, query, n, least[query], most[query], y.attempts.at(did))
		}
	}
	if d.LastRev != y.first[did] {
		y.t.Errorf("%s: it was fetched again, with rev %s after %s; attempts: %s", did, d.LastRev, y.first[did], y.attempts.at(did))
	}
	if n := asked["did"]; n < 1 || n > 1+attemptsPerIdentity*identities+int64(y.waiting[did]+y.broken[did]) {
		y.t.Errorf("%s: its document was looked up %d times, and #identity came %d times", did, n, identities)
	}
	if n := y.waiting[did]; identities == 0 && n > 0 {
		y.t.Errorf("%s: it waited for an attempt %d times", did, n)
	}
}

// oneAttempt returns the requests that establish a small repo once: more of them where it
// moves meanwhile.
func oneAttempt(m establish.Method) (least, most map[string]int64) {
	switch m {
	case establish.WholeRepo:
		return map[string]int64{"getRepo": 1}, map[string]int64{"getRepo": 1}
	case establish.Probe:
		return map[string]int64{"getRecord": 1}, map[string]int64{"getRecord": 30, "getRepo": 1}
	}
	return map[string]int64{"getRecord": 1}, map[string]int64{"getRecord": 8, "getRepo": 1, "describeRepo": 4}
}

// attemptsFor bounds how many attempts one thing that happened may cause: a lie takes one to
// see that it was none, and what it stood for another, which may void the first; a
// document, and a host that seems to be another one's, are asked twice.
const attemptsFor = 4

// atMost: an account was not asked about more often than what happened may cause. An
// attempt that the end of a run interrupts is made again.
func (y *live) atMost(did string, d simnet.History, why, identities int64) {
	y.t.Helper()
	why += identities
	if len(y.ups) > 3 {
		why *= 2 // the relay sends it, and the PDS
	}
	attempts := 1 + attemptsFor*why + int64(y.waiting[did])
	for query, n := range d.Requests {
		most := attempts
		if query == "getRecord" && y.method != establish.WholeRepo {
			most *= 10 // proofs beside each collection
		}
		if query == "did" {
			most += attemptsPerIdentity * identities
		}
		if n > most {
			y.t.Errorf("%s, method %s: %s was asked for %d times for %d reasons: %+v; attempts: %s", did, y.method, query, n, why, d, y.attempts.at(did))
		}
	}
}

// birth is a row of the index.
type birth struct{ nsid, source, since string }

// bornByCommits compares the sources of an account's rows with when they began: what
// the one attempt has shown came with it, and what began later with its commit, in order.
func (y *live) bornByCommits(did string, d simnet.History, rows []birth) (births int) {
	y.t.Helper()
	last := d.LastRev
	for _, row := range rows {
		rev := d.Births[row.nsid]
		if seen, later := rev <= d.LastRev, rev > d.FirstRev; seen != later && (row.source == "commit") != later {
			y.t.Errorf("%s: %s began with %s, and the attempt was at %s; its source is %s", did, row.nsid, rev, d.LastRev, row.source)
		}
		if row.source != "commit" {
			continue
		}
		births++
		if rev < last {
			y.t.Errorf("%s: %s was born by %s, and comes behind what %s bore", did, row.nsid, rev, last)
		}
		last = rev
		if since := rev.Time().UTC().Truncate(time.Minute).Format(time.DateTime); row.since < since {
			y.t.Errorf("%s: %s is there since %s, and was born at %s", did, row.nsid, row.since, since)
		}
	}
	return births
}
