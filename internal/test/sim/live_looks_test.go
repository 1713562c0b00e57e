package sim

import (
	"slices"
	"time"

	"railyard/internal/establish"
	"railyard/internal/test/simnet"
)

// judge compares the looks at each account, as the network saw them, with what
// happened to it.
func (y *live) judge() *liveTally {
	y.t.Helper()
	y.walkedOnce()
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
		why, told := y.reasons(did, d)
		if y.first[did] == 0 || y.unfinished[did] {
			why++ // its first look fell into the time of the faults
		}
		if why > 0 {
			y.atMost(did, d, why, told)
			continue
		}
		y.once(did, d, told)
		if told == 0 {
			one.alone++
			one.births += y.bornByCommits(did, d, rows[did])
		}
	}
	if one.events < 2000 {
		y.t.Errorf("there were %d events", one.events)
	}
	return one
}

// walkedOnce: there was no sweep. A walk of so few repos is a page, and an empty one.
func (y *live) walkedOnce() {
	for _, name := range y.ups {
		if n := y.net.Traffic(name).Requests["listRepos"]; n > 2 {
			y.t.Errorf("%s was asked for %d pages of its listing", name, n)
		}
	}
}

// reasons counts what has happened to an account since the index began, commits and
// harmless faults apart. told are the events that say no more than that its document
// may have changed, which it has not in key or host; why is all else.
func (y *live) reasons(did string, d simnet.History) (why, told int64) {
	before := y.known[did]
	told = d.Events["#identity"] - before.Events["#identity"]
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
	return why, told
}

// looksPerTelling bounds how often a document is looked at for one #identity: twice for
// each copy, of which relay and PDS may tell two each.
const looksPerTelling = 8

// once: an account that was told of so often, and about which nothing else happened
// but commits, was looked at once: its document too, but for the two looks that each
// telling is worth. The relay and the PDS may tell it, and each of them twice. The first
// look is made twice where a commit was on its way when the key became known.
func (y *live) once(did string, d simnet.History, told int64) {
	y.t.Helper()
	least, most := oneLook(y.method)
	asked := d.Requests
	for _, query := range []string{"getRepo", "getRecord", "describeRepo", "getRepoStatus", "getLatestCommit", "log"} {
		if n := asked[query]; n < least[query] || n > 2*most[query] {
			y.t.Errorf("%s, method %s: %s was asked for %d times, wants %d to %d", did, y.method, query, n, least[query], most[query])
		}
	}
	if d.LastRev != y.first[did] {
		y.t.Errorf("%s: it was looked at again, with rev %s after %s", did, d.LastRev, y.first[did])
	}
	if n := asked["did"]; n < 1 || n > 1+looksPerTelling*told+int64(y.waiting[did]+y.broken[did]) {
		y.t.Errorf("%s: its document was looked at %d times, and #identity came %d times", did, n, told)
	}
	if n := y.waiting[did]; told == 0 && n > 0 {
		y.t.Errorf("%s: it waited for a look %d times", did, n)
	}
}

// oneLook returns the requests that establish a small repo once: more of them where it
// moves meanwhile.
func oneLook(m establish.Method) (least, most map[string]int64) {
	switch m {
	case establish.WholeRepo:
		return map[string]int64{"getRepo": 1}, map[string]int64{"getRepo": 1}
	case establish.Probe:
		return map[string]int64{"getRecord": 1}, map[string]int64{"getRecord": 30, "getRepo": 1}
	}
	return map[string]int64{"getRecord": 1}, map[string]int64{"getRecord": 8, "getRepo": 1, "describeRepo": 4}
}

// looksFor bounds how many looks one thing that happened is worth: a lie takes one to
// see that it was none, and what it stood for another, which may void the first; a
// document, and a host that seems to be another one's, are asked twice.
const looksFor = 4

// atMost: an account was not looked at more often than what happened is worth. A look
// that the end of a run interrupts is made again.
func (y *live) atMost(did string, d simnet.History, why, told int64) {
	y.t.Helper()
	why += told
	if len(y.ups) > 3 {
		why *= 2 // the relay tells it, and the PDS
	}
	looks := 1 + looksFor*why + int64(y.waiting[did])
	for query, n := range d.Requests {
		most := looks
		if query == "getRecord" && y.method != establish.WholeRepo {
			most *= 10 // proofs beside each collection
		}
		if query == "did" {
			most += looksPerTelling * told
		}
		if n > most {
			y.t.Errorf("%s, method %s: %s was asked for %d times for %d reasons: %+v", did, y.method, query, n, why, d)
		}
	}
}

// birth is a row of the index.
type birth struct{ nsid, source, since string }

// bornByCommits compares the sources of an account's rows with when they began: what
// the one look has shown came with it, and what began later with its commit, in order.
func (y *live) bornByCommits(did string, d simnet.History, rows []birth) (births int) {
	y.t.Helper()
	last := d.LastRev
	for _, row := range rows {
		rev := d.Births[row.nsid]
		if seen, later := rev <= d.LastRev, rev > d.FirstRev; seen != later && (row.source == "commit") != later {
			y.t.Errorf("%s: %s began with %s, and the look was at %s; its source is %s", did, row.nsid, rev, d.LastRev, row.source)
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
