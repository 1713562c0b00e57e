package store

import (
	"database/sql"
	"errors"
	"math"
	"time"

	"railyard/db"
	"railyard/internal/repostate"
)

// CrawlKind is what sort of server is crawled.
type CrawlKind string

// The kinds of crawl.
const (
	OfUpstream CrawlKind = "upstream"
	OfHost     CrawlKind = "host"
)

// CrawlID names a crawl by the server whose listRepos it reads.
type CrawlID struct {
	Kind   CrawlKind
	Server int64 // the id of its row
}

// Crawl says how far the listing of a server was read, and when that goes on.
type Crawl struct {
	CrawlID
	Due      time.Time // zero = not until somebody asks for it
	Again    bool      // asked for, and none has begun since
	Cursor   string    // of the next page; empty = the first one
	Started  time.Time // zero = none is under way
	Finished time.Time // when the last one ended
	Failures int       // attempts in a row
}

func crawlOf(row db.Crawl) Crawl {
	return Crawl{
		CrawlID: CrawlID{CrawlKind(row.Kind), row.ServerID}, Due: instant(row.DueAt), Again: row.Again == 1,
		Cursor: deref(row.Cursor), Started: instant(row.StartedAt), Finished: instant(row.FinishedAt), Failures: int(row.Failures),
	}
}

// Wanted reports whether the crawl was asked for or is under way.
func (c Crawl) Wanted() bool { return c.Again || !c.Started.IsZero() }

// IsDue reports whether the crawl may begin or go on.
func (c Crawl) IsDue(now time.Time) bool { return !c.Due.IsZero() && !c.Due.After(now) }

// Crawl returns the row of a crawl, a zero one if there is none.
func (rx *Rx) Crawl(id CrawlID) (Crawl, error) {
	row, err := rx.q.Crawl(rx.ctx, db.CrawlParams{Kind: string(id.Kind), ServerID: id.Server})
	if errors.Is(err, sql.ErrNoRows) {
		return Crawl{CrawlID: id}, nil
	}
	return crawlOf(row), err
}

// DueCrawls returns up to n crawls of a kind that are due, the longest waiting first.
func (rx *Rx) DueCrawls(kind CrawlKind, now time.Time, n int) ([]Crawl, error) {
	rows, err := rx.q.DueCrawls(rx.ctx, db.DueCrawlsParams{Kind: string(kind), Now: micros(now), MaxRows: int64(n)})
	if err != nil {
		return nil, err
	}
	due := make([]Crawl, len(rows))
	for i, row := range rows {
		due[i] = crawlOf(row)
	}
	return due, nil
}

// NextCrawl returns when the next crawl of a kind will be due that is not yet, the
// zero time if none will.
func (rx *Rx) NextCrawl(kind CrawlKind, now time.Time) (time.Time, error) {
	at, err := rx.q.NextCrawl(rx.ctx, db.NextCrawlParams{Kind: string(kind), Now: micros(now)})
	if err != nil || at == math.MaxInt64 {
		return time.Time{}, err
	}
	return time.UnixMicro(at), nil
}

// CountCrawls returns how many servers of a kind are crawled.
func (rx *Rx) CountCrawls(kind CrawlKind) (int64, error) {
	return rx.q.CountCrawls(rx.ctx, string(kind))
}

// HostToCrawl returns the base URL of a host, and until when it is not to be asked.
func (rx *Rx) HostToCrawl(host int64) (name, base string, cooldown time.Time, err error) {
	row, err := rx.q.HostToCrawl(rx.ctx, host)
	at := repostate.Identity{Host: row.Hostname, Insecure: row.Insecure == 1}
	return row.Hostname, at.URL(), time.UnixMicro(row.CooldownUntil), err
}

// HostCrawled reports of a host by its name whether it is known, and when its last
// crawl ended.
func (rx *Rx) HostCrawled(name string) (known bool, finished time.Time, err error) {
	row, err := rx.q.HostCrawl(rx.ctx, name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, time.Time{}, nil
	}
	return err == nil, instant(row.FinishedAt), err
}

// HostRow returns the id of a host by its name and makes its row if there is none;
// insecure counts only then.
func (tx *Tx) HostRow(name string, insecure bool) (int64, error) {
	return tx.q.HostID(tx.ctx, db.HostIDParams{Hostname: name, Insecure: flag(insecure)})
}

// ListHost notes what a relay's listHosts says of a host. One that is offline or
// banned is not crawled; any other is from now on.
func (tx *Tx) ListHost(name string, insecure bool, status string) (CrawlID, error) {
	host, err := tx.q.SetListedStatus(tx.ctx, db.SetListedStatusParams{Hostname: name, Insecure: flag(insecure), ListedStatus: orNull(status)})
	id := CrawlID{OfHost, host}
	switch {
	case err != nil:
		return id, err
	case status == "offline" || status == "banned":
		return id, tx.q.DeleteCrawl(tx.ctx, db.DeleteCrawlParams{Kind: string(id.Kind), ServerID: id.Server})
	}
	return id, tx.q.AddCrawl(tx.ctx, db.AddCrawlParams{Kind: string(id.Kind), ServerID: id.Server})
}

// WantHostCrawl asks for a crawl of a host by its name, whatever relays say of it.
func (tx *Tx) WantHostCrawl(name string, insecure bool) error {
	host, err := tx.q.SetListedStatus(tx.ctx, db.SetListedStatusParams{Hostname: name, Insecure: flag(insecure)})
	if err != nil {
		return err
	}
	return tx.WantCrawl(CrawlID{OfHost, host})
}

// WantCrawl asks for a crawl that begins after now.
func (tx *Tx) WantCrawl(id CrawlID) error {
	return tx.q.WantCrawl(tx.ctx, db.WantCrawlParams{Kind: string(id.Kind), ServerID: id.Server})
}

// StartCrawl begins a crawl at its first page.
func (tx *Tx) StartCrawl(id CrawlID) error {
	return tx.q.StartCrawl(tx.ctx, db.StartCrawlParams{Kind: string(id.Kind), ServerID: id.Server, Now: micros(tx.now)})
}

// AdvanceCrawl notes how far a crawl has come, and how many failures still count. It
// belongs into the transaction of what was listed.
func (tx *Tx) AdvanceCrawl(id CrawlID, cursor string, failures int) error {
	return tx.q.AdvanceCrawl(tx.ctx, db.AdvanceCrawlParams{
		Kind: string(id.Kind), ServerID: id.Server, Cursor: orNull(cursor), Failures: int64(failures),
	})
}

// RewindCrawl lets a crawl go on at its first page.
func (tx *Tx) RewindCrawl(id CrawlID) error {
	return tx.q.RewindCrawl(tx.ctx, db.RewindCrawlParams{Kind: string(id.Kind), ServerID: id.Server})
}

// DeferCrawl lets a crawl go on later; failed counts a failure.
func (tx *Tx) DeferCrawl(id CrawlID, until time.Time, failed bool) error {
	return tx.q.DeferCrawl(tx.ctx, db.DeferCrawlParams{
		Kind: string(id.Kind), ServerID: id.Server, Until: micros(until), Failed: flag(failed),
	})
}

// GiveUpCrawl drops the crawls of a host that has failed so often, has never answered
// and is listed by nobody, until it asks again.
func (tx *Tx) GiveUpCrawl(host int64, failures int) error {
	return tx.q.GiveUpCrawl(tx.ctx, db.GiveUpCrawlParams{HostID: host, Failures: int64(failures)})
}

// FinishCrawl finishes a crawl. The next one is due at next, never if that is zero, and
// at once if it was asked for since this one began.
func (tx *Tx) FinishCrawl(id CrawlID, next time.Time) error {
	return tx.q.FinishCrawl(tx.ctx, db.FinishCrawlParams{
		Kind: string(id.Kind), ServerID: id.Server, Now: micros(tx.now), Next: micros(next),
	})
}

// PlanCrawls makes idle crawls due a while after the last one ended, spread over a
// tenth of it, or never if every is 0.
func (tx *Tx) PlanCrawls(every time.Duration) error {
	if every == 0 {
		return tx.q.UnplanCrawls(tx.ctx)
	}
	return tx.q.PlanCrawls(tx.ctx, db.PlanCrawlsParams{
		Now: tx.micros(), Every: every.Microseconds(), Spread: every.Microseconds()/10 + 1,
	})
}

// ClampCrawls makes due what is put off beyond a time that nothing is put off to: the
// clock was set back.
func (tx *Tx) ClampCrawls(horizon time.Time) error {
	return tx.q.ClampCrawls(tx.ctx, micros(horizon))
}

const (
	// unprovenCandidates is how many candidates a host may have before any document
	// names it: so many rows, and questions to the directory, a host that invents DIDs
	// costs at a time. It may have one more for each document that names it, up to
	// provenCandidates: what an honest host lists doubles with each round,
	// until whole pages fit.
	unprovenCandidates = 100
	provenCandidates   = 10_000
)

// Candidates are the repos that only a host's listing names.
type Candidates struct {
	Left   int64 // how many more the host may have; may be negative
	Proven bool  // the host has no more of them than documents name it
}

// Candidates returns how the candidates of a host stand.
func (rx *Rx) Candidates(host int64) (Candidates, error) {
	left, err := rx.q.CandidateBudget(rx.ctx, db.CandidateBudgetParams{HostID: host, Unproven: unprovenCandidates, Most: provenCandidates})
	return Candidates{Left: left, Proven: left >= unprovenCandidates}, err
}
