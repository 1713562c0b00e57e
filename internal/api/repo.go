package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

type repoAnswer struct {
	DID         string             `json:"did"`
	State       string             `json:"state"`
	Active      bool               `json:"active"`
	Status      *string            `json:"status"`
	StatusFrom  *string            `json:"status_from"`  // whose word it is: host, relay, directory
	StatusSince *string            `json:"status_since"` // and since when
	Visible     bool               `json:"visible"`
	Proof       *string            `json:"proof"`
	ProvenAt    *string            `json:"proven_at"`
	Rev         *string            `json:"rev"`
	Data        *string            `json:"data"`
	Commit      *string            `json:"commit"`
	Host        *string            `json:"host"`
	Error       *string            `json:"error"` // what the last attempt failed for, and when
	ErrorAt     *string            `json:"error_at"`
	Queue       *queueAnswer       `json:"queue"`
	Collections []membershipAnswer `json:"collections"`
	Cursor      string             `json:"cursor,omitempty"`
}

type queueAnswer struct {
	Reason   string  `json:"reason"`
	Later    bool    `json:"later"`   // a second look: the repo's rows are in service meanwhile
	Working  bool    `json:"working"` // a worker is at it
	Attempts int     `json:"attempts"`
	QueuedAt *string `json:"queued_at"`
	DueAt    *string `json:"due_at"`
	// Said is what was said, so often and since when, and is not believed on one word.
	Said      *string `json:"said"`
	SaidTimes int     `json:"said_times"`
	SaidSince *string `json:"said_since"`
}

type membershipAnswer struct {
	Collection string  `json:"collection"`
	Visible    bool    `json:"visible"`
	Since      *string `json:"since"`
	Source     string  `json:"source"`
}

// repoDetail is what one state of the file says of a repo.
type repoDetail struct {
	repo *repostate.Repo
	set  []store.Membership
	last int64
}

// repo answers /v1/repo: what the index knows of one DID. Values that are not
// known are null. Rows that are not listed are marked so. An account that is not
// active shows its status, and neither its head nor its collections; a repo that
// its host has no more shows no collections.
//
// A full page of collections carries a cursor. Each page is sorted by name; pages
// come in the order in which the index met the collections, so that none reads
// more than its limit.
func (s *server) repo(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	did, err := single(params, "did")
	if err != nil {
		return nil, err
	}
	if _, err := atproto.ParseDID(did); err != nil {
		return nil, badRequest("did %q: not a did:plc or did:web that can own a repo", atproto.Clip(did))
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	after, err := placeOf(params)
	if err != nil {
		return nil, err
	}
	var d repoDetail
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		d, err = detailOf(rx, did, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	if d.repo == nil {
		return nil, fail(http.StatusNotFound, "RepoNotFound", "did %q: this index has never heard of it", atproto.Clip(did))
	}
	return answerOf(d, limit), nil
}

// placeOf reads the cursor of a repo's collections: a number.
func placeOf(params url.Values) (after int64, err error) {
	text, err := single(params, "cursor")
	if err != nil || text == "" {
		return 0, err
	}
	if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
		return 0, badRequest("cursor %q: not one of this service", atproto.Clip(text))
	}
	return after, nil
}

func detailOf(rx *store.Rx, did string, after int64, limit int) (d repoDetail, err error) {
	if d.repo, err = rx.RepoByDID(did); err != nil || d.repo == nil {
		return d, err
	}
	if !d.repo.Active || d.repo.State == repostate.NotFound {
		return d, nil
	}
	d.set, d.last, err = rx.Memberships(d.repo, after, limit)
	return d, err
}

func answerOf(d repoDetail, limit int) repoAnswer {
	r := d.repo
	out := repoAnswer{
		DID: r.DID, State: r.State.String(), Active: r.Active, Status: known(r.Status), StatusFrom: known(r.StatusFrom.String()),
		StatusSince: timeText(r.StatusAt), Error: known(r.Error), ErrorAt: timeText(r.ErrorAt), Visible: r.Seq > 0,
		Proof:       known(r.Proof.String()),
		Collections: make([]membershipAnswer, len(d.set)),
	}
	if r.Proof != 0 {
		out.ProvenAt = timeText(r.ProvenAt)
	}
	if r.Head != nil && r.Active {
		out.Rev, out.Data, out.Commit = known(r.Head.Rev.String()), known(r.Head.Data.String()), known(r.Head.CID.String())
	}
	if r.Identity != nil {
		out.Host = known(r.Identity.Host)
	}
	if w := r.Waiting; w != nil {
		out.Queue = &queueAnswer{
			Reason: w.Reason.String(), Later: w.Priority == repostate.PriorityBackground, Working: w.Leased, Attempts: w.Attempts,
			QueuedAt: timeText(w.QueuedAt), Said: known(w.Said.String()), SaidTimes: w.SaidTimes, SaidSince: timeText(w.SaidSince),
		}
		if !w.Parked {
			out.Queue.DueAt = timeText(w.NotBefore)
		}
	}
	for i, m := range d.set {
		out.Collections[i] = membershipAnswer{Collection: m.NSID, Visible: m.Visible, Since: timeText(m.Since), Source: m.Source}
	}
	slices.SortFunc(out.Collections, func(a, b membershipAnswer) int { return strings.Compare(a.Collection, b.Collection) })
	if len(d.set) == limit {
		out.Cursor = strconv.FormatInt(d.last, 10)
	}
	return out
}

// known is nil for the empty text, which stands for what is not known.
func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// timeText is RFC 3339 in UTC, nil for the zero time.
func timeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return known(t.UTC().Format(time.RFC3339Nano))
}
