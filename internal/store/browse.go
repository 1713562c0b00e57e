package store

import (
	"database/sql"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/atproto"
	"railyard/internal/repostate"
)

// Collection is one collection and how many visible repos have records in it.
type Collection struct {
	NSID    string
	Members int64
}

// maxExamined bounds the collections that one page looks at: any number may have
// lost their members.
const maxExamined = 20_000

// Collections returns up to limit collections with members, in the order of their
// names' bytes, after a name. next is the name to go on after, "" at the end; a
// page before the end may be short or empty.
func (rx *Rx) Collections(after string, limit int) (page []Collection, next string, err error) {
	rows, err := rx.q.CollectionsAfter(rx.ctx, db.CollectionsAfterParams{
		After: after, Examined: maxExamined, MaxRows: int64(limit),
	})
	if err != nil {
		return nil, "", err
	}
	page = collectionsOf(rows)
	if len(page) == limit {
		return page, page[limit-1].NSID, nil
	}
	next, err = rx.q.CollectionBehind(rx.ctx, db.CollectionBehindParams{After: after, Skipped: maxExamined - 1})
	if errors.Is(err, sql.ErrNoRows) {
		return page, "", nil
	}
	return page, next, err
}

// CollectionsNamed returns those of the collections that have members, in no order.
func (rx *Rx) CollectionsNamed(nsids []string) ([]Collection, error) {
	rows, err := rx.q.CollectionsNamed(rx.ctx, jsonTexts(nsids))
	return collectionsOf(rows), err
}

// Largest returns the n collections with the most members, the largest first.
func (rx *Rx) Largest(n int) ([]Collection, error) {
	rows, err := rx.q.LargestCollections(rx.ctx, int64(n))
	return collectionsOf(rows), err
}

func collectionsOf[R ~struct {
	NSID    string
	Members int64
}](rows []R) []Collection {
	out := make([]Collection, len(rows))
	for i, row := range rows {
		out[i] = Collection(row)
	}
	return out
}

// Membership is one row of a repo's set.
type Membership struct {
	NSID    string
	Visible bool
	Source  string    // commit, resync or import
	Since   time.Time // of its birth number, to the minute; zero = not known
}

// Memberships returns up to limit rows of a repo's set, visible or not, in the
// order in which the index met the collections, and the number to go on after.
func (rx *Rx) Memberships(r *repostate.Repo, after int64, limit int) (set []Membership, last int64, err error) {
	rows, err := rx.q.CollectionsOfRepo(rx.ctx, db.CollectionsOfRepoParams{RepoID: r.ID, After: after, MaxRows: int64(limit)})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		m := Membership{NSID: row.NSID, Visible: row.Seq > 0, Source: Source(row.Source).String()}
		if row.Minute != 0 {
			m.Since = time.Unix(row.Minute*60, 0)
		}
		set, last = append(set, m), row.ID
	}
	return set, last, nil
}

// KnownRepo is a repo whose head is known.
type KnownRepo struct {
	ID     int64
	DID    string
	Rev    atproto.TID
	CID    atproto.Digest // of the commit
	State  repostate.State
	Active bool
	Status string // the word that explains an inactive account; may be empty
}

// KnownRepos returns up to limit repos whose head is known, in the order of their
// ids, after an id. Each is there from its first proof on, whether its account is
// active or not, unless the account is deleted.
func (rx *Rx) KnownRepos(after int64, limit int) ([]KnownRepo, error) {
	rows, err := rx.q.HeadsAfter(rx.ctx, db.HeadsAfterParams{After: after, MaxRows: int64(limit)})
	if err != nil {
		return nil, err
	}
	repos := make([]KnownRepo, len(rows))
	for i, row := range rows {
		repos[i] = KnownRepo{
			ID: row.RepoID, DID: row.DID, Rev: atproto.TID(row.Rev), CID: digest(row.CID),
			State: repostate.State(row.State), Active: row.Active == 1, Status: row.Status,
		}
	}
	return repos, nil
}

// Host is a PDS that the index knows: a DID document has named it, a relay has
// listed it, or it has asked to be crawled.
type Host struct {
	ID            int64
	Name          string    // canonical
	Accounts      int64     // DIDs whose document names it, active or not
	Offline       bool      // it has failed again and again
	Answers       int64     // resyncs that it answered
	CooldownUntil time.Time // it is not asked before then; long ago = it may be asked
	ListedStatus  string    // what a relay's listHosts says of it, "" = none lists it
}

// HostsAfter returns up to limit hosts in the order in which the index met them,
// after an id.
func (rx *Rx) HostsAfter(after int64, limit int) ([]Host, error) {
	rows, err := rx.q.HostsAfter(rx.ctx, db.HostsAfterParams{After: after, MaxRows: int64(limit)})
	if err != nil {
		return nil, err
	}
	hosts := make([]Host, len(rows))
	for i, row := range rows {
		hosts[i] = hostOf(db.HostNamedRow(row))
	}
	return hosts, nil
}

// HostNamed returns a host by its canonical name, or nil if there is none.
func (rx *Rx) HostNamed(name string) (*Host, error) {
	row, err := rx.q.HostNamed(rx.ctx, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	h := hostOf(row)
	return &h, err
}

func hostOf(row db.HostNamedRow) Host {
	return Host{
		ID: row.ID, Name: row.Hostname, Accounts: row.Accounts, Offline: row.Status == "offline",
		Answers: row.Answers, CooldownUntil: time.UnixMicro(row.CooldownUntil), ListedStatus: row.ListedStatus,
	}
}
