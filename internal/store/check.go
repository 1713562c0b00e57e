package store

import (
	"context"
	"fmt"

	"railyard/db"
	"railyard/internal/atproto"
)

const (
	// maxOffenders is how many rows a violation shows. (queries/check.sql)
	maxOffenders = 20
	// namesAtOnce is how many names are read in one piece.
	namesAtOnce = 10_000
)

// Violation is an invariant that the file breaks.
type Violation struct {
	Invariant   string   `json:"invariant"`
	Explanation string   `json:"explanation"`
	Count       int64    `json:"count"` // of all offending rows
	Rows        []string `json:"rows"`  // the first few, "did/nsid: what"
}

// Check verifies that the file keeps its own rules. They hold after every
// transaction, so it may run beside the service; it reads each of them in a
// transaction of its own, so that the write-ahead log is not held back for the
// whole of it. It gives the number of rules and those that are broken. The error
// is that of the reading.
func (rd *Reader) Check(ctx context.Context) (checked int, broken []Violation, err error) {
	for _, inv := range invariants() {
		var found offenders
		err := rd.View(ctx, func(rx *Rx) (err error) {
			found, err = inv.find(rx)
			return err
		})
		if err != nil {
			return checked, broken, fmt.Errorf("check of %s: %w", inv.name, err)
		}
		checked++
		if found.count > 0 {
			broken = append(broken, Violation{inv.name, inv.explanation, found.count, found.rows})
		}
	}
	found, err := rd.quickCheck(ctx)
	if err != nil {
		return checked, broken, fmt.Errorf("check of the file: %w", err)
	}
	if found.count > 0 {
		broken = append(broken, Violation{"file", "SQLite finds the pages of the file in order", found.count, found.rows})
	}
	return checked + 1, broken, nil
}

// quickCheck asks SQLite itself. On a read-only connection it does not look at
// the constraints of the schema: the invariant of the flags does.
func (rd *Reader) quickCheck(ctx context.Context) (found offenders, err error) {
	rows, err := rd.pool.QueryContext(ctx, fmt.Sprintf("PRAGMA quick_check(%d)", maxOffenders))
	if err != nil {
		return found, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return found, err
		}
		if line != "ok" {
			found.add("%s", line)
		}
	}
	return found, rows.Err()
}

// invariant is a rule that holds after every transaction.
type invariant struct {
	name        string
	explanation string
	find        func(*Rx) (offenders, error)
}

// offenders are rows that break an invariant.
type offenders struct {
	count int64
	rows  []string
}

func (o *offenders) add(format string, args ...any) {
	o.count++
	if len(o.rows) < maxOffenders {
		o.rows = append(o.rows, fmt.Sprintf(format, args...))
	}
}

// offender is what a query of check.sql gives for each row that it shows.
type offender = struct {
	What  string
	Total int64 // of all offending rows
}

func offendersOf[R ~offender](rows []R, err error) (found offenders, _ error) {
	for _, row := range rows {
		o := offender(row)
		found.rows, found.count = append(found.rows, o.What), o.Total
	}
	return found, err
}

func bySQL[R ~offender](query func(*db.Queries, context.Context) ([]R, error)) func(*Rx) (offenders, error) {
	return func(rx *Rx) (offenders, error) { return offendersOf(query(rx.q, rx.ctx)) }
}

// invariants gives the rules, in the order in which they are checked.
//
// A proof stays good while a repo is desynchronized or fetched again, so neither
// state says anything about visibility. A repo without head is a candidate, or
// one whose first fetch runs or was voided, or one that its host lost: only a
// candidate certainly has none. Minutes of the clock may go back, as the
// machine's time may, and then changes are not pruned in the order of their ids:
// of the change feed only what follows its last hole is compared.
func invariants() []invariant {
	return []invariant{
		{"listed repos", "a repo is listed exactly if its account is active and its set is proven",
			bySQL((*db.Queries).CheckListedRepos)},
		{"visible rows", "a membership is visible exactly if its repo's account is active and its set is proven",
			bySQL((*db.Queries).CheckVisibleRows)},
		{"unique numbers", "no birth number is given twice, over memberships and repos together",
			bySQL((*db.Queries).CheckUniqueNumbers)},
		{"numbers below next", "every birth number is below meta.next_seq",
			bySQL((*db.Queries).CheckNumbersBelowNext)},
		{"clock", "seq_clock tells of every visible row when it was born",
			bySQL((*db.Queries).CheckSeqClock)},
		{"members", "collection.members counts the visible rows of the collection",
			bySQL((*db.Queries).CheckMembers)},
		{"collection tally", "collection_tally has the sums over collection",
			bySQL((*db.Queries).CheckCollectionTally)},
		{"repo tally", "repo_tally counts the repos of each state",
			bySQL((*db.Queries).CheckRepoTally)},
		{"queue tally", "queue_tally counts the rows of resync_queue",
			bySQL((*db.Queries).CheckQueueTally)},
		{"synchronized", "a synchronized repo is active and has proof, head and identity",
			bySQL((*db.Queries).CheckSynchronized)},
		{"unproven", "a repo that is a candidate or was not found has no proof",
			bySQL((*db.Queries).CheckUnproven)},
		{"heads", "a candidate has no head, and what is proven has one",
			bySQL((*db.Queries).CheckHeads)},
		{"revs", "revs are TIDs, which are not negative",
			bySQL((*db.Queries).CheckRevs)},
		{"earlier keys", "a set that an earlier key has signed has the rev up to which such keys count",
			bySQL((*db.Queries).CheckEarlierKeys)},
		{"accounts", "an active account has no status word, an inactive one is neither fetched nor followed",
			bySQL((*db.Queries).CheckAccounts)},
		{"proof times", "a proof has its time",
			bySQL((*db.Queries).CheckProofTimes)},
		{"identities", "whoever is fetched, inactive or has a head has a resolved identity",
			bySQL((*db.Queries).CheckIdentities)},
		{"queued", "an active repo that is not synchronized waits in the queue",
			bySQL((*db.Queries).CheckQueued)},
		{"claims", "a synchronized repo whose set is a claim waits in the queue for its proof",
			bySQL((*db.Queries).CheckClaims)},
		{"stale identities", "a repo whose identity is stale waits in the queue",
			bySQL((*db.Queries).CheckStaleIdentities)},
		{"resyncing", "a repo is resyncing only while a worker holds its row of the queue",
			bySQL((*db.Queries).CheckResyncing)},
		{"queue rows", "reason and priority are known, background is the last priority, no claim is ahead of its generation",
			bySQL((*db.Queries).CheckQueueRows)},
		{"queue hosts", "a row of the queue names whoever is asked next",
			bySQL((*db.Queries).CheckQueueHosts)},
		{"host queues", "whoever may be asked has a queue, whose head is not later than its rows",
			bySQL((*db.Queries).CheckHostQueues)},
		{"held back", "what is held back is backfill that waits for the PLC directory's log, and its identity is not trusted",
			func(rx *Rx) (offenders, error) {
				return offendersOf(rx.q.CheckHeld(rx.ctx, heldUntil.UnixMicro()))
			}},
		{"plc log", "what was seen of the PLC directory's log lies behind the time up to which it was read",
			bySQL((*db.Queries).CheckPLCLog)},
		{"buffer", "buffered commits belong to resyncing repos, are whole and not too many",
			func(rx *Rx) (offenders, error) { return offendersOf(rx.q.CheckBuffer(rx.ctx, maxBuffered)) }},
		{"orphans", "every row belongs to a repo, a collection or a host that is there",
			bySQL((*db.Queries).CheckOrphans)},
		{"changes", "changes have a cause that fits, and the last one of a row tells whether it is visible",
			bySQL((*db.Queries).CheckChanges)},
		{"sources", "a membership was brought by a commit, a resync or an import",
			bySQL((*db.Queries).CheckSources)},
		{"digests", "data and cid of a head are SHA-256 digests",
			bySQL((*db.Queries).CheckDigests)},
		{"keys", "a signing key is a compressed point with the prefix of its curve",
			bySQL((*db.Queries).CheckKeys)},
		{"flags", "states and flags have one of their values",
			bySQL((*db.Queries).CheckFlags)},
		{"walks", "a walk of listRepos that has come somewhere has begun and is wanted",
			bySQL((*db.Queries).CheckWalks)},
		{"candidates", "host.candidates counts the repos that only this host's listing tells of",
			bySQL((*db.Queries).CheckCandidates)},
		{"found", "a repo that only a listing tells of has no identity, and the host is there",
			bySQL((*db.Queries).CheckFound)},
		{"host walks", "the walk of a host has times and flags of their kind; hosts that are offline or banned are not walked",
			bySQL((*db.Queries).CheckHostWalks)},
		{"refusals", "the sample of a refusal is a list, not longer than its count",
			bySQL((*db.Queries).CheckRefusals)},
		{"meta", "meta has its one row with a valid index id",
			bySQL((*db.Queries).CheckMeta)},
		{"dids", "every DID is one that can own a repo", badDIDs},
		{"nsids", "every collection is an NSID", badNSIDs},
		{"hosts", "every host name is canonical", badHosts},
	}
}

func badDIDs(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckDIDsRow, error) {
			return rx.q.CheckDIDs(rx.ctx, db.CheckDIDsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckDIDsRow) (id int64, name string, ok bool) {
			_, err := atproto.ParseDID(r.DID)
			return r.ID, r.DID, err == nil
		})
}

func badNSIDs(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckNSIDsRow, error) {
			return rx.q.CheckNSIDs(rx.ctx, db.CheckNSIDsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckNSIDsRow) (id int64, name string, ok bool) {
			_, err := atproto.ParseNSID(r.NSID)
			return r.ID, r.NSID, err == nil
		})
}

func badHosts(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckHostsRow, error) {
			return rx.q.CheckHosts(rx.ctx, db.CheckHostsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckHostsRow) (id int64, name string, ok bool) {
			scheme := "https://"
			if r.Insecure == 1 {
				scheme = "http://"
			}
			canonical, _, err := atproto.Hosts{AllowPrivate: true}.Endpoint(scheme + r.Hostname)
			return r.ID, r.Hostname, err == nil && canonical == r.Hostname
		})
}

// badNames reads names piece by piece, in the order of their ids.
func badNames[R any](read func(after int64) ([]R, error), judge func(R) (id int64, name string, ok bool)) (found offenders, err error) {
	for after := int64(0); ; {
		rows, err := read(after)
		if err != nil || len(rows) == 0 {
			return found, err
		}
		for _, row := range rows {
			id, name, ok := judge(row)
			if after = id; !ok {
				found.add("%s: row %d", name, id)
			}
		}
	}
}
